/*
 * A storage whose calls a test sees first
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hooked.h"

enum {
    SECTOR_BYTES = 512,
    ALIGNMENT_BYTES = 4096,     /* of buffers */
};

typedef struct HookedStorage {
    BlobStorage parent;
    BlobStorageOps ops;
    BlobStorage *below;
    const Hooks *hooks;
    void *opaque;
} HookedStorage;

static bool pass(BlobStorage *below, const HookedCall *call, GError **error)
{
    switch (call->kind) {
    case HOOKED_LENGTH:
        return below->ops->length(below, call->length, error);
    case HOOKED_READ:
        return below->ops->read(below, call->offset, call->buf, call->bytes,
                                error);
    case HOOKED_WRITE:
        return below->ops->write(below, call->offset, call->data, call->bytes,
                                 call->durable, error);
    case HOOKED_GIVE_BACK:
        return true;
    default:
        return below->ops->flush(below, error);
    }
}

static bool make(BlobStorage *storage, const HookedCall *call, GError **error)
{
    HookedStorage *hooked = (HookedStorage *)storage;
    const Hooks *hooks = hooked->hooks;
    HookedVerdict verdict = HOOKED_PASS;

    if (hooks->before) {
        verdict = hooks->before(hooked->opaque, call, error);
    }
    if (verdict != HOOKED_PASS) {
        return verdict == HOOKED_DONE;
    }
    if (!pass(hooked->below, call, error)) {
        return false;
    }
    if (hooks->after) {
        hooks->after(hooked->opaque, call);
    }
    return true;
}

static bool hooked_length(BlobStorage *storage, uint64_t *bytes,
                          GError **error)
{
    HookedCall call = { .kind = HOOKED_LENGTH, .length = bytes };

    return make(storage, &call, error);
}

static bool hooked_read(BlobStorage *storage, uint64_t offset, void *buf,
                        size_t bytes, GError **error)
{
    HookedCall call = {
        .kind = HOOKED_READ,
        .offset = offset,
        .bytes = bytes,
        .buf = buf,
    };

    return make(storage, &call, error);
}

static bool hooked_write(BlobStorage *storage, uint64_t offset,
                         const void *buf, size_t bytes, bool durable,
                         GError **error)
{
    HookedCall call = {
        .kind = HOOKED_WRITE,
        .durable = durable,
        .offset = offset,
        .bytes = bytes,
        .data = buf,
    };

    return make(storage, &call, error);
}

static bool hooked_flush(BlobStorage *storage, GError **error)
{
    HookedCall call = { .kind = HOOKED_FLUSH };

    return make(storage, &call, error);
}

static bool hooked_give_back(BlobStorage *storage, uint64_t offset,
                             uint64_t bytes, GError **error)
{
    HookedCall call = {
        .kind = HOOKED_GIVE_BACK,
        .offset = offset,
        .bytes = bytes,
    };

    return make(storage, &call, error);
}

static uint64_t hooked_known_zero(BlobStorage *storage, uint64_t offset,
                                  uint64_t bytes)
{
    HookedStorage *hooked = (HookedStorage *)storage;

    return hooked->hooks->known_zero(hooked->opaque, offset, bytes);
}

static bool hooked_drop_cache(BlobStorage *storage, GError **error)
{
    HookedStorage *hooked = (HookedStorage *)storage;

    return hooked->hooks->drop_cache(hooked->opaque, error);
}

static void hooked_free(BlobStorage *storage)
{
    g_free(storage);
}

BlobStorage *hooked_storage_new(BlobStorage *below, const Hooks *hooks,
                                void *opaque)
{
    HookedStorage *hooked = g_new0(HookedStorage, 1);

    hooked->ops = (BlobStorageOps) {
        .length = hooked_length,
        .read = hooked_read,
        .write = hooked_write,
        .flush = hooked_flush,
        .known_zero = hooks->known_zero ? hooked_known_zero : NULL,
        .drop_cache = hooks->drop_cache ? hooked_drop_cache : NULL,
        .give_back = hooked_give_back,
        .free = hooked_free,
    };
    hooked->parent.ops = &hooked->ops;
    hooked->below = below;
    hooked->hooks = hooks;
    hooked->opaque = opaque;
    return &hooked->parent;
}

void hooked_check(const HookedCall *call, uint64_t medium_bytes)
{
    const void *buf = call->kind == HOOKED_READ ? call->buf : call->data;
    bool ragged = medium_bytes % SECTOR_BYTES;

    if (call->kind == HOOKED_LENGTH || call->kind == HOOKED_FLUSH) {
        return;
    }
    g_assert_cmpuint(call->offset, <=, medium_bytes);
    g_assert_cmpuint(call->bytes, <=, medium_bytes - call->offset);
    g_assert_cmpuint(call->offset % SECTOR_BYTES, ==, 0);
    g_assert_true(ragged || call->bytes % SECTOR_BYTES == 0);
    g_assert_cmpuint((uintptr_t)buf % ALIGNMENT_BYTES, ==, 0);
}
