/*
 * qemu-blobstore: a picture of what the bytes of an image are for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_PICTURE_H
#define TOOLS_BLOBSTORE_PICTURE_H

#include "blobstore/map.h"

/*
 * Prints an SVG in which each pixel stands for as many bytes as any other.
 * @regions, of BlobRegion, cover the @length bytes of the image @title.
 */
void tool_print_picture(const char *title, const GArray *regions,
                        uint64_t length);

#endif /* TOOLS_BLOBSTORE_PICTURE_H */
