/*
 * Damage of a populated store: checks of the consequences
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "damage.h"

#include <inttypes.h>
#include <string.h>
#include "blobstore/check.h"

/* Returns a finding of blob_store_check(), or an expected one, as text. */
static char *finding_text(BlobFindingKind kind, const char *name,
                          uint64_t offset)
{
    return g_strdup_printf("%d %s %" PRIu64, kind, name, offset);
}

static void note_finding(const BlobFinding *finding, void *opaque)
{
    BlobInfo info = { .name = "-" };

    if (finding->blob) {
        blob_get_info(finding->blob, &info);
    }
    g_ptr_array_add(opaque, finding_text(finding->kind, info.name,
                                         finding->offset));
}

static gint compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *join_findings(GPtrArray *findings)
{
    g_ptr_array_sort(findings, compare_texts);
    g_ptr_array_add(findings, NULL);
    return g_strjoinv(", ", (char **)findings->pdata);
}

static void add_key_slots(const Damage *damage, GPtrArray *findings)
{
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        if (damage->lost_key_slots & 1u << n) {
            g_ptr_array_add(findings, finding_text(
                BLOB_FINDING_KEY_SLOT, "-", BLOB_HEADER_BYTES +
                BLOB_SUPERBLOCK_HEAD_BYTES + n * BLOB_KEY_SLOT_BYTES));
        }
    }
}

static char *expected_findings(const Damage *damage)
{
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(g_free);
    bool undone = damage_is_undone(damage);

    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);

        if (place->owner < 0 && place->hit) {
            g_ptr_array_add(findings, finding_text(
                place->owner == PLACE_SUPERBLOCK
                ? BLOB_FINDING_SUPERBLOCK_COPY
                : BLOB_FINDING_DIRECTORY_COPY, "-", place->offset));
        }
    }
    add_key_slots(damage, findings);
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        const Place *place = damage_expected(damage, n, undone);
        Blob *blob = blob_store_find(damage->history->store, "dev",
                                     damage_names[n]);
        BlobInfo info;

        blob_get_info(blob, &info);
        if (place) {
            g_ptr_array_add(findings, finding_text(
                BLOB_FINDING_DAMAGED_BLOB, damage_names[n], place->offset));
        } else if (!damage->expected.version[n] && info.slots) {
            g_ptr_array_add(findings, finding_text(
                BLOB_FINDING_LEAK, damage_names[n], info.slot[0].offset));
        }
    }
    return join_findings(findings);
}

static void expect_findings(Damage *damage, BlobStore *store,
                            const char *expected)
{
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_autofree char *found = NULL;

    if (!blob_store_check(store, note_finding, findings, &error)) {
        damage_fail(damage, "check: %s", error->message);
        return;
    }
    found = join_findings(findings);
    if (strcmp(found, expected)) {
        damage_fail(damage, "check finds '%s', not '%s'", found, expected);
    }
}

/* The error names the blob and the slot that was hit. */
static void expect_named(Damage *damage, int n, const GError *error)
{
    const Place *place = damage_expected(damage, n, damage_is_undone(damage));
    g_autofree char *pattern = NULL;

    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED)) {
        damage_fail(damage, "the error is: %s", error->message);
    } else if (place) {
        pattern = g_strdup_printf("blob 'dev/%s' *slot at offset %" PRIu64
                                  " *", damage_names[n], place->offset);
        if (!g_pattern_match_simple(pattern, error->message)) {
            damage_fail(damage, "'%s' is not like '%s'", error->message,
                        pattern);
        }
    }
}

/* Returns the version that blob @n is read as. */
static unsigned read_version(Damage *damage, BlobStore *store, int n)
{
    Blob *blob = blob_store_find(store, "dev", damage_names[n]);
    g_autoptr(GBytes) content = NULL;
    g_autoptr(GBytes) expected = NULL;
    g_autoptr(GError) error = NULL;
    const uint8_t *data;
    unsigned version;

    if (blob && !blob_store_read(store, blob, &content, NULL, &error)) {
        expect_named(damage, n, error);
        return LOST;
    }
    if (!content) {
        return 0;
    }
    data = g_bytes_get_data(content, NULL);
    version = data[0] | data[1] << 8;
    expected = history_content(n, version);
    if (!g_bytes_equal(content, expected)) {
        damage_fail(damage, "wrong bytes are returned");
    }
    return version;
}

static void expect_world(Damage *damage, BlobStore *store)
{
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        unsigned version = read_version(damage, store, n);

        if (version != damage->expected.version[n]) {
            damage_fail(damage, "%s is version %d, not %d", damage_names[n],
                        (int)version, (int)damage->expected.version[n]);
        }
    }
}

static void expect_refused(Damage *damage, const GError *error)
{
    damage->refused++;
    if (!damage_is_lost(damage, PLACE_SUPERBLOCK) &&
        !damage_is_lost(damage, PLACE_DIRECTORY)) {
        /* No key slot is left. */
        if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY)) {
            damage_fail(damage, "%s", error->message);
        }
        return;
    }
    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT) ||
        !strstr(error->message, damage_is_lost(damage, PLACE_SUPERBLOCK)
                                ? "superblock" : "directory")) {
        damage_fail(damage, "%s", error->message);
    }
}

/*
 * Falls back, for one blob that is damaged.  The other slot is older and
 * intact, or empty.
 */
