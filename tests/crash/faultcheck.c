/*
 * Fault injection: the state after a failed call, and the result of its retry
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "faults.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "wiped.h"

void fault_fail(Faults *faults, const char *format, ...)
{
    va_list args;
    g_autofree char *text = NULL;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    faults->failures++;
    printf("FAILED %s: %s\n", faults->id, text);
}

/*
 * Describes the store in its own words.  Places must not change when a call
 * fails; they may be others when the retry has succeeded.
 */
static char *describe(BlobStore *store, Detail detail)
{
    GString *text = g_string_new(NULL);
    BlobStoreStatus info;

    if (!store) {
        return g_string_free(g_string_append(text, "not open"), FALSE);
    }
    blob_store_get_status(store, &info);
    g_string_append_printf(
        text, "%s%s%s commits %" PRIu64, info.blank ? "blank " : "",
        info.started ? "started" : "open",
        info.read_only ? " read-only" : "", info.commits);
    if (detail == DETAIL_OUTCOME) {
        g_string_append_printf(text, " capacity %" PRIu64 " free %" PRIu64
                               "%s%s key slots %u", info.capacity, info.free,
                               info.sealed ? " sealed" : "",
                               info.converting ? " converting" : "",
                               info.key_slots);
    }
    for (size_t i = 0; i < blob_store_count(store); i++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(store, i), &blob);
        /* The blob leaves the directory with the next epoch record. */
        if (!blob.registered && !blob.present && !blob.damage) {
            continue;
        }
        g_string_append_printf(
            text, "\n  %s kind %d size %" PRIu64 " of %" PRIu64
            " stored %" PRIu64 " slots %u%s%s%s%s", blob.name, blob.kind,
            blob.size, blob.max_size, blob.stored_size, blob.slots,
            blob.registered ? " registered" : "",
            blob.present ? " present" : "", blob.packed ? " packed" : "",
            blob.damage ? " damaged" : "");
        if (detail != DETAIL_OUTCOME) {
            g_string_append_printf(text, " sequence %" PRIx64,
                                   blob.sequence);
        }
        for (unsigned n = 0; detail == DETAIL_PLACES && n < blob.slots;
             n++) {
            /* S8: a start writes a tombstone again, to the other slot. */
            bool is_settled = blob.present || info.started;

            g_string_append_printf(text, " %" PRIu64 "+%" PRIu64 "%s",
                                   blob.slot[n].offset, blob.slot[n].length,
                                   is_settled && blob.slot[n].current ? "*"
                                                                      : "");
        }
    }
    return g_string_free(text, FALSE);
}

void fault_remember(const Faults *faults, Before *before)
{
    const Run *run = faults->run;
    /* A conversion that fails half way leaves copies as current versions. */
    Detail detail = faults->converts ? DETAIL_SEQUENCES : DETAIL_PLACES;

    *before = (Before) {
        .detail = detail,
        .text = describe(run->store, detail),
        .world = run->world,
        .write_errors = run->disk->write_errors,
    };
    if (run->store) {
        blob_store_get_status(run->store, &before->info);
    }
    g_clear_pointer(&run->disk->said_first, g_free);
}

static bool same_world(const World *a, const World *b)
{
    return !memcmp(a, b, sizeof(*a));
}

static char *world_text(const World *world)
{
    GString *text = g_string_new(NULL);

    for (unsigned n = 0; n < SCRIPT_BLOBS; n++) {
        g_string_append_printf(text, " %d", world->version[n]);
    }
    return g_string_free(text, FALSE);
}

void fault_expect_world(Faults *faults, BlobStore *store, const char *where,
                        const World *wanted, const World *or_wanted)
{
    g_autoptr(GError) error = NULL;
    World world;

    if (!script_read_world(store, &world, &error)) {
        fault_fail(faults, "%s: %s", where, error->message);
    } else if (!same_world(&world, wanted) &&
               !same_world(&world, or_wanted)) {
        g_autofree char *found = world_text(&world);
        g_autofree char *text = world_text(wanted);

        fault_fail(faults, "%s: holds versions%s, not%s", where, found,
                   text);
    }
}

