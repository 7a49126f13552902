/*
 * Blobstore unit tests over the real block layer: the VM around it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "block/qdict.h"
#include "crypto/init.h"
#include "hw/resettable.h"
#include "blobstore/vm-start.h"
#include "io/channel-buffer.h"
#include "qapi/qapi-types-migration.h"
#include "migration/client-options.h"
#include "migration/options.h"
#include "migration/qemu-file.h"
#include "migration/vmstate.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qom/object_interfaces.h"
#include "system/reset.h"
#include "blobstore-vm.h"

static char *dir;
static RunState runstate = RUN_STATE_RUNNING;
static bool stop_requested;
static bool colo;
static GList *handlers;         /* of VMChangeStateEntry, by priority */
static GList *resettables;      /* of Object */
static GList *sections;         /* of VMSection */

struct VMChangeStateEntry {
    VMChangeStateHandler *cb;
    void *opaque;
    int priority;
};

enum { SECTION_END = 0x7e };

typedef struct VMSection {
    const VMStateDescription *vmsd;
    void *opaque;
} VMSection;

static gint compare_priority(gconstpointer a, gconstpointer b)
{
    const VMChangeStateEntry *x = a;
    const VMChangeStateEntry *y = b;

    return (x->priority > y->priority) - (x->priority < y->priority);
}

VMChangeStateEntry *
qemu_add_vm_change_state_handler_prio(VMChangeStateHandler *cb, void *opaque,
                                      int priority)
{
    VMChangeStateEntry *entry = g_new0(VMChangeStateEntry, 1);

    *entry = (VMChangeStateEntry) { cb, opaque, priority };
    handlers = g_list_insert_sorted(handlers, entry, compare_priority);
    return entry;
}

VMChangeStateEntry *qemu_add_vm_change_state_handler(VMChangeStateHandler *cb,
                                                     void *opaque)
{
    return qemu_add_vm_change_state_handler_prio(cb, opaque, 0);
}

void qemu_del_vm_change_state_handler(VMChangeStateEntry *entry)
{
    handlers = g_list_remove(handlers, entry);
    g_free(entry);
}

bool runstate_check(RunState state)
{
    return runstate == state;
}

void runstate_set(RunState state)
{
    runstate = state;
}

bool runstate_is_running(void)
{
    return runstate == RUN_STATE_RUNNING;
}

void qemu_system_vmstop_request_prepare(void)
{
}

void qemu_system_vmstop_request(RunState state)
{
    g_assert_cmpint(state, ==, RUN_STATE_IO_ERROR);
    stop_requested = true;
}

void qemu_register_resettable(Object *obj)
{
    resettables = g_list_append(resettables, obj);
}

void qemu_unregister_resettable(Object *obj)
{
    resettables = g_list_remove(resettables, obj);
}

bool migrate_colo(void)
{
    return colo;
}

int vmstate_register_with_alias_id(VMStateIf *obj, uint32_t instance_id,
                                   const VMStateDescription *vmsd,
                                   void *opaque, int alias_id,
                                   int required_for_version, Error **errp)
{
    VMSection *section = g_new0(VMSection, 1);

    *section = (VMSection) { vmsd, opaque };
    sections = g_list_append(sections, section);
    return 0;
}

void vmstate_unregister(VMStateIf *obj, const VMStateDescription *vmsd,
                        void *opaque)
{
    GList *at;

    for (at = sections; at; at = at->next) {
        VMSection *section = at->data;

        if (section->vmsd == vmsd && section->opaque == opaque) {
            g_free(section);
            sections = g_list_delete_link(sections, at);
            return;
        }
    }
    g_assert_not_reached();
}

/* Beside the two that are replaced, or the linker takes both */
bool vmstate_check_only_migratable(const VMStateDescription *vmsd)
{
    return true;
}

MigMode migrate_mode(void)
{
    return MIG_MODE_NORMAL;
}

unsigned vm_sections(void)
{
    return g_list_length(sections);
}

