/*
 * Blobstore: keys in tokens (smart cards, HSMs) through PKCS#11
 *
 * The core knows only the BlobToken of keyslot.h.  These files implement it
 * with p11-kit, and are built where p11-kit is available.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_PKCS11_H
#define BLOBSTORE_PKCS11_H

#include "blobstore/crypto/keyslot.h"

/*
 * Keys in the tokens of the modules that the host's p11-kit configuration
 * has; NULL if this program was built without p11-kit.  Static, without a
 * state of its own: for any thread, also for several at once.
 *
 * Each call loads the modules, opens one session and presents the PIN once,
 * or not at all where that cannot lead to anything; when it returns all of
 * that is undone.  Blocks for as long as the token takes.
 */
const BlobToken *blob_pkcs11_token(void);

#endif /* BLOBSTORE_PKCS11_H */
