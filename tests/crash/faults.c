/*
 * Fault injection: every call of every operation fails, alone and in pairs;
 * and the medium is too short
 *
 *   faults [--id=ID]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "faults.h"
#include "blobstore/format/layout.h"

/*
 * A copy of superblock or directory that cannot be read counts as damaged
 * while the other one is intact.  What is to be zeroed is zeroed if it cannot
 * be read.  S8: zeroing deleted content may fail, and is done later.
 */
static bool is_lived_with(const Run *run, unsigned faults, unsigned reads)
{
    return faults == reads || (run->store && run->store->unwiped);
}

/* Takes the last step until it succeeds.  Returns how many faults fired. */
static unsigned inject(Faults *faults, const Fault *plan, unsigned count)
{
    Run *run = faults->run;
    bool done = false;

    run_restart(run, faults->start);
    g_free(run_all_but_last(run, faults->script));
    fault_disk_plan(run->disk, plan, count);
    while (!done) {
        unsigned fired = run->disk->fired;
        unsigned reads = run->disk->spare_reads;
        Before before;
        g_autoptr(GError) error = NULL;

        fault_remember(faults, &before);
        run->disk->unread_bytes = 0;
        run->disk->armed = true;
        done = run_step(run, faults->step, &error);
        run->disk->armed = false;
        if (done && run->disk->fired > fired &&
            !is_lived_with(run, run->disk->fired - fired,
                           run->disk->spare_reads - reads)) {
            fault_fail(faults, "success is reported");
        } else if (!done && run->disk->fired == fired) {
            fault_fail(faults, "the retry fails: %s", error->message);
            done = true;
        } else if (!done) {
            fault_expect_error(faults, error);
            fault_expect_unchanged(faults, &before);
            fault_expect_image(faults, &before.world, &faults->after,
                               count == 1);
        }
        g_free(before.text);
    }
    if (run->disk->fired == count) {
        fault_expect_done(faults);
    }
    return run->disk->fired;
}

/*
 * The failed call is not repeated, and another write succeeds.  The failed one
 * does not take effect, though it may have landed.
 */
static void give_up(Faults *faults, const Fault *fault)
{
    Run *run = faults->run;
    g_autoptr(GError) error = NULL;
    BlobStoreStatus info;
    BlobInfo other = { 0 };
    Blob *blob;

    snprintf(faults->id, sizeof(faults->id), "%s/%u.%u-", faults->name,
             fault->call, fault->variant);
    run_restart(run, faults->start);
    g_free(run_all_but_last(run, faults->script));
    fault_disk_plan(run->disk, fault, 1);
    run->disk->armed = true;
    run_step(run, faults->step, NULL);
    run->disk->armed = false;
    if (!run->store) {
        return;
    }
    blob_store_get_status(run->store, &info);
    blob = blob_store_find(run->store, "dev", "c");
    if (blob) {
        blob_get_info(blob, &other);
    }
    if (!info.started || !other.registered) {
        return;
    }
    run->last_version += 100;
    /* S10: writing has to wait for the end of the conversion. */
    if (run->store->voucher && !run_step(run, "start", &error)) {
        fault_fail(faults, "starting again fails: %s", error->message);
        return;
    }
    if (!run_step(run, "write:c", &error)) {
        fault_fail(faults, "another write fails: %s", error->message);
        return;
    }
    fault_expect_world(faults, run->store, "the running store", &run->world,
                       &run->world);
    fault_expect_image(faults, &run->world, &run->world, false);
}

static void inject_one(Faults *faults, const Fault *fault)
{
    snprintf(faults->id, sizeof(faults->id), "%s/%u.%u", faults->name,
             fault->call, fault->variant);
    faults->singles += inject(faults, fault, 1);
}

/* Returns whether the second fault has happened. */
static bool inject_two(Faults *faults, const Fault plan[2])
{
    bool both;

    snprintf(faults->id, sizeof(faults->id), "%s/%u.%u+%u.%u", faults->name,
             plan[0].call, plan[0].variant, plan[1].call, plan[1].variant);
    both = inject(faults, plan, 2) == 2;
    faults->pairs += both;
    return both;
}

/*
 * Each call fails alone, in each way in which it can fail.  Then it fails with
 * each call that follows, those of the retry included (in a sealed store, and
 * in a conversion, with a quarter of them), in as many of the ways in which
 * both can fail as @effort says.
 */
static void inject_all(Faults *faults, unsigned effort)
{
    bool thinned = effort == 1 &&
                   (faults->converts || faults->after_keys.data_key);

    for (unsigned i = 0; i < faults->step_calls; i++) {
        unsigned ways = 1;
        bool more = true;

        for (unsigned v = 0; v < ways; v++) {
            inject_one(faults, &(Fault) { i, v });
            ways = faults->run->disk->variants[0];
            give_up(faults, &(Fault) { i, v });
        }
        for (unsigned j = 0; more; j++) {
            unsigned combinations = 1;

            if (thinned && (i + j) % 4) {
                continue;       /* There are many, and much alike. */
            }
            for (unsigned n = 0; n < MIN(effort, combinations); n++) {
                Fault plan[] = { { i, (i + j + n) % ways },
                                 { j, i + j + n / ways } };

                more = inject_two(faults, plan);
                if (!more) {
                    break;
                }
                plan[1].variant %= faults->run->disk->variants[1];
                combinations = ways * faults->run->disk->variants[1];
            }
        }
    }
}

