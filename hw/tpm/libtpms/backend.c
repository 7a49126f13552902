/*
 * TPM backend "libtpms": a TPM inside QEMU, its state in a blob store
 *
 * A TPM opens its store when it is made, which changes nothing on the medium.
 * When the machine is complete the TPM reads its blobs and is powered on,
 * which also checks that libtpms accepts the state.  Only then is a blank
 * medium formatted, so that a mistake on the command line leaves it blank.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "hw/qdev-core.h"
#include "system/system.h"
#include <libtpms/tpm_library.h>
#include "qapi/error.h"
#include "libtpms.h"
#include "hw/tpm/libtpms/engine/trace.h"

/* What libtpms and the front ends can do at most; they set less at reset. */
#define TPM_BUFFER_BYTES 4096

static const struct {
    const char *name;
    TPMVersion version;
} tpm_versions[] = {
    { "1.2", TPM_VERSION_1_2 },
    { "2.0", TPM_VERSION_2_0 },
    { "2", TPM_VERSION_2_0 },
};

static bool parse_version(const char *name, TPMVersion *version, Error **errp)
{
    ERRP_GUARD();
    for (int i = 0; i < ARRAY_SIZE(tpm_versions); i++) {
        if (g_str_equal(name, tpm_versions[i].name)) {
            *version = tpm_versions[i].version;
            return true;
        }
    }
    error_setg(errp, "there is no TPM of version '%s'", name);
    error_append_hint(errp, "The versions of TPMs are 1.2 and 2.0.\n");
    return false;
}

static bool save(void *opaque, Error **errp)
{
    /* A debugger can start a command in a VM that is stopped. */
    tpm_backend_finish_sync(opaque);
    return tpm_engine_save(&TPM_LIBTPMS(opaque)->engine, errp);
}

static bool load(void *opaque, Error **errp)
{
    TPMLibtpms *tpm = opaque;

    tpm_backend_finish_sync(opaque);
    tpm->has_arrived = runstate_check(RUN_STATE_INMIGRATE);
    return tpm_engine_resume(&tpm->engine, errp);
}

static bool check(void *opaque, Error **errp)
{
    TPMLibtpms *tpm = opaque;

    return tpm_nvram_check_permanent(&tpm->engine.nvram, errp) &&
           tpm_engine_check(&tpm->engine, errp);
}

static bool accepts(void *opaque, const BlobStoreBlob *blob, char **metadata,
                    Error **errp)
{
    TPMLibtpms *tpm = opaque;

    return blob != tpm->blobs.of[TPM_BLOB_PERMANENT] ||
           tpm_nvram_accepts(&tpm->engine.nvram, metadata, errp);
}

static const BlobStoreClientOps client_ops = {
    .check = check,
    .save = save,
    .accepts = accepts,
    .load = load,
};

/* All of it is stored at once, so that there is never half a new TPM. */
static bool make_with_banks(TPMLibtpms *tpm, Error **errp)
{
    bool ok;

    tpm->engine.nvram.making = true;
    ok = tpm_engine_power_on(&tpm->engine, errp) &&
         tpm_banks_allocate(&tpm->engine, tpm->pcr_banks, errp);
    if (ok) {
        /* The banks change with the next power-on and start of the TPM. */
        tpm_shutdown_for_reset(tpm);
        tpm_engine_power_off(&tpm->engine);
        return tpm_nvram_store_made(&tpm->engine.nvram, errp);
    }
    tpm_engine_power_off(&tpm->engine);
    tpm->engine.nvram.making = false;
    g_clear_pointer(&tpm->engine.nvram.made, g_bytes_unref);
    return false;
}

