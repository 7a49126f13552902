/*
 * qemu-blobstore: works on blob stores in images that no VM uses
 *
 * A command is a row of the table in commands.c and a function.  Help, man
 * page, completion and parsing come from that table and from the one of the
 * options.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_TOOL_H
#define TOOLS_BLOBSTORE_TOOL_H

#include "blobstore/qemu/credential.h"
#include "blobstore/qemu/glue.h"
#include "blobstore/map.h"
#include "blobstore/store.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"

/* Scripts rely on these values: see docs/tool.md. */
typedef enum ToolExit {
    TOOL_EXIT_OK = 0,
    TOOL_EXIT_ERROR = 1,
    TOOL_EXIT_USAGE = 2,
    TOOL_EXIT_DAMAGED = 3,
    TOOL_EXIT_HEALS = 4,
    TOOL_EXIT_NO_STORE = 5,
    TOOL_EXIT_KEY = 6,
    TOOL_EXIT_NO_BLOB = 7,
    TOOL_EXIT_IN_USE = 8,
    TOOL_EXIT__MAX
} ToolExit;

/* Where a store is, as the command line says it */
typedef struct ToolImage {
    const char *name;
    const char *format;         /* or NULL */
    bool is_options;            /* @name is a list of options */
    bool force_share;
} ToolImage;

typedef struct ToolCommand ToolCommand;

/* The command line; strings are borrowed from it. */
typedef struct Tool {
    const ToolCommand *command; /* NULL: none was named */
    const char *group;          /* the first of two words, if only that was */
    char **operands;            /* what follows the options; the image first */
    int operand_count;
    ToolImage image;            /* its name is the first operand */
    bool help;
    bool version;
    bool man;                   /* for the build: prints the man page */
    bool completion;            /* the same for bash */
    GSList *objects;            /* TOOL_LIST */
    bool quiet;
    bool progress;
    int output;                 /* a ToolOutput */
    bool take_over;             /* though it may be in use */
    BlobStoreKeySource key;     /* that opens the store */
    int key_slot;               /* or BLOB_KEY_SLOT_ANY */
    BlobStoreKeySource new_key;
    int new_key_type;           /* a BlobstoreKeyType; -1: not given */
    int slot;                   /* or BLOB_KEY_SLOT_ANY */
    bool replace;
    bool for_tpm;
    uint64_t required;          /* bytes; 0: not given */
    bool show_metadata;
    int kind;                   /* of ToolOption.value; -1: not given */
    uint64_t max_size;          /* bytes; 0: not given */
    GSList *metadata;           /* TOOL_LIST of "key=value" */
    GSList *blob_sizes;         /* TOOL_LIST */
    const char *target_format;  /* or NULL */
    bool target_is_options;
    bool unencrypted;
    bool new_identity;
    bool repair;
    const char *fall_back;      /* OWNER/NAME, or NULL */
    bool or_absent;
    const char *from;           /* a TPM: file or directory of swtpm */
    const char *to;
    bool linear;
    const char *swtpm_key;      /* as swtpm's option --key */
    bool drop_volatile;
    bool force;                 /* a TPM may be replaced */
    int tpm_version;            /* of a new TPM: 0 is 2.0, 1 is 1.2 */
    const char *pcr_banks;
    const char *profile;
    const char *lockout_secret;

    ToolExit status;            /* of a command that has not failed */
} Tool;

typedef enum ToolOutput {
    TOOL_OUTPUT_HUMAN,
    TOOL_OUTPUT_JSON,
    TOOL_OUTPUT_SVG,            /* OPT_PICTURE */
} ToolOutput;

/*
 * A command runs in a coroutine.  It returns false with @error set if it
 * fails; tool_exit_of() says what the program then exits with.
 */
typedef bool coroutine_fn ToolRun(Tool *tool, GError **error);

