/*
 * Leaves the stores of a test plain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "sealed.h"

BlobKey *sealed_key(void)
{
    return NULL;
}

const BlobKeySlots *sealed_key_slots(void)
{
    return NULL;
}