GBytes *vm_save_state(void)
{
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(0);
    QEMUFile *file = qemu_file_new_output(QIO_CHANNEL(buffer));
    GBytes *state = NULL;
    GList *at;
    int ret = 0;

    for (at = sections; at && !ret; at = at->next) {
        VMSection *section = at->data;

        ret = vmstate_save_state(file, section->vmsd, section->opaque, NULL);
        qemu_put_byte(file, SECTION_END);
    }
    qemu_fflush(file);
    if (!ret) {
        state = g_bytes_new(buffer->data, buffer->usage);
    }
    qemu_fclose(file);
    return state;
}

bool vm_load_state(GBytes *state)
{
    gsize bytes;
    const void *data = g_bytes_get_data(state, &bytes);
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(bytes);
    QEMUFile *file;
    GList *at;
    int ret = 0;

    memcpy(buffer->data, data, bytes);
    buffer->usage = bytes;
    file = qemu_file_new_input(QIO_CHANNEL(buffer));
    for (at = sections; at && !ret; at = at->next) {
        VMSection *section = at->data;

        ret = vmstate_load_state(file, section->vmsd, section->opaque,
                                 section->vmsd->version_id);
        if (!ret && qemu_get_byte(file) != SECTION_END) {
            ret = -EINVAL;
        }
    }
    qemu_fclose(file);
    return !ret;
}

void vm_stop_now(RunState state)
{
    GList *at;

    runstate = state;
    for (at = g_list_last(handlers); at; at = at->prev) {
        VMChangeStateEntry *entry = at->data;

        entry->cb(entry->opaque, false, state);
    }
}

bool vm_start_now(void)
{
    GList *at;

    if (!blobstore_vm_prepare_start()) {
        return false;
    }
    runstate = RUN_STATE_RUNNING;
    stop_requested = false;
    for (at = handlers; at; at = at->next) {
        VMChangeStateEntry *entry = at->data;

        entry->cb(entry->opaque, true, runstate);
    }
    return true;
}

static void assert_reset(ResetType type)
{
    GList *at;

    for (at = resettables; at; at = at->next) {
        resettable_assert_reset(at->data, type);
    }
}

static void release_reset(ResetType type)
{
    GList *at;

    for (at = resettables; at; at = at->next) {
        resettable_release_reset(at->data, type);
    }
}

void vm_reset_begin(void)
{
    assert_reset(RESET_TYPE_COLD);
}

void vm_reset_end(void)
{
    release_reset(RESET_TYPE_COLD);
}

void vm_reset_for_snapshot(void)
{
    assert_reset(RESET_TYPE_SNAPSHOT_LOAD);
    release_reset(RESET_TYPE_SNAPSHOT_LOAD);
}

void vm_reset_now(void)
{
    vm_reset_begin();
    vm_reset_end();
}

bool vm_stop_was_requested(void)
{
    return stop_requested;
}

void vm_set_incoming(bool incoming)
{
    runstate = incoming ? RUN_STATE_INMIGRATE : RUN_STATE_RUNNING;
}

void vm_set_colo(bool on)
{
    colo = on;
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

/* In place: the inode stays. */
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

void assert_state(const char *id, BlobstoreState state)
{
    g_autoptr(BlobstoreInfo) info = store_info(id);

    g_assert_cmpstr(BlobstoreState_str(info->state), ==,
                    BlobstoreState_str(state));
}

/* What is reported meanwhile, or NULL */
static GString *reported;

int error_vprintf(const char *format, va_list args)
{
    if (!reported) {
        return vfprintf(stderr, format, args);
    }
    g_string_append_vprintf(reported, format, args);
    return 0;
}

int error_vprintf_unless_qmp(const char *format, va_list args)
{
    return error_vprintf(format, args);
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

void poll_until(bool *done)
{
    while (!qatomic_read(done)) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

static void remove_dir(void)
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

int vm_run_tests(int argc, char **argv, void (*add_tests)(void))
{
    int status;

    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(qcrypto_init(&error_abort), ==, 0);
    module_call_init(MODULE_INIT_QOM);
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    dir = g_dir_make_tmp("test-blobstore-XXXXXX", NULL);
    g_assert_nonnull(dir);
    add_tests();
    status = g_test_run();
    bdrv_close_all();
    remove_dir();
    return status;
}
