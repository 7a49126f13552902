/*
 * Blobstore: what the start of the VM waits for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_VM_START_H
#define BLOBSTORE_VM_START_H

/*
 * Brings the media of all stores up to date before the VM runs: it may have
 * come with a migration or been loaded from a snapshot, and its state may
 * have changed while nothing could be written.
 *
 * Returns false if that fails; the VM is in the state io-error then and must
 * not start.  The user has been told.
 */
bool blobstore_vm_prepare_start(void);

/*
 * The VM is to start.  If it runs, that takes back a stop that was asked for
 * and for which devices may wait; no handler of VM state changes is called.
 */
void blobstore_vm_take_back_stop(void);

#endif /* BLOBSTORE_VM_START_H */
