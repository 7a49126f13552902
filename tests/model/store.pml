/*
 * Blobstore: a model of the rules, for spin
 *
 * Two blobs on a medium with a volatile cache, one user, and the promise of
 * docs/design.md ("What must hold") as assertions.  The store does what
 * blobstore/ does, function by function; the rules are those of design.md.
 *
 *   in store/       here           in the C code                      rules
 *   recover.pml     recover()      open.c, recover.c                  R3 R6-R10 R14
 *                   current()      content.c: blob_content_load()     R3 R7
 *   epoch.pml       record()       epoch.c, slot.c: blob_pair_write() R2 R12 R14
 *   start.pml       place()        start.c: place_and_record()        R12
 *   write.pml       commit()       write.c: blob_store_write()        R4-R6 R9 R11
 *   medium.pml      put() ...      below the medium: landing, failing, crashing
 *   promise.pml     check()        the promise
 *   histories.pml   user()         calls of the user, crashes between and in them
 *
 * state.pml has all variables, and tables.pml finds rows in the tables.
 *
 * The format of a blank medium (R13) is a model of its own: format.pml.
 *
 * What is small here: a slot is three units (header, payload, trailer) that
 * reach the medium one by one; a copy of the directory is one unit that is
 * old, new or invalid.  A version lies in a table, and a unit names its row:
 * equal rows mean equal bytes.  Epoch ids and contents are the smallest value
 * that nothing in sight bears, as random ones never repeat.  The census is
 * the tuple that its hash stands for.  All versions have one length, all
 * extents one size.  R1 and R15 are about numbers and bytes, not about order.
 *
 * A durable write reaches the medium but does not flush what was written
 * before: that is all that FUA does.
 *
 * With -DPAGE_CACHE there is a cache as Linux has one: what could not be
 * written stays readable, no later flush writes it, and it is gone when the
 * cache is dropped or the power fails (R16).
 *
 * -DOPS= -DFAILS= -DCRASHES= -DDAMAGES= -DEXTENTS= bound a history.
 * -DBREAK_* breaks one rule; the assertions must then fail.  See test_rules.py.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef OPS
#define OPS         2       /* calls of the user, beyond opening */
#endif
#ifndef FAILS
#define FAILS       1       /* writes and flushes that fail */
#endif
#ifndef CRASHES
#define CRASHES     2       /* of the process or of the power */
#endif
#ifndef DAMAGES
#define DAMAGES     0       /* sectors or slots garbled while at rest */
#endif
#ifndef EXTENTS
#define EXTENTS     3
#endif

#include "store/state.pml"
#include "store/tables.pml"
#include "store/medium.pml"
#include "store/recover.pml"
#include "store/promise.pml"
#include "store/epoch.pml"
#include "store/start.pml"
#include "store/write.pml"
#include "store/histories.pml"
