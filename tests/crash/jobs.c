/*
 * Power failures while a store is copied, repaired or resized
 *
 * Each job is done once on a simulated disk.  Then the power fails before it
 * and after each of its writes and flushes, and leaves any of the sectors that
 * were not durable.  The store has to be as it was before the job, or as it is
 * after it; a copy that is not whole is no store.  What is as before takes the
 * job again, and what is as after it goes on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>
#include "blobstore/check.h"
#include "blobstore/copy.h"
#include "keyring.h"
#include "mix.h"
#include "outage.h"

enum {
    BLOBS = 3,
    DISK_BYTES = 48 * 4096,
    ROOM_BLOBS = 4,
    DEEP_EVERY = 8,             /* of so many states one is gone on with */
    SAMPLES = 64,
};

typedef struct Job Job;

/* Does the job on the store of @disk; @source is that of a copy. */
typedef bool Work(const Job *job, SimDisk *disk, BlobStorage *source,
                  GError **error);

struct Job {
    const char *name;
    Work *work;
    unsigned from;              /* data key of the store; 0: it is plain */
    unsigned to;                /* the same of a copy */
    bool closed;                /* it was closed cleanly */
    const char *damaged;        /* slots of the blob a: "n"ewer, "o"lder */
    uint64_t bytes;             /* what is left of the disk, or 0 */
    bool copies;
    bool is_new;                /* the copy is another store */
};

typedef struct Run {
    const Job *job;
    SimDisk *disk;              /* states are made on it */
    BlobStorage *source;
    GArray *log;                /* what the job did */
    char *before;
    char *after;
    GHashTable *seen;           /* images, by hash */
    unsigned befores;
    unsigned afters;
    unsigned failures;
} Run;

static BlobStore *open_on(BlobStorage *storage, GError **error)
{
    BlobStoreOptions options = { .directory_blobs = ROOM_BLOBS };

    return keyring_open(storage, &options, 0, error);
}

static void describe_blob(BlobStore *store, const char *name, GString *text)
{
    Blob *blob = blob_store_find(store, "t", name);
    g_autoptr(GError) error = NULL;
    g_autofree char *content = blob ? test_read(store, blob, &error) : NULL;

    g_string_append_printf(text, " %s=%s", name,
                           error ? "damaged" : content ?: "-");
}

/* KEY: of a superblock that was cut short, key slots may be missing. */
static bool is_no_store(const GError *error)
{
    return g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT) ||
           g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN) ||
           g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY);
}

/* What somebody who opens the store finds, in one line */
static char *describe(BlobStorage *storage)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = open_on(storage, &error);
    GString *text = g_string_new(NULL);
    BlobStoreStatus status;

    if (!store) {
        g_string_assign(text, is_no_store(error) ? "none" : error->message);
        return g_string_free(text, FALSE);
    }
    blob_store_get_status(store, &status);
    if (status.blank) {
        g_string_assign(text, "none");
        return g_string_free(text, FALSE);
    }
    for (unsigned i = 0; i < BLOB_UUID_BYTES; i++) {
        g_string_append_printf(text, "%02x", status.uuid[i]);
    }
    g_string_append_printf(text, " %u slots, %" G_GUINT64_FORMAT " bytes",
                           status.key_slots, status.capacity);
    for (char name[] = "a"; *name < 'a' + BLOBS; name[0]++) {
        describe_blob(store, name, text);
    }
    return g_string_free(text, FALSE);
}

/* Makes a store with two versions of a, one of b, and a deleted c. */
static SimDisk *make_store(const Job *job)
{
    SimDisk *disk = sim_disk_new(NULL, DISK_BYTES);
    BlobStoreOptions options = { .directory_blobs = ROOM_BLOBS };
    g_autoptr(BlobStore) store = keyring_open(disk->storage, &options,
                                              job->from, NULL);
    Blob *blobs[BLOBS];

    test_start_with(store, blobs, BLOBS);
    test_write2(store, blobs[0], "old a", blobs[1], "b");
    test_write(store, blobs[2], "c");
    test_write(store, blobs[0], "new a");
    test_write(store, blobs[2], NULL);
    if (job->closed) {
        test_close(store);
    }
    for (const char *at = job->damaged; at && *at; at++) {
        BlobSlot slot = blob_slot_of(blobs[0], blobs[0]->entry.slot ^
                                               (*at == 'o'));

        disk->data[slot.offset + BLOB_HEADER_BYTES] ^= 1;
    }
    return disk;
}

