/*
 * Two processes use one store at a time, on a medium that does not keep the
 * second one away
 *
 * All short histories of what they do are carried out, in any order: a process
 * opens the store, starts it, writes, is killed in a write or before, or is
 * frozen while the other one goes on, and wakes up.  Whoever has started the
 * store last owns it.  Everybody else must fail and change nothing, and what
 * the owner was told is durable must stay.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROCESSES = 2,
    BLOBS = 2,
    MAX_LENGTH = 16,
    MAX_MAYBE = 32,
    DISK_BYTES = 192 << 10,
};

typedef enum Op {
    OP_OPEN,
    OP_START,
    OP_WRITE,                   /* of the first blob */
    OP_WRITE_BOTH,
    OP_CLOSE,
    OP_KILL,                    /* at rest */
    OP_KILL_WRITE,              /* the write is lost */
    OP_KILL_WRITTEN,            /* the write has landed */
    OP_KILL_START,              /* before the first copy of the record */
    OP_KILL_STARTED,            /* the first copy has landed */
    OP_COUNT,
} Op;

static const char names[] = "oswbckxyzt";

typedef struct Process {
    BlobStore *store;           /* NULL: there is no such process */
    Blob *blobs[BLOBS];
    bool started;
    bool may_own;               /* another one may have begun a record */
    unsigned seen;              /* World.changes when it opened the store */
    unsigned seen_maybe;        /* World.changes_maybe */
} Process;

typedef struct World {
    TestDisk *disk;
    Process processes[PROCESSES];
    Process *owner;             /* NULL: it has gone */
    unsigned changes;           /* of the medium */
    unsigned changes_maybe;
    unsigned next;              /* content */
    unsigned acknowledged[BLOBS];
    unsigned maybe[BLOBS][MAX_MAYBE];
    unsigned maybe_count[BLOBS];
    char text[2 * MAX_LENGTH + 1];
} World;

static void G_GNUC_PRINTF(2, 3) fail(const World *world, const char *format,
                                     ...)
{
    va_list args;

    printf("# %s: ", world->text);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    exit(1);
}

static unsigned content_of(const World *world, BlobStore *store, Blob *blob)
{
    g_autoptr(GBytes) content = NULL;
    GError *error = NULL;

    if (!blob_store_read(store, blob, &content, NULL, &error)) {
        fail(world, "cannot read: %s", error->message);
    }
    return content ? *(const unsigned *)g_bytes_get_data(content, NULL) : 0;
}

static bool is_promised(const World *world, unsigned n, unsigned content)
{
    if (content == world->acknowledged[n]) {
        return true;
    }
    for (unsigned i = 0; i < world->maybe_count[n]; i++) {
        if (content == world->maybe[n][i]) {
            return true;
        }
    }
    return false;
}

static void expect_promised(const World *world, BlobStore *store,
                            Blob *const *blobs)
{
    for (unsigned n = 0; n < BLOBS; n++) {
        unsigned content = content_of(world, store, blobs[n]);

        if (!is_promised(world, n, content)) {
            fail(world, "blob %u is %u, but %u was acknowledged", n, content,
                 world->acknowledged[n]);
        }
    }
}

static void register_blobs(BlobStore *store, Blob **blobs)
{
    blobs[0] = test_register(store, "a", 1000);
    blobs[1] = test_register(store, "b", 1000);
}

/* What a third process would find now */
static void look(const World *world)
{
    BlobStoreOptions options = { .read_only = true };
    GError *error = NULL;
    g_autoptr(BlobStore) store = blob_store_open(world->disk->storage,
                                                 &options, &error);
    Blob *blobs[BLOBS];

    if (!store) {
        fail(world, "cannot open: %s", error->message);
    }
    register_blobs(store, blobs);
    expect_promised(world, store, blobs);
}

static void end_process(World *world, Process *process)
{
    g_clear_pointer(&process->store, blob_store_free);
    process->started = false;
    if (world->owner == process) {
        world->owner = NULL;
    }
}

