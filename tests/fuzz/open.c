/*
 * Fuzz target: a hostile image is opened, read, checked, written and repaired
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "blobstore/check.h"
#include "image.h"
#include "sealed.h"
#include "view.h"

/* FuzzHead.options */
enum {
    OPTION_PACK = 1 << 0,
    OPTION_FORMAT_NEVER = 1 << 1,
    OPTION_UUID = 1 << 2,
    OPTION_CLEAN = 1 << 3,      /* close cleanly */
    OPTION_READS_ZERO = 1 << 4, /* the medium does not report zeros */
};

/* FuzzHead.key: the key that a store is opened with */
typedef enum KeyChoice {
    KEY_THAT_FITS,              /* if it is sealed */
    KEY_OF_SLOTS,               /* the same; a blank medium becomes sealed */
    KEY_NONE,
    KEY_OTHER,
    KEY_CHOICE_COUNT,
} KeyChoice;

enum {
    OPEN_CODES = FUZZ_CODE(IO) | FUZZ_CODE(BLANK) | FUZZ_CODE(FOREIGN) |
                 FUZZ_CODE(TOO_SMALL) | FUZZ_CODE(UNSUPPORTED) |
                 FUZZ_CODE(UUID) | FUZZ_CODE(CORRUPT) | FUZZ_CODE(STALE) |
                 FUZZ_CODE(KEY) | FUZZ_CODE(TAMPERED),
    START_CODES = FUZZ_CODE(IO) | FUZZ_CODE(TOO_SMALL) | FUZZ_CODE(DAMAGED) |
                  FUZZ_CODE(FULL) | FUZZ_CODE(EXHAUSTED) |
                  FUZZ_CODE(READ_ONLY) | FUZZ_CODE(FOREIGN) |
                  FUZZ_CODE(CORRUPT),
    WRITE_CODES = FUZZ_CODE(IO) | FUZZ_CODE(TOO_LARGE) | FUZZ_CODE(DAMAGED) |
                  FUZZ_CODE(READ_ONLY) | FUZZ_CODE(EXHAUSTED),
    /* An open store allocates no more than this and a few times the medium. */
    HEAP_BYTES = 2 << 20,
    HEAP_MEDIA = 8,
    SCRIPT_BLOBS = 8,           /* existing ones; a script byte each */
};

typedef struct Session {
    FuzzDisk *disk;
    FuzzHead head;
    BlobStoreOptions options;
    FuzzView expected;
    GPtrArray *registered;      /* of Blob */
    bool in_doubt;              /* a failed write may come to life */
} Session;

/* The UUID of no store in the inputs */
static const uint8_t other_uuid[BLOB_UUID_BYTES] = {
    [6] = 0x40, [8] = 0x80,
};

/* Sets *@unlocked to a key that the caller has to release, if there is one. */
static bool choose_key(const Session *session, BlobStoreOptions *options,
                       BlobKeySlots *slots, BlobKey **unlocked,
                       GError **error)
{
    KeyChoice choice = session->head.key % KEY_CHOICE_COUNT;
    BlobStoreLabel label;

    if (!blob_store_read_label(session->disk->storage, &label, error)) {
        return false;
    }
    if (choice == KEY_OTHER) {
        options->key = fuzz_key(2);
    } else if (choice == KEY_THAT_FITS) {
        fuzz_find_key(&label, options);
    } else if (choice == KEY_OF_SLOTS && label.blank && !options->uuid) {
        fuzz_key_slots(slots, 1);
        options->key = fuzz_key(1);
        options->key_slots = slots;
        options->create_as_uuid = true;
        options->uuid = fuzz_uuid;
    } else if (choice == KEY_OF_SLOTS && label.sealed) {
        *unlocked = fuzz_unlock(&label.key_slots, label.uuid);
        options->key = *unlocked;
    }
    return true;
}

