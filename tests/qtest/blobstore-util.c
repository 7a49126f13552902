/*
 * qtest: images with blob stores in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "blobstore-util.h"

static char *directory;

void blobstore_test_init(int *argc, char ***argv)
{
    module_call_init(MODULE_INIT_QOM);
    g_test_init(argc, argv, NULL);
    directory = g_dir_make_tmp("qemu-blobstore-test.XXXXXX", NULL);
    g_assert_nonnull(directory);
}

int blobstore_test_run(void)
{
    int ret = g_test_run();
    GDir *dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = image_path(name);

        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(directory);
    g_free(directory);
    return ret;
}

/* Images */

char *image_path(const char *name)
{
    return g_build_filename(directory, name, NULL);
}

static char *unused_path(const char *suffix)
{
    static int number;
    g_autofree char *name = g_strdup_printf("%d.%s", number++, suffix);

    return image_path(name);
}

char *image_new_sized(uint64_t bytes)
{
    char *path = unused_path("raw");
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, bytes), ==, 0);
    close(fd);
    return path;
}

char *image_new(const char *format)
{
    char *path;

    if (g_str_equal(format, "raw")) {
        return image_new_sized(4 * MiB);
    }
    path = unused_path(format);
    g_assert_true(mkimg(path, format, 4));
    return path;
}

GBytes *image_read(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *content;
    gsize bytes;

    g_file_get_contents(path, &content, &bytes, &error);
    g_assert_no_error(error);
    return g_bytes_new_take(content, bytes);
}

void image_write(const char *path, uint64_t offset, const void *data,
                 size_t bytes)
{
    int fd = open(path, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, data, bytes, offset), ==, bytes);
    close(fd);
}

void image_fill(const char *path, uint64_t offset, uint8_t byte, size_t bytes)
{
    g_autofree uint8_t *data = g_malloc(bytes);

    memset(data, byte, bytes);
    image_write(path, offset, data, bytes);
}

void image_flip(const char *path, uint64_t offset)
{
    g_autoptr(GBytes) content = image_read(path);
    uint8_t byte = ~((const uint8_t *)g_bytes_get_data(content, NULL))[offset];

    image_write(path, offset, &byte, 1);
}

/* The superblock's checks have no secret: format.md, sections 3.1 and 5.1 */
static void set_format_version(const char *path, uint64_t slot,
                               uint32_t version)
{
    enum { HEADER = 1280, PAYLOAD = 8704, IMAGE = 12288,
           DIGEST = 112, CHECK = 1248 };
    static const uint8_t key[32];
    g_autoptr(GBytes) content = image_read(path);
    g_autofree uint8_t *image =
        g_memdup2((const uint8_t *)g_bytes_get_data(content, NULL) + slot,
                  IMAGE);
    g_autoptr(GChecksum) digest = g_checksum_new(G_CHECKSUM_SHA256);
    g_autoptr(GHmac) check = g_hmac_new(G_CHECKSUM_SHA256, key, sizeof(key));
    gsize length = 32;

    stl_le_p(image + HEADER, version);
    g_checksum_update(digest, image + HEADER, PAYLOAD);
    g_checksum_get_digest(digest, image + DIGEST, &length);
    g_hmac_update(check, image, CHECK);
    g_hmac_get_digest(check, image + CHECK, &length);
    memcpy(image + IMAGE - HEADER, image, HEADER);
    image_write(path, slot, image, IMAGE);
}

void image_set_format_version(const char *path, uint32_t version)
{
    set_format_version(path, 0, version);
    set_format_version(path, 16 * KiB, version);
}

void assert_image_is(const char *path, GBytes *content)
{
    g_autoptr(GBytes) now = image_read(path);

    g_assert_true(g_bytes_equal(now, content));
}

void assert_image_is_not(const char *path, GBytes *content)
{
    g_autoptr(GBytes) now = image_read(path);

    g_assert_false(g_bytes_equal(now, content));
}

/* QEMU */

static int wait_for(GPid pid)
{
    gint64 end = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (g_get_monotonic_time() > end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            g_test_message("QEMU did not exit by itself");
            g_test_fail();
            break;
        }
        g_usleep(10 * 1000);
    }
    return status;
}

char *qemu_fails(const char *args)
{
    g_autofree char *log = unused_path("stderr");
    g_autofree char *command = g_strdup_printf(
        "exec %s -display none -audio none -nodefaults -accel qtest "
        "-qtest null -qtest-log none %s </dev/null >/dev/null 2>%s",
        getenv("QTEST_QEMU_BINARY"), args, log);
    const char *argv[] = { "/bin/sh", "-c", command, NULL };
    g_autoptr(GError) error = NULL;
    char *text;
    GPid pid;
    int status;

    g_test_message("running %s", command);
    g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                  NULL, &pid, &error);
    g_assert_no_error(error);
    status = wait_for(pid);
    g_file_get_contents(log, &text, NULL, &error);
    g_assert_no_error(error);
    g_test_message("QEMU said: %s", text);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    return text;
}

char *qemu_refuses(const char *image, const char *args)
{
    g_auto(GStrv) parts = g_strsplit(args, "%s", 0);
    g_autofree char *all = g_strjoinv(image, parts);
    g_autoptr(GBytes) before = image_read(image);
    char *text = qemu_fails(all);

    assert_image_is(image, before);
    return text;
}

void assert_contains(const char *text, ...)
{
    const char *part;
    va_list parts;

    va_start(parts, text);
    while ((part = va_arg(parts, const char *))) {
        if (!strstr(text, part)) {
            g_error("'%s' is not in: %s", part, text);
        }
    }
    va_end(parts);
}

/* blobstore-info */

QDict *store_info(QTestState *vm)
{
    QDict *response = qtest_qmp(vm, "{ 'execute': 'blobstore-info' }");
    QList *stores = qdict_get_qlist(response, "return");
    QDict *info;

    g_assert_nonnull(stores);
    g_assert_cmpint(qlist_size(stores), ==, 1);
    info = qobject_to(QDict, qlist_peek(stores));
    qobject_ref(info);
    qobject_unref(response);
    return info;
}

QDict *store_blob(QDict *info, const char *name)
{
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "blobs"), entry) {
        QDict *blob = qobject_to(QDict, qlist_entry_obj(entry));

        g_assert_cmpstr(qdict_get_str(blob, "owner"), ==, "tpm");
        if (g_str_equal(qdict_get_str(blob, "name"), name)) {
            return blob;
        }
    }
    g_error("no blob '%s'", name);
}

bool blob_is_present(QDict *info, const char *name)
{
    return qdict_get_bool(store_blob(info, name), "present");
}

uint64_t blob_slot(QDict *blob, bool current)
{
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(blob, "slots"), entry) {
        QDict *slot = qobject_to(QDict, qlist_entry_obj(entry));

        if (qdict_get_bool(slot, "current") == current) {
            return qdict_get_int(slot, "offset");
        }
    }
    g_assert_not_reached();
}
