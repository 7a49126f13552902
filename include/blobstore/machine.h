/*
 * Blobstore: what waits until the machine is complete
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_MACHINE_H
#define BLOBSTORE_MACHINE_H

#include "qemu/notify.h"

/*
 * Whether everything that the command line asks for has come about, so that
 * no mistake in it can end QEMU any more.
 */
bool blobstore_machine_is_complete(void);

/*
 * Calls @notifier when the machine becomes complete, before the VM executes
 * its first instruction and before its state is loaded.  The machine must not
 * be complete yet.  A notifier that fails ends QEMU.
 */
void blobstore_machine_add_notifier(Notifier *notifier);

/*
 * QEMU has carried out the command line and given up the rights that it does
 * not keep, or is about to load a snapshot, which exists.  The machine is
 * complete now, or with -preconfig as soon as it has been made.
 */
void blobstore_machine_complete(void);

#endif /* BLOBSTORE_MACHINE_H */
