/*
 * Scripts: operations on a store, as a line of text
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "script.h"

#include <stdlib.h>
#include <string.h>
#include "blobstore/format/layout.h"
#include "versions.h"

enum {
    SMALL_BYTES = 500,
    ROOMIER_BYTES = 4000,       /* in the slots of a small one */
    LARGER_BYTES = 20000,
};

typedef bool Step(Run *run, const char *arg, GError **error);

static unsigned blob_number(char letter)
{
    unsigned n = g_ascii_tolower(letter) - 'a';

    g_assert(n < SCRIPT_BLOBS);
    return n;
}

static Blob *find(Run *run, char letter)
{
    Blob *blob = blob_store_find(run->store, "dev",
                                 version_blob_name(blob_number(letter)));

    g_assert(blob);
    return blob;
}

bool script_read_world(BlobStore *store, World *world, GError **error)
{
    *world = (World) { 0 };
    for (unsigned n = 0; n < SCRIPT_BLOBS; n++) {
        Blob *blob = blob_store_find(store, "dev", version_blob_name(n));

        if (blob && !version_read(store, blob, n, &world->version[n],
                                  error)) {
            return false;
        }
    }
    return true;
}

static bool step_open(Run *run, const char *arg, GError **error)
{
    g_clear_pointer(&run->store, blob_store_free);
    run->slots_pending = false;
    run->options.directory_blobs = SCRIPT_DIRECTORY_BLOBS;
    run->store = keyring_open(run->disk->storage, &run->options,
                              run->blank_key, error);
    return run->store != NULL;
}

static bool step_crash(Run *run, const char *arg, GError **error)
{
    g_clear_pointer(&run->store, blob_store_free);
    return true;
}

static bool step_readonly(Run *run, const char *arg, GError **error)
{
    run->options.read_only = true;
    return true;
}

static bool step_pack(Run *run, const char *arg, GError **error)
{
    run->options.pack = true;
    return true;
}

static bool step_sealed(Run *run, const char *arg, GError **error)
{
    run->blank_key = 1;
    return true;
}

static bool step_slots(Run *run, const char *arg, GError **error)
{
    KeyState keys;

    if (!keyring_state(run->store, &keys, error)) {
        return false;
    }
    if (!run->slots_pending) {
        blob_store_get_key_slots(run->store, &run->slots);
        keyring_change(&run->slots, run->store->super.uuid, &keys,
                       &run->last_secret);
    }
    run->slots_pending = !blob_store_set_key_slots(run->store,
                                                   run->store->key,
                                                   &run->slots, error);
    return !run->slots_pending;
}

/* A begun conversion is continued; a finished one may only lack its record. */
static bool step_convert(Run *run, const char *arg, GError **error)
{
    KeyState keys = { .data_key = g_ascii_strtoull(arg, NULL, 10) };
    unsigned last = run->last_secret;
    BlobKeySlots slots = { 0 };
    BlobStoreStatus info;
    KeyState now;

    blob_store_get_status(run->store, &info);
    if (info.converting ||
        (keyring_state(run->store, &now, NULL) &&
         now.data_key == keys.data_key)) {
        return blob_store_start(run->store, error);
    }
    if (keys.data_key) {
        keyring_change(&slots, info.uuid, &keys, &last);
    }
    if (!blob_store_convert(run->store, keyring_key(keys.data_key), &slots,
                            error)) {
        return false;
    }
    run->last_secret = last;
    return true;
}

static bool register_for(Run *run, char letter, uint64_t max_size,
                         GError **error)
{
    unsigned n = blob_number(letter);
    Blob *blob = blob_store_find(run->store, "dev", version_blob_name(n));
    BlobInfo info;

    if (blob) {
        blob_get_info(blob, &info);
        if (info.registered) {
            blob_store_unregister(run->store, blob);
        }
    }
    return blob_store_register(run->store, "dev", version_blob_name(n),
                               n ? BLOB_KIND_SAVESTATE : BLOB_KIND_PERMANENT,
                               max_size, error);
}

static bool step_register(Run *run, const char *arg, GError **error)
{
    for (; *arg; arg++) {
        uint64_t max_size = blob_number(*arg) == 1 ? VERSION_PACKED_BYTES
                                                   : SMALL_BYTES;

        if (!register_for(run, *arg, max_size, error)) {
            return false;
        }
    }
    return true;
}

static bool step_larger(Run *run, const char *arg, GError **error)
{
    return register_for(run, *arg, LARGER_BYTES, error);
}

static bool step_roomier(Run *run, const char *arg, GError **error)
{
    return register_for(run, *arg, ROOMIER_BYTES, error);
}

