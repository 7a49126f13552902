/*
 * Blobstore in QEMU: what QEMU's files call in a program without a machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/machine.h"

void blobstore_machine_complete(void)
{
}
