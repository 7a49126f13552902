/*
 * TPM backend "libtpms": mistakes on the command line
 *
 * A VM has one TPM.  Whoever asks for two would hear of it when the second
 * one is made, and by then the first would have been written to its image.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/config-file.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qapi/error.h"
#include "libtpms.h"

typedef struct TPMConfig {
    const char *tpmdev;         /* id */
    const char *device;         /* type of the front end */
    const char *blobstore;      /* of the front end */
} TPMConfig;

static int set_too_many(const char *option, const char *one,
                        const char *another, Error **errp)
{
    error_setg(errp, "a VM can have one TPM, and there are two: "
               "%s %s and %s %s", option, one, option, another);
    error_append_hint(errp, "Remove one of them.\n");
    return -1;
}

static int find_tpmdev(void *opaque, QemuOpts *opts, Error **errp)
{
    TPMConfig *config = opaque;
    const char *id = qemu_opts_id(opts) ?: "";

    if (config->tpmdev) {
        return set_too_many("-tpmdev", config->tpmdev, id, errp);
    }
    config->tpmdev = id;
    return 0;
}

static int find_device(void *opaque, QemuOpts *opts, Error **errp)
{
    TPMConfig *config = opaque;
    const char *driver = qemu_opt_get(opts, "driver");
    ObjectClass *class = driver ? module_object_class_by_name(driver) : NULL;

    if (!class || !object_class_dynamic_cast(class, TYPE_TPM_IF)) {
        return 0;
    }
    if (config->device) {
        return set_too_many("-device", config->device, driver, errp);
    }
    config->device = driver;
    config->blobstore = qemu_opt_get(opts, "blobstore");
    return 0;
}

/* A -device in JSON is not found here: then see tpm_engine_claim(). */
bool tpm_libtpms_check_config(const char *blobstore, Error **errp)
{
    TPMConfig config = { 0 };

    if (qemu_opts_foreach(qemu_find_opts("tpmdev"), find_tpmdev, &config,
                          errp) < 0 ||
        qemu_opts_foreach(qemu_find_opts("device"), find_device, &config,
                          errp) < 0) {
        return false;
    }
    blobstore = blobstore ?: config.blobstore;
    if (config.tpmdev && blobstore) {
        error_setg(errp, "-tpmdev %s makes a TPM, and so does blobstore=%s of "
                   "the device; a VM can have one TPM", config.tpmdev,
                   blobstore);
        error_append_hint(errp, "Give the device either tpmdev=%s, or "
                          "blobstore=%s and no -tpmdev.\n", config.tpmdev,
                          blobstore);
        return false;
    }
    return true;
}
