/*
 * Images of sealed stores: conversions, and changes of key slots
 *
 *   seals [--seed=N] DIRECTORY
 *
 * Converts a store in every way, also with a failure on the way and a retry,
 * and changes the key slots of a sealed one.  Writes the possible contents of
 * the disk at any time as files into DIRECTORY.  All data keys are behind the
 * raw secret of 32 bytes 3.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "emit.h"
#include "rich.h"

enum {
    NO_KEY = 0,
    RAW_SLOT = 3,
    FAILURES_STRIDE = 3,        /* of calls that fail on the way ... */
    RESUMED_STRIDE = 3,         /* ... and of events after it */
};

/*
 * A conversion from one data key to another: a byte that is repeated 32 times,
 * or NO_KEY
 */
typedef struct Way {
    const char *name;
    int from;
    int to;
} Way;

static const Way ways[] = {
    { "seal", NO_KEY, 2 }, { "rekey", 1, 2 }, { "unseal", 1, NO_KEY },
};

static const uint8_t uuid[BLOB_UUID_BYTES] = {
    0x5e, 0xed, 0x5e, 0xed, 0x01, 0x23, 0x45, 0x67,
    0x89, 0xab, 0xcd, 0xef, 0x5e, 0xed, 0x5e, 0xed,
};

static BlobKey *new_key(int n)
{
    uint8_t bytes[BLOB_KEY_BYTES];
    BlobKey *key;

    memset(bytes, n, sizeof(bytes));
    key = n == NO_KEY ? NULL : blob_key_new_from_bytes(bytes, NULL);
    g_assert(n == NO_KEY || key);
    return key;
}

static BlobSecret *raw_secret(void)
{
    uint8_t bytes[BLOB_KEY_RAW_BYTES];

    memset(bytes, RAW_SLOT, sizeof(bytes));
    return blob_secret_new(bytes, sizeof(bytes), NULL);
}

static void put_raw(BlobKeySlots *slots, const BlobKey *key)
{
    g_autoptr(BlobSecret) secret = raw_secret();
    BlobCredential credential = { .secret = secret };
    g_autoptr(GError) error = NULL;

    if (!blob_key_slots_put(slots, RAW_SLOT, key, uuid,
                            BLOB_KEY_SLOT_RAW, &credential, 0, &error)) {
        g_error("key slot: %s", error->message);
    }
}

static void open_with_key(Rich *rich, BlobKey *key)
{
    BlobKeySlots slots = { 0 };
    g_autoptr(GError) error = NULL;

    rich->options.uuid = uuid;
    rich->options.create_as_uuid = true;
    rich->options.key = key;
    rich->options.key_slots = key ? &slots : NULL;
    if (key) {
        put_raw(&slots, key);
    }
    if (!rich_open(rich, &error)) {
        g_error("sealed store: %s", error->message);
    }
    rich->options.key = NULL;
    rich->options.key_slots = NULL;
}

/* One blob is never written, one deleted, one written again, and one empty. */
static Rich new_store(int n)
{
    static const int writes[][RICH_BLOBS] = {
        { 16000, 1, 9000, RICH_KEEP },
        { 12000, RICH_KEEP, RICH_KEEP, RICH_KEEP },
        { RICH_KEEP, 0, RICH_DELETE, RICH_KEEP },
    };
    Rich rich = {
        .disk = sim_disk_new(NULL, RICH_DISK_BYTES),
        .options = { .pack = true },
    };
    g_autoptr(BlobKey) key = new_key(n);

    open_with_key(&rich, key);
    rich_start(&rich);
    for (size_t i = 0; i < G_N_ELEMENTS(writes); i++) {
        rich_write(&rich, writes[i], 1 + i % 2);
    }
    sim_disk_begin(rich.disk);
    return rich;
}

static bool convert(Rich *rich, int to, GError **error)
{
    g_autoptr(BlobKey) key = new_key(to);
    BlobKeySlots slots = { 0 };

    if (key) {
        put_raw(&slots, key);
    }
    return blob_store_convert(rich->store, key, &slots, error);
}

/* Writes images after each step, and of a while later. */
static void run_way(Output *output, const Way *way)
{
    static const int later[RICH_BLOBS] = { 100, 1, 2000, 3000 };
    Rich rich = new_store(way->from);
    g_autofree char *after = g_strdup_printf("%s-after", way->name);
    g_autoptr(GError) error = NULL;

    if (!convert(&rich, way->to, &error)) {
        g_error("%s: %s", way->name, error->message);
    }
    emit_cuts(output, rich.disk, way->name);
    emit_damaged(output, rich.disk, way->name);
    sim_disk_begin(rich.disk);

    rich_write(&rich, later, 1);
    rich_close(&rich);
    emit_all(output, rich.disk, after, rich.store);
    rich_clear(&rich);
}