static void fall_back(Damage *damage, BlobStore *store, int n)
{
    Blob *blob = blob_store_find(store, "dev", damage_names[n]);
    const Place *older = NULL;
    const Place *lost = damage_expected(damage, n, damage_is_undone(damage));
    g_autoptr(GError) error = NULL;
    unsigned version;
    bool maybe = false;
    bool done;

    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);

        if (place->owner == n && place != lost && place->image &&
            !place->deleted && !place->hit) {
            older = place;
        }
    }
    if (!older && lost && strstr(damage->kind, "rolled back")) {
        older = lost;           /* where the older version may lie now */
        maybe = true;
    }
    done = blob_store_fall_back(store, blob, &error);
    if (done != (older != NULL) && !maybe) {
        damage_fail(damage, "falling back %s", done ? "works" : error->message);
    } else if (!done && !g_error_matches(error, BLOBSTORE_ERROR,
                                         BLOBSTORE_ERROR_DAMAGED)) {
        damage_fail(damage, "falling back: %s", error->message);
    }
    if (done) {
        version = read_version(damage, store, n);
        if (!version || version == LOST ||
            version == damage->history->acknowledged.version[n]) {
            damage_fail(damage, "falling back gives version %d", (int)version);
        }
        damage->expected.version[n] = version;
    }
}

/* Only a damaged blob has an older version to fall back to. */
static void expect_no_fall_back(Damage *damage, BlobStore *store, int n)
{
    Blob *blob = blob_store_find(store, "dev", damage_names[n]);
    g_autoptr(GError) error = NULL;

    if (blob && (blob_store_fall_back(store, blob, &error) ||
                 !g_error_matches(error, BLOBSTORE_ERROR,
                                  BLOBSTORE_ERROR_INVALID))) {
        damage_fail(damage, "%s, which is intact, can fall back",
                    damage_names[n]);
    }
}

static BlobStore *open_store(Damage *damage, bool read_only, GError **error)
{
    BlobStoreOptions options = {
        .read_only = read_only,
        .directory_blobs = 4,
    };

    return keyring_open(damage->disk->storage, &options, 0, error);
}

/*
 * Returns the findings after a repair: damaged key slots, and the one blob
 * @lost.
 */
static char *findings_left(const Damage *damage, const Place *lost)
{
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(g_free);

    add_key_slots(damage, findings);
    if (lost && damage->expected.version[lost->owner] == LOST) {
        g_ptr_array_add(findings, finding_text(
            BLOB_FINDING_DAMAGED_BLOB, damage_names[lost->owner],
            lost->offset));
    }
    return join_findings(findings);
}

/* Safe repairs are made, and stay; everything else is unchanged. */
void damage_check_repair(Damage *damage)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = NULL;
    g_autofree char *expected = expected_findings(damage);
    const Place *lost = NULL;

    damage->repaired++;
    store = open_store(damage, false, &error);
    if (!store) {
        damage_fail(damage, "for writing: %s", error->message);
        return;
    }
    expect_findings(damage, store, expected);
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        if (damage->expected.version[n] != LOST) {
            expect_no_fall_back(damage, store, n);
        } else {
            lost = damage_expected(damage, n, damage_is_undone(damage));
        }
    }
    if (lost) {
        fall_back(damage, store, lost->owner);
    }
    if (!blob_store_start(store, &error)) {
        damage_fail(damage, "start: %s", error->message);
        return;
    }
    g_clear_pointer(&expected, g_free);
    expected = findings_left(damage, lost);
    for (unsigned round = 0; round < 2; round++) {
        expect_findings(damage, store, expected);
        expect_world(damage, store);
        blob_store_free(store);
        store = open_store(damage, false, &error);
        if (!store) {
            damage_fail(damage, "repaired: %s", error->message);
            return;
        }
    }
}

/*
 * The opening of the store warns of each copy, and each key slot, that is
 * damaged.
 */
static void expect_warnings(Damage *damage, BlobStore *store)
{
    g_autofree char *all = g_strjoinv("\n",
                                      (char **)blob_store_warnings(store));

    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);
        g_autofree char *text = g_strdup_printf(
            "copy at offset %" PRIu64 " is damaged", place->offset);

        /* An older copy is intact, as far as opening can tell. */
        if (place->owner < 0 && !strstr(damage->kind, "rolled back") &&
            place->hit != (strstr(all, text) != NULL)) {
            damage_fail(damage, "of the copy at offset %" PRIu64 " says: %s",
                        place->offset, all);
        }
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        g_autofree char *text = g_strdup_printf("key slot %u is damaged", n);

        if (!(damage->lost_key_slots & 1u << n) != !strstr(all, text)) {
            damage_fail(damage, "of key slot %u says: %s", n, all);
        }
    }
}

/* The key slots that are left still open the store, and no others do. */
static void expect_keys(Damage *damage, BlobStore *store)
{
    KeyState keys;

    if (!keyring_state(store, &keys, NULL) ||
        keys.data_key != damage->history->keys.data_key || keys.target ||
        (damage->sealed && keys.secrets != damage_secrets(damage))) {
        damage_fail(damage, "opens with the secrets %x", keys.secrets);
    }
}

void damage_check_image(Damage *damage)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *findings = NULL;
    g_autoptr(BlobStore) store = open_store(damage, true, &error);
    bool refused = damage_is_lost(damage, PLACE_SUPERBLOCK) ||
                   damage_is_lost(damage, PLACE_DIRECTORY) ||
                   (damage->sealed && !damage_secrets(damage));

    if (refused != !store) {
        damage_fail(damage, "the store %s", store ? "opens" : error->message);
        return;
    }
    if (refused) {
        expect_refused(damage, error);
        return;
    }
    expect_warnings(damage, store);
    expect_keys(damage, store);
    findings = expected_findings(damage);
    /*
     * Half of the images has damage that recovery finds, half damage that
     * reading finds.
     */
    if (damage->images % 2) {
        expect_world(damage, store);
        expect_findings(damage, store, findings);
    } else {
        expect_findings(damage, store, findings);
        expect_world(damage, store);
    }
}