static bool work_fall_back(const Job *job, SimDisk *disk, BlobStorage *source,
                           GError **error)
{
    g_autoptr(BlobStore) store = open_on(disk->storage, error);
    Blob *blob = store ? blob_store_find(store, "t", "a") : NULL;

    if (!store) {
        return false;
    }
    g_free(test_read(store, blob, NULL));       /* finds the damage */
    return blob_store_fall_back(store, blob, error) &&
           blob_store_close_clean(store, error);
}

static bool work_give_up(const Job *job, SimDisk *disk, BlobStorage *source,
                         GError **error)
{
    g_autoptr(BlobStore) store = open_on(disk->storage, error);
    Blob *blob = store ? blob_store_find(store, "t", "a") : NULL;

    if (!store) {
        return false;
    }
    g_free(test_read(store, blob, NULL));
    return blob_store_give_up(store, blob, error) &&
           blob_store_close_clean(store, error);
}

static bool work_resize(const Job *job, SimDisk *disk, BlobStorage *source,
                        GError **error)
{
    g_autoptr(BlobStore) store = open_on(disk->storage, error);

    return store && blob_store_start(store, error) &&
           blob_store_resize(store, job->bytes, error) &&
           blob_store_close_clean(store, error);
}

static bool make_copy_key(const uint8_t *uuid, void *opaque, BlobKey **key,
                          BlobKeySlots *slots, GError **error)
{
    const Job *job = opaque;
    KeyState keys = { .data_key = job->to };
    unsigned secret = 0;

    if (job->to) {
        keyring_change(slots, uuid, &keys, &secret);
        keyring_change(slots, uuid, &keys, &secret);
        *key = blob_key_ref(keyring_key(job->to));
    }
    return true;
}

static bool work_copy(const Job *job, SimDisk *disk, BlobStorage *storage,
                      GError **error)
{
    g_autoptr(BlobStore) source = open_on(storage, error);
    BlobStoreOptions options = {
        .uuid = job->is_new ? NULL : source->super.uuid,
        .create_as_uuid = !job->is_new,
        .fence = true,
        .make = make_copy_key,
        .opaque = (void *)job,
    };
    g_autoptr(BlobStore) target = NULL;

    if (job->from && job->to == job->from) {
        options.key = source->key;
        options.key_slots = &source->super.key_slots;
    }
    target = blob_store_open(disk->storage, &options, error);
    return target && blob_store_copy(source, target, error);
}

static const Job jobs[] = {
    { "fall back", work_fall_back, .closed = true, .damaged = "n" },
    { "fall back, not closed", work_fall_back, .damaged = "n" },
    { "fall back, sealed", work_fall_back, 1, .damaged = "n" },
    { "give up", work_give_up, .closed = true, .damaged = "no" },
    { "give up, not closed", work_give_up, .damaged = "no" },
    { "give up, sealed", work_give_up, 1, .closed = true, .damaged = "no" },
    { "shrink", work_resize, .closed = true, .bytes = 40 * 4096 },
    { "shrink, sealed", work_resize, 1, .bytes = 40 * 4096 },
    { "copy", work_copy, .closed = true, .copies = true },
    { "copy, sealed", work_copy, 1, 1, .closed = true, .copies = true },
    { "copy and seal", work_copy, 0, 2, .copies = true },
    { "copy and unseal", work_copy, 1, 0, .copies = true },
    { "copy and rekey", work_copy, 1, 2, .copies = true },
    { "clone", work_copy, .copies = true, .is_new = true },
    { "clone, sealed", work_copy, 1, 2, .copies = true, .is_new = true },
};

static void G_GNUC_PRINTF(3, 4) fail(Run *run, const StateName *state,
                                     const char *format, ...)
{
    char name[OUTAGE_NAME_BYTES];
    va_list args;

    if (run->failures++ < 5) {
        state_name_print(state, name);
        printf("# %s, %s: ", run->job->name, name);
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        printf("\n");
    }
}

/* The job is done again, after a crash that has undone all of it. */
static void check_again(Run *run, const StateName *state)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *found = NULL;

    if (!run->job->work(run->job, run->disk, run->source, &error)) {
        fail(run, state, "cannot be done again: %s", error->message);
        return;
    }
    found = describe(run->disk->storage);
    if (strcmp(found, run->after)) {
        fail(run, state, "when done again: %s", found);
    }
}