void fault_expect_unchanged(Faults *faults, const Before *before)
{
    const Run *run = faults->run;
    g_autofree char *text = describe(run->store, before->detail);
    unsigned errors = run->disk->write_errors - before->write_errors;
    BlobStoreStatus info;

    /* A format that has succeeded stays, even if a later call fails. */
    if (strcmp(text, before->text) && !before->info.blank) {
        fault_fail(faults, "the store has changed from\n  %s\nto\n  %s",
                   before->text, text);
    }
    if (!run->store) {
        return;
    }
    blob_store_get_status(run->store, &info);
    if (info.write_errors != before->info.write_errors + errors) {
        fault_fail(faults, "%" PRIu64 " write errors are counted",
                   info.write_errors - before->info.write_errors);
    }
    /* At most an epoch record of the operation may have succeeded. */
    if (info.sequence != before->info.sequence &&
        (info.sequence < before->info.sequence ||
         (uint32_t)info.sequence)) {
        fault_fail(faults, "the last acknowledged sequence is now %" PRIx64,
                   info.sequence);
    }
    if (!info.blank && info.sequence == before->info.sequence &&
        (info.free > before->info.free ||
         info.capacity != before->info.capacity)) {
        fault_fail(faults, "the space has changed");
    }
    fault_expect_world(faults, run->store, "the running store", &before->world,
                       &before->world);
}

/* Registers all blobs of @run that are not damaged, with their sizes. */
static bool register_all(Run *run, GError **error)
{
    for (size_t i = 0; i < blob_store_count(run->store); i++) {
        BlobInfo info;

        blob_get_info(blob_store_nth(run->store, i), &info);
        if (!info.damage &&
            !blob_store_register(run->store, info.owner, info.name,
                                 info.kind, info.max_size, error)) {
            return false;
        }
    }
    return true;
}

static void fail_keys(Faults *faults, const char *where,
                      const KeyState *keys)
{
    fault_fail(faults, "%s: data key %u, secrets %x, target %u", where,
               keys->data_key, keys->secrets, keys->target);
}

/* Either the old keys or the intended ones open @store. */
static void expect_keys(Faults *faults, BlobStore *store, KeyState *keys)
{
    g_autoptr(GError) error = NULL;

    if (!keyring_state(store, keys, &error)) {
        fault_fail(faults, "the image: %s", error->message);
        return;
    }
    *keys = key_state_completed(keys);
    if (!key_state_equal(keys, &faults->before_keys) &&
        !key_state_equal(keys, &faults->after_keys)) {
        fail_keys(faults, "the image", keys);
    }
}

/* A start has ended what had begun, and zeroed what had to be zeroed. */
static void expect_settled(Faults *faults, Run *run, const KeyState *wanted)
{
    const KeyState new = { run->blank_key, run->blank_key ? 1 : 0 };
    bool was_blank = faults->blank && !wanted->data_key;
    KeyState keys;

    if (!keyring_state(run->store, &keys, NULL) ||
        !key_state_equal(&keys, was_blank ? &new : wanted)) {
        fail_keys(faults, "the image started", &keys);
    }
    if (!wiped_deleted(test_disk_bytes(run->disk->disk), run->store)) {
        fault_fail(faults, "what was deleted is not zeroed");
    }
}

/* Starts the store in @run, writes to it and opens it once more. */
static void expect_usable(Faults *faults, Run *run, const KeyState *keys)
{
    g_autoptr(GError) error = NULL;

    if (!script_read_world(run->store, &run->world, &error) ||
        !register_all(run, &error) || !run_step(run, "start", &error)) {
        fault_fail(faults, "the image does not start: %s", error->message);
        return;
    }
    fault_expect_world(faults, run->store, "the image started", &run->world,
                       &run->world);
    expect_settled(faults, run, keys);
    run->last_version += 1000;
    if (blob_store_find(run->store, "dev", "a") &&
        run->world.version[0] != SCRIPT_DAMAGED &&
        !run_step(run, "write:a", &error)) {
        fault_fail(faults, "the image started: %s", error->message);
    } else if (!run_step(run, "open", &error)) {
        fault_fail(faults, "the image written to: %s", error->message);
    } else {
        fault_expect_world(faults, run->store, "the image written to",
                           &run->world, &run->world);
    }
}

void fault_expect_image(Faults *faults, const World *wanted,
                        const World *or_wanted, bool use)
{
    Run *copy = faults->copy;
    g_autoptr(GError) error = NULL;
    KeyState keys;

    run_restart(copy, faults->run);
    copy->options.read_only = !use;
    if (!run_step(copy, "open", &error)) {
        fault_fail(faults, "the image: %s", error->message);
        return;
    }
    fault_expect_world(faults, copy->store, "the image", wanted, or_wanted);
    expect_keys(faults, copy->store, &keys);
    if (use) {
        expect_usable(faults, copy, &keys);
    }
}