static BlobStore *open_store(Session *session, bool read_only, int *code)
{
    BlobStoreOptions options = session->options;
    g_autoptr(BlobKey) unlocked = NULL;
    BlobKeySlots slots;
    g_autoptr(GError) error = NULL;
    BlobStore *store = NULL;

    options.read_only |= read_only;
    if (choose_key(session, &options, &slots, &unlocked, &error)) {
        store = blob_store_open(session->disk->storage, &options, &error);
    }
    *code = fuzz_outcome(store, &error, OPEN_CODES);
    FUZZ_CHECK(*code != BLOBSTORE_ERROR_IO || session->disk->failed);
    if (store) {
        fuzz_check_info(store);
    }
    return store;
}

static void count_finding(const BlobFinding *finding, void *opaque)
{
    unsigned *count = opaque;

    FUZZ_CHECK(finding->text && *finding->text);
    count[finding->kind]++;
}

/* Checks that blob_store_check() agrees with the results of reading. */
static void check_store(BlobStore *store, const FuzzView *view)
{
    unsigned count[BLOB_FINDING_LEAK + 1] = { 0 };
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_check(store, count_finding, count, &error);

    if (fuzz_outcome(ok, &error, FUZZ_CODE(IO)) == FUZZ_OK) {
        FUZZ_CHECK(view->cut_short ||
                   count[BLOB_FINDING_DAMAGED_BLOB] == view->damaged);
    }
}

/* Fills in the expected content; returns whether the image opens at all. */
static bool look(Session *session)
{
    g_autoptr(GError) error = NULL;
    int code;
    g_autoptr(BlobStore) store = open_store(session, true, &code);

    if (!store) {
        return false;
    }
    fuzz_view_read(&session->expected, store);
    FUZZ_CHECK(!session->expected.cut_short);
    check_store(store, &session->expected);
    FUZZ_CHECK(fuzz_outcome(blob_store_start(store, &error), &error,
                            FUZZ_CODE(READ_ONLY)) != FUZZ_OK);
    return true;
}

/* A failing read is reported, and is no reason to believe anything else. */
static void look_with_failure(Session *session)
{
    g_auto(FuzzView) view = { 0 };
    g_autoptr(BlobStore) store = NULL;
    int code;

    session->disk->fail_read = session->head.fail_read;
    store = open_store(session, true, &code);
    if (store) {
        fuzz_view_read(&view, store);
        check_store(store, &view);
        if (!session->disk->failed) {
            fuzz_view_compare(&session->expected, &view);
        }
    }
    session->disk->fail_read = 0;
    session->disk->failed = false;
}

static uint64_t hostile_size(uint8_t choice, uint64_t size)
{
    static const uint64_t sizes[] = {
        1, 4608, 4609, 20000, 300000, 1 << 26, (1 << 26) + 1, 0, UINT64_MAX,
    };

    return choice ? sizes[choice % G_N_ELEMENTS(sizes)] : size;
}

static void register_one(Session *session, BlobStore *store,
                         const char *owner, const char *name, BlobKind kind,
                         uint64_t max_size)
{
    g_autoptr(GError) error = NULL;
    Blob *blob = blob_store_register(store, owner, name, kind, max_size,
                                     &error);

    fuzz_outcome(blob, &error,
                 FUZZ_CODE(INVALID) | FUZZ_CODE(EXISTS) | FUZZ_CODE(KIND) |
                 FUZZ_CODE(TOO_LARGE));
    if (blob) {
        g_ptr_array_add(session->registered, blob);
    }
}

/*
 * Registers the blobs that the script names: some existing ones, and new ones.
 */
static void register_blobs(Session *session, BlobStore *store)
{
    const uint8_t *script = session->head.script;
    size_t count = MIN(blob_store_count(store), SCRIPT_BLOBS);

    for (size_t i = 0; i < count; i++) {
        BlobInfo info;
        BlobKind kind;

        blob_get_info(blob_store_nth(store, i), &info);
        kind = script[i] & 0x40 ? BLOB_KIND_SAVESTATE + BLOB_KIND_PERMANENT -
                                  info.kind : info.kind;
        if (!(script[i] & 0x80)) {
            register_one(session, store, info.owner, info.name, kind,
                         hostile_size(script[i] & 15, info.max_size));
        }
    }
    for (unsigned i = SCRIPT_BLOBS; i < SCRIPT_BLOBS + 2; i++) {
        g_autofree char *name = g_strdup_printf("new%u", i);

        if (script[i]) {
            register_one(session, store, "fuzz", name, BLOB_KIND_PERMANENT,
                         hostile_size(script[i] & 15, 100));
        }
    }
}

