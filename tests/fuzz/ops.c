/*
 * Fuzz target: a sequence of operations, failures and crashes
 *
 * An input is a list of operations of four bytes: a code and three arguments.
 * The store must then hold what it promised.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "blobstore/check.h"
#include "blobstore/convert.h"
#include "life.h"
#include "sealed.h"
#include "blobstore/superblock.h"

enum {
    OP_BYTES = 4,
    MAX_OPS = 24,
    FIRST_BLOCKS = 24,
    OP_SEALED = 0x20,           /* in the first operation: a sealed store */
    OP_KEYS = 0xb4,             /* from here on: keys change */
    OP_ARM = 0xc0,              /* from here on: the next operation fails */
};

typedef struct Op {
    uint8_t what;
    uint8_t a;
    uint8_t b;
    uint8_t c;
} Op;

static size_t content_bytes(uint64_t max_size, uint8_t choice)
{
    return choice < 4 ? choice : choice > 250 ? max_size
                               : max_size * choice / 256;
}

/* Writes the registered blobs in @mask, and deletes those in @deleted. */
static void write_blobs(Life *life, uint8_t mask, uint8_t deleted,
                        uint8_t choice)
{
    FuzzWorld after = life->promise.acknowledged;
    BlobChange changes[FUZZ_BLOBS] = { 0 };
    /* S10: a conversion that was cut short must be completed first. */
    bool refuses = life->store->voucher;
    g_autoptr(GError) error = NULL;
    size_t count = 0;
    int outcome;
    bool ok;

    for (unsigned n = 0; n < FUZZ_BLOBS; n++) {
        BlobChange *change = &changes[count];

        if (!(mask & 1 << n) || !life->blobs[n]) {
            continue;
        }
        change->blob = life->blobs[n];
        change->delete_again = deleted & 0x80;
        after.version[n] = 0;
        if (!(deleted & 1 << n)) {
            after.version[n] = fuzz_promise_new(
                &life->promise, content_bytes(life->max_size[n], choice));
            change->content = fuzz_promise_content(&life->promise,
                                                   after.version[n]);
            change->metadata = (const char *const *)fuzz_promise_metadata(
                after.version[n]);
        }
        count++;
    }
    ok = !count || blob_store_write(life->store, changes, count, &error);
    outcome = fuzz_outcome(ok, &error, FUZZ_CODE(IO) |
                           (refuses ? FUZZ_CODE(READ_ONLY) : 0));
    if (outcome == BLOBSTORE_ERROR_IO) {
        FUZZ_CHECK(life->disk->failed);
        fuzz_promise_failed(&life->promise, &after);
    } else if (outcome == FUZZ_OK && count) {
        /* To delete what is absent changes nothing, and is not refused. */
        FUZZ_CHECK(!refuses || !memcmp(&after, &life->promise.acknowledged,
                                       sizeof(after)));
        fuzz_promise_done(&life->promise, &after);
    }
    for (size_t i = 0; i < count; i++) {
        g_strfreev((char **)changes[i].metadata);
    }
}

static void close_clean(Life *life)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_close_clean(life->store, &error);

    if (fuzz_outcome(ok, &error, FUZZ_CODE(IO)) != FUZZ_OK) {
        FUZZ_CHECK(life->disk->failed);
    }
}

/*
 * Chooses which blobs are registered from now on; a blob that has grown never
 * shrinks.
 */
static void choose_blobs(Life *life, uint8_t mask, uint8_t sizes)
{
    static const uint64_t table[] = { 60, 4608, 4609, 9000 };

    for (unsigned n = 0; n < FUZZ_BLOBS; n++) {
        life->registered[n] = mask & 1 << n;
        life->max_size[n] = MAX(life->max_size[n],
                                table[sizes >> 2 * n & 3]);
    }
    life->options.pack = mask & 0x10;
}

static void restart(Life *life, const Op *op)
{
    if (op->c & 1) {
        close_clean(life);
    }
    if (life_power_is_gone(life)) {
        return;
    }
    life_close(life);
    choose_blobs(life, op->a, op->b);
    life_open_and_start(life);
}

/* Chooses other blobs while the store is open. */
static void change_users(Life *life, const Op *op)
{
    for (unsigned n = 0; n < FUZZ_BLOBS; n++) {
        if (life->blobs[n] && op->c & 1 << n) {
            blob_store_unregister(life->store, life->blobs[n]);
            life->blobs[n] = NULL;
        }
    }
    choose_blobs(life, op->a, op->b);
    for (unsigned n = 0; n < FUZZ_BLOBS; n++) {
        if (life->blobs[n]) {
            /* A registered blob keeps its size. */
            BlobInfo info;

            blob_get_info(life->blobs[n], &info);
            life->registered[n] = true;
            life->max_size[n] = info.max_size;
        }
    }
    life_register(life);
    life_start(life);
}

