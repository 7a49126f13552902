/*
 * Blobstore in QEMU: what waits until the machine is complete
 *
 * Formatting a blank medium cannot be undone, so it waits until no mistake on
 * the command line can end QEMU any more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/machine.h"
#include "system/system.h"

static NotifierList waiting = NOTIFIER_LIST_INITIALIZER(waiting);
static bool complete;

bool blobstore_machine_is_complete(void)
{
    return complete;
}

void blobstore_machine_add_notifier(Notifier *notifier)
{
    assert(!complete);
    notifier_list_add(&waiting, notifier);
}

static void on_init_done(Notifier *notifier, void *data)
{
    complete = true;
    notifier_list_notify(&waiting, NULL);
}

void blobstore_machine_complete(void)
{
    static Notifier init_done = { .notify = on_init_done };

    if (!complete) {
        /* This calls it at once if the machine has been made. */
        qemu_add_machine_init_done_notifier(&init_done);
    }
}