static bool step_unregister(Run *run, const char *arg, GError **error)
{
    blob_store_unregister(run->store, find(run, *arg));
    return true;
}

static bool step_start(Run *run, const char *arg, GError **error)
{
    return blob_store_start(run->store, error);
}

static bool write_or_delete(Run *run, const char *arg, bool again,
                            GError **error)
{
    BlobChange changes[SCRIPT_BLOBS] = { 0 };
    GBytes *contents[SCRIPT_BLOBS] = { 0 };
    char **metadata[SCRIPT_BLOBS] = { 0 };
    size_t count = strlen(arg);
    World after = run->world;
    bool done;

    for (size_t i = 0; i < count; i++) {
        unsigned n = blob_number(arg[i]);

        after.version[n] = 0;
        if (g_ascii_islower(arg[i])) {
            after.version[n] = run->last_version + 1 + i;
            contents[i] = version_content(n, after.version[n]);
            metadata[i] = version_metadata(n, after.version[n]);
        }
        changes[i] = (BlobChange) {
            .blob = find(run, arg[i]),
            .content = contents[i],
            .metadata = (const char *const *)metadata[i],
            .delete_again = again,
        };
    }
    done = blob_store_write(run->store, changes, count, error);
    if (done) {
        for (size_t i = 0; i < count; i++) {
            unsigned n = blob_number(arg[i]);

            run->previous.version[n] = run->world.version[n];
        }
        run->world = after;
        run->last_version += count;
    }
    for (size_t i = 0; i < count; i++) {
        g_clear_pointer(&contents[i], g_bytes_unref);
        g_strfreev(metadata[i]);
    }
    return done;
}

static bool step_write(Run *run, const char *arg, GError **error)
{
    return write_or_delete(run, arg, false, error);
}

static bool step_again(Run *run, const char *arg, GError **error)
{
    return write_or_delete(run, arg, true, error);
}

static bool step_read(Run *run, const char *arg, GError **error)
{
    unsigned n = blob_number(*arg);
    int version;

    if (!version_read(run->store, find(run, *arg), n, &version, error)) {
        return false;
    }
    if (version != run->world.version[n]) {
        g_string_append_printf(run->wrong, "%s reads as version %d; ", arg,
                               version);
    }
    return true;
}

static bool step_close(Run *run, const char *arg, GError **error)
{
    return blob_store_close_clean(run->store, error);
}

static bool step_unchanged(Run *run, const char *arg, GError **error)
{
    bool unchanged;

    if (!blob_store_check_unchanged(run->store, &unchanged, error)) {
        return false;
    }
    if (!unchanged) {
        g_string_append(run->wrong, "the medium counts as changed; ");
    }
    return true;
}

static void note_finding(const BlobFinding *finding, void *opaque)
{
    BlobInfo info = { .name = "-" };

    if (finding->blob) {
        blob_get_info(finding->blob, &info);
    }
    g_string_append_printf(opaque, "%d %s %s; ", finding->kind, info.name,
                           finding->heals ? "heals" : "stays");
}

static bool step_check(Run *run, const char *arg, GError **error)
{
    g_string_truncate(run->findings, 0);
    return blob_store_check(run->store, note_finding, run->findings, error);
}

static bool step_info(Run *run, const char *arg, GError **error)
{
    BlobStoreStatus info;
    BlobInfo blob;

    blob_store_get_status(run->store, &info);
    g_assert(blob_store_required_bytes(run->store) >=
             info.capacity - info.free);
    for (size_t i = 0; i < blob_store_count(run->store); i++) {
        blob_get_info(blob_store_nth(run->store, i), &blob);
    }
    g_assert(blob_store_warnings(run->store));
    return true;
}

static bool step_fallback(Run *run, const char *arg, GError **error)
{
    unsigned n = blob_number(*arg);

    if (!blob_store_fall_back(run->store, find(run, *arg), error)) {
        return false;
    }
    run->world.version[n] = run->previous.version[n];
    run->previous.version[n] = 0;
    return true;
}

static bool step_giveup(Run *run, const char *arg, GError **error)
{
    if (!blob_store_give_up(run->store, find(run, *arg), error)) {
        return false;
    }
    run->world.version[blob_number(*arg)] = 0;
    return true;
}

static bool step_shrink(Run *run, const char *arg, GError **error)
{
    return blob_store_resize(run->store,
                             blob_store_required_bytes(run->store), error);
}

static bool step_exact(Run *run, const char *arg, GError **error)
{
    test_disk_resize(run->disk->disk,
                     blob_store_required_bytes(run->store));
    return true;
}

