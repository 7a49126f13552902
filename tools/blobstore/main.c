/*
 * qemu-blobstore: inspects blob stores in images, and changes their keys
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <getopt.h>
#include "block/aio-wait.h"
#include "crypto/init.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qemu/config-file.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qemu/qemu-progress.h"
#include "qemu/sockets.h"
#include "qom/object_interfaces.h"
#include "tool.h"

/* Groups of options that only some commands have */
enum {
    FOR_OPENING = 1 << 0,       /* what opens the store */
    FOR_NEW_KEY = 1 << 1,
    FOR_SLOT = 1 << 2,
    FOR_REPLACE = 1 << 3,
    FOR_PROGRESS = 1 << 4,
};

typedef struct Command {
    const char *name;
    ToolCommand *run;
    bool writes;
    bool needs_store;           /* not only its label */
    unsigned options;           /* groups that belong to it */
    const char *help;
} Command;

static const Command commands[] = {
    { "info", tool_info, false, true, FOR_OPENING, "what is in the store" },
    { "check", tool_check, false, true, FOR_OPENING,
      "read all of it, report damage" },
    { "key-list", tool_key_list, false, false, 0, "its key slots" },
    { "key-add", tool_key_add, true, true,
      FOR_OPENING | FOR_NEW_KEY | FOR_SLOT | FOR_REPLACE,
      "let another key open it" },
    { "key-remove", tool_key_remove, true, true, FOR_OPENING | FOR_SLOT,
      "empty a key slot" },
    { "encrypt", tool_encrypt, true, true,
      FOR_OPENING | FOR_NEW_KEY | FOR_PROGRESS,
      "make a plain store encrypted" },
    { "rekey", tool_rekey, true, true,
      FOR_OPENING | FOR_NEW_KEY | FOR_PROGRESS,
      "encrypt it again with another data key" },
    { "decrypt", tool_decrypt, true, true, FOR_OPENING | FOR_PROGRESS,
      "make it plain" },
};

/* The options for opening the image */
typedef struct Image {
    const char *name;
    const char *format;
    bool is_options;
    bool force_share;
} Image;

enum {
    OPTION_OBJECT = 256,
    OPTION_IMAGE_OPTS,
    OPTION_KEY_SECRET,
    OPTION_KEY_URI,
    OPTION_PIN_SECRET,
    OPTION_KEY_SLOT,
    OPTION_NEW_KEY_SECRET,
    OPTION_NEW_KEY_URI,
    OPTION_NEW_PIN_SECRET,
    OPTION_NEW_KEY_TYPE,
    OPTION_NEW_KEY_ITER_TIME,
    OPTION_SLOT,
    OPTION_REPLACE,
};

static const struct option options[] = {
    { "help", no_argument, NULL, 'h' },
    { "object", required_argument, NULL, OPTION_OBJECT },
    { "image-opts", no_argument, NULL, OPTION_IMAGE_OPTS },
    { "format", required_argument, NULL, 'f' },
    { "force-share", no_argument, NULL, 'U' },
    { "progress", no_argument, NULL, 'p' },
    { "key-secret", required_argument, NULL, OPTION_KEY_SECRET },
    { "key-uri", required_argument, NULL, OPTION_KEY_URI },
    { "pin-secret", required_argument, NULL, OPTION_PIN_SECRET },
    { "key-slot", required_argument, NULL, OPTION_KEY_SLOT },
    { "new-key-secret", required_argument, NULL, OPTION_NEW_KEY_SECRET },
    { "new-key-uri", required_argument, NULL, OPTION_NEW_KEY_URI },
    { "new-pin-secret", required_argument, NULL, OPTION_NEW_PIN_SECRET },
    { "new-key-type", required_argument, NULL, OPTION_NEW_KEY_TYPE },
    { "new-key-iter-time", required_argument, NULL,
      OPTION_NEW_KEY_ITER_TIME },
    { "slot", required_argument, NULL, OPTION_SLOT },
    { "replace", no_argument, NULL, OPTION_REPLACE },
    { NULL }
};

