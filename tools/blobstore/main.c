/*
 * qemu-blobstore: works on blob stores in images that no VM uses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "crypto/init.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qemu-version.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/qemu-progress.h"
#include "qemu/sockets.h"
#include "qom/object_interfaces.h"
#include "tool.h"

/* The arguments and results of the coroutine */
typedef struct Run {
    Tool *tool;
    GError *error;
    bool ok;
    bool done;
} Run;

static void coroutine_fn run_entry(void *opaque)
{
    Run *run = opaque;

    run->ok = run->tool->command->run(run->tool, &run->error);
    run->done = true;
    aio_wait_kick();
}

static ToolExit run_command(Tool *tool)
{
    Run run = { .tool = tool };
    ToolExit status;

    aio_co_enter(qemu_get_aio_context(),
                 qemu_coroutine_create(run_entry, &run));
    AIO_WAIT_WHILE(NULL, !run.done);
    if (run.ok) {
        return tool->status;
    }
    status = tool_exit_of(run.error);
    error_report("%s: %s", tool->image.name ?: tool->command->name,
                 run.error->message);
    g_error_free(run.error);
    return status;
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

/* Whether the command line asks for nothing but text about the program */
static bool print_about(const Tool *tool)
{
    if (tool->help) {
        tool_print_help(tool->command, tool->group);
    } else if (tool->version) {
        printf("qemu-blobstore version " QEMU_FULL_VERSION "\n");
    } else if (tool->man) {
        tool_print_man();
    } else if (tool->completion) {
        tool_print_completion();
    } else {
        return false;
    }
    return true;
}

/* In the order of the command line, because one may refer to another */
static void make_objects(Tool *tool)
{
    tool->objects = g_slist_reverse(tool->objects);
    for (GSList *at = tool->objects; at; at = at->next) {
        user_creatable_process_cmdline(at->data);
    }
}

int main(int argc, char **argv)
{
    Tool tool = {
        .key_slot = BLOB_KEY_SLOT_ANY,
        .slot = BLOB_KEY_SLOT_ANY,
        .key.iter_time = BLOB_KEY_KDF_MILLISECONDS,
        .new_key.iter_time = BLOB_KEY_KDF_MILLISECONDS,
        .new_key_type = -1,
        .kind = -1,
    };
    ToolExit status;

    init(argv[0]);
    if (!tool_parse(argc, argv, &tool)) {
        return TOOL_EXIT_USAGE;
    }
    if (print_about(&tool)) {
        return flush_output(TOOL_EXIT_OK);
    }
    make_objects(&tool);
    qemu_progress_init(tool.progress, 1.0);
    status = run_command(&tool);
    qemu_progress_end();
    bdrv_close_all();
    return flush_output(status);
}