static bool start(TPMLibtpms *tpm, Error **errp)
{
    bool exists;

    if (!tpm_blobs_start(&tpm->blobs, errp)) {
        return false;
    }
    /* The state of an incoming VM arrives later, with the stream. */
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        return true;
    }
    if (tpm->pcr_banks) {
        if (!tpm_nvram_has_permanent(&tpm->engine.nvram, &exists, errp)) {
            return false;
        }
        if (exists) {
            info_report("the TPM in blobstore '%s' exists already and keeps "
                        "the PCR banks that it has; pcr-banks is for a new "
                        "TPM", tpm->engine.nvram.store);
        } else if (!make_with_banks(tpm, errp)) {
            return false;
        }
    }
    return tpm_engine_power_on(&tpm->engine, errp);
}

/* QEMU calls the handlers of VM state changes only if the VM still runs. */
static void on_shutdown(Notifier *notifier, void *data)
{
    TPMLibtpms *tpm = container_of(notifier, TPMLibtpms, on_shutdown);

    if (!runstate_is_live(runstate_get())) {
        tpm_backend_finish_sync(TPM_BACKEND(tpm));
        tpm_shutdown_for_exit(tpm);
    }
}

static void on_machine_complete(Notifier *notifier, void *data)
{
    TPMLibtpms *tpm = container_of(notifier, TPMLibtpms, machine_complete);
    Error *err = NULL;

    notifier_remove(notifier);
    tpm->waiting = false;
    loc_push_restore(&tpm->option);
    if (!start(tpm, &err)) {
        error_report_err(err);
        exit(EXIT_FAILURE);
    }
    loc_pop(&tpm->option);
}

TPMLibtpms *tpm_libtpms_new(const char *store, TPMVersion version,
                            const char *pcr_banks, const char *profile,
                            Error **errp)
{
    g_autoptr(TPMLibtpms) tpm = TPM_LIBTPMS(object_new(TYPE_TPM_LIBTPMS));

    if (pcr_banks && version == TPM_VERSION_1_2) {
        error_setg(errp, "a TPM 1.2 has no choice of PCR banks");
        return NULL;
    }
    if (profile && version == TPM_VERSION_1_2) {
        error_setg(errp, "a TPM 1.2 has no profiles");
        return NULL;
    }
    tpm->engine.nvram.profile = g_strdup(profile);
    if (!tpm_profile_parse(profile, errp) ||
        !tpm_banks_parse(pcr_banks, &tpm->pcr_banks, errp) ||
        !tpm_openssl_open(errp) ||
        !tpm_engine_claim(&tpm->engine, errp) ||
        !tpm_blobs_open(&tpm->blobs, &tpm->engine.nvram, store, version,
                        errp)) {
        return NULL;
    }
    blobstore_set_ops(tpm->blobs.client, &client_ops, tpm);
    /* Notifiers are called in reverse order: this one before the store's. */
    tpm->on_shutdown.notify = on_shutdown;
    qemu_register_shutdown_notifier(&tpm->on_shutdown);
    if (!blobstore_machine_is_complete()) {
        loc_save(&tpm->option);
        tpm->waiting = true;
        blobstore_machine_add_notifier(&tpm->machine_complete);
    } else if (!start(tpm, errp)) {
        return NULL;
    }
    return g_steal_pointer(&tpm);
}

static TPMBackend *tpm_libtpms_create(QemuOpts *opts)
{
    const char *store = qemu_opt_get(opts, "blobstore");
    const char *version_name = qemu_opt_get(opts, "version");
    TPMVersion version = TPM_VERSION_2_0;
    TPMLibtpms *tpm = NULL;
    Error *err = NULL;

    if (!store) {
        error_setg(&err, "parameter 'blobstore' is missing");
        error_append_hint(&err, "Name the -object blobstore or the drive that "
                          "is to keep the state of the TPM.\n");
    } else if (!version_name || parse_version(version_name, &version, &err)) {
        tpm = tpm_libtpms_new(store, version,
                              qemu_opt_get(opts, "pcr-banks"),
                              qemu_opt_get(opts, "profile"), &err);
    }
    if (!tpm) {
        error_report_err(err);
        return NULL;
    }
    return TPM_BACKEND(tpm);
}

