/*
 * TPM backend "libtpms": the properties blobstore= and drive= of the front ends
 *
 * A property names a store, or a drive for one.  When the front end is
 * realized it gets a TPM of its own, with its state in that store, and needs no
 * -tpmdev: -device tpm-tis,blobstore=nvram.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/qdev-properties.h"
#include "libtpms.h"
#include "../tpm_prop.h"

static void get_blobstore(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    char **store = object_field_prop_ptr(obj, opaque);
    g_autofree char *shown = g_strdup(*store ?: "");

    visit_type_str(v, name, &shown, errp);
}

static void set_blobstore(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    char **store = object_field_prop_ptr(obj, opaque);
    char *given;

    if (visit_type_str(v, name, &given, errp)) {
        g_free(*store);
        *store = given;
    }
}

/* Takes back what tpm_libtpms_realize() has given to the front end. */
static void remove_tpm(TPMIf *tpmif)
{
    TPMLibtpms *tpm = tpm_libtpms_owner();

    if (tpm && tpm->front_end && TPM_BACKEND(tpm)->tpmif == tpmif) {
        tpm_backend_reset(TPM_BACKEND(tpm));
        QLIST_REMOVE(TPM_BACKEND(tpm), list);
        object_unref(OBJECT(tpm));
    }
}

static void release_blobstore(Object *obj, const char *name, void *opaque)
{
    char **store = object_field_prop_ptr(obj, opaque);

    remove_tpm(TPM_IF(obj));
    g_clear_pointer(store, g_free);
}

const PropertyInfo qdev_prop_tpm_blobstore = {
    .type = "str",
    .description = "blob store or drive for the state of a TPM 2.0 "
                   "emulated by libtpms",
    .get = get_blobstore,
    .set = set_blobstore,
    .release = release_blobstore,
};

/* What libvirt and users give to other devices that have a drive */
static const struct {
    const char *name;
    const char *reason;
} refused[] = {
    { "bootindex", "a guest cannot boot from it" },
    { "rerror", "it is an option of the -drive, or of -object blobstore" },
    { "share-rw", "one VM can use it" },
    { "werror", "it is an option of the -drive, or of -object blobstore" },
    { "write-cache", "each write is durable" },
};

static void refuse(Object *obj, Visitor *v, const char *name, void *opaque,
                   Error **errp)
{
    ERRP_GUARD();

    for (int i = 0; i < ARRAY_SIZE(refused); i++) {
        if (g_str_equal(name, refused[i].name)) {
            error_setg(errp, "a TPM has no '%s': %s", name, refused[i].reason);
            error_append_hint(errp, "Leave out %s=.\n", name);
            return;
        }
    }
    g_assert_not_reached();
}

const PropertyInfo qdev_prop_tpm_refused = {
    .type = "str",
    .description = "not for a TPM",
    .set = refuse,
};

static bool check_no_tpmdev(const char *store, Error **errp)
{
    ERRP_GUARD();
    TPMBackend *other = qemu_first_tpm_be();
    TPMLibtpms *owner = tpm_libtpms_owner();

    /* The engine refuses a second front end that has a store. */
    if (!other || (owner && owner->front_end)) {
        return true;
    }
    error_setg(errp, "-tpmdev %s makes a TPM, and so does blobstore=%s of the "
               "device; a VM can have one TPM", other->id, store);
    error_append_hint(errp, "Give the device either tpmdev=%s, or "
                      "blobstore=%s and no -tpmdev.\n", other->id, store);
    return false;
}

bool tpm_libtpms_realize(TPMIf *tpmif, TPMBackend **backend,
                         const char *store, const char *drive,
                         const char *pcr_banks, Error **errp)
{
    g_autoptr(TPMLibtpms) tpm = NULL;
    const char *id;

    if (store && drive) {
        error_setg(errp, "blobstore= and drive= say the same; give the device "
                   "one of them");
        return false;
    }
    store = store ?: drive;
    if (!store) {
        if (pcr_banks) {
            error_setg(errp, "pcr-banks is for a device with blobstore= or "
                       "drive=");
            return false;
        }
        return true;
    }
    /* The front end has one if it could not be realized the last time. */
    remove_tpm(tpmif);
    if (!check_no_tpmdev(store, errp)) {
        return false;
    }
    tpm = tpm_libtpms_new(store, TPM_VERSION_2_0, pcr_banks, NULL, errp);
    if (!tpm || tpm_backend_init(TPM_BACKEND(tpm), tpmif, errp) < 0) {
        return false;
    }

    /*
     * The front end owns the TPM.  If the TPM had a reference to the front
     * end, neither would ever go away.
     */
    tpm->front_end = backend;
    object_unref(OBJECT(tpmif));

    id = object_dynamic_cast(OBJECT(tpmif), TYPE_DEVICE) ? DEVICE(tpmif)->id
                                                         : NULL;
    TPM_BACKEND(tpm)->id = g_strdup(id ?: "tpm0");
    qemu_add_tpm_be(TPM_BACKEND(tpm));
    *backend = TPM_BACKEND(g_steal_pointer(&tpm));
    return true;
}