/* Returns whether the store has started, perhaps at the second attempt. */
static bool start_store(Session *session, BlobStore *store)
{
    g_autoptr(GError) error = NULL;
    bool ok;
    int code;

    session->disk->store = store;
    session->disk->frozen = false;
    session->disk->fail_write = session->head.fail_write & 15;
    ok = blob_store_start(store, &error);
    code = fuzz_outcome(ok, &error, START_CODES);
    FUZZ_CHECK((code == BLOBSTORE_ERROR_IO) == session->disk->failed);
    session->disk->fail_write = 0;
    if (code == BLOBSTORE_ERROR_IO) {
        session->disk->failed = false;
        ok = blob_store_start(store, &error);
        fuzz_outcome(ok, &error, START_CODES & ~FUZZ_CODE(IO));
    }
    fuzz_check_info(store);
    return ok;
}

static GBytes *make_content(Session *session, const Blob *blob, unsigned n)
{
    static const uint64_t lengths[] = { 0, 1, 3072, 3073, UINT64_MAX };
    uint64_t length = lengths[session->head.script[10] %
                              G_N_ELEMENTS(lengths)];
    uint64_t seed = n;
    BlobInfo info;
    uint8_t *bytes;

    blob_get_info(blob, &info);
    length = MIN(length, info.max_size);
    bytes = g_malloc(length + 1);
    for (uint64_t i = 0; i < length; i++) {
        bytes[i] = session->options.pack ? i >> 8 : fuzz_random(&seed);
    }
    return g_bytes_new_take(bytes, length);
}

static void expect(Session *session, BlobStore *store)
{
    g_auto(FuzzView) found = { 0 };

    fuzz_view_read(&found, store);
    fuzz_view_compare(&session->expected, &found);
}

/* A write that the medium fails changes nothing, and can be repeated. */
static bool write_some(Session *session, BlobStore *store,
                       const BlobChange *changes, guint count)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_write(store, changes, count, &error);
    int code = fuzz_outcome(ok, &error, WRITE_CODES);

    if (ok && store->unwiped) {
        session->disk->failed = false;  /* S8: zeroing is deferred */
    }
    FUZZ_CHECK((code == BLOBSTORE_ERROR_IO) == session->disk->failed);
    if (code == BLOBSTORE_ERROR_IO) {
        expect(session, store);
        session->disk->failed = false;
        ok = blob_store_write(store, changes, count, &error);
        code = fuzz_outcome(ok, &error, WRITE_CODES & ~FUZZ_CODE(IO));
    }
    /* A failed write is not settled if there is no further epoch. */
    session->in_doubt |= code == BLOBSTORE_ERROR_EXHAUSTED;
    return ok;
}

/* Writes or deletes the registered blobs, in one commit or each in its own. */
static void write_blobs(Session *session, BlobStore *store)
{
    static const char *const metadata[] = { "key=value", "a=", NULL };
    uint8_t script = session->head.script[11];
    BlobChange changes[SCRIPT_BLOBS + 2] = { 0 };
    guint count = session->registered->len;
    guint step = script & 1 && count ? count : 1;

    session->disk->fail_write = session->head.fail_write >> 4;
    for (guint i = 0; i < count; i++) {
        Blob *blob = g_ptr_array_index(session->registered, i);

        changes[i] = (BlobChange) {
            .blob = blob,
            .content = script >> (1 + i % 5) & 1
                       ? NULL : make_content(session, blob, i),
            .metadata = script & 0x40 ? metadata : NULL,
            .delete_again = script & 0x80,
        };
    }
    for (guint i = 0; i < count; i += step) {
        bool ok = write_some(session, store, &changes[i], step);

        for (guint j = i; ok && j < i + step; j++) {
            fuzz_view_set(&session->expected, changes[j].blob,
                          changes[j].content, changes[j].metadata);
        }
    }
    session->disk->fail_write = 0;
    for (guint i = 0; i < count; i++) {
        g_clear_pointer(&changes[i].content, g_bytes_unref);
    }
}

