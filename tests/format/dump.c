/*
 * The core's view of store images, as JSON: the other side of reader.py
 *
 *   dump [--contents] [--passphrase=TEXT | --raw=HEX | --key=HEX] IMAGE...
 *
 * The program prints a line for each image, as Python's json.dumps() would.
 * Without passphrase, raw secret and data key, the line of a sealed store has
 * only what can be known without them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include "hex.h"
#include "blobstore/store.h"

/* The secrets that sealed stores are opened with; both NULL: none */
typedef struct Dump {
    BlobSecret *secret;
    BlobKey *key;
    gboolean contents;
} Dump;

static void print_string(const char *string)
{
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
        static const char plain[] = "\b\f\n\r\t\"\\";
        static const char escaped[] = "bfnrt\"\\";
        const char *found = strchr(plain, *c);

        if (found) {
            printf("\\%c", escaped[found - plain]);
        } else if (*c < 0x20 || *c > 0x7e) {
            printf("\\u%04x", *c);
        } else {
            putchar(*c);
        }
    }
    putchar('"');
}

static void print_hex(const char *name, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";

    printf(", \"%s\": \"", name);
    for (size_t i = 0; i < count; i++) {
        putchar(digits[bytes[i] >> 4]);
        putchar(digits[bytes[i] & 15]);
    }
    putchar('"');
}

static void print_content(GBytes *content, char **metadata, bool contents)
{
    g_autofree char *digest = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256,
                                                           content);
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(content, &bytes);

    fputs(", \"metadata\": [", stdout);
    for (char **string = metadata; *string; string++) {
        fputs(string == metadata ? "" : ", ", stdout);
        print_string(*string);
    }
    printf("], \"bytes\": %zu, \"sha256\": \"%s\"", bytes, digest);
    if (contents) {
        print_hex("content", data, bytes);
    }
}

static bool print_blob(BlobStore *store, Blob *blob, bool contents,
                       GError **error)
{
    BlobInfo info;
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;
    g_autoptr(GError) local = NULL;
    const char *state = "damaged";

    if (blob_store_read(store, blob, &content, &metadata, &local)) {
        state = content ? "present" : "absent";
    } else if (!g_error_matches(local, BLOBSTORE_ERROR,
                                BLOBSTORE_ERROR_DAMAGED)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    blob_get_info(blob, &info);
    fputs("{\"owner\": ", stdout);
    print_string(info.owner);
    fputs(", \"name\": ", stdout);
    print_string(info.name);
    printf(", \"kind\": \"%s\", \"state\": \"%s\", \"sequence\": %"
           G_GUINT64_FORMAT, blob_kind_name(info.kind), state, info.sequence);
    if (content) {
        print_content(content, metadata, contents);
    }
    putchar('}');
    return true;
}

static void print_key_slots(const BlobKeySlots *slots)
{
    fputs(", \"key slots\": [", stdout);
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;
        const char *is = slots->damaged[n] ? "damaged"
                         : !blob_key_slots_get(slots, n, &slot) ? "bad"
                         : blob_key_slot_type_name(slot.type);

        printf("%s\"%s\"", n ? ", " : "", is);
    }
    putchar(']');
}

static bool print_store(BlobStore *store, bool contents, GError **error)
{
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    if (info.blank) {
        puts("{\"store\": \"blank\"}");
        return true;
    }
    fputs("{\"store\": \"ready\"", stdout);
    print_hex("uuid", info.uuid, sizeof(info.uuid));
    if (info.sealed) {
        BlobKeySlots slots;

        blob_store_get_key_slots(store, &slots);
        print_key_slots(&slots);
    }
    printf(", \"converting\": %s", info.converting ? "true" : "false");
    print_hex("epoch", info.epoch_id, sizeof(info.epoch_id));
    fputs(", \"blobs\": [", stdout);
    for (size_t i = 0; i < blob_store_count(store); i++) {
        fputs(i ? ", " : "", stdout);
        if (!print_blob(store, blob_store_nth(store, i), contents, error)) {
            return false;
        }
    }
    puts("]}");
    return true;
}

static void print_locked(const BlobStoreLabel *label)
{
    fputs("{\"store\": \"locked\"", stdout);
    print_hex("uuid", label->uuid, sizeof(label->uuid));
    print_key_slots(&label->key_slots);
    puts("}");
}

