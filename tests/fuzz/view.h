/*
 * The content of a store, to be compared with its later content
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_VIEW_H
#define TESTS_FUZZ_VIEW_H

#include "fuzz.h"

/* A blob that is absent is not in a view. */
typedef struct FuzzView {
    GHashTable *blobs;          /* "owner/name" -> FuzzContent */
    unsigned damaged;
    bool cut_short;             /* reading failed: the rest is unknown */
} FuzzView;

/* Reads the whole store. */
void fuzz_view_read(FuzzView *view, BlobStore *store);
void fuzz_view_clear(FuzzView *view);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FuzzView, fuzz_view_clear)

/* Changes the expected content of a blob; NULL for @content: absent. */
void fuzz_view_set(FuzzView *view, const Blob *blob, GBytes *content,
                   const char *const *metadata);

/*
 * Reports a finding unless both have the same content.  A damaged blob may
 * hold anything: a forged slot may bear the very sequence that is lost.  An
 * absent blob may be damaged: after a clean close nobody looks for the slot
 * that says so, until it has to be copied.
 */
void fuzz_view_compare(const FuzzView *expected, const FuzzView *found);

/* Checks that the numbers which @store reports make sense. */
void fuzz_check_info(const BlobStore *store);

#endif /* TESTS_FUZZ_VIEW_H */