/* Returns the first byte that no slot of the open store takes. */
static uint64_t used_end(const BlobStore *store)
{
    uint64_t end = store->super.data_offset;

    for (size_t i = 0; i < blob_store_count(store); i++) {
        BlobInfo info;

        blob_get_info(blob_store_nth(store, i), &info);
        if (info.slots) {
            end = MAX(end, info.slot[1].offset + info.slot[1].length);
        }
    }
    return end;
}

static void resize(Life *life, const Op *op)
{
    uint64_t bytes = life->disk->bytes;
    uint64_t end;

    if (op->c & 1) {
        fuzz_disk_resize(life->disk, bytes + op->a % 16 * 1024);
        if (op->c & 2 && life->disk->bytes > bytes) {
            life->disk->data[life->disk->bytes - 1 - op->b] = 0xee;
            fuzz_disk_resize(life->disk, life->disk->bytes);
        }
        return;
    }
    life_close(life);
    FUZZ_CHECK(life_open(life));
    end = used_end(life->store);
    life_close(life);
    fuzz_disk_resize(life->disk, end + op->a % 8 * FUZZ_SECTOR_BYTES);
    life_open_and_start(life);
}

static void note_damage(const BlobFinding *finding, void *opaque)
{
    FUZZ_CHECK(*finding->text);
    FUZZ_CHECK(finding->kind != BLOB_FINDING_DAMAGED_BLOB);
}

/* Another user reads along, and the store checks itself. */
static void look(Life *life)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = NULL;
    FuzzWorld world;
    bool unchanged;
    bool ok;

    life->disk->frozen = true;
    store = life_open_store(life, true, &error);
    if (fuzz_outcome(store, &error, FUZZ_CODE(IO)) == FUZZ_OK) {
        fuzz_promise_read(&life->promise, store, &world);
        if (!fuzz_world_has(&world, FUZZ_UNREAD)) {
            fuzz_promise_check(&life->promise, &world);
        }
    }
    ok = blob_store_check(life->store, note_damage, NULL, &error);
    fuzz_outcome(ok, &error, FUZZ_CODE(IO));
    ok = blob_store_check_unchanged(life->store, &unchanged, &error);
    if (fuzz_outcome(ok, &error, FUZZ_CODE(IO)) == FUZZ_OK) {
        FUZZ_CHECK(unchanged);
    }
    life->disk->frozen = false;
}

/* Another user opens the store for writing, which is noticed. */
static void intrude(Life *life)
{
    g_autoptr(GError) error = NULL;
    BlobStore *ours = g_steal_pointer(&life->store);
    bool unchanged;
    bool ok;

    memset(life->blobs, 0, sizeof(life->blobs));
    life_open_and_start(life);
    ok = blob_store_check_unchanged(ours, &unchanged, &error);
    fuzz_outcome(ok, &error, 0);
    FUZZ_CHECK(!unchanged);
    blob_store_free(ours);
}

/* Returns a byte that blob @n has written, in header, payload or trailer. */
static uint64_t byte_of(const Blob *blob, uint16_t choice)
{
    BlobSlot slot = blob_slot_of(blob, blob->entry.slot);
    uint64_t stored = blob->entry.stored_bytes;
    uint64_t at = choice % (2 * BLOB_HEADER_BYTES + stored);

    if (at >= BLOB_HEADER_BYTES + stored) {
        at += blob_layout_image_bytes(stored) - 2 * BLOB_HEADER_BYTES -
              stored;
    }
    return slot.offset + at;
}

static void flip(FuzzDisk *disk, uint64_t at)
{
    disk->data[at] ^= 0x10;
    disk->durable[at] ^= 0x10;
}

/*
 * Damages the current version of blob @n: it cannot be read, the others can,
 * and at most an older version of it returns.
 */
