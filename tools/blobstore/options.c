/*
 * qemu-blobstore: its commands and their options
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <getopt.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qom/object_interfaces.h"
#include "tool.h"

static const ToolEntry commands[] = {
    { "info", tool_info, FOR_OPENING, "what is in the store" },
    { "check", tool_check, FOR_OPENING, "read all of it, report damage" },
    { "key-list", tool_key_list, 0, "its key slots" },
    { "key-add", tool_key_add,
      FOR_OPENING | FOR_WRITING | FOR_NEW_KEY | FOR_SLOT | FOR_REPLACE,
      "let another key open it" },
    { "key-remove", tool_key_remove, FOR_OPENING | FOR_WRITING | FOR_SLOT,
      "empty a key slot" },
    { "encrypt", tool_encrypt,
      FOR_OPENING | FOR_WRITING | FOR_NEW_KEY | FOR_PROGRESS,
      "make a plain store encrypted" },
    { "rekey", tool_rekey,
      FOR_OPENING | FOR_WRITING | FOR_NEW_KEY | FOR_PROGRESS,
      "encrypt it again with another data key" },
    { "decrypt", tool_decrypt, FOR_OPENING | FOR_WRITING | FOR_PROGRESS,
      "make it plain" },
};

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
    OPTION_TAKE_OVER,
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
    { "take-over", no_argument, NULL, OPTION_TAKE_OVER },
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
           "use\n"
           "\n"
           "commands that write:\n"
           "  --take-over                 though the store was not closed: no VM "
           "uses it\n");
}

int tool_usage(const char *format, ...)
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

bool tool_settle_key(BlobStoreKeySource *source, int type, Error **errp)
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
    case OPTION_TAKE_OVER:
        return FOR_WRITING;
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

int tool_parse_options(int argc, char **argv, const ToolEntry *command,
                       Tool *tool, ToolImage *image)
{
    int option;

    while ((option = getopt_long(argc, argv, "hf:Up", options, NULL)) != -1) {
        if (command && group_of(option) & ~command->options) {
            return tool_usage("--%s does not belong to %s", option_name(option),
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
        case OPTION_TAKE_OVER:
            tool->take_over = true;
            break;
        case OPTION_OBJECT:
            user_creatable_process_cmdline(optarg);
            break;
        case '?':
            return tool_usage("bad options");
        default:
            if (!take_key_option(tool, option)) {
                return tool_usage("'%s' makes no sense there", optarg);
            }
        }
    }
    if (optind != argc - 1) {
        return tool_usage("one image is expected");
    }
    if (image->format && image->is_options) {
        return tool_usage("--image-opts and --format exclude each other");
    }
    image->name = argv[optind];
    return -1;
}

const ToolEntry *tool_find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!strcmp(commands[i].name, name)) {
            return &commands[i];
        }
    }
    return NULL;
}
