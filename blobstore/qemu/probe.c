/*
 * Blobstore in QEMU: whether a VM that is migrated in can use its medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/uuid.h"
#include "glue.h"
#include "trace.h"

/* Whether the VM will be able to use @core, which is open for reading */
static bool check_probed(BlobStoreObject *store, BlobStore *core,
                         uint64_t length, Error **errp)
{
    GError *error = NULL;
    g_autoptr(GArray) twins = blobstore_core_register_all(store, core, &error);

    if (!twins) {
        blobstore_report_propagate(store, error, errp);
        return false;
    }
    if (blob_store_required_bytes(core) > length) {
        error_setg(errp, "drive '%s' is too small: %" PRIu64 " bytes are "
                   "needed, it has %" PRIu64, store->drive,
                   blob_store_required_bytes(core), length);
        return false;
    }
    return true;
}

/* Whether that can be the medium of the store that is migrated in */
static bool check_label(BlobStoreObject *store, const BlobStoreLabel *label,
                        Error **errp)
{
    QemuUUID found;

    if (label->blank) {
        return true;
    }
    memcpy(found.data, label->uuid, sizeof(found.data));
    if (!qemu_uuid_is_equal(&found, store->open.uuid)) {
        g_autofree char *found_text = qemu_uuid_unparse_strdup(&found);
        g_autofree char *wanted_text =
            qemu_uuid_unparse_strdup(store->open.uuid);

        error_setg(errp, "drive '%s' holds the store with uuid %s, but the "
                   "source has the one with uuid %s: is this the right "
                   "image?", store->drive, found_text, wanted_text);
        return false;
    }
    if (label->sealed != !!store->open.keys.key) {
        error_setg(errp, "drive '%s' holds a store that is %sencrypted, but "
                   "at the source it is%s: is this the right image?",
                   store->drive, label->sealed ? "" : "not ",
                   label->sealed ? " not" : "");
        return false;
    }
    if (store->open.keys.key &&
        !blob_store_label_fits(label, store->open.keys.key)) {
        error_setg(errp, "drive '%s' is encrypted with another data key than "
                   "at the source: is it a copy from before a rekey?",
                   store->drive);
        return false;
    }
    return true;
}

/* The source still writes to the image: read as a mix it proves nothing. */
static bool coroutine_fn probe(BlobStoreObject *store, Error **errp)
{
    BlobStoreOptions options = { .read_only = true, .key = store->open.keys.key,
                                 .key_slots = &store->open.keys.slots };
    int64_t length = blk_co_getlength(store->open.medium.blk);
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) core = NULL;
    BlobStoreLabel label;

    if (!blob_store_read_label(&store->open.medium.parent, &label, &error)) {
        trace_blobstore_probe(store->id, error->message);
        return true;
    }
    if (!check_label(store, &label, errp)) {
        return false;
    }
    core = blob_store_open(&store->open.medium.parent, &options, &error);
    trace_blobstore_probe(store->id, core ? "" : error->message);
    return !core || length < 0 || check_probed(store, core, length, errp);
}

static bool coroutine_fn call_probe(BlobStoreObject *store, void *opaque,
                                    Error **errp)
{
    bool ok;

    if (!blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    ok = probe(store, errp);
    blobstore_gate_leave(store);
    return ok;
}

bool blobstore_probe_medium(BlobStoreObject *store, Error **errp)
{
    return blobstore_call_core(store, call_probe, NULL, errp);
}