static void fall_back(Life *life, unsigned n, uint64_t damaged)
{
    FuzzWorld expected = life->promise.acknowledged;
    FuzzWorld world;
    g_autoptr(GError) error = NULL;
    Blob *blob;
    bool ok;

    FUZZ_CHECK(life_open(life));
    fuzz_promise_read(&life->promise, life->store, &world);
    expected.version[n] = FUZZ_DAMAGED;
    FUZZ_CHECK(fuzz_world_is(&world, &expected));
    blob = blob_store_find(life->store, "t", fuzz_blob_name(n));
    ok = blob_store_fall_back(life->store, blob, &error);
    if (fuzz_outcome(ok, &error, FUZZ_CODE(DAMAGED)) != FUZZ_OK) {
        flip(life->disk, damaged);
        return;
    }
    fuzz_promise_read(&life->promise, life->store, &world);
    FUZZ_CHECK(world.version[n] > 0);
    FUZZ_CHECK(world.version[n] < life->promise.acknowledged.version[n]);
    expected.version[n] = world.version[n];
    FUZZ_CHECK(fuzz_world_is(&world, &expected));
    fuzz_promise_done(&life->promise, &world);
}

static void damage(Life *life, const Op *op)
{
    unsigned n = op->a % FUZZ_BLOBS;
    uint64_t at;

    life_disarm(life);
    close_clean(life);
    if (life->promise.acknowledged.version[n]) {
        at = byte_of(blob_store_find(life->store, "t", fuzz_blob_name(n)),
                     op->b | op->c << 8);
        life_close(life);
        flip(life->disk, at);
        fall_back(life, n, at);
    }
    life_close(life);
    life_open_and_start(life);
}

static void refuse_write(Life *life, BlobChange *changes, size_t count,
                         unsigned code)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_write(life->store, changes, count, &error);

    FUZZ_CHECK(fuzz_outcome(ok, &error, code) != FUZZ_OK);
}

static void refuse_registration(Life *life, const char *name, BlobKind kind,
                                uint64_t max_size, unsigned code)
{
    g_autoptr(GError) error = NULL;
    Blob *blob = blob_store_register(life->store, "t", name, kind, max_size,
                                     &error);

    FUZZ_CHECK(fuzz_outcome(blob, &error, code) != FUZZ_OK);
}

/*
 * An operation that breaks a documented limit is refused and changes nothing.
 */
static void misuse(Life *life, const Op *op)
{
    static const char *const no_metadata[] = { "novalue", NULL };
    unsigned n = op->a % FUZZ_BLOBS;
    g_autoptr(GBytes) large = NULL;
    BlobChange changes[2] = { { life->blobs[n] }, { life->blobs[n] } };

    refuse_write(life, changes, 0, FUZZ_CODE(INVALID));
    refuse_registration(life, "no name", 1, 1, FUZZ_CODE(INVALID));
    refuse_registration(life, "new", 1, 0, FUZZ_CODE(INVALID));
    refuse_registration(life, "new", 1, BLOB_MAX_SIZE_BYTES + 1,
                        FUZZ_CODE(INVALID));
    if (!life->blobs[n]) {
        if (blob_store_find(life->store, "t", fuzz_blob_name(n))) {
            refuse_registration(life, fuzz_blob_name(n), n ? 1 : 2,
                                BLOB_MAX_SIZE_BYTES, FUZZ_CODE(KIND));
        }
        return;
    }
    large = g_bytes_new_take(g_malloc0(life->max_size[n] + 1),
                             life->max_size[n] + 1);
    refuse_registration(life, fuzz_blob_name(n), n ? 2 : 1, life->max_size[n],
                        FUZZ_CODE(EXISTS));
    refuse_write(life, changes, 2, FUZZ_CODE(INVALID));
    changes[0].content = large;
    refuse_write(life, changes, 1, FUZZ_CODE(TOO_LARGE));
    g_clear_pointer(&large, g_bytes_unref);
    large = g_bytes_new_static("x", 1);
    changes[0].content = large;
    changes[0].metadata = no_metadata;
    refuse_write(life, changes, 1, FUZZ_CODE(INVALID));
}

/*
 * Adds another secret to key slot 1, or removes it; one secret is always left.
 */
static void change_key_slots(Life *life)
{
    g_autoptr(GError) error = NULL;
    BlobKeySlots slots;
    BlobKeySlots other;
    BlobKeySlot slot;
    bool ok;

    blob_store_get_key_slots(life->store, &slots);
    fuzz_key_slots(&other, 1);
    if (blob_key_slots_get(&slots, 1, &slot) &&
        slot.type == BLOB_KEY_SLOT_UNUSED) {
        memcpy(slots.bytes[1], other.bytes[0], BLOB_KEY_SLOT_BYTES);
    } else {
        memset(slots.bytes[1], 0, BLOB_KEY_SLOT_BYTES);
    }
    ok = blob_store_set_key_slots(life->store, life->store->key, &slots,
                                  &error);
    if (fuzz_outcome(ok, &error, FUZZ_CODE(IO) | FUZZ_CODE(KEY) |
                     FUZZ_CODE(READ_ONLY)) == BLOBSTORE_ERROR_IO) {
        FUZZ_CHECK(life->disk->failed);
    }
}

