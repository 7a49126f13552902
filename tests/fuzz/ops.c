/*
 * Fuzz target: a sequence of operations, failures and crashes
 *
 * An input is a list of operations of four bytes: a code and three arguments.
 * The store must then hold what it promised.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "blobstore/convert.h"
#include "harm.h"
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
        life_close_clean(life);
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
        harm_look(life);
        break;
    case 9:
        life_disarm(life);
        harm_intrude(life);
        break;
    case 10:
        harm_damage(life, op->a % FUZZ_BLOBS, op->b | op->c << 8);
        break;
    default:
        harm_misuse(life, op->a % FUZZ_BLOBS);
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
