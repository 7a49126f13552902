/*
 * TPM backend "libtpms": the messages of libtpms
 *
 * Libtpms writes messages to a file descriptor, by default to stderr.  A guest
 * can cause messages, so they become trace events: libtpms writes to a pipe,
 * which is emptied after each call.  Messages that do not fit into the pipe
 * are lost.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include <libtpms/tpm_library.h>
#include "qapi/error.h"
#include "engine.h"
#include "trace.h"

static int log_pipe[2] = { -1, -1 };

bool tpm_log_open(Error **errp)
{
    g_autoptr(GError) error = NULL;

    if (!g_unix_open_pipe(log_pipe, FD_CLOEXEC, &error) ||
        !g_unix_set_fd_nonblocking(log_pipe[0], true, &error) ||
        !g_unix_set_fd_nonblocking(log_pipe[1], true, &error)) {
        error_setg(errp, "cannot make a pipe for the messages of libtpms: %s",
                   error->message);
        tpm_log_close();
        return false;
    }
    TPMLIB_SetDebugFD(log_pipe[1]);
    return true;
}

void tpm_log_close(void)
{
    TPMLIB_SetDebugFD(-1);
    for (int i = 0; i < ARRAY_SIZE(log_pipe); i++) {
        if (log_pipe[i] >= 0) {
            close(log_pipe[i]);
            log_pipe[i] = -1;
        }
    }
}

char *tpm_log_take(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) lines = NULL;
    char buf[512];
    ssize_t n;

    while ((n = RETRY_ON_EINTR(read(log_pipe[0], buf, sizeof(buf)))) > 0) {
        g_string_append_len(text, buf, n);
    }
    if (!text->len) {
        return NULL;
    }

    lines = g_strsplit(g_strchomp(text->str), "\n", 0);
    for (char **line = lines; *line; line++) {
        trace_tpm_log_line(*line);
    }
    return g_strdup(lines[0]);
}
