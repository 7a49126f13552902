/*
 * Harm to a store: damage, another user, wrong arguments
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "harm.h"

#include <string.h>
#include "blobstore/check.h"

static void note_damage(const BlobFinding *finding, void *opaque)
{
    FUZZ_CHECK(*finding->text);
    FUZZ_CHECK(finding->kind != BLOB_FINDING_DAMAGED_BLOB);
}

void harm_look(Life *life)
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

void harm_intrude(Life *life)
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

void harm_damage(Life *life, unsigned n, uint16_t choice)
{
    uint64_t at;

    life_disarm(life);
    life_close_clean(life);
    if (life->promise.acknowledged.version[n]) {
        at = byte_of(blob_store_find(life->store, "t", fuzz_blob_name(n)),
                     choice);
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

void harm_misuse(Life *life, unsigned n)
{
    static const char *const no_metadata[] = { "novalue", NULL };
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