/* The content stays, whatever fails on the way. */
static void convert(Life *life, bool unseal)
{
    g_autoptr(GError) error = NULL;
    bool is_first = !life->store->key ||
                    blob_key_equal(life->store->key, fuzz_key(2));
    unsigned n = is_first ? 1 : 2;
    BlobKeySlots slots;
    bool ok;

    fuzz_key_slots(&slots, n);
    ok = blob_store_convert(life->store, unseal ? NULL : fuzz_key(n), &slots,
                            &error);
    if (fuzz_outcome(ok, &error, FUZZ_CODE(IO) | FUZZ_CODE(KEY) |
                     FUZZ_CODE(READ_ONLY)) == BLOBSTORE_ERROR_IO) {
        FUZZ_CHECK(life->disk->failed);
    }
}

static void change_keys(Life *life, const Op *op)
{
    if (op->a % 4 == 0) {
        change_key_slots(life);
    } else {
        convert(life, op->a % 4 == 1);
    }
}

/* Makes the next operation fail, or the power fail during it. */
static void arm(Life *life, const Op *op)
{
    life->disk->fail_read = op->c & 4 ? op->a % 32 : 0;
    life->disk->fail_write = op->c & 4 ? 0 : op->a % 16;
    life->disk->cut = op->c & 1 && life->disk->fail_write;
    life->crash = op->b % FUZZ_CRASH_COUNT;
}

/* Does everything but a change of keys. */
static void do_plain_op(Life *life, const Op *op)
{
    switch (op->what % 12) {
    case 0:
    case 1:
        write_blobs(life, 1 << op->a % FUZZ_BLOBS, 0, op->b);
        break;
    case 2:
        write_blobs(life, op->a, op->c, op->b);
        break;
    case 3:
        write_blobs(life, 1 << op->a % FUZZ_BLOBS, op->c | 0x0f, 0);
        break;
    case 4:
        restart(life, op);
        break;
    case 5:
        change_users(life, op);
        break;
    case 6:
        life->crash = op->b % FUZZ_CRASH_COUNT;
        life_crash(life);
        break;
    case 7:
        life_disarm(life);
        resize(life, op);
        break;
    case 8:
        look(life);
        break;
    case 9:
        life_disarm(life);
        intrude(life);
        break;
    case 10:
        damage(life, op);
        break;
    default:
        misuse(life, op);
    }
}

static void do_op(Life *life, const Op *op)
{
    if (op->what >= OP_KEYS) {
        change_keys(life, op);
    } else {
        do_plain_op(life, op);
    }
    if (life->store && life_power_is_gone(life)) {
        life_crash(life);
    }
    if (!life->over) {
        life_disarm(life);
        life_check(life);
    }
}

static void run_ops(Life *life, const uint8_t *data, size_t bytes)
{
    size_t count = MIN(bytes / OP_BYTES, MAX_OPS);
    Op op;

    for (size_t i = 0; i < count && !life->over; i++) {
        memcpy(&op, data + i * OP_BYTES, sizeof(op));
        if (op.what >= OP_ARM) {
            arm(life, &op);
        } else if (life->store) {
            do_op(life, &op);
        } else {
            choose_blobs(life, op.a, op.b);
            life->options.directory_blobs = 1 + op.c % 32;
            life->disk->knows_zero = op.c < 0xe0;
            life->sealed = op.what & OP_SEALED;
            fuzz_key_slots(&life->key_slots, 1);
            life_open_and_start(life);
        }
    }
    if (life->store && !life->over) {
        life_disarm(life);
        life->crash = FUZZ_CRASH_SOME;
        life_crash(life);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    Life life = { .disk = fuzz_disk_new(FIRST_BLOCKS * BLOB_BLOCK_BYTES) };

    G_STATIC_ASSERT(sizeof(Op) == OP_BYTES);
    fuzz_begin(data, bytes);
    blob_digest_random(&life.disk->random, sizeof(life.disk->random), NULL);
    fuzz_disk_track(life.disk);
    fuzz_promise_init(&life.promise);
    run_ops(&life, data, bytes);
    life_close(&life);
    fuzz_promise_clear(&life.promise);
    fuzz_disk_free(life.disk);
    return 0;
}