/* The medium ends at @limit while the last step is taken. */
static void inject_short(Faults *faults, uint64_t limit)
{
    Run *run = faults->run;
    Before before;
    g_autoptr(GError) error = NULL;
    bool done;

    snprintf(faults->id, sizeof(faults->id), "%s/short.%" PRIu64,
             faults->name, limit);
    run_restart(run, faults->start);
    g_free(run_all_but_last(run, faults->script));
    fault_remember(faults, &before);
    run->disk->limit = limit;
    faults->shorts++;
    done = run_step(run, faults->step, &error);
    if (done) {
        fault_expect_short_success(faults, limit);
        run->disk->limit = FAULT_UNLIMITED;
        fault_expect_image(faults, &faults->after, &faults->after, true);
    } else {
        fault_expect_short_error(faults, error, limit);
        run->disk->limit = FAULT_UNLIMITED;
        fault_expect_unchanged(faults, &before);
        fault_expect_image(faults, &before.world, &faults->after, true);
        g_clear_error(&error);
        if (!run_step(run, faults->step, &error)) {
            fault_fail(faults, "the retry fails: %s", error->message);
        } else {
            fault_expect_done(faults);
        }
    }
    g_free(before.text);
}

static void inject_shorts(Faults *faults)
{
    uint64_t bytes = test_disk_length(faults->start->disk->disk);
    uint64_t unit = test_effort() > 1 ? TEST_SECTOR_BYTES
                                      : BLOB_BLOCK_BYTES;

    for (uint64_t limit = 0; limit < bytes; limit += unit) {
        inject_short(faults, limit);
    }
}

/* Returns the keys that open the current medium. */
static KeyState look(const Run *run)
{
    g_autoptr(GError) error = NULL;
    KeyState keys;

    if (!keyring_look(run->disk->disk->storage, &keys, &error)) {
        g_error("%s", error->message);
    }
    return keys;
}

/* Makes the medium, and takes the last step once without a fault. */
static void prepare(Faults *faults, const char *script)
{
    const char *bar = strchr(script, '|');
    g_autofree char *made = g_strndup(script, bar - script);
    g_autofree char *made_all = g_strconcat(made, " crash", NULL);
    g_autoptr(GError) error = NULL;
    Run *run = faults->run;
    BlobStoreLabel label;

    faults->start = run_new();
    faults->script = bar + 1;
    if (*made) {
        g_free(run_all_but_last(faults->start, made_all));
    }
    g_clear_pointer(&faults->start->store, blob_store_free);
    if (!blob_store_read_label(faults->start->disk->storage, &label, NULL)) {
        g_error("%s: cannot be read", faults->name);
    }
    faults->blank = label.blank;
    run_restart(run, faults->start);
    faults->step = run_all_but_last(run, faults->script);
    faults->before_keys = look(run);
    faults->converts = g_str_has_prefix(faults->step, "convert") ||
                       (faults->before_keys.target &&
                        !strcmp(faults->step, "start"));
    faults->before_keys = key_state_completed(&faults->before_keys);
    run->disk->armed = true;
    fault_disk_plan(run->disk, &(Fault) { UINT32_MAX, 0 }, 1);
    if (!run_step(run, faults->step, &error)) {
        g_error("%s: %s", faults->name, error->message);
    }
    run->disk->armed = false;
    faults->step_calls = run->disk->calls;
    faults->after_keys = look(run);
    faults->after_keys = key_state_completed(&faults->after_keys);
    fault_note_outcome(faults);
    snprintf(faults->id, sizeof(faults->id), "%s/no fault", faults->name);
    fault_expect_done(faults);
}

static void clean_up(Faults *faults)
{
    run_free(faults->start);
    g_free(faults->step);
    g_free(faults->outcome);
    g_free(faults->findings);
}

/* Replays the faults that follow the name in an id. */
static void replay(Faults *faults, const char *id)
{
    Fault plan[2];
    uint64_t limit;

    if (sscanf(id, "/%u.%u+%u.%u", &plan[0].call, &plan[0].variant,
               &plan[1].call, &plan[1].variant) == 4) {
        inject_two(faults, plan);
    } else if (sscanf(id, "/%u.%u", &plan[0].call, &plan[0].variant) == 2) {
        if (g_str_has_suffix(id, "-")) {
            give_up(faults, plan);
        } else {
            inject_one(faults, plan);
        }
    } else if (sscanf(id, "/short.%" SCNu64, &limit) == 1) {
        inject_short(faults, limit);
    }
}

static void run_case(Faults *faults, const char *script, const char *id)
{
    prepare(faults, script);
    if (id) {
        replay(faults, id);
    } else {
        inject_all(faults, test_effort());
        inject_shorts(faults);
    }
    clean_up(faults);
}

int main(int argc, char **argv)
{
    g_autofree char *id = NULL;
    const GOptionEntry entries[] = {
        { "id", 0, 0, G_OPTION_ARG_STRING, &id,
          "replays one failure; a case alone names all of its own", "ID" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    Faults faults = { 0 };
    unsigned count = 0;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    faults.run = run_new();
    faults.copy = run_new();
    for (size_t i = 0; i < fault_case_count; i++) {
        size_t length = id ? strcspn(id, "/") : strlen(fault_cases[i].name);

        faults.name = fault_cases[i].name;
        if (!id || (length == strlen(faults.name) &&
                    !strncmp(id, faults.name, length))) {
            const char *rest = id ? strchr(id, '/') : NULL;

            run_case(&faults, fault_cases[i].script, rest);
            count++;
        }
    }
    run_free(faults.run);
    run_free(faults.copy);
    printf("%u operations, all calls: %" PRIu64 " single faults in every "
           "way, %" PRIu64 " pairs in %u of at most 36 ways each, %" PRIu64
           " short media\n", count, faults.singles, faults.pairs,
           test_effort(), faults.shorts);
    printf("%s: %" PRIu64 " broken promises\n",
           faults.failures || !count ? "FAILED" : "passed",
           faults.failures);
    return faults.failures || !count ? 1 : 0;
}
