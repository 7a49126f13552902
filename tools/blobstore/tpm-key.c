/*
 * qemu-blobstore: the key of swtpm's files, as swtpm's option --key names it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/option.h"
#include "tools/blobstore/swtpm/swtpm.h"
#include "tpm.h"

static QemuOptsList key_options = {
    .name = "swtpm-key",
    .head = QTAILQ_HEAD_INITIALIZER(key_options.head),
    .desc = {
        { .name = "file", .type = QEMU_OPT_STRING },
        { .name = "pwdfile", .type = QEMU_OPT_STRING },
        { .name = "mode", .type = QEMU_OPT_STRING },
        { .name = "format", .type = QEMU_OPT_STRING },
        { .name = "kdf", .type = QEMU_OPT_STRING },
        { }
    },
};

static const char *const modes[] = {
    "aes-cbc", "aes-128-cbc", "aes-256-cbc", NULL
};
static const char *const formats[] = { "hex", "binary", NULL };
static const char *const kdfs[] = { "pbkdf2", "sha512", NULL };

/* What @name says, which is one of @words; the first one by default */
static const char *get_word(QemuOpts *opts, const char *name,
                            const char *const *words, GError **error)
{
    const char *word = qemu_opt_get(opts, name) ?: words[0];

    if (!g_strv_contains(words, word)) {
        g_autofree char *known = g_strjoinv(", ", (char **)words);

        tool_fail(error, TOOL_EXIT_USAGE, "--swtpm-key: %s=%s is none of %s",
                  name, word, known);
        return NULL;
    }
    return word;
}

/* Into memory that is not swapped out; @bytes becomes the length. */
static BlobSecret *read_secret(const char *path, size_t *bytes, GError **error)
{
    g_autoptr(BlobSecret) content = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;

    if (fd < 0) {
        tool_fail(error, TOOL_EXIT_KEY, "cannot open %s: %s", path,
                  strerror(errno));
        return NULL;
    }
    content = blob_secret_new(NULL, SWTPM_SECRET_MAX_BYTES + 1, error);
    *bytes = 0;
    while (content && n > 0 && *bytes < content->bytes) {
        n = RETRY_ON_EINTR(read(fd, content->data + *bytes,
                                content->bytes - *bytes));
        *bytes += MAX(n, 0);
    }
    if (n < 0) {
        tool_fail(error, TOOL_EXIT_KEY, "cannot read %s: %s", path,
                  strerror(errno));
    } else if (content && *bytes > SWTPM_SECRET_MAX_BYTES) {
        n = -1;
        tool_fail(error, TOOL_EXIT_KEY, "%s is too long for a key", path);
    }
    close(fd);
    return n < 0 ? NULL : g_steal_pointer(&content);
}

static BlobSecret *load(QemuOpts *opts, GError **error)
{
    const char *file = qemu_opt_get(opts, "file");
    const char *passphrase = qemu_opt_get(opts, "pwdfile");
    const char *mode = get_word(opts, "mode", modes, error);
    const char *format = mode ? get_word(opts, "format", formats, error)
                              : NULL;
    const char *kdf = format ? get_word(opts, "kdf", kdfs, error) : NULL;
    size_t key_bytes = g_strcmp0(mode, "aes-256-cbc") ? 16 : 32;
    g_autoptr(BlobSecret) content = NULL;
    size_t bytes;

    if (!kdf) {
        return NULL;
    }
    if (!file == !passphrase) {
        tool_fail(error, TOOL_EXIT_USAGE, "--swtpm-key takes either file= or "
                  "pwdfile=");
        return NULL;
    }
    content = read_secret(file ?: passphrase, &bytes, error);
    if (!content) {
        return NULL;
    }
    if (passphrase) {
        return swtpm_key_from_passphrase(content->data, bytes,
                                         g_str_equal(kdf, "sha512")
                                         ? SWTPM_KDF_SHA512
                                         : SWTPM_KDF_PBKDF2, key_bytes, error);
    }
    return g_str_equal(format, "hex")
           ? swtpm_key_from_hex(content->data, bytes, key_bytes, error)
           : swtpm_key_from_binary(content->data, bytes, key_bytes, error);
}

BlobSecret *tool_swtpm_key(const char *option, GError **error)
{
    g_autoptr(GError) err = NULL;
    Error *parse_err = NULL;
    QemuOpts *opts = qemu_opts_parse(&key_options, option, false, &parse_err);
    BlobSecret *key;

    if (!opts) {
        tool_fail_err(error, TOOL_EXIT_USAGE, parse_err);
        return NULL;
    }
    key = load(opts, &err);
    qemu_opts_del(opts);
    if (g_error_matches(err, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID)) {
        tool_fail(error, TOOL_EXIT_KEY, "--swtpm-key: %s", err->message);
    } else if (err) {
        g_propagate_error(error, g_steal_pointer(&err));
    }
    return key;
}
