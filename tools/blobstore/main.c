/*
 * qemu-blobstore: inspects blob stores in images, and changes their keys
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "crypto/init.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qemu/config-file.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qemu/qemu-progress.h"
#include "qemu/sockets.h"
#include "tool.h"

static QemuOptsList image_options = {
    .name = "source",
    .implied_opt_name = "file",
    .head = QTAILQ_HEAD_INITIALIZER(image_options.head),
    .desc = { { } },
};

static BlockBackend *open_image(const ToolImage *image, bool writable)
{
    int flags = BDRV_O_NO_SHARE | (writable ? BDRV_O_RDWR : 0);
    QDict *opts;
    Error *err = NULL;
    BlockBackend *blk;

    if (image->is_options) {
        QemuOpts *parsed = qemu_opts_parse_noisily(&image_options,
                                                   image->name, true);

        if (!parsed) {
            return NULL;
        }
        opts = qemu_opts_to_qdict(parsed, NULL);
    } else {
        opts = qdict_new();
        if (image->format) {
            qdict_put_str(opts, "driver", image->format);
        }
    }
    if (image->force_share) {
        flags &= ~BDRV_O_NO_SHARE;
        qdict_put_bool(opts, BDRV_OPT_FORCE_SHARE, true);
    }
    blk = blk_new_open(image->is_options ? NULL : image->name, NULL, opts,
                       flags, &err);
    if (!blk) {
        error_reportf_err(err, "%s: ", image->name);
    }
    return blk;
}

/* The arguments and results of the coroutine */
typedef struct Run {
    Tool *tool;
    const ToolEntry *command;
    const char *image_name;
    GError *error;
    int status;
    bool done;
} Run;

/* The tool keeps the key, too, because new key slots have to hold it. */
static bool coroutine_fn unlock(const BlobStoreLabel *label, void *opaque,
                                BlobKey **key, GError **error)
{
    Tool *tool = opaque;
    g_auto(BlobStoreCredential) credential = { 0 };

    if (!tool_names_key(&tool->key)) {
        return true;            /* The core says that a key is needed. */
    }
    if (!blobstore_credential_load(&tool->key, &credential, error)) {
        return false;
    }
    credential.core.slot = tool->key_slot;
    *key = blob_key_slots_unlock(&label->key_slots, label->uuid,
                                 &credential.core, error);
    if (*key) {
        tool->data_key = blob_key_ref(*key);
    }
    return *key;
}

static bool coroutine_fn open_store(Tool *tool, const ToolEntry *command,
                                    const char *image_name, GError **error)
{
    BlobStorage *storage = &tool->medium.parent;
    BlobStoreOptions store_options = {
        .read_only = !(command->options & FOR_WRITING),
        .fence = true,
        .unlock = unlock,
        .opaque = tool,
    };
    BlobStoreStatus info;

    if (!(command->options & FOR_OPENING)) {
        return blob_store_read_label(storage, &tool->label, error);
    }
    blobstore_block_io_note_reads(&tool->medium, image_name);
    tool->store = blob_store_open(storage, &store_options, error);
    blobstore_block_io_note_reads(&tool->medium, NULL);
    if (!tool->store) {
        return false;
    }
    blob_store_get_status(tool->store, &info);
    /* Not every driver keeps the tool away from a VM that runs. */
    if (command->options & FOR_WRITING && !info.clean && !info.blank &&
        !tool->take_over) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                    "store was not closed: a VM uses it, or did not end "
                    "properly; if none uses it, repeat the command with "
                    "--take-over");
        return false;
    }
    memcpy(tool->uuid, info.uuid, sizeof(tool->uuid));
    return true;
}

static void coroutine_fn run_entry(void *opaque)
{
    Run *run = opaque;

    run->status = open_store(run->tool, run->command, run->image_name,
                             &run->error)
                  ? run->command->run(run->tool, &run->error)
                  : TOOL_EXIT_ERROR;
    run->done = true;
    aio_wait_kick();
}

static void print_warnings(const Tool *tool)
{
    const char *const *warnings = tool->store
                                  ? blob_store_warnings(tool->store) : NULL;

    for (; warnings && *warnings; warnings++) {
        warn_report("%s", *warnings);
    }
}

static int run_command(Tool *tool, const ToolEntry *command,
                       const ToolImage *image)
{
    Run run = {
        .tool = tool,
        .command = command,
        .image_name = image->name,
    };

    aio_co_enter(qemu_get_aio_context(),
                 qemu_coroutine_create(run_entry, &run));
    AIO_WAIT_WHILE(NULL, !run.done);
    print_warnings(tool);
    if (run.error) {
        error_report("%s: %s", image->name, run.error->message);
        g_error_free(run.error);
    }
    blob_store_free(tool->store);
    blob_key_unref(tool->data_key);
    return run.status;
}

static void init(const char *name)
{
    /* A server that dies is an I/O error, not the end of the tool. */
    signal(SIGPIPE, SIG_IGN);
    socket_init();
    error_init(name);
    module_call_init(MODULE_INIT_TRACE);
    qemu_init_exec_dir(name);
    qemu_init_main_loop(&error_fatal);
    qcrypto_init(&error_fatal);
    module_call_init(MODULE_INIT_QOM);
    bdrv_init();
    qemu_add_opts(&image_options);
}

/* What a full device, or a closed pipe, did not take is an error, too. */
static int flush_output(int status)
{
    if (fflush(stdout) || ferror(stdout)) {
        error_report("cannot write to standard output: %s", strerror(errno));
        return status == TOOL_EXIT_OK ? TOOL_EXIT_ERROR : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    Tool tool = {
        .key_slot = BLOB_KEY_SLOT_ANY,
        .slot = BLOB_KEY_SLOT_ANY,
        .key.iter_time = BLOB_KEY_KDF_MILLISECONDS,
        .new_key.iter_time = BLOB_KEY_KDF_MILLISECONDS,
        .new_key_type = -1,
    };
    ToolImage image = { 0 };
    const ToolEntry *command = argc > 1 ? tool_find_command(argv[1]) : NULL;
    BlockBackend *blk;
    Error *err = NULL;
    int status;

    init(argv[0]);
    if (!command && argc > 1 && argv[1][0] != '-') {
        return tool_usage("there is no command '%s'", argv[1]);
    }
    status = tool_parse_options(argc - !!command, argv + !!command, command,
                                &tool, &image);
    if (status >= 0) {
        return status;
    }
    if (!command) {
        return tool_usage("a command is expected");
    }
    if (!tool_settle_key(&tool.key, -1, &err) ||
        !tool_settle_key(&tool.new_key, tool.new_key_type, &err)) {
        error_report_err(err);
        return TOOL_EXIT_USAGE;
    }
    if (image.force_share && command->options & FOR_WRITING) {
        return tool_usage("--force-share is for commands that only read");
    }
    blk = open_image(&image, command->options & FOR_WRITING);
    if (!blk) {
        return TOOL_EXIT_ERROR;
    }
    blk_set_force_allow_inactivate(blk);
    blk_inc_in_flight(blk);
    blobstore_block_io_init(&tool.medium, blk);
    qemu_progress_init(tool.progress, 1.0);
    status = run_command(&tool, command, &image);
    qemu_progress_end();
    blk_dec_in_flight(blk);
    blk_unref(blk);
    bdrv_close_all();
    return flush_output(status);
}