static int tpm_libtpms_startup_tpm(TPMBackend *tb, size_t buffer_bytes)
{
    TPMLibtpms *tpm = TPM_LIBTPMS(tb);
    Error *err = NULL;

    if (buffer_bytes) {
        tpm->engine.buffer_bytes = buffer_bytes;
    }
    if (object_dynamic_cast(OBJECT(tb->tpmif), TYPE_DEVICE)) {
        blobstore_set_device(tpm->blobs.client, DEVICE(tb->tpmif));
    }
    if (tpm->waiting || runstate_check(RUN_STATE_INMIGRATE)) {
        return 0;
    }
    tpm_shutdown_for_reset(tpm);
    if (!tpm_engine_power_on(&tpm->engine, &err)) {
        /*
         * A front end would exit() if this returned an error.  Instead the
         * guest gets a TPM that has failed.  The stored state is unchanged.
         */
        error_prepend(&err, "the TPM is out of order until the next reset: ");
        tpm_nvram_report(&tpm->engine.nvram, TPM_FAILED_START, err);
    }
    return 0;
}

static void tpm_libtpms_cancel_cmd(TPMBackend *tb)
{
    trace_tpm_engine_cancel();
    TPMLIB_CancelCommand();
}

static void tpm_libtpms_reset(TPMBackend *tb)
{
    /* The caller waits for a running command, which this shortens. */
    if (tb->cmd) {
        tpm_libtpms_cancel_cmd(tb);
    }
}

static bool tpm_libtpms_get_established_flag(TPMBackend *tb)
{
    return qatomic_read(&TPM_LIBTPMS(tb)->engine.established);
}

static int tpm_libtpms_reset_established_flag(TPMBackend *tb, uint8_t locality)
{
    TPMLibtpms *tpm = TPM_LIBTPMS(tb);

    /* The guest of a TPM 1.2 resets the flag with a command. */
    if (tpm->engine.nvram.version == TPM_VERSION_2_0) {
        tpm_engine_reset_established(&tpm->engine, locality, tb->cmd);
    }
    return 0;
}

static TPMVersion tpm_libtpms_get_version(TPMBackend *tb)
{
    return TPM_LIBTPMS(tb)->engine.nvram.version;
}

static size_t tpm_libtpms_get_buffer_size(TPMBackend *tb)
{
    return TPM_BUFFER_BYTES;
}

static TpmTypeOptions *tpm_libtpms_get_options(TPMBackend *tb)
{
    TPMLibtpms *tpm = TPM_LIBTPMS(tb);
    TpmTypeOptions *options = g_new0(TpmTypeOptions, 1);
    TPMLibtpmsOptions *data = g_new0(TPMLibtpmsOptions, 1);

    data->blobstore = g_strdup(tpm->engine.nvram.store);
    data->version = tpm->engine.nvram.version == TPM_VERSION_1_2
                    ? TPM_LIBTPMS_VERSION_V1_2 : TPM_LIBTPMS_VERSION_V2_0;
    options->type = TPM_TYPE_LIBTPMS;
    options->u.libtpms.data = data;
    return options;
}

/*
 * This runs in a worker thread, without the BQL.  QEMU would report each error,
 * and a guest that goes on to reset the TPM could fill the log.  The front end
 * needs none: there is a response.
 */
static void tpm_libtpms_handle_request(TPMBackend *tb, TPMBackendCmd *cmd,
                                       Error **errp)
{
    TPMLibtpms *tpm = TPM_LIBTPMS(tb);
    Error *err = NULL;

    if (!tpm_execute(tpm, cmd, &err)) {
        tpm_nvram_report(&tpm->engine.nvram, TPM_FAILED_COMMAND, err);
    }
}

/*
 * The TPM of a stopped VM executes no command.  Block devices are drained
 * next, and a command that stored something would wait for the end of the
 * drained section, while savevm waits for the command.
 */