/* Groups of options.  Every command has those of no group. */
enum {
    OPT_IMAGE = 1 << 0,         /* how to open it */
    OPT_SHARE = 1 << 1,
    OPT_KEY = 1 << 2,
    OPT_NEW_KEY = 1 << 3,
    OPT_SLOT = 1 << 4,
    OPT_REPLACE = 1 << 5,
    OPT_TAKE_OVER = 1 << 6,
    OPT_PROGRESS = 1 << 7,
    OPT_OUTPUT = 1 << 8,
    OPT_CREATE = 1 << 9,
    OPT_GET = 1 << 10,
    OPT_PUT = 1 << 11,
    OPT_REPAIR = 1 << 12,
    OPT_COPY = 1 << 13,
    OPT_CLONE = 1 << 14,
    OPT_SIZE = 1 << 15,
    OPT_PICTURE = 1 << 16,      /* no options, but --output=svg */
    OPT_FROM = 1 << 20,         /* a TPM from swtpm, and to it */
    OPT_TO = 1 << 21,
    OPT_SWTPM_KEY = 1 << 22,
    OPT_FORCE = 1 << 23,
    OPT_NEW_TPM = 1 << 24,
    OPT_LOCKOUT = 1 << 25,
    OPT_ALONE = 1u << 31,       /* without a command */
};

struct ToolCommand {
    const char *name;           /* one word, or two: "tpm info" */
    const char *operands;       /* as help shows them */
    int min_operands;
    int max_operands;
    unsigned options;           /* OPT_ groups */
    ToolRun *run;
    const char *summary;        /* a few words, lower case, no full stop */
    const char *text;           /* paragraphs, with an empty line between */
    const char *examples;       /* lines, without the program's name */
};

extern const ToolCommand tool_commands[];       /* up to one without name */

typedef enum ToolOptionKind {
    TOOL_FLAG,                  /* a bool, which becomes true */
    TOOL_TEXT,                  /* a const char * */
    TOOL_CHOICE,                /* an int: which word of ToolOption.value */
    TOOL_NUMBER,                /* a uint32_t */
    TOOL_BYTES,                 /* a uint64_t; 64k, 1M */
    TOOL_KEY_SLOT,              /* an int */
    TOOL_LIST,                  /* a GSList * of strings, the last one first */
} ToolOptionKind;

typedef struct ToolOption {
    const char *name;
    char letter;                /* 0: none */
    unsigned group;             /* 0: every command has it */
    ToolOptionKind kind;
    size_t member;              /* of Tool */
    const char *value;          /* for help; words of a choice: "a|b" */
    const char *help;           /* NULL: hidden */
} ToolOption;

extern const ToolOption tool_options[];         /* up to one without name */

/* exit.c */

