/*
 * qemu-blobstore: the table of its options, and the command line
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <getopt.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "tool.h"

#define AT(member) offsetof(Tool, member)

const ToolOption tool_options[] = {
    { "help", 'h', 0, TOOL_FLAG, AT(help), NULL, "show this" },
    { "version", 0, OPT_ALONE, TOOL_FLAG, AT(version), NULL,
      "show the version" },
    { "man", 0, OPT_ALONE, TOOL_FLAG, AT(man) },
    { "completion", 0, OPT_ALONE, TOOL_FLAG, AT(completion) },
    { "quiet", 'q', 0, TOOL_FLAG, AT(quiet), NULL,
      "print results and errors only, no remarks" },
    { "object", 0, 0, TOOL_LIST, AT(objects), "OBJECT",
      "for example secret,id=sec0,file=KEYFILE" },
    { "format", 'f', OPT_IMAGE, TOOL_TEXT, AT(image.format), "FORMAT",
      "format of the image: raw, qcow2, ..." },
    { "image-opts", 0, OPT_IMAGE, TOOL_FLAG, AT(image.is_options), NULL,
      "IMAGE is a list of options, as for qemu-img" },
    { "force-share", 'U', OPT_SHARE, TOOL_FLAG, AT(image.force_share), NULL,
      "though it is in use; what is shown may be a mix" },
    { "output", 0, OPT_OUTPUT, TOOL_CHOICE, AT(output), "human|json|svg",
      "what to print: text for people, JSON, or the picture of map" },
    { "progress", 'p', OPT_PROGRESS, TOOL_FLAG, AT(progress), NULL,
      "show how much has been done" },
    { "take-over", 0, OPT_TAKE_OVER, TOOL_FLAG, AT(take_over), NULL,
      "though the store was not closed: no VM uses it" },
    { "key-secret", 0, OPT_KEY, TOOL_TEXT, AT(key.secret), "ID",
      "secret that opens the store: passphrase or raw key" },
    { "key-uri", 0, OPT_KEY, TOOL_TEXT, AT(key.uri), "URI",
      "key in a PKCS#11 token that opens the store" },
    { "pin-secret", 0, OPT_KEY, TOOL_TEXT, AT(key.pin_secret), "ID",
      "secret with the PIN of that token" },
    { "key-slot", 0, OPT_KEY, TOOL_KEY_SLOT, AT(key_slot), "N",
      "try only this key slot" },
    { "new-key-secret", 0, OPT_NEW_KEY, TOOL_TEXT, AT(new_key.secret), "ID",
      "secret that is to open the store" },
    { "new-key-uri", 0, OPT_NEW_KEY, TOOL_TEXT, AT(new_key.uri), "URI",
      "key in a PKCS#11 token that is to open the store" },
    { "new-pin-secret", 0, OPT_NEW_KEY, TOOL_TEXT, AT(new_key.pin_secret),
      "ID", "secret with the PIN of that token" },
    { "new-key-type", 0, OPT_NEW_KEY, TOOL_CHOICE, AT(new_key_type),
      "passphrase|raw|token", "what the new key is; a secret is a passphrase "
      "unless this says otherwise" },
    { "new-key-iter-time", 0, OPT_NEW_KEY, TOOL_NUMBER,
      AT(new_key.iter_time), "MS",
      "processor time that it takes to try a passphrase (1000)" },
    { "slot", 0, OPT_SLOT, TOOL_KEY_SLOT, AT(slot), "N",
      "key slot, 0 to 7" },
    { "replace", 0, OPT_REPLACE, TOOL_FLAG, AT(replace), NULL,
      "the key slot may be in use" },
    { "tpm", 0, OPT_CREATE | OPT_SIZE, TOOL_FLAG, AT(for_tpm), NULL,
      "the image has space for a TPM" },
    { "required", 0, OPT_CREATE | OPT_SIZE, TOOL_BYTES, AT(required), "BYTES",
      "the image has at least so many bytes (64k, 4M, ...)" },
    { "show-metadata", 0, OPT_GET, TOOL_FLAG, AT(show_metadata), NULL,
      "print the metadata of the blob in place of its content" },
    { "kind", 0, OPT_PUT, TOOL_CHOICE, AT(kind), "permanent|savestate|volatile",
      "kind of a new blob: permanent, or savestate, which the device deletes "
      "when it has used it; volatile is refused" },
    { "max-size", 0, OPT_PUT, TOOL_BYTES, AT(max_size), "BYTES",
      "how large it can become; at least what it could before" },
    { "metadata", 0, OPT_PUT, TOOL_LIST, AT(metadata), "KEY=VALUE",
      "metadata in place of those of the blob; may be repeated" },
    { "repair", 0, OPT_REPAIR, TOOL_FLAG, AT(repair), NULL,
      "write damaged copies again" },
    { "fall-back", 0, OPT_REPAIR, TOOL_TEXT, AT(fall_back), "OWNER/NAME",
      "give up the lost version of this damaged blob, for the one before" },
    { "or-absent", 0, OPT_REPAIR, TOOL_FLAG, AT(or_absent), NULL,
      "delete that blob if there is no version before" },
    { "target-format", 'O', OPT_COPY, TOOL_TEXT, AT(target_format), "FORMAT",
      "format of the target" },
    { "target-image-opts", 0, OPT_COPY, TOOL_FLAG, AT(target_is_options),
      NULL, "TARGET is a list of options" },
    { "unencrypted", 0, OPT_COPY, TOOL_FLAG, AT(unencrypted), NULL,
      "the target is plain though the source is encrypted" },
    { "new-identity", 0, OPT_CLONE, TOOL_FLAG, AT(new_identity), NULL,
      "the target is another store, with a new uuid" },
    { "blob", 0, OPT_SIZE, TOOL_LIST, AT(blob_sizes), "BYTES",
      "a blob of at most that size; may be repeated" },
    { "from", 0, OPT_FROM, TOOL_TEXT, AT(from), "DIR|FILE",
      "directory in which swtpm keeps the TPM, or its linear file" },
    { "drop-volatile", 0, OPT_FROM, TOOL_FLAG, AT(drop_volatile), NULL,
      "though the TPM was saved while it ran; PCRs and sessions are lost" },
    { "to", 0, OPT_TO, TOOL_TEXT, AT(to), "DIR|FILE",
      "directory for the TPM, or file with --linear" },
    { "linear", 0, OPT_TO, TOOL_FLAG, AT(linear), NULL,
      "write one linear file instead of a directory" },
    { "swtpm-key", 0, OPT_SWTPM_KEY, TOOL_TEXT, AT(swtpm_key), "KEY",
      "key of swtpm's files, as in swtpm's option --key: "
      "file=FILE[,format=hex|binary] or pwdfile=FILE[,kdf=pbkdf2|sha512], "
      "with [,mode=aes-128-cbc|aes-256-cbc]" },
    { "force", 0, OPT_FORCE, TOOL_FLAG, AT(force), NULL,
      "though the keys of the TPM that is in the store are lost" },
    { "tpm-version", 0, OPT_NEW_TPM, TOOL_CHOICE, AT(tpm_version), "2.0|1.2",
      "version of the new TPM" },
    { "pcr-banks", 0, OPT_NEW_TPM, TOOL_TEXT, AT(pcr_banks), "BANKS",
      "PCR banks of the new TPM, such as sha256:sha384" },
    { "profile", 0, OPT_NEW_TPM, TOOL_TEXT, AT(profile), "NAME",
      "profile of the new TPM, for libtpms 0.10 or newer" },
    { "lockout-secret", 0, OPT_LOCKOUT, TOOL_TEXT, AT(lockout_secret), "ID",
      "secret with the lockout password, if the guest has set one" },
    { NULL }
};

/* TOOL_CHOICE gives these numbers. */
QEMU_BUILD_BUG_ON(BLOBSTORE_KEY_TYPE_PASSPHRASE != 0);
QEMU_BUILD_BUG_ON(BLOBSTORE_KEY_TYPE_RAW != 1);
QEMU_BUILD_BUG_ON(BLOBSTORE_KEY_TYPE_TOKEN != 2);