void fault_expect_done(Faults *faults)
{
    Run *run = faults->run;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    /* S8: a start does what was deferred. */
    if (run->store && run->store->unwiped &&
        (!run_step(run, "start", &error) ||
         !wiped_deleted(test_disk_bytes(run->disk->disk), run->store))) {
        fault_fail(faults, "what was deleted is not zeroed: %s",
                   error ? error->message : "but there is no error");
    }
    text = describe(run->store, DETAIL_OUTCOME);
    if (faults->converts &&
        !wiped_store(test_disk_bytes(run->disk->disk), run->store)) {
        fault_fail(faults, "a conversion has left something");
    }
    if (strcmp(text, faults->outcome)) {
        fault_fail(faults, "the outcome is\n  %s\nnot\n  %s", text,
                   faults->outcome);
    }
    if (!same_world(&run->world, &faults->after)) {
        fault_fail(faults, "the retry has done something else");
    }
    if (run->store) {
        fault_expect_world(faults, run->store, "the store in the end",
                           &faults->after, &faults->after);
        if (!run_step(run, "check", &error)) {
            fault_fail(faults, "check: %s", error->message);
        } else if (strcmp(run->findings->str, faults->findings)) {
            fault_fail(faults, "check finds %s not %s", run->findings->str,
                       faults->findings);
        }
    }
    fault_expect_image(faults, &faults->after, &faults->after, true);
}

void fault_expect_error(Faults *faults, const GError *error)
{
    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO)) {
        fault_fail(faults, "the error is: %s", error ? error->message : "none");
    } else if (!strstr(error->message, faults->run->disk->said) &&
               !strstr(error->message, faults->run->disk->said_first)) {
        fault_fail(faults, "'%s' does not say '%s'", error->message,
                   faults->run->disk->said);
    }
}

/* Returns the end of the bytes that an open store must be able to read. */
static uint64_t needed_bytes(BlobStore *store)
{
    uint64_t end = 0;

    for (size_t i = 0; i < blob_store_count(store); i++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(store, i), &blob);
        if (blob.slots) {
            end = MAX(end, blob.slot[1].offset + blob.slot[1].length);
        }
    }
    return end;
}

void fault_expect_short_error(Faults *faults, const GError *error,
                              uint64_t limit)
{
    Run *run = faults->run;
    bool opens = !strcmp(faults->step, "open");
    const uint64_t data_offset =
        BLOB_DIRECTORY_OFFSET +
        2 * blob_layout_directory_slot_bytes(SCRIPT_DIRECTORY_BLOBS);

    if (g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL)) {
        uint64_t needed = !opens ? blob_store_required_bytes(run->store)
                          : limit < data_offset ? data_offset
                          : faults->needed;
        g_autofree char *number = g_strdup_printf("%" PRIu64 " bytes",
                                                  needed);

        if (needed <= limit || !strstr(error->message, number)) {
            fault_fail(faults, "not %s: %s", number, error->message);
        }
    } else if (opens && limit < BLOB_DIRECTORY_OFFSET) {
        if (!g_error_matches(error, BLOBSTORE_ERROR,
                             BLOBSTORE_ERROR_FOREIGN)) {
            fault_fail(faults, "the error is: %s", error->message);
        }
    } else {
        fault_expect_error(faults, error);
    }
}

/*
 * A short medium may be enough if the missing part is not needed.  A medium
 * without a single byte counts as blank; nothing is written to it.
 */
void fault_expect_short_success(Faults *faults, uint64_t limit)
{
    Run *run = faults->run;
    bool opens = !strcmp(faults->step, "open");
    g_autoptr(GError) error = NULL;

    if (opens && limit && limit < faults->needed) {
        fault_fail(faults, "a store that needs %" PRIu64 " bytes opens",
                   faults->needed);
    }
    if (!limit && opens && !run->options.read_only) {
        if (run_step(run, "register:abcd", NULL) &&
            (run_step(run, "start", &error) ||
             !g_error_matches(error, BLOBSTORE_ERROR,
                              BLOBSTORE_ERROR_TOO_SMALL))) {
            fault_fail(faults, "something is started on no bytes");
        }
    }
}

void fault_note_outcome(Faults *faults)
{
    Run *run = faults->run;
    g_autoptr(GError) error = NULL;

    faults->after = run->world;
    faults->outcome = describe(run->store, DETAIL_OUTCOME);
    faults->needed = needed_bytes(run->store);
    if (!run_step(run, "check", &error)) {
        g_error("%s: %s", faults->name, error->message);
    }
    faults->findings = g_strdup(run->findings->str);
}
