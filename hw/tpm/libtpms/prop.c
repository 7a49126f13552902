/*
 * TPM backend "libtpms": the property blobstore= of the front ends
 *
 * It makes a TPM that belongs to the front end, with neither a -tpmdev nor
 * an -object: -device tpm-tis,blobstore=nvram.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/qdev-properties.h"
#include "libtpms.h"
#include "../tpm_prop.h"

/* Ours, or NULL if the front end has no backend or one of tpmdev= */
static TPMLibtpms *own_tpm(TPMBackend *tb)
{
    TPMLibtpms *tpm = tb ?
        (TPMLibtpms *)object_dynamic_cast(OBJECT(tb), TYPE_TPM_LIBTPMS) : NULL;

    return tpm && tpm->front_end ? tpm : NULL;
}

static void get_blobstore(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    TPMBackend **front_end = object_field_prop_ptr(obj, opaque);
    TPMLibtpms *tpm = own_tpm(*front_end);
    g_autofree char *store = g_strdup(tpm ? tpm->nvram.store : "");

    visit_type_str(v, name, &store, errp);
}

static void set_blobstore(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    TPMBackend **front_end = object_field_prop_ptr(obj, opaque);
    g_autoptr(TPMLibtpms) tpm = NULL;
    g_autofree char *store = NULL;
    const char *id;

    if (!visit_type_str(v, name, &store, errp) ||
        !tpm_libtpms_check_config(store, errp)) {
        return;
    }
    tpm = tpm_libtpms_new(store, TPM_VERSION_2_0, errp);
    if (!tpm || tpm_backend_init(TPM_BACKEND(tpm), TPM_IF(obj), errp) < 0) {
        return;
    }

    /*
     * The front end owns the TPM.  With a reference in return, neither
     * would ever go away.
     */
    tpm->front_end = front_end;
    object_unref(obj);

    id = object_dynamic_cast(obj, TYPE_DEVICE) ? DEVICE(obj)->id : NULL;
    TPM_BACKEND(tpm)->id = g_strdup(id ?: "tpm0");
    qemu_add_tpm_be(TPM_BACKEND(tpm));
    *front_end = TPM_BACKEND(g_steal_pointer(&tpm));
}

static void release_blobstore(Object *obj, const char *name, void *opaque)
{
    TPMBackend **front_end = object_field_prop_ptr(obj, opaque);
    TPMLibtpms *tpm = own_tpm(*front_end);

    if (tpm) {
        tpm_backend_reset(TPM_BACKEND(tpm));
        QLIST_REMOVE(TPM_BACKEND(tpm), list);
        object_unref(OBJECT(tpm));
    }
}

const PropertyInfo qdev_prop_tpm_blobstore = {
    .type = "str",
    .description = "blob store or drive for the state of a TPM 2.0 "
                   "emulated by libtpms",
    .get = get_blobstore,
    .set = set_blobstore,
    .release = release_blobstore,
};
