/*
 * Blobstore in QEMU: what QEMU's files call in a program without a machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/machine.h"
#include "blobstore/snapshot.h"

void blobstore_machine_complete(void)
{
}

int blobstore_snapshot_compare(const void *a, const void *b)
{
    return 0;
}
