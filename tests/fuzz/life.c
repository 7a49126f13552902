/*
 * A store that is opened, started, and crashes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "life.h"

#include <string.h>
#include "sealed.h"
#include "view.h"

void life_disarm(Life *life)
{
    life->disk->fail_read = 0;
    life->disk->fail_write = 0;
    life->disk->cut = false;
    life->disk->failed = false;
}

bool life_power_is_gone(const Life *life)
{
    return life->disk->cut && life->disk->failed;
}

void life_close(Life *life)
{
    life->disk->store = NULL;
    g_clear_pointer(&life->store, blob_store_free);
    memset(life->blobs, 0, sizeof(life->blobs));
}

void life_close_clean(Life *life)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_close_clean(life->store, &error);

    if (fuzz_outcome(ok, &error, FUZZ_CODE(IO)) != FUZZ_OK) {
        FUZZ_CHECK(life->disk->failed);
    }
}

void life_check(Life *life)
{
    FuzzWorld world;

    fuzz_promise_read(&life->promise, life->store, &world);
    if (!fuzz_world_is(&world, &life->promise.acknowledged)) {
        fuzz_fail("the running store does not hold what was acknowledged");
    }
    fuzz_check_info(life->store);
}

BlobStore *life_open_store(Life *life, bool read_only, GError **error)
{
    BlobStoreOptions options = life->options;
    BlobStorage *storage = life->disk->storage;
    BlobStoreLabel label;

    if (!blob_store_read_label(storage, &label, error)) {
        return NULL;
    }
    options.read_only = read_only;
    fuzz_find_key(&label, &options);
    if (label.blank && life->sealed) {
        options.key = fuzz_key(1);
        options.key_slots = &life->key_slots;
        options.uuid = fuzz_uuid;
        options.create_as_uuid = true;
    }
    return blob_store_open(storage, &options, error);
}

/* A format that was cut short twice may look like something else. */
bool life_open(Life *life)
{
    g_autoptr(GError) error = NULL;
    unsigned codes = life->disk->failed || life->disk->fail_read
                     ? FUZZ_CODE(IO) : 0;
    int code;

    if (!life->formatted) {
        codes |= FUZZ_CODE(FOREIGN) | FUZZ_CODE(CORRUPT);
    }
    life->disk->frozen = true;
    life->store = life_open_store(life, false, &error);
    life->disk->frozen = false;
    code = fuzz_outcome(life->store, &error, codes);
    life->over = code == BLOBSTORE_ERROR_FOREIGN ||
                 code == BLOBSTORE_ERROR_CORRUPT;
    life->disk->store = life->store;
    return life->store;
}

void life_register(Life *life)
{
    for (unsigned n = 0; n < FUZZ_BLOBS; n++) {
        g_autoptr(GError) error = NULL;

        if (life->registered[n] && !life->blobs[n]) {
            life->blobs[n] = blob_store_register(
                life->store, "t", fuzz_blob_name(n),
                n ? BLOB_KIND_SAVESTATE : BLOB_KIND_PERMANENT,
                life->max_size[n], &error);
            fuzz_outcome(life->blobs[n], &error, 0);
        }
    }
}

/* Returns whether the store started; a fault of the medium is repaired. */
static bool start_once(Life *life)
{
    g_autoptr(GError) error = NULL;
    bool may_land = life->disk->pending->len || !life->formatted;
    bool ok = blob_store_start(life->store, &error);
    BlobStoreStatus info;
    uint64_t required;

    switch (fuzz_outcome(ok, &error,
                         FUZZ_CODE(IO) | FUZZ_CODE(TOO_SMALL) |
                         FUZZ_CODE(FOREIGN) |
                         (may_land ? FUZZ_CODE(STALE) : 0))) {
    case FUZZ_OK:
        life->formatted = true;
        return true;
    case BLOBSTORE_ERROR_IO:
        FUZZ_CHECK(life->disk->failed);
        break;
    case BLOBSTORE_ERROR_STALE:
        /* A superblock whose last writes had failed has landed after all. */
        life_disarm(life);
        life_close(life);
        FUZZ_CHECK(life_open(life));
        life_register(life);
        break;
    case BLOBSTORE_ERROR_TOO_SMALL:
        required = blob_store_required_bytes(life->store);
        FUZZ_CHECK(required > life->disk->bytes);
        fuzz_disk_resize(life->disk, required);
        break;
    default:
        /* New space is not blank: see resize(). */
        blob_store_get_status(life->store, &info);
        FUZZ_CHECK(info.capacity < life->disk->bytes);
        memset(life->disk->data + info.capacity, 0,
               life->disk->bytes - info.capacity);
        fuzz_disk_resize(life->disk, life->disk->bytes);
    }
    return false;
}

void life_crash(Life *life)
{
    life_close(life);
    fuzz_disk_crash(life->disk, life->crash);
    life_open_and_start(life);
}

void life_start(Life *life)
{
    for (unsigned tries = 0; !start_once(life); tries++) {
        FUZZ_CHECK(tries < 4);
        if (life_power_is_gone(life)) {
            life_crash(life);
            return;
        }
        if (life->disk->failed) {
            life_disarm(life);
        }
    }
    life_disarm(life);
}

void life_open_and_start(Life *life)
{
    FuzzWorld world;

    if (!life_open(life)) {
        if (life->over) {
            return;
        }
        life_disarm(life);
        FUZZ_CHECK(life_open(life));
    }
    fuzz_promise_read(&life->promise, life->store, &world);
    if (fuzz_world_has(&world, FUZZ_UNREAD)) {
        FUZZ_CHECK(life->disk->failed);
        life_disarm(life);
        fuzz_promise_read(&life->promise, life->store, &world);
    }
    fuzz_promise_check(&life->promise, &world);
    fuzz_check_info(life->store);
    life_register(life);
    life_start(life);
    if (!life->over) {
        fuzz_promise_read(&life->promise, life->store, &world);
        fuzz_promise_check(&life->promise, &world);
        fuzz_promise_done(&life->promise, &world);
        life_check(life);
    }
}
