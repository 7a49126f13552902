/*
 * Blobstore unit tests over the real block layer: the VM around it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "crypto/init.h"
#include "hw/resettable.h"
#include "blobstore/vm-start.h"
#include "io/channel-buffer.h"
#include "migration/blocker.h"
#include "qapi/qapi-types-migration.h"
#include "migration/client-options.h"
#include "migration/options.h"
#include "migration/qemu-file.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "system/reset.h"
#include "system/system.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

static RunState runstate = RUN_STATE_RUNNING;
static bool stop_requested;
static bool colo;
static GList *handlers;         /* of VMChangeStateEntry, by priority */
static NotifierList shutdown_notifiers =
    NOTIFIER_LIST_INITIALIZER(shutdown_notifiers);
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

RunState runstate_get(void)
{
    return runstate;
}

/* The machine is complete already. */
void qemu_add_machine_init_done_notifier(Notifier *notifier)
{
    notifier->notify(notifier, NULL);
}

void qemu_register_shutdown_notifier(Notifier *notifier)
{
    notifier_list_add(&shutdown_notifiers, notifier);
}

void qemu_register_resettable(Object *obj)
{
    resettables = g_list_append(resettables, obj);
}

void qemu_unregister_resettable(Object *obj)
{
    resettables = g_list_remove(resettables, obj);
}

int migrate_add_blocker_internal(Error **reasonp, Error **errp)
{
    return 0;
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

    /*
     * The handler must run before the devices' handlers, whichever is
     * registered first.
     */
    g_assert_cmpint(vmsd->priority, >, MIG_PRI_DEFAULT);
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

/*
 * The linker takes both originals from QEMU unless this one is defined here,
 * too.
 */
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
    return vm_load_rest_of_state(state, 0);
}

bool vm_load_rest_of_state(GBytes *state, unsigned skipped)
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
    for (at = g_list_nth(sections, skipped); at && !ret; at = at->next) {
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
    GList *next;

    runstate = state;
    /* A handler may remove itself. */
    for (at = g_list_last(handlers); at; at = next) {
        VMChangeStateEntry *entry = at->data;

        next = at->prev;
        entry->cb(entry->opaque, false, state);
    }
}

bool vm_start_now(void)
{
    GList *at;
    GList *next;

    if (!blobstore_vm_prepare_start()) {
        return false;
    }
    runstate = RUN_STATE_RUNNING;
    stop_requested = false;
    for (at = handlers; at; at = next) {
        VMChangeStateEntry *entry = at->data;

        next = at->next;
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

void vm_reset_for_snapshot_begin(void)
{
    assert_reset(RESET_TYPE_SNAPSHOT_LOAD);
}

void vm_reset_for_snapshot_end(void)
{
    release_reset(RESET_TYPE_SNAPSHOT_LOAD);
}

void vm_reset_for_snapshot(void)
{
    vm_reset_for_snapshot_begin();
    vm_reset_for_snapshot_end();
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

void poll_until(bool *done)
{
    while (!qatomic_read(done)) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

int vm_run_tests(int argc, char **argv, void (*add_tests)(void))
{
    int status;

    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(qcrypto_init(&error_abort), ==, 0);
    module_call_init(MODULE_INIT_QOM);
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    images_begin();
    add_tests();
    status = g_test_run();
    bdrv_close_all();
    images_end();
    return status;
}