static void tpm_libtpms_vm_state_change(void *opaque, bool running,
                                        RunState state)
{
    TPMLibtpms *tpm = opaque;

    if (running) {
        tpm->has_arrived = false;
        return;
    }
    tpm_backend_finish_sync(opaque);
    if (state == RUN_STATE_SHUTDOWN) {
        /* After this handler the store writes what it has, and closes. */
        tpm_shutdown_for_exit(tpm);
    }
}

static const QemuOptDesc tpm_libtpms_opts[] = {
    {
        .name = "type",
        .type = QEMU_OPT_STRING,
        .help = "Type of TPM backend",
    }, {
        .name = "blobstore",
        .type = QEMU_OPT_STRING,
        .help = "Blob store or drive for the state of the TPM",
    }, {
        .name = "version",
        .type = QEMU_OPT_STRING,
        .help = "Version of the TPM: 1.2 or 2.0 (default: 2.0)",
    }, {
        .name = "pcr-banks",
        .type = QEMU_OPT_STRING,
        .help = "PCR banks of a new TPM, such as sha256:sha384",
    }, {
        .name = "profile",
        .type = QEMU_OPT_STRING,
        .help = "Profile of a new TPM, for libtpms 0.10 or newer",
    },
    { /* end of list */ },
};

static void tpm_libtpms_instance_init(Object *obj)
{
    TPMLibtpms *tpm = TPM_LIBTPMS(obj);

    tpm->machine_complete.notify = on_machine_complete;
    tpm->vm_change =
        qemu_add_vm_change_state_handler(tpm_libtpms_vm_state_change, tpm);
}

static void tpm_libtpms_instance_finalize(Object *obj)
{
    TPMLibtpms *tpm = TPM_LIBTPMS(obj);

    qemu_del_vm_change_state_handler(tpm->vm_change);
    if (tpm->on_shutdown.notify) {
        notifier_remove(&tpm->on_shutdown);
    }
    if (tpm->waiting) {
        notifier_remove(&tpm->machine_complete);
    }
    tpm_engine_power_off(&tpm->engine);
    tpm_engine_release(&tpm->engine);
    tpm_blobs_close(&tpm->blobs, &tpm->engine.nvram);
    if (tpm->front_end) {
        *tpm->front_end = NULL;
        /* It has no reference to the front end: see frontend.c. */
        tpm->parent.tpmif = NULL;
    }
}

static void tpm_libtpms_class_init(ObjectClass *klass, void *data)
{
    TPMBackendClass *tbc = TPM_BACKEND_CLASS(klass);

    tbc->type = TPM_TYPE_LIBTPMS;
    tbc->opts = tpm_libtpms_opts;
    tbc->desc = "TPM emulated by libtpms, its state in a blob store";
    tbc->create = tpm_libtpms_create;
    tbc->startup_tpm = tpm_libtpms_startup_tpm;
    tbc->reset = tpm_libtpms_reset;
    tbc->cancel_cmd = tpm_libtpms_cancel_cmd;
    tbc->get_tpm_established_flag = tpm_libtpms_get_established_flag;
    tbc->reset_tpm_established_flag = tpm_libtpms_reset_established_flag;
    tbc->get_tpm_version = tpm_libtpms_get_version;
    tbc->get_buffer_size = tpm_libtpms_get_buffer_size;
    tbc->get_tpm_options = tpm_libtpms_get_options;
    tbc->handle_request = tpm_libtpms_handle_request;
}

static const TypeInfo tpm_libtpms_info = {
    .name = TYPE_TPM_LIBTPMS,
    .parent = TYPE_TPM_BACKEND,
    .instance_size = sizeof(TPMLibtpms),
    .instance_init = tpm_libtpms_instance_init,
    .instance_finalize = tpm_libtpms_instance_finalize,
    .class_init = tpm_libtpms_class_init,
};

static void tpm_libtpms_register_types(void)
{
    type_register_static(&tpm_libtpms_info);
}

type_init(tpm_libtpms_register_types)
