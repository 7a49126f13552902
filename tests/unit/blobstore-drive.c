/*
 * Blobstore unit tests over the real block layer: drives, stores, devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "block/qdict.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qom/object_interfaces.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

static char *dir;

void images_begin(void)
{
    dir = g_dir_make_tmp("test-blobstore-XXXXXX", NULL);
    g_assert_nonnull(dir);
}

void images_end(void)
{
    GDir *files = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(files))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        unlink(path);
    }
    g_dir_close(files);
    rmdir(dir);
    g_free(dir);
}

char *image_new_with(const char *name, const char *format,
                     const char *options, uint64_t bytes)
{
    g_autofree char *copy = g_strdup(options);
    char *path = g_build_filename(dir, name, NULL);

    bdrv_img_create(path, format, NULL, NULL, copy, bytes, BDRV_O_RDWR, true,
                    &error_abort);
    return path;
}

char *image_new(const char *name, const char *format, uint64_t bytes)
{
    return image_new_with(name, format, NULL, bytes);
}

GBytes *image_content(const char *path)
{
    char *content;
    gsize length;

    g_assert_true(g_file_get_contents(path, &content, &length, NULL));
    return g_bytes_new_take(content, length);
}

/* The image is rewritten in place, so that the inode stays. */
void image_set_content(const char *path, GBytes *content)
{
    gsize length;
    const char *data = g_bytes_get_data(content, &length);
    FILE *file = fopen(path, "r+b");

    g_assert_nonnull(file);
    g_assert_cmpuint(fwrite(data, 1, length, file), ==, length);
    g_assert_cmpint(fclose(file), ==, 0);
}

BlockBackend *drive_add(const char *id, const char *json, ...)
{
    BlockBackend *blk;
    QDict *options;
    va_list args;

    va_start(args, json);
    options = qobject_to(QDict, qobject_from_vjsonf_nofail(json, args));
    va_end(args);
    qdict_flatten(options);
    blk = blk_new_open(NULL, NULL, options,
                       qdict_get_try_bool(options, "read-only", false)
                       ? 0 : BDRV_O_RDWR, &error_abort);
    monitor_add_blk(blk, id, &error_abort);
    return blk;
}

BlockBackend *drive_add_image(const char *id, const char *format,
                              const char *path)
{
    return drive_add(id, "{'driver': %s, 'file': {'driver': 'file', "
                     "'filename': %s}}", format, path);
}

void drive_remove(const char *id)
{
    BlockBackend *blk = blk_by_name(id);

    monitor_remove_blk(blk);
    blk_unref(blk);
}

Object *store_add(const char *id, Error **errp, ...)
{
    Object *obj;
    va_list args;

    va_start(args, errp);
    obj = object_new_with_propv(TYPE_BLOBSTORE, object_get_objects_root(), id,
                                errp, args);
    va_end(args);
    return obj;
}

void store_remove(const char *id)
{
    user_creatable_del(id, &error_abort);
}

bool device_plug(Device *device, const char *store, Error **errp)
{
    *device = (Device) { .client = blobstore_attach(store, "tpm", errp) };
    if (!device->client) {
        return false;
    }
    device->permanent = blobstore_register_blob(device->client, "permanent",
                                                BLOBSTORE_PERMANENT, 64 * KiB,
                                                errp);
    device->savestate = !device->permanent ? NULL :
        blobstore_register_blob(device->client, "savestate",
                                BLOBSTORE_SAVESTATE, 64 * KiB, errp);
    device->volatile_ = !device->savestate ? NULL :
        blobstore_register_blob(device->client, "volatile",
                                BLOBSTORE_VOLATILE, 64 * KiB, errp);
    if (!device->volatile_ || !blobstore_start(device->client, errp)) {
        device_unplug(device);
        return false;
    }
    return true;
}

void device_unplug(Device *device)
{
    blobstore_detach(device->client);
    *device = (Device) { 0 };
}

static unsigned count_backends(void)
{
    BlockBackend *blk;
    unsigned count = 0;

    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        count++;
    }
    return count;
}

void assert_refused(const char *store, const char *part)
{
    unsigned backends = count_backends();
    unsigned sections = vm_sections();
    Error *err = NULL;
    Device device;

    g_assert_false(device_plug(&device, store, &err));
    assert_error(err, part);
    g_assert_cmpuint(count_backends(), ==, backends);
    g_assert_cmpuint(vm_sections(), ==, sections);
}

bool try_write_text(BlobStoreBlob *blob, const char *text, Error **errp)
{
    return blobstore_write_blob(blob, text, strlen(text), NULL, errp);
}

void write_text(BlobStoreBlob *blob, const char *text)
{
    g_assert_true(try_write_text(blob, text, &error_abort));
}

void assert_text(BlobStoreBlob *blob, const char *text)
{
    g_autoptr(GBytes) content = NULL;
    gsize length;
    const void *data;

    g_assert_true(blobstore_read_blob(blob, &content, NULL, &error_abort));
    if (!text) {
        g_assert_null(content);
        return;
    }
    g_assert_nonnull(content);
    data = g_bytes_get_data(content, &length);
    g_assert_cmpmem(data, length, text, strlen(text));
}

void assert_text_on_medium(Device *device, const char *store,
                           const char *text)
{
    device_unplug(device);
    g_assert_true(device_plug(device, store, &error_abort));
    assert_text(device->permanent, text);
}

BlobstoreInfo *store_info(const char *id)
{
    BlobstoreInfoList *list = qmp_blobstore_info(id, &error_abort);
    BlobstoreInfo *info = g_steal_pointer(&list->value);

    g_assert_null(list->next);
    g_free(list);
    return info;
}

void assert_state(const char *id, BlobstoreCondition state)
{
    g_autoptr(BlobstoreInfo) info = store_info(id);

    g_assert_cmpstr(BlobstoreCondition_str(info->state), ==,
                    BlobstoreCondition_str(state));
}

/* The reports that a test collects, or NULL */
static GString *reported;
static bool reports_hidden;

int error_vprintf(const char *format, va_list args)
{
    if (!reported) {
        return reports_hidden ? 0 : vfprintf(stderr, format, args);
    }
    g_string_append_vprintf(reported, format, args);
    return 0;
}

int error_vprintf_unless_qmp(const char *format, va_list args)
{
    return error_vprintf(format, args);
}

void reports_hide(bool hide)
{
    reports_hidden = hide;
}

void assert_hint(Error *err, const char *part)
{
    g_assert_nonnull(err);
    reported = g_string_new(NULL);
    error_report_err(error_copy(err));
    if (!strstr(reported->str, part)) {
        g_test_message("expected: %s", part);
        g_test_message("reported: %s", reported->str);
        g_test_fail();
    }
    g_string_free(reported, TRUE);
    reported = NULL;
}

void assert_error(Error *err, const char *part)
{
    g_assert_nonnull(err);
    if (!strstr(error_get_pretty(err), part)) {
        g_test_message("expected: %s", part);
        g_test_message("error: %s", error_get_pretty(err));
        g_test_fail();
    }
    error_free(err);
}
