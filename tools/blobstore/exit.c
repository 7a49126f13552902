/*
 * qemu-blobstore: errors, and what the program exits with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "tool.h"

/* Errors of this domain have the exit status as their code. */
#define TOOL_ERROR g_quark_from_static_string("blobstore-tool-error-quark")

static const char *const meanings[TOOL_EXIT__MAX] = {
    [TOOL_EXIT_OK] = "It is done, and nothing is wrong.",
    [TOOL_EXIT_ERROR] = "It failed for another reason than those below.",
    [TOOL_EXIT_USAGE] = "The command line is wrong.",
    [TOOL_EXIT_DAMAGED] = "Content is lost or damaged.",
    [TOOL_EXIT_HEALS] = "Something is wrong, but no content is lost: the "
                        "next use of the store repairs it, and key-remove "
                        "empties a damaged key slot.",
    [TOOL_EXIT_NO_STORE] = "There is no store in the image.",
    [TOOL_EXIT_KEY] = "The key is missing or wrong.",
    [TOOL_EXIT_NO_BLOB] = "There is no such blob.",
    [TOOL_EXIT_IN_USE] = "The image is in use, or was not closed.",
};

const char *tool_exit_meaning(ToolExit status)
{
    return meanings[status];
}

static ToolExit exit_of_core(BlobStoreError code)
{
    switch (code) {
    case BLOBSTORE_ERROR_DAMAGED:
    case BLOBSTORE_ERROR_CORRUPT:
    case BLOBSTORE_ERROR_STALE:
    case BLOBSTORE_ERROR_TAMPERED:
    case BLOBSTORE_ERROR_ROLLED_BACK:
        return TOOL_EXIT_DAMAGED;
    case BLOBSTORE_ERROR_BLANK:
    case BLOBSTORE_ERROR_FOREIGN:
        return TOOL_EXIT_NO_STORE;
    case BLOBSTORE_ERROR_KEY:
    case BLOBSTORE_ERROR_TOKEN:
        return TOOL_EXIT_KEY;
    case BLOBSTORE_ERROR_TAKEN:
        return TOOL_EXIT_IN_USE;
    default:
        return TOOL_EXIT_ERROR;
    }
}

ToolExit tool_exit_of(const GError *error)
{
    if (error->domain == TOOL_ERROR) {
        return error->code;
    }
    return error->domain == BLOBSTORE_ERROR ? exit_of_core(error->code)
                                            : TOOL_EXIT_ERROR;
}

bool tool_fail(GError **error, ToolExit status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(error, g_error_new_valist(TOOL_ERROR, status, format,
                                                args));
    va_end(args);
    return false;
}

bool tool_fail_err(GError **error, ToolExit status, Error *err)
{
    tool_fail(error, status, "%s", error_get_pretty(err));
    error_free(err);
    return false;
}

ToolExit tool_usage(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_vreport(format, args);
    va_end(args);
    error_printf("Try: qemu-blobstore --help\n");
    return TOOL_EXIT_USAGE;
}