/* What @status means, for help and man page */
const char *tool_exit_meaning(ToolExit status);
/* The exit status of a command that failed with @error */
ToolExit tool_exit_of(const GError *error);
/* Sets @error to one that ends the program with @status; returns false. */
bool tool_fail(GError **error, ToolExit status, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
/* The same with an error of QEMU, which is freed */
bool tool_fail_err(GError **error, ToolExit status, Error *err);
/* Reports a mistake in the command line; returns TOOL_EXIT_USAGE. */
ToolExit tool_usage(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* options.c */

bool tool_option_fits(const ToolOption *option, const ToolCommand *command);
/*
 * Takes the command line, which begins with the program's name and may name a
 * command.  Returns false if it is wrong, which has been reported.
 */
bool tool_parse(int argc, char **argv, Tool *tool);

/* help.c */

/* Help for one command, or for those that begin with the word @group, or all */
void tool_print_help(const ToolCommand *command, const char *group);

/* man.c: for the build, in troff and for bash */
void tool_print_man(void);
void tool_print_completion(void);

/* open.c */

typedef enum ToolAccess {
    TOOL_LABEL,                 /* only what can be seen without a key */
    TOOL_READ,
    TOOL_WRITE,
    TOOL_REPLACE,               /* the same; what it writes may be damaged */
    TOOL_RESIZE,                /* the same; the image may change its size */
    TOOL_MAKE,                  /* a blank image becomes a store */
    TOOL_CREATE,                /* the same, unless it has one */
} ToolAccess;

/* An image that is open, and the store in it */
typedef struct ToolStore {
    const char *name;           /* of the image */
    BlockBackend *blk;
    BlockStorage medium;
    BlobStoreLabel label;       /* with TOOL_LABEL; else the others */
    BlobStore *store;
    uint8_t uuid[BLOB_UUID_BYTES];
    BlobKey *data_key;          /* NULL if the store is plain */
} ToolStore;

/*
 * Opens @image and the store in it.  Without TOOL_MAKE or TOOL_CREATE an image
 * that has none is an error; with TOOL_MAKE one that has a store is.
 * blob_store_start() makes one, which the new key of the command line, if
 * there is one, opens.
 * @opened, which was zero, is to be closed also after a failure.
 */
bool coroutine_fn tool_open(Tool *tool, const ToolImage *image,
                            ToolAccess access, ToolStore *opened,
                            GError **error);
/*
 * Opens @image, which has to be blank: what blob_store_start() or
 * blob_store_copy() then makes of it is as @options say, and as the new key of
 * the command line says unless they have a key.
 */
bool coroutine_fn tool_open_blank(Tool *tool, const ToolImage *image,
                                  const BlobStoreOptions *options,
                                  ToolStore *opened, GError **error);
/* Shows the warnings of the store; one that a command began ends at rest. */
void coroutine_fn tool_close(ToolStore *opened);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ToolStore, tool_close)
/* Whether the image has @bytes, so that nothing is begun in vain */
bool coroutine_fn tool_check_space(ToolStore *opened, uint64_t bytes,
                                   GError **error);
/* The end of a command that has written: records that the store is at rest. */
bool coroutine_fn tool_finish(ToolStore *opened, GError **error);

/*
 * Makes slot @n of @slots, of the store @uuid, hold @key, for whoever has the
 * new key of the command line.
 */
bool coroutine_fn tool_put_key(const Tool *tool, BlobKeySlots *slots,
                               unsigned n, const BlobKey *key,
                               const uint8_t *uuid, GError **error);

/* repair.c */

/* Whether the options of check go together */
bool tool_check_repair_options(const Tool *tool, GError **error);
/* Repairs the store in @image, as the options of check say. */
bool coroutine_fn tool_repair(Tool *tool, const ToolImage *image,
                              GError **error);

/* create.c */

/* What a TPM of either version registers, in bytes */
enum { TOOL_TPM_BLOBS = 2 };
extern const uint64_t tool_tpm_sizes[TOOL_TPM_BLOBS];
/* If @image is a file that does not exist, makes it, with @bytes. */
bool coroutine_fn tool_make_missing(ToolImage *image, uint64_t bytes,
                                    GError **error);

/* output.c */

/* A remark, which -q and JSON leave out */
void tool_say(const Tool *tool, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Prints @object as JSON, and frees it. */
void tool_print_json(QObject *object);
/* A UUID as text; to be freed */
char *tool_uuid(const uint8_t uuid[BLOB_UUID_BYTES]);
/* A blob in one line, and in JSON */
void tool_print_blob(const BlobInfo *info);
QDict *tool_blob_json(const BlobInfo *info);
/* "superblock", "directory", "blob", "free" or "outside" */
const char *tool_region_kind(const BlobRegion *region);
/* The same, but a blob is OWNER/NAME; to be freed */
char *tool_region_name(const BlobRegion *region);
/* OWNER/NAME, for g_free() */
char *tool_blob_name(const Blob *blob);

/* The commands */
ToolRun tool_info, tool_list, tool_key_list;                    /* show.c */
ToolRun tool_check;                                             /* check.c */
ToolRun tool_create;                                            /* create.c */
ToolRun tool_get, tool_put, tool_rm;                            /* blobs.c */
ToolRun tool_copy, tool_clone;                                  /* copy.c */
ToolRun tool_resize, tool_size;                                 /* resize.c */
ToolRun tool_map;                                               /* map.c */
ToolRun tool_key_add, tool_key_remove;                          /* keys.c */
ToolRun tool_encrypt, tool_rekey, tool_decrypt;                 /* keys.c */
ToolRun tool_tpm_import, tool_tpm_export;                  /* tpm-move.c */
ToolRun tool_tpm_create, tool_tpm_clear;                   /* tpm-change.c */
ToolRun tool_tpm_reset_lockout, tool_tpm_new_identity;     /* tpm-change.c */
ToolRun tool_tpm_info;                                     /* tpm-show.c */

static inline bool tool_names_key(const BlobStoreKeySource *source)
{
    return source->secret || source->uri || source->pin_secret;
}

#endif /* TOOLS_BLOBSTORE_TOOL_H */
