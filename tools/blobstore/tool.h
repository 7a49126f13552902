/*
 * qemu-blobstore: inspects blob stores in images, and changes their keys
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_TOOL_H
#define TOOLS_BLOBSTORE_TOOL_H

#include "blobstore/qemu/credential.h"
#include "blobstore/qemu/glue.h"
#include "blobstore/store.h"

/* Scripts rely on these values: see docs/usage.md. */
typedef enum ToolExit {
    TOOL_EXIT_OK = 0,
    TOOL_EXIT_ERROR = 1,
    TOOL_EXIT_USAGE = 2,
    TOOL_EXIT_DAMAGED = 3,      /* check: some content is lost */
    TOOL_EXIT_HEALS = 4,        /* check: only damage that heals */
} ToolExit;

typedef struct Tool {
    /* The values of the command line */
    BlobStoreKeySource key;     /* that opens the store */
    int key_slot;               /* or BLOB_KEY_SLOT_ANY */
    BlobStoreKeySource new_key;
    int new_key_type;           /* a BlobstoreKeyType; -1: not given */
    int slot;                   /* key-add, key-remove; or BLOB_KEY_SLOT_ANY */
    bool replace;
    bool take_over;             /* though it may be in use */
    bool progress;              /* of a conversion is shown */

    BlockStorage medium;
    BlobStoreLabel label;       /* only for key-list */
    uint8_t uuid[BLOB_UUID_BYTES];      /* of an open store */
    BlobKey *data_key;          /* NULL if the store is plain */
    BlobStore *store;
} Tool;

/* Runs in a coroutine while the store is open. */
typedef int coroutine_fn ToolCommand(Tool *tool, GError **error);

static inline bool tool_names_key(const BlobStoreKeySource *source)
{
    return source->secret || source->uri || source->pin_secret;
}

/* What only some commands do, with options for it */
enum {
    FOR_OPENING = 1 << 0,       /* the store, and not only its label */
    FOR_NEW_KEY = 1 << 1,
    FOR_SLOT = 1 << 2,
    FOR_REPLACE = 1 << 3,
    FOR_PROGRESS = 1 << 4,
    FOR_WRITING = 1 << 5,
};

/* A command, by its name */
typedef struct ToolEntry {
    const char *name;
    ToolCommand *run;
    unsigned options;           /* FOR_ what */
    const char *help;
} ToolEntry;

/* The options for opening the image */
typedef struct ToolImage {
    const char *name;
    const char *format;
    bool is_options;
    bool force_share;
} ToolImage;

/* options.c */

/* Returns NULL if there is no such command. */
const ToolEntry *tool_find_command(const char *name);
/*
 * Takes the command line behind the command, which may be NULL.  Returns the
 * exit status, or -1 to continue.
 */
int tool_parse_options(int argc, char **argv, const ToolEntry *command,
                       Tool *tool, ToolImage *image);
/*
 * Settles what kind of key @source names: one of @type (a BlobstoreKeyType),
 * or if that is negative, of the kind that the other options suggest.
 */
bool tool_settle_key(BlobStoreKeySource *source, int type, Error **errp);
/* Reports a mistake in the command line; returns TOOL_EXIT_USAGE. */
int tool_usage(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* show.c */
int coroutine_fn tool_info(Tool *tool, GError **error);
int coroutine_fn tool_check(Tool *tool, GError **error);
int coroutine_fn tool_key_list(Tool *tool, GError **error);

/* change.c */
int coroutine_fn tool_key_add(Tool *tool, GError **error);
int coroutine_fn tool_key_remove(Tool *tool, GError **error);
int coroutine_fn tool_encrypt(Tool *tool, GError **error);
int coroutine_fn tool_rekey(Tool *tool, GError **error);
int coroutine_fn tool_decrypt(Tool *tool, GError **error);

#endif /* TOOLS_BLOBSTORE_TOOL_H */