static void print_help(void)
{
    printf("usage: qemu-blobstore COMMAND [OPTIONS] IMAGE\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        printf("  %-12s%s\n", commands[i].name, commands[i].help);
    }
    printf("\n"
           "The image, which no VM may be using (but see -U):\n"
           "  -f, --format=FORMAT         raw, qcow2, ...\n"
           "  --image-opts                IMAGE is a list of options\n"
           "  -U, --force-share           info, check, key-list: though it is "
           "in use; what\n"
           "                              is shown may be a mix\n"
           "  --object=OBJECT             secrets, for example\n"
           "                              secret,id=sec0,file=KEYFILE\n"
           "\n"
           "What opens the store:\n"
           "  --key-secret=ID             a secret: passphrase or raw key\n"
           "  --key-uri=URI               a key in a PKCS#11 token\n"
           "  --pin-secret=ID             a secret: the PIN of the token\n"
           "  --key-slot=N                try only this key slot\n"
           "\n"
           "key-add, encrypt, rekey:\n"
           "  --new-key-secret=ID, --new-key-uri=URI, --new-pin-secret=ID\n"
           "  --new-key-type=TYPE         passphrase (default), raw, token\n"
           "  --new-key-iter-time=MS      how long a passphrase takes to try "
           "(1000)\n"
           "\n"
           "encrypt, rekey, decrypt:\n"
           "  -p, --progress              show how much has been done\n"
           "\n"
           "key-add, key-remove:\n"
           "  --slot=N                    0 to 7; --replace: it may be in "
           "use\n");
}

static int G_GNUC_PRINTF(1, 2) usage(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_vreport(format, args);
    va_end(args);
    error_printf("Try: qemu-blobstore --help\n");
    return TOOL_EXIT_USAGE;
}

static bool parse_number(const char *text, unsigned max, unsigned *value)
{
    return !qemu_strtoui(text, NULL, 10, value) && *value <= max;
}

static bool parse_slot(const char *text, int *slot)
{
    unsigned value;

    if (!parse_number(text, BLOB_KEY_SLOTS - 1, &value)) {
        return false;
    }
    *slot = value;
    return true;
}

static bool parse_key_type(const char *text, int *type)
{
    *type = qapi_enum_parse(&BlobstoreKeyType_lookup, text, -1, NULL);
    return *type >= 0;
}

/*
 * Settles what kind of key @source names: one of @type, or if that is
 * negative, of the kind that the other options suggest.
 */
static bool settle_key(BlobStoreKeySource *source, int type, Error **errp)
{
    bool is_token = source->uri || source->pin_secret;

    if (source->secret && is_token) {
        error_setg(errp, "a key is either a secret or in a token, not both");
        return false;
    }
    if (type >= 0 && (type == BLOBSTORE_KEY_TYPE_TOKEN) != is_token) {
        error_setg(errp, "--new-key-type=%s does not go with %s",
                   BlobstoreKeyType_str(type),
                   is_token ? "a token" : "a secret");
        return false;
    }
    if (type >= 0) {
        source->type = type;
    } else {
        source->type = is_token ? BLOBSTORE_KEY_TYPE_TOKEN
                                : BLOBSTORE_KEY_TYPE_PASSPHRASE;
    }
    return blobstore_credential_check_iter_time(source->iter_time, errp);
}

/* The group that an option belongs to; 0: all commands have it. */
static unsigned group_of(int option)
{
    switch (option) {
    case OPTION_KEY_SECRET:
    case OPTION_KEY_URI:
    case OPTION_PIN_SECRET:
    case OPTION_KEY_SLOT:
        return FOR_OPENING;
    case OPTION_NEW_KEY_SECRET:
    case OPTION_NEW_KEY_URI:
    case OPTION_NEW_PIN_SECRET:
    case OPTION_NEW_KEY_TYPE:
    case OPTION_NEW_KEY_ITER_TIME:
        return FOR_NEW_KEY;
    case OPTION_SLOT:
        return FOR_SLOT;
    case OPTION_REPLACE:
        return FOR_REPLACE;
    case 'p':
        return FOR_PROGRESS;
    default:
        return 0;
    }
}

/* The long name of an option */
static const char *option_name(int option)
{
    const struct option *at = options;

    while (at->name && at->val != option) {
        at++;
    }
    return at->name;
}

