/*
 * What a store holds, to be compared with what it holds later
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
    bool cut_short;             /* reading failed: the rest is not known */
} FuzzView;

/* Reads all there is. */
void fuzz_view_read(FuzzView *view, BlobStore *store);
void fuzz_view_clear(FuzzView *view);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FuzzView, fuzz_view_clear)

/* Changes what is expected of a blob; NULL for @content: absent. */
void fuzz_view_set(FuzzView *view, const Blob *blob, GBytes *content,
                   const char *const *metadata);

/*
 * A finding unless both hold the same.  What was damaged may be anything: a
 * forged slot may bear the very sequence that is lost.  What was absent may
 * be damaged: after a clean close nobody looks for the slot that says so,
 * until it has to be copied.
 */
void fuzz_view_compare(const FuzzView *expected, const FuzzView *found);

/* Numbers that @store gives of itself make sense. */
void fuzz_check_info(const BlobStore *store);

#endif /* TESTS_FUZZ_VIEW_H */
