/*
 * Blobstore: a program without PKCS#11
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11.h"

const BlobToken *blob_pkcs11_token(void)
{
    return NULL;
}