/* Takes an option about keys.  Returns false if the value makes no sense. */
static bool take_key_option(Tool *tool, int option)
{
    switch (option) {
    case OPTION_KEY_SECRET:
        tool->key.secret = optarg;
        return true;
    case OPTION_KEY_URI:
        tool->key.uri = optarg;
        return true;
    case OPTION_PIN_SECRET:
        tool->key.pin_secret = optarg;
        return true;
    case OPTION_KEY_SLOT:
        return parse_slot(optarg, &tool->key_slot);
    case OPTION_NEW_KEY_SECRET:
        tool->new_key.secret = optarg;
        return true;
    case OPTION_NEW_KEY_URI:
        tool->new_key.uri = optarg;
        return true;
    case OPTION_NEW_PIN_SECRET:
        tool->new_key.pin_secret = optarg;
        return true;
    case OPTION_NEW_KEY_TYPE:
        return parse_key_type(optarg, &tool->new_key_type);
    case OPTION_NEW_KEY_ITER_TIME:
        return parse_number(optarg, UINT_MAX, &tool->new_key.iter_time);
    case OPTION_SLOT:
        return parse_slot(optarg, &tool->slot);
    case OPTION_REPLACE:
        tool->replace = true;
        return true;
    default:
        g_assert_not_reached();
    }
}

/* Returns the exit status, or -1 to continue. */
static int parse_options(int argc, char **argv, const Command *command,
                         Tool *tool, Image *image)
{
    int option;

    while ((option = getopt_long(argc, argv, "hf:Up", options, NULL)) != -1) {
        if (command && group_of(option) & ~command->options) {
            return usage("--%s does not belong to %s", option_name(option),
                         command->name);
        }
        switch (option) {
        case 'h':
            print_help();
            return TOOL_EXIT_OK;
        case 'f':
            image->format = optarg;
            break;
        case 'U':
            image->force_share = true;
            break;
        case 'p':
            tool->progress = true;
            break;
        case OPTION_IMAGE_OPTS:
            image->is_options = true;
            break;
        case OPTION_OBJECT:
            user_creatable_process_cmdline(optarg);
            break;
        case '?':
            return usage("bad options");
        default:
            if (!take_key_option(tool, option)) {
                return usage("'%s' makes no sense there", optarg);
            }
        }
    }
    if (optind != argc - 1) {
        return usage("one image is expected");
    }
    if (image->format && image->is_options) {
        return usage("--image-opts and --format exclude each other");
    }
    image->name = argv[optind];
    return -1;
}

static const Command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!strcmp(commands[i].name, name)) {
            return &commands[i];
        }
    }
    return NULL;
}

static QemuOptsList image_options = {
    .name = "source",
    .implied_opt_name = "file",
    .head = QTAILQ_HEAD_INITIALIZER(image_options.head),
    .desc = { { } },
};

static BlockBackend *open_image(const Image *image, bool writable)
{
    int flags = BDRV_O_NO_SHARE | (writable ? BDRV_O_RDWR : 0);
    QDict *opts;
    Error *err = NULL;
    BlockBackend *blk;

    if (image->is_options) {
        QemuOpts *parsed = qemu_opts_parse_noisily(&image_options,
                                                   image->name, true);

        if (!parsed) {
            return NULL;
        }
        opts = qemu_opts_to_qdict(parsed, NULL);
    } else {
        opts = qdict_new();
        if (image->format) {
            qdict_put_str(opts, "driver", image->format);
        }
    }
    if (image->force_share) {
        flags &= ~BDRV_O_NO_SHARE;
        qdict_put_bool(opts, BDRV_OPT_FORCE_SHARE, true);
    }
    blk = blk_new_open(image->is_options ? NULL : image->name, NULL, opts,
                       flags, &err);
    if (!blk) {
        error_reportf_err(err, "%s: ", image->name);
    }
    return blk;
}

/* The arguments and results of the coroutine */
typedef struct Run {
    Tool *tool;
    const Command *command;
    GError *error;
    int status;
    bool done;
} Run;

/* The tool keeps the key, too, because new key slots have to hold it. */
static bool coroutine_fn unlock(const BlobStoreLabel *label, void *opaque,
                                BlobKey **key, GError **error)
{
    Tool *tool = opaque;
    g_auto(BlobStoreCredential) credential = { 0 };

    if (!tool_names_key(&tool->key)) {
        return true;            /* The core says that a key is needed. */
    }
    if (!blobstore_credential_load(&tool->key, &credential, error)) {
        return false;
    }
    credential.core.slot = tool->key_slot;
    *key = blob_key_slots_unlock(&label->key_slots, label->uuid,
                                 &credential.core, error);
    if (*key) {
        tool->data_key = blob_key_ref(*key);
    }
    return *key;
}