/*
 * Opens the store as somebody with the raw secret, which all data keys are
 * behind.
 */
static void open_again(Rich *rich)
{
    g_autoptr(BlobSecret) secret = raw_secret();
    BlobCredential credential = {
        .secret = secret,
        .slot = BLOB_KEY_SLOT_ANY,
    };
    BlobStoreLabel label;
    g_autoptr(BlobKey) key = NULL;
    g_autoptr(GError) error = NULL;

    if (blob_store_read_label(rich->disk->storage, &label, &error) &&
        label.sealed) {
        key = blob_key_slots_unlock(&label.key_slots, label.uuid, &credential,
                                    &error);
    }
    if (error) {
        g_error("sealed store: %s", error->message);
    }
    open_with_key(rich, key);
}

/* Returns false if no call is left to fail. */
static bool run_failing(Output *output, const Way *way, int failing_call)
{
    Rich rich = new_store(way->from);
    g_autofree char *name = g_strdup_printf("%s-resumed", way->name);
    g_autoptr(GError) error = NULL;
    bool failed;

    rich.disk->fail_after = failing_call;
    rich.disk->landing = failing_call / FAILURES_STRIDE % SIM_LANDS_LATE;
    failed = !convert(&rich, way->to, &error);
    rich.disk->fail_after = -1;
    if (failed) {
        sim_disk_begin(rich.disk);
        open_again(&rich);
        rich_start(&rich);
        emit_whole_cuts(output, rich.disk, name, RESUMED_STRIDE);
    }
    rich_clear(&rich);
    return failed;
}

static void set_slots(Rich *rich, const BlobKeySlots *slots,
                      const BlobKey *key)
{
    g_autoptr(GError) error = NULL;

    if (!blob_store_set_key_slots(rich->store, key, slots, &error)) {
        g_error("key slots: %s", error->message);
    }
}

static void put_passphrase(BlobKeySlots *slots, unsigned n, const char *text,
                           const BlobKey *key)
{
    g_autoptr(BlobSecret) secret = blob_secret_new(text, strlen(text), NULL);
    BlobCredential credential = { .secret = secret };

    g_assert(blob_key_slots_put(slots, n, key, uuid,
                                BLOB_KEY_SLOT_PASSPHRASE, &credential, 1,
                                NULL));
}

/* Makes a slot as a token would, without a token. */
static bool pretend_to_wrap(const BlobToken *token, const char *pin,
                            const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                            BlobKeySlot *slot, GError **error)
{
    slot->mechanism = BLOB_KEY_MECHANISM_AES_KEY_WRAP;
    slot->wrapped_bytes = BLOB_KEY_TOKEN_BYTES + 8;
    memset(slot->wrapped, 0x77, slot->wrapped_bytes);
    return true;
}

static void put_token(BlobKeySlots *slots, unsigned n, const BlobKey *key)
{
    BlobToken token = { .wrap = pretend_to_wrap };
    BlobCredential credential = {
        .token = &token,
        .uri = "pkcs11:token=pretended;object=key",
    };

    g_assert(blob_key_slots_put(slots, n, key, uuid,
                                BLOB_KEY_SLOT_TOKEN, &credential, 0, NULL));
}

/* Slots of each kind are added, and the first one is removed. */
static void run_slots(Output *output)
{
    Rich rich = new_store(1);
    g_autoptr(BlobKey) key = new_key(1);
    BlobKeySlots slots;

    blob_store_get_key_slots(rich.store, &slots);
    put_passphrase(&slots, 0, "sesame", key);
    put_token(&slots, 1, key);
    set_slots(&rich, &slots, key);
    g_assert(blob_key_slots_remove(&slots, RAW_SLOT, NULL));
    put_passphrase(&slots, 7, "sim\xc5\x9fim", key);
    set_slots(&rich, &slots, key);
    rich_close(&rich);
    emit_cuts(output, rich.disk, "slots");
    rich_clear(&rich);
}

static void run(Output *output)
{
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        run_way(output, &ways[i]);
        for (int n = 0; run_failing(output, &ways[i], n);
             n += FAILURES_STRIDE) {
            continue;
        }
    }
    run_slots(output);
}

int main(int argc, char **argv)
{
    return emit_main(argc, argv, run);
}