/* The store is used, by somebody who also has room for a blob of his own. */
static void check_use(Run *run, const StateName *state)
{
    g_autoptr(GError) error = NULL;
    BlobStore *store = open_on(run->disk->storage, &error);
    Blob *blobs[BLOBS];

    test_start_with(store, blobs, BLOBS);
    test_write2(store, blobs[0], "used a", blobs[2], "used c");
    test_write(store, blobs[1], "used b");
    for (unsigned closed = 0; closed < 2; closed++) {
        g_autofree char *found = NULL;

        blob_store_free(store);
        found = describe(run->disk->storage);
        if (!strstr(found, " a=used a b=used b c=used c")) {
            fail(run, state, "when used: %s", found);
        }
        store = open_on(run->disk->storage, &error);
        test_start(store);
        test_close(store);
    }
    blob_store_free(store);
}

/* The disk holds what a power failure has left. */
static void check_state(Run *run, const StateName *state)
{
    g_autofree char *found = NULL;
    uint64_t hash = run->disk->hash;
    bool is_after;
    GArray *events;

    if (!g_hash_table_add(run->seen, (gpointer)(uintptr_t)hash)) {
        return;
    }
    found = describe(run->disk->storage);
    is_after = !strcmp(found, run->after);
    run->afters += is_after;
    run->befores += !is_after;
    if (!is_after && strcmp(found, run->before)) {
        fail(run, state, "%s", found);
        return;
    }
    if (hash % DEEP_EVERY) {
        return;
    }
    events = sim_disk_take_events(run->disk);
    if (is_after) {
        check_use(run, state);
    } else if (!run->job->copies) {
        check_again(run, state);        /* a copy wants a blank medium */
    }
    sim_disk_put_events(run->disk, events);
}

static void visit(Run *run, const Outage *outage, char kind, unsigned numbers,
                  unsigned hows)
{
    for (unsigned i = 0; i < numbers * hows; i++) {
        unsigned mark = sim_disk_mark(run->disk);
        StateName state = { kind, i / hows, i % hows };

        if (outage_apply(outage, &state)) {
            check_state(run, &state);
        }
        sim_disk_undo(run->disk, mark);
    }
}

static void visit_cut(Run *run, unsigned events)
{
    unsigned mark = sim_disk_mark(run->disk);
    Outage outage;

    outage_prepare(&outage, run->disk, run->log, events);
    visit(run, &outage, 's', outage_masks(&outage, 's'), 1);
    visit(run, &outage, 'c', outage_masks(&outage, 'c'), 1);
    visit(run, &outage, 'p', outage.count + 1, 1);
    visit(run, &outage, 'm', outage.count, OUTAGE_MISSING_HOWS);
    visit(run, &outage, 'g', outage.count, OUTAGE_GARBLED_HOWS);
    visit(run, &outage, 'r', SAMPLES, 1);
    sim_disk_undo(run->disk, mark);
}

/* Does the job once, and leaves run->disk as it was before. */
static void do_once(Run *run)
{
    g_autoptr(GError) error = NULL;
    unsigned mark = sim_disk_mark(run->disk);
    unsigned cuts;

    run->before = describe(run->disk->storage);
    if (!run->job->work(run->job, run->disk, run->source, &error)) {
        g_error("%s: %s", run->job->name, error->message);
    }
    run->after = describe(run->disk->storage);
    run->log = sim_disk_take_events(run->disk);
    sim_disk_undo(run->disk, mark);
    cuts = run->log->len;
    for (unsigned events = 0; events <= cuts; events++) {
        visit_cut(run, events);
    }
}

static void explore(gconstpointer data)
{
    const Job *job = data;
    SimDisk *store = make_store(job);
    Run run = {
        .job = job,
        .disk = job->copies ? sim_disk_new(NULL, DISK_BYTES) : store,
        .source = store->storage,
        .seen = g_hash_table_new(NULL, NULL),
    };
    g_autofree uint8_t *source = g_memdup2(store->data, DISK_BYTES);

    sim_disk_begin(run.disk);
    sim_disk_keep(run.disk);
    do_once(&run);
    printf("# %s: %u states as before (%s), %u as after (%s)\n", job->name,
           run.befores, run.before, run.afters, run.after);
    g_assert_cmpuint(run.failures, ==, 0);
    g_assert_cmpstr(run.before, !=, run.after);
    g_assert_cmpuint(run.befores, >, 10);
    g_assert_cmpuint(run.afters, >, 10);
    if (job->copies) {
        g_assert_cmpmem(source, DISK_BYTES, store->data, DISK_BYTES);
        sim_disk_free(run.disk);
    }
    sim_disk_free(store);
    g_array_unref(run.log);
    g_free(run.before);
    g_free(run.after);
    g_hash_table_unref(run.seen);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(jobs); i++) {
        g_autofree char *name = g_strdup_printf("/jobs/%s", jobs[i].name);

        g_test_add_data_func(name, &jobs[i], explore);
    }
    return g_test_run();
}