static bool write_blobs(World *world, Process *process, unsigned count,
                        GError **error)
{
    g_autoptr(GBytes) content = g_bytes_new(&world->next,
                                            sizeof(world->next));
    BlobChange changes[BLOBS];

    for (unsigned n = 0; n < count; n++) {
        changes[n] = (BlobChange) { process->blobs[n], content, NULL };
    }
    return blob_store_write(process->store, changes, count, error);
}

/* @process has failed, and must not have changed @before. */
static void expect_taken(const World *world, const uint8_t *before,
                         GError *error)
{
    if (error->code != BLOBSTORE_ERROR_TAKEN) {
        fail(world, "failed otherwise: %s", error->message);
    }
    g_error_free(error);
    if (memcmp(before, test_disk_bytes(world->disk), DISK_BYTES)) {
        fail(world, "has failed and written");
    }
}

static void do_open(World *world, Process *process)
{
    BlobStoreOptions options = { .fence = true };
    GError *error = NULL;

    process->store = blob_store_open(world->disk->storage, &options, &error);
    if (!process->store) {
        fail(world, "cannot open: %s", error->message);
    }
    register_blobs(process->store, process->blobs);
    process->seen = world->changes;
    process->seen_maybe = world->changes_maybe;
    process->may_own = false;
}

/* What the new owner has found is what counts from now on. */
static void become_owner(World *world, Process *process)
{
    expect_promised(world, process->store, process->blobs);
    for (unsigned n = 0; n < BLOBS; n++) {
        world->acknowledged[n] = content_of(world, process->store,
                                            process->blobs[n]);
        world->maybe_count[n] = 0;
    }
    process->started = true;
    world->owner = process;
    world->changes++;
}

static void do_start(World *world, Process *process, const uint8_t *before)
{
    bool is_changed = process->seen != world->changes;
    bool may_be_changed = process->seen_maybe != world->changes_maybe;
    GError *error = NULL;

    if (!blob_store_start(process->store, &error)) {
        if (!is_changed && !may_be_changed) {
            fail(world, "cannot start: %s", error->message);
        }
        expect_taken(world, before, error);
        return;
    }
    if (is_changed) {
        fail(world, "starts what was changed since it was opened");
    }
    become_owner(world, process);
}

static void do_write(World *world, Process *process, unsigned count,
                     const uint8_t *before)
{
    GError *error = NULL;

    if (!write_blobs(world, process, count, &error)) {
        if (world->owner == process && !process->may_own) {
            fail(world, "the owner fails: %s", error->message);
        }
        expect_taken(world, before, error);
        return;
    }
    if (world->owner != process) {
        fail(world, "writes without owning the store");
    }
    for (unsigned n = 0; n < count; n++) {
        world->acknowledged[n] = world->next;
        world->maybe_count[n] = 0;
    }
    world->changes++;
}

static void do_close(World *world, Process *process, const uint8_t *before)
{
    GError *error = NULL;

    if (!blob_store_close_clean(process->store, &error)) {
        if (world->owner == process && !process->may_own) {
            fail(world, "the owner cannot close: %s", error->message);
        }
        expect_taken(world, before, error);
    } else if (world->owner != process) {
        fail(world, "closes without owning the store");
    } else {
        world->changes++;
    }
    end_process(world, process);
}

static void do_kill(World *world, Process *process, Op op)
{
    bool is_start = op == OP_KILL_START || op == OP_KILL_STARTED;
    bool has_owned = world->owner == process;

    world->disk->fail_write = 0;
    world->disk->failing_write_lands = op == OP_KILL_WRITTEN ||
                                       op == OP_KILL_STARTED;
    if (is_start) {
        blob_store_start(process->store, NULL);
    } else if (write_blobs(world, process, 1, NULL)) {
        fail(world, "is not killed");
    }
    world->disk->fail_write = TEST_NEVER;
    world->disk->failing_write_lands = false;
    if (has_owned) {
        world->maybe[0][world->maybe_count[0]++] = world->next;
    }
    if (world->owner && world->owner != process) {
        world->owner->may_own = is_start;
    }
    world->changes_maybe++;
    end_process(world, process);
}