static bool step_damage(Run *run, const char *arg, GError **error)
{
    uint64_t at = g_ascii_strtoull(arg, NULL, 10);
    BlobInfo info;

    if (g_ascii_isalpha(*arg)) {
        blob_get_info(find(run, *arg), &info);
        at = info.slot[info.slot[1].current].offset + BLOB_HEADER_BYTES;
        run->world.version[blob_number(*arg)] = SCRIPT_DAMAGED;
    }
    test_disk_bytes(run->disk->disk)[at] ^= 1;
    return true;
}

static const struct {
    const char *verb;
    Step *step;
} steps[] = {
    { "open", step_open },
    { "crash", step_crash },
    { "readonly", step_readonly },
    { "pack", step_pack },
    { "sealed", step_sealed },
    { "slots", step_slots },
    { "convert", step_convert },
    { "register", step_register },
    { "larger", step_larger },
    { "roomier", step_roomier },
    { "unregister", step_unregister },
    { "start", step_start },
    { "write", step_write },
    { "again", step_again },
    { "read", step_read },
    { "close", step_close },
    { "unchanged", step_unchanged },
    { "check", step_check },
    { "info", step_info },
    { "fallback", step_fallback },
    { "giveup", step_giveup },
    { "shrink", step_shrink },
    { "exact", step_exact },
    { "damage", step_damage },
};

/* A write of the verb in @step fails and lands by half; the verb fails, too. */
static bool run_broken(Run *run, const char *step, bool done)
{
    char *rest;
    Fault fault = { g_ascii_strtoull(step, &rest, 10), 1 };
    g_autoptr(GError) error = NULL;

    g_assert(*rest == ',');
    fault_disk_plan(run->disk, &fault, 1);
    run->disk->armed = true;
    run->disk->only_writes = true;
    if (run_step(run, rest + 1, &error) != done || !run->disk->fired) {
        g_error("%s: does not fail as told", step);
    }
    run->disk->armed = false;
    run->disk->only_writes = false;
    return true;
}

bool run_step(Run *run, const char *step, GError **error)
{
    size_t length = strcspn(step, ":");
    const char *arg = step + length + (step[length] == ':');

    if (!strncmp(step, "broken:", 7) || !strncmp(step, "shaky:", 6)) {
        return run_broken(run, arg, *step == 's');
    }
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (strlen(steps[i].verb) == length &&
            !strncmp(step, steps[i].verb, length)) {
            return steps[i].step(run, arg, error);
        }
    }
    g_error("%s: no such step", step);
}

char *run_all_but_last(Run *run, const char *script)
{
    g_auto(GStrv) words = g_strsplit(script, " ", -1);
    guint count = g_strv_length(words);

    for (guint i = 0; i + 1 < count; i++) {
        g_autoptr(GError) error = NULL;

        if (!run_step(run, words[i], &error)) {
            g_error("%s: %s", words[i], error->message);
        }
    }
    return g_strdup(words[count - 1]);
}

Run *run_new(void)
{
    Run *run = g_new0(Run, 1);

    run->disk = fault_disk_new(
        SCRIPT_DISK_BYTES,
        BLOB_DIRECTORY_OFFSET +
        2 * blob_layout_directory_slot_bytes(SCRIPT_DIRECTORY_BLOBS));
    run->findings = g_string_new(NULL);
    run->wrong = g_string_new(NULL);
    return run;
}

void run_free(Run *run)
{
    blob_store_free(run->store);
    fault_disk_free(run->disk);
    g_string_free(run->findings, TRUE);
    g_string_free(run->wrong, TRUE);
    g_free(run);
}

void run_restart(Run *run, const Run *start)
{
    uint64_t bytes = test_disk_length(start->disk->disk);

    g_clear_pointer(&run->store, blob_store_free);
    if (bytes != test_disk_length(run->disk->disk)) {
        test_disk_resize(run->disk->disk, bytes);
    }
    memcpy(test_disk_bytes(run->disk->disk),
           test_disk_bytes(start->disk->disk), bytes);
    run->disk->armed = false;
    run->disk->limit = FAULT_UNLIMITED;
    run->disk->write_errors = 0;
    fault_disk_plan(run->disk, NULL, 0);
    run->options = start->options;
    run->world = start->world;
    run->previous = start->previous;
    run->last_version = start->last_version;
    run->blank_key = start->blank_key;
    run->last_secret = start->last_secret;
    run->slots_pending = false;
    g_string_truncate(run->findings, 0);
    g_string_truncate(run->wrong, 0);
}