static BlobKey *find_key(const Dump *dump, const BlobStoreLabel *label,
                         GError **error)
{
    BlobCredential credential = {
        .secret = dump->secret,
        .slot = BLOB_KEY_SLOT_ANY,
    };

    return dump->key ? blob_key_ref(dump->key)
                     : blob_key_slots_unlock(&label->key_slots, label->uuid,
                                             &credential, error);
}

/*
 * Returns NULL without an error if the store is locked, and has been printed.
 */
static BlobStore *open_store(const Dump *dump, BlobStorage *storage,
                             GError **error)
{
    BlobStoreOptions options = { .read_only = true };
    BlobStoreLabel label;
    g_autoptr(BlobKey) key = NULL;

    if (!blob_store_read_label(storage, &label, error)) {
        return NULL;
    }
    if (label.sealed && !label.blank) {
        if (!dump->secret && !dump->key) {
            print_locked(&label);
            return NULL;
        }
        key = find_key(dump, &label, error);
        if (!key) {
            return NULL;
        }
    }
    options.key = key;
    return blob_store_open(storage, &options, error);
}

/* Returns false if the image cannot be read, not if it is no store. */
static bool print_image(const Dump *dump, const char *path, GError **error)
{
    g_autoptr(BlobStorage) storage = blob_storage_new_file(path, false,
                                                           error);
    g_autoptr(BlobStore) store = NULL;
    g_autoptr(GError) refusal = NULL;

    if (!storage) {
        return false;
    }
    store = open_store(dump, storage, &refusal);
    if (store) {
        return print_store(store, dump->contents, error);
    }
    if (g_error_matches(refusal, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO)) {
        g_propagate_error(error, g_steal_pointer(&refusal));
        return false;
    }
    if (refusal) {
        puts("{\"store\": \"refused\"}");
        fprintf(stderr, "%s: %s\n", path, refusal->message);
    }
    return true;
}

static bool parse_secret(Dump *dump, const char *passphrase, const char *raw,
                         const char *key, GError **error)
{
    uint8_t bytes[BLOB_KEY_BYTES] = { 0 };
    const char *hex = raw ?: key;

    if (hex && strlen(hex) != 2 * sizeof(bytes)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "a raw secret or key has %zu hexadecimal digits",
                    2 * sizeof(bytes));
        return false;
    }
    if (hex) {
        from_hex(hex, bytes);
    }
    if (key) {
        dump->key = blob_key_new_from_bytes(bytes, error);
        return dump->key;
    }
    if (raw || passphrase) {
        dump->secret = blob_secret_new(raw ? (const char *)bytes : passphrase,
                                       raw ? sizeof(bytes)
                                           : strlen(passphrase), error);
        return dump->secret;
    }
    return true;
}

static bool parse_options(Dump *dump, char ***images, int *argc, char ***argv,
                          GError **error)
{
    g_autofree char *passphrase = NULL;
    g_autofree char *raw = NULL;
    g_autofree char *key = NULL;
    const GOptionEntry entries[] = {
        { "contents", 0, 0, G_OPTION_ARG_NONE, &dump->contents,
          "print them, in hexadecimal", NULL },
        { "passphrase", 0, 0, G_OPTION_ARG_FILENAME, &passphrase,
          "of sealed stores", "TEXT" },
        { "raw", 0, 0, G_OPTION_ARG_STRING, &raw,
          "their secret of 32 bytes", "HEX" },
        { "key", 0, 0, G_OPTION_ARG_STRING, &key, "their data key", "HEX" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, images,
          NULL, "IMAGE..." },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_add_main_entries(context, entries, NULL);
    return g_option_context_parse(context, argc, argv, error) &&
           parse_secret(dump, passphrase, raw, key, error);
}

int main(int argc, char **argv)
{
    Dump dump = { 0 };
    g_auto(GStrv) images = NULL;
    g_autoptr(GError) error = NULL;
    int status = 0;

    if (!parse_options(&dump, &images, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        status = 2;
    }
    for (char **image = images; !status && image && *image; image++) {
        if (!print_image(&dump, *image, &error)) {
            fprintf(stderr, "%s: %s\n", *image, error->message);
            status = 2;
        }
    }
    g_clear_pointer(&dump.secret, blob_secret_free);
    g_clear_pointer(&dump.key, blob_key_unref);
    return status;
}