static bool is_possible(const Process *process, Op op)
{
    switch (op) {
    case OP_OPEN:
        return !process->store;
    case OP_START:
    case OP_KILL_START:
    case OP_KILL_STARTED:
        return process->store && !process->started;
    case OP_KILL:
        return process->store;
    default:
        return process->started;
    }
}

static void carry_out(World *world, Process *process, Op op)
{
    g_autofree uint8_t *before = g_memdup2(test_disk_bytes(world->disk),
                                           DISK_BYTES);

    world->next++;
    switch (op) {
    case OP_OPEN:
        do_open(world, process);
        break;
    case OP_START:
        do_start(world, process, before);
        break;
    case OP_WRITE:
    case OP_WRITE_BOTH:
        do_write(world, process, op == OP_WRITE ? 1 : 2, before);
        break;
    case OP_CLOSE:
        do_close(world, process, before);
        break;
    case OP_KILL:
        end_process(world, process);
        break;
    default:
        do_kill(world, process, op);
    }
    look(world);
}

static void world_begin(World *world, const TestDisk *original)
{
    *world = (World) {
        .disk = test_disk_clone(original),
    };
}

static void world_end(World *world)
{
    for (unsigned i = 0; i < PROCESSES; i++) {
        end_process(world, &world->processes[i]);
    }
    test_disk_free(world->disk);
}

/*
 * Carries out @number, an operation of a process, as step @at of the history.
 * Returns false if it is not possible.
 */
static bool step(World *world, unsigned at, unsigned number)
{
    Process *process = &world->processes[number / OP_COUNT];
    Op op = number % OP_COUNT;

    if (!is_possible(process, op)) {
        return false;
    }
    world->text[2 * at] = 'A' + number / OP_COUNT;
    world->text[2 * at + 1] = names[op];
    carry_out(world, process, op);
    return true;
}

/*
 * Carries out the history @numbers; each number is an operation of a process.
 * Returns how many of them are possible.
 */
static unsigned run(const TestDisk *original, const unsigned *numbers,
                    unsigned length)
{
    World world;
    unsigned done = 0;

    world_begin(&world, original);
    while (done < length && step(&world, done, numbers[done])) {
        done++;
    }
    world_end(&world);
    return done;
}

/* All histories of @length operations, of which the first is A's */
static unsigned long explore(const TestDisk *original, unsigned length)
{
    unsigned numbers[MAX_LENGTH] = { 0 };
    unsigned long count = 0;

    while (numbers[0] < OP_COUNT) {
        unsigned done = run(original, numbers, length);
        unsigned at = done < length ? done : length - 1;

        count += done == length;
        /* Those that begin alike fail alike. */
        while (++numbers[at] == PROCESSES * OP_COUNT && at) {
            numbers[at--] = 0;
        }
        for (unsigned i = at + 1; i < length; i++) {
            numbers[i] = 0;
        }
    }
    return count;
}

static void draw(const TestDisk *original, GRand *random)
{
    World world;

    world_begin(&world, original);
    for (unsigned i = 0; i < MAX_LENGTH; ) {
        i += step(&world, i,
                  g_rand_int_range(random, 0, PROCESSES * OP_COUNT));
    }
    world_end(&world);
}

int main(int argc, char **argv)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobStore *store = test_store(disk, NULL, BLOBS);
    unsigned length = argc > 1 ? atoi(argv[1]) : 6;
    g_autoptr(GRand) random = test_random();
    unsigned drawn = 300 * test_effort();
    unsigned long count;

    test_close(store);
    blob_store_free(store);
    count = explore(disk, length);
    for (unsigned i = 0; i < drawn; i++) {
        draw(disk, random);
    }
    printf("1..1\n# %lu histories of %u operations, %u of %d\n"
           "ok 1 /owners/whoever_started_last_owns_the_store\n", count, length,
           drawn, MAX_LENGTH);
    return 0;
}