static bool coroutine_fn open_store(Tool *tool, const Command *command,
                                    GError **error)
{
    BlobStorage *storage = &tool->medium.parent;
    BlobStoreOptions store_options = {
        .read_only = !command->writes,
        .unlock = unlock,
        .opaque = tool,
    };
    BlobStoreStatus info;

    if (!command->needs_store) {
        return blob_store_read_label(storage, &tool->label, error);
    }
    tool->store = blob_store_open(storage, &store_options, error);
    if (!tool->store) {
        return false;
    }
    blob_store_get_status(tool->store, &info);
    memcpy(tool->uuid, info.uuid, sizeof(tool->uuid));
    return true;
}

static void coroutine_fn run_entry(void *opaque)
{
    Run *run = opaque;

    run->status = open_store(run->tool, run->command, &run->error)
                  ? run->command->run(run->tool, &run->error)
                  : TOOL_EXIT_ERROR;
    run->done = true;
    aio_wait_kick();
}

static void print_warnings(const Tool *tool)
{
    const char *const *warnings = tool->store
                                  ? blob_store_warnings(tool->store) : NULL;

    for (; warnings && *warnings; warnings++) {
        warn_report("%s", *warnings);
    }
}

static int run_command(Tool *tool, const Command *command,
                       const Image *image)
{
    Run run = { .tool = tool, .command = command };

    aio_co_enter(qemu_get_aio_context(),
                 qemu_coroutine_create(run_entry, &run));
    AIO_WAIT_WHILE(NULL, !run.done);
    print_warnings(tool);
    if (run.error) {
        error_report("%s: %s", image->name, run.error->message);
        g_error_free(run.error);
    }
    blob_store_free(tool->store);
    blob_key_unref(tool->data_key);
    return run.status;
}

static void init(const char *name)
{
    /* A server that dies is an I/O error, not the end of the tool. */
    signal(SIGPIPE, SIG_IGN);
    socket_init();
    error_init(name);
    module_call_init(MODULE_INIT_TRACE);
    qemu_init_exec_dir(name);
    qemu_init_main_loop(&error_fatal);
    qcrypto_init(&error_fatal);
    module_call_init(MODULE_INIT_QOM);
    bdrv_init();
    qemu_add_opts(&image_options);
}

/* What a full device, or a closed pipe, did not take is an error, too. */
static int flush_output(int status)
{
    if (fflush(stdout) || ferror(stdout)) {
        error_report("cannot write to standard output: %s", strerror(errno));
        return status == TOOL_EXIT_OK ? TOOL_EXIT_ERROR : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    Tool tool = {
        .key_slot = BLOB_KEY_SLOT_ANY,
        .slot = BLOB_KEY_SLOT_ANY,
        .key.iter_time = BLOB_KEY_KDF_MILLISECONDS,
        .new_key.iter_time = BLOB_KEY_KDF_MILLISECONDS,
        .new_key_type = -1,
    };
    Image image = { 0 };
    const Command *command = argc > 1 ? find_command(argv[1]) : NULL;
    BlockBackend *blk;
    Error *err = NULL;
    int status;

    init(argv[0]);
    if (!command && argc > 1 && argv[1][0] != '-') {
        return usage("there is no command '%s'", argv[1]);
    }
    status = parse_options(argc - !!command, argv + !!command, command,
                           &tool, &image);
    if (status >= 0) {
        return status;
    }
    if (!command) {
        return usage("a command is expected");
    }
    if (!settle_key(&tool.key, -1, &err) ||
        !settle_key(&tool.new_key, tool.new_key_type, &err)) {
        error_report_err(err);
        return TOOL_EXIT_USAGE;
    }
    if (image.force_share && command->writes) {
        return usage("--force-share is for commands that only read");
    }
    blk = open_image(&image, command->writes);
    if (!blk) {
        return TOOL_EXIT_ERROR;
    }
    blobstore_block_io_init(&tool.medium, blk);
    qemu_progress_init(tool.progress, 1.0);
    status = run_command(&tool, command, &image);
    qemu_progress_end();
    blk_unref(blk);
    bdrv_close_all();
    return flush_output(status);
}