/*
 * Returns whether a slot proves the directory stale (R10).  After a clean
 * close nobody looks for such a slot, and only the next opening finds it.
 */
static bool has_slot_from_the_future(const BlobStore *store)
{
    const BlobJudge judge = { .any = true };
    BlobMedium medium = store->medium;

    for (guint i = 0; i < store->blobs->len; i++) {
        for (unsigned n = 0; n < 2; n++) {
            BlobSlot slot = blob_slot_of(g_ptr_array_index(store->blobs, i),
                                         n);
            BlobEvidence evidence;

            if (slot.bytes &&
                (!blob_slot_probe(&medium, store->guard, &slot, &judge,
                                  &evidence, NULL) ||
                 blob_sequence_epoch(evidence.highest) > store->epoch.number)) {
                return true;
            }
        }
    }
    return false;
}

/* Opens the store once more and checks the expected content. */
static BlobStore *reopen(Session *session)
{
    int code;
    BlobStore *store;

    session->options.create_never = false;
    session->disk->frozen = true;
    session->disk->store = NULL;
    store = open_store(session, false, &code);
    if (store) {
        expect(session, store);
    }
    FUZZ_CHECK(store);
    return store;
}

/*
 * Returns whether the content of the store is known when it is opened again.
 * A store with a stale directory may be refused from now on.
 */
static bool use(Session *session)
{
    int code;
    g_autoptr(BlobStore) store = open_store(session, false, &code);
    g_autoptr(GError) error = NULL;

    FUZZ_CHECK(store);
    expect(session, store);
    if (has_slot_from_the_future(store)) {
        return false;
    }
    register_blobs(session, store);
    if (start_store(session, store)) {
        expect(session, store);
        write_blobs(session, store);
        expect(session, store);
        if (session->head.options & OPTION_CLEAN) {
            fuzz_outcome(blob_store_close_clean(store, &error), &error,
                         FUZZ_CODE(EXHAUSTED));
        }
    }
    expect(session, store);
    fuzz_check_info(store);
    return !session->in_doubt;
}

/* Gives up damaged content, one blob after the other. */
static void repair(Session *session)
{
    for (size_t i = 0; ; i++) {
        g_autoptr(BlobStore) store = reopen(session);
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) content = NULL;
        Blob *blob = blob_store_nth(store, i);
        g_auto(GStrv) metadata = NULL;
        int code;

        if (!blob) {
            break;
        }
        session->disk->frozen = false;
        session->disk->store = store;
        code = fuzz_outcome(blob_store_fall_back(store, blob, &error), &error,
                            START_CODES | FUZZ_CODE(INVALID));
        if (code == FUZZ_OK &&
            fuzz_outcome(blob_store_read(store, blob, &content, &metadata,
                                         &error), &error,
                         FUZZ_CODE(DAMAGED)) == FUZZ_OK) {
            FUZZ_CHECK(content);
            fuzz_view_set(&session->expected, blob, content,
                          (const char *const *)metadata);
        }
        expect(session, store);
    }
}

static void run(Session *session)
{
    fuzz_limit_heap(HEAP_BYTES + HEAP_MEDIA * session->disk->bytes);
    if (session->head.options & OPTION_FORMAT_NEVER) {
        session->options.create_never = true;
    }
    if (session->head.options & OPTION_UUID) {
        session->options.uuid = other_uuid;
    }
    session->disk->knows_zero = !(session->head.options & OPTION_READS_ZERO);
    session->options.pack = session->head.options & OPTION_PACK;
    session->options.directory_blobs = session->head.script[12] % 32;
    session->disk->frozen = true;
    if (look(session)) {
        look_with_failure(session);
        if (use(session)) {
            repair(session);
        }
    } else if (session->head.fail_read) {
        look_with_failure(session);
    }
    fuzz_limit_heap(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    Session session = { 0 };

    fuzz_begin(data, bytes);
    session.disk = fuzz_image_decode(data, bytes, &session.head);
    if (session.disk) {
        session.registered = g_ptr_array_new();
        run(&session);
        g_ptr_array_unref(session.registered);
        fuzz_view_clear(&session.expected);
        fuzz_disk_free(session.disk);
    }
    return 0;
}