bool tool_option_fits(const ToolOption *option, const ToolCommand *command)
{
    return !option->group || option->group & command->options;
}

static bool parse_choice(const char *words, const char *text, int *value)
{
    g_auto(GStrv) choices = g_strsplit(words, "|", -1);

    for (int n = 0; choices[n]; n++) {
        if (!strcmp(choices[n], text)) {
            *value = n;
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, unsigned max, unsigned *value)
{
    return !qemu_strtoui(text, NULL, 10, value) && *value <= max;
}

static bool parse_key_slot(const char *text, int *slot)
{
    unsigned value;

    if (!parse_number(text, BLOB_KEY_SLOTS - 1, &value)) {
        return false;
    }
    *slot = value;
    return true;
}

/* Returns false if @text makes no sense. */
static bool take_value(Tool *tool, const ToolOption *option, const char *text)
{
    void *member = (char *)tool + option->member;

    switch (option->kind) {
    case TOOL_FLAG:
        *(bool *)member = true;
        return true;
    case TOOL_TEXT:
        *(const char **)member = text;
        return true;
    case TOOL_CHOICE:
        return parse_choice(option->value, text, member);
    case TOOL_NUMBER:
        return parse_number(text, UINT_MAX, member);
    case TOOL_BYTES:
        return qemu_strtosz(text, NULL, member) == 0;
    case TOOL_KEY_SLOT:
        return parse_key_slot(text, member);
    case TOOL_LIST:
        *(GSList **)member = g_slist_prepend(*(GSList **)member,
                                             (char *)text);
        return true;
    default:
        g_assert_not_reached();
    }
}

enum {
    LONG_ONLY = 256,            /* above all letters; the index is added */
    OPTIONS_MAX = 64,
};

/* The table in the form that getopt_long() takes */
static void for_getopt(struct option *options, char *letters)
{
    size_t n;

    for (n = 0; tool_options[n].name; n++) {
        const ToolOption *option = &tool_options[n];

        assert(n < OPTIONS_MAX - 1);
        options[n] = (struct option) {
            option->name,
            option->kind == TOOL_FLAG ? no_argument : required_argument,
            NULL, LONG_ONLY + n,
        };
        if (option->letter) {
            *letters++ = option->letter;
            if (option->kind != TOOL_FLAG) {
                *letters++ = ':';
            }
        }
    }
    options[n] = (struct option) { NULL };
    *letters = '\0';
}

static const ToolOption *find_option(int value)
{
    const ToolOption *option = tool_options;

    if (value >= LONG_ONLY) {
        return &tool_options[value - LONG_ONLY];
    }
    while (option->name && option->letter != value) {
        option++;
    }
    return option;
}

static bool take_option(Tool *tool, const ToolOption *option)
{
    if (tool->command && !tool_option_fits(option, tool->command)) {
        tool_usage("--%s does not belong to %s", option->name,
                   tool->command->name);
        return false;
    }
    if (!take_value(tool, option, optarg)) {
        tool_usage("--%s=%s makes no sense", option->name, optarg);
        return false;
    }
    return true;
}

static bool take_options(int argc, char **argv, Tool *tool)
{
    struct option options[OPTIONS_MAX];
    char letters[2 * OPTIONS_MAX];
    int value;

    for_getopt(options, letters);
    while ((value = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        if (value == '?') {
            tool_usage("bad options");
            return false;
        }
        if (!take_option(tool, find_option(value))) {
            return false;
        }
    }
    tool->operands = argv + optind;
    tool->operand_count = argc - optind;
    tool->image.name = tool->operands[0];
    return true;
}

/* Settles what kind of key @source names: that of @type, unless it is < 0. */
static bool settle_key(BlobStoreKeySource *source, int type)
{
    bool is_token = source->uri || source->pin_secret;
    Error *err = NULL;

    if (source->secret && is_token) {
        tool_usage("a key is either a secret or in a token, not both");
        return false;
    }
    if (type >= 0 && (type == BLOBSTORE_KEY_TYPE_TOKEN) != is_token) {
        tool_usage("--new-key-type=%s does not go with %s",
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
    if (!blobstore_credential_check_iter_time(source->iter_time, &err)) {
        tool_usage("%s", error_get_pretty(err));
        error_free(err);
        return false;
    }
    return true;
}

static bool check_operands(const Tool *tool)
{
    const ToolCommand *command = tool->command;

    if (tool->operand_count < command->min_operands ||
        tool->operand_count > command->max_operands) {
        tool_usage("%s takes: %s", command->name, command->operands);
        return false;
    }
    if ((tool->image.format && tool->image.is_options) ||
        (tool->target_format && tool->target_is_options)) {
        tool_usage("a list of options says the format itself");
        return false;
    }
    if (tool->output == TOOL_OUTPUT_SVG && !(command->options & OPT_PICTURE)) {
        tool_usage("--output=svg does not belong to %s", command->name);
        return false;
    }
    return true;
}

/* The command that argv[1], or that and argv[2], name; or NULL */
static const ToolCommand *find_command(int argc, char **argv)
{
    const ToolCommand *command = tool_commands;
    g_autofree char *both = argc > 2 ? g_strdup_printf("%s %s", argv[1],
                                                       argv[2]) : NULL;

    while (command->name && strcmp(command->name, argv[1]) &&
           g_strcmp0(command->name, both)) {
        command++;
    }
    return command->name ? command : NULL;
}

/* Whether commands of two words begin with @word */
static bool is_first_word(const char *word)
{
    size_t length = strlen(word);
    const ToolCommand *command = tool_commands;

    while (command->name && (strncmp(command->name, word, length) ||
                             command->name[length] != ' ')) {
        command++;
    }
    return command->name;
}

bool tool_parse(int argc, char **argv, Tool *tool)
{
    int words = 0;

    if (argc < 2) {
        tool_usage("a command is expected");
        return false;
    }
    if (argv[1][0] != '-') {
        tool->command = find_command(argc, argv);
        if (tool->command) {
            words = strchr(tool->command->name, ' ') ? 2 : 1;
        } else if (is_first_word(argv[1]) && (argc == 2 || *argv[2] == '-')) {
            tool->group = argv[1];
            words = 1;
        } else {
            tool_usage("there is no command '%s'", argv[1]);
            return false;
        }
    }
    if (!take_options(argc - words, argv + words, tool)) {
        return false;
    }
    if (tool->help || tool->version || tool->man || tool->completion) {
        return true;
    }
    if (!tool->command) {
        tool_usage("a command is expected");
        return false;
    }
    return check_operands(tool) && settle_key(&tool->key, -1) &&
           settle_key(&tool->new_key, tool->new_key_type);
}
