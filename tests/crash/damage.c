/*
 * Damage: every sector and every slot of a populated store, one at a time
 *
 *   damage [--swaps=N] [--seed=N]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "check.h"
#include "history.h"
#include "layout.h"

/* Stores with every kind of commit; a full stop closes them cleanly */
static const char *const histories[] = {
    "w", "wv", "vw", "wvm", "mwv", "wvd", "dwv", "wve", "ew", "nwvm", "wvn",
    "wvc", "wvmc", "wdc", "gwv", "wvg", "mmmw", "uwv", "fwvw", "wFwv",
    "wv.", "wvmn.", "wvd.", "wvg.",
};

enum {
    PLACE_SUPERBLOCK = -1,
    PLACE_DIRECTORY = -2,
    LOST = UINT32_MAX,          /* as a version: found damaged */
};

/* One slot, and what an intact store holds there */
typedef struct Place {
    int owner;                  /* number of a blob, or one of the above */
    uint64_t offset;
    uint64_t payload;           /* stored bytes */
    uint64_t image;             /* bytes; 0: the slot is empty */
    bool deleted;
    bool current;               /* what it holds is what counts */
    bool unconfirmed;           /* ... and of the last commit */
    bool hit;                   /* a byte of it that matters has changed */
} Place;

typedef struct Damage {
    const char *ops;
    History *history;
    GPtrArray *older;           /* images, oldest first */
    World before_last;          /* what the last commit replaced */
    bool clean;
    GArray *places;             /* of Place */
    SimDisk *disk;
    const char *kind;
    uint64_t at;
    uint64_t other;             /* what it was swapped with */
    size_t bytes;
    World expected;
    uint64_t images;
    uint64_t harmless;          /* nothing that matters has changed */
    uint64_t found;             /* images with a blob said to be damaged */
    uint64_t copies;            /* ... with a copy */
    uint64_t unconfirmed;       /* the documented exception */
    uint64_t refused;           /* both copies of a pair were hit */
    uint64_t repaired;
    uint64_t failures;
} Damage;

static const char *const names[HISTORY_BLOBS] = { "a", "b", "c" };

static void G_GNUC_PRINTF(2, 3) fail(Damage *damage, const char *format, ...)
{
    va_list args;
    g_autofree char *text = NULL;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    damage->failures++;
    printf("FAILED %s: %zu bytes at %" PRIu64 " %s", damage->ops,
           damage->bytes, damage->at, damage->kind);
    if (damage->other != damage->at) {
        printf(" with %" PRIu64, damage->other);
    }
    printf(": %s\n", text);
}

static uint64_t load64(const uint8_t *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, sizeof(value));
    return GUINT64_FROM_LE(value);
}

/* By docs/format.md: what the header at @offset says */
static Place read_place(const uint8_t *disk, int owner, uint64_t offset)
{
    const uint8_t *header = disk + offset;
    Place place = { .owner = owner, .offset = offset };

    if (!memcmp(header, BLOB_MAGIC, 8) && load64(header + 64) == offset) {
        place.deleted = header[8] & BLOB_FLAG_DELETED;
        place.payload = load64(header + 80);
        place.image = blob_layout_image_bytes(place.payload);
    }
    return place;
}

static void add_place(Damage *damage, Place place)
{
    g_array_append_val(damage->places, place);
}

static void add_copies(Damage *damage, int owner, uint64_t offset,
                       uint64_t slot_bytes)
{
    for (unsigned n = 0; n < 2; n++) {
        Place place = read_place(damage->history->disk->data, owner,
                                 offset + n * slot_bytes);

        g_assert(place.image);
        place.current = true;
        add_place(damage, place);
    }
}

static void add_blob(Damage *damage, int n)
{
    Blob *blob = blob_store_find(damage->history->store, "dev", names[n]);
    BlobInfo info;

    blob_get_info(blob, &info);
    for (unsigned i = 0; i < info.slots; i++) {
        Place place = read_place(damage->history->disk->data, n,
                                 info.slot[i].offset);

        place.current = info.slot[i].current;
        place.unconfirmed = place.current && !damage->clean &&
                            damage->before_last.version[n] !=
                            damage->history->acknowledged.version[n];
        add_place(damage, place);
    }
}

static void find_places(Damage *damage)
{
    uint64_t directory_bytes = blob_layout_directory_slot_bytes(4);

    add_copies(damage, PLACE_SUPERBLOCK, 0, BLOB_SUPERBLOCK_SLOT_BYTES);
    add_copies(damage, PLACE_DIRECTORY, BLOB_DIRECTORY_OFFSET,
               directory_bytes);
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        add_blob(damage, n);
    }
}

static Place *place_at(const Damage *damage, guint i)
{
    return &g_array_index(damage->places, Place, i);
}

static bool differs(const Damage *damage, uint64_t from, uint64_t to)
{
    return memcmp(damage->disk->data + from,
                  damage->history->disk->data + from, to - from);
}

/* What lies between payload and trailer, and behind it, does not matter. */
static void find_hits(Damage *damage)
{
    for (guint i = 0; i < damage->places->len; i++) {
        Place *place = place_at(damage, i);
        uint64_t end = place->offset + place->image;

        place->hit = place->image &&
                     (differs(damage, place->offset, place->offset +
                              BLOB_HEADER_BYTES + place->payload) ||
                      differs(damage, end - BLOB_HEADER_BYTES, end));
    }
}

/* The slot of blob @n that is current, or the other one */
static const Place *blob_place(const Damage *damage, int n, bool current)
{
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = place_at(damage, i);

        if (place->owner == n && place->current == current) {
            return place;
        }
    }
    return NULL;
}

/* Where the damage of blob @n is to be named, if it is to be */
static const Place *expected_damage(const Damage *damage, int n, bool undone)
{
    const Place *current = blob_place(damage, n, true);

    if (current && current->unconfirmed && undone) {
        current = blob_place(damage, n, false);
    }
    if (!current || !current->hit || (current->deleted && damage->clean)) {
        return NULL;
    }
    return current;
}

/* Whether the last commit, which nothing confirms, is hit and so undone */
static bool is_undone(const Damage *damage)
{
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = place_at(damage, i);

        if (place->unconfirmed && place->hit) {
            return true;
        }
    }
    return false;
}

static void find_expected(Damage *damage)
{
    bool undone = is_undone(damage);

    damage->expected = undone ? damage->before_last
                              : damage->history->acknowledged;
    damage->unconfirmed += undone;
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        if (expected_damage(damage, n, undone)) {
            damage->expected.version[n] = LOST;
        }
    }
}

static bool is_lost(const Damage *damage, int owner)
{
    unsigned hits = 0;

    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = place_at(damage, i);

        hits += place->owner == owner && place->hit;
    }
    return hits == 2;
}

/* A finding of blob_store_check(), as text or as it is expected */
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

static char *expected_findings(const Damage *damage)
{
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(g_free);
    bool undone = is_undone(damage);

    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = place_at(damage, i);

        if (place->owner < 0 && place->hit) {
            g_ptr_array_add(findings, finding_text(
                place->owner == PLACE_SUPERBLOCK
                ? BLOB_FINDING_SUPERBLOCK_COPY
                : BLOB_FINDING_DIRECTORY_COPY, "-", place->offset));
        }
    }
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        const Place *place = expected_damage(damage, n, undone);
        Blob *blob = blob_store_find(damage->history->store, "dev", names[n]);
        BlobInfo info;

        blob_get_info(blob, &info);
        if (place) {
            g_ptr_array_add(findings, finding_text(
                BLOB_FINDING_DAMAGED_BLOB, names[n], place->offset));
        } else if (!damage->expected.version[n] && info.slots) {
            g_ptr_array_add(findings, finding_text(
                BLOB_FINDING_LEAK, names[n], info.slot[0].offset));
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
        fail(damage, "check: %s", error->message);
        return;
    }
    found = join_findings(findings);
    if (strcmp(found, expected)) {
        fail(damage, "check finds '%s', not '%s'", found, expected);
    }
}

/* The error names the blob and the slot that was hit. */
static void expect_named(Damage *damage, int n, const GError *error)
{
    const Place *place = expected_damage(damage, n, is_undone(damage));
    g_autofree char *pattern = NULL;

    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED)) {
        fail(damage, "the error is: %s", error->message);
    } else if (place) {
        pattern = g_strdup_printf("blob 'dev/%s' *slot at offset %" PRIu64
                                  " *", names[n], place->offset);
        if (!g_pattern_match_simple(pattern, error->message)) {
            fail(damage, "'%s' is not like '%s'", error->message, pattern);
        }
    }
}

/* The version that blob @n is read as */
static unsigned read_version(Damage *damage, BlobStore *store, int n)
{
    Blob *blob = blob_store_find(store, "dev", names[n]);
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
        fail(damage, "wrong bytes are returned");
    }
    return version;
}

static void expect_world(Damage *damage, BlobStore *store)
{
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        unsigned version = read_version(damage, store, n);

        if (version != damage->expected.version[n]) {
            fail(damage, "%s is version %d, not %d", names[n], (int)version,
                 (int)damage->expected.version[n]);
        }
    }
}

static void expect_refused(Damage *damage, const GError *error)
{
    damage->refused++;
    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT) ||
        !strstr(error->message, is_lost(damage, PLACE_SUPERBLOCK)
                                ? "superblock" : "directory")) {
        fail(damage, "%s", error->message);
    }
}

/*
 * Falls back, for one blob that is damaged.  What its other slot holds is
 * older and intact, or there is nothing.
 */
static void fall_back(Damage *damage, BlobStore *store, int n)
{
    Blob *blob = blob_store_find(store, "dev", names[n]);
    const Place *older = NULL;
    const Place *lost = expected_damage(damage, n, is_undone(damage));
    g_autoptr(GError) error = NULL;
    unsigned version;
    bool done;

    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = place_at(damage, i);

        if (place->owner == n && place != lost && place->image &&
            !place->deleted && !place->hit) {
            older = place;
        }
    }
    done = blob_store_fall_back(store, blob, &error);
    if (done != (older != NULL)) {
        fail(damage, "falling back %s", done ? "works" : error->message);
    } else if (!done && !g_error_matches(error, BLOBSTORE_ERROR,
                                         BLOBSTORE_ERROR_DAMAGED)) {
        fail(damage, "falling back: %s", error->message);
    }
    if (done) {
        version = read_version(damage, store, n);
        if (!version || version == LOST ||
            version == damage->history->acknowledged.version[n]) {
            fail(damage, "falling back gives version %d", (int)version);
        }
        damage->expected.version[n] = version;
    }
}

/* Only a damaged blob has something to fall back from. */
static void expect_no_fall_back(Damage *damage, BlobStore *store, int n)
{
    Blob *blob = blob_store_find(store, "dev", names[n]);
    g_autoptr(GError) error = NULL;

    if (blob && (blob_store_fall_back(store, blob, &error) ||
                 !g_error_matches(error, BLOBSTORE_ERROR,
                                  BLOBSTORE_ERROR_INVALID))) {
        fail(damage, "%s, which is intact, can fall back", names[n]);
    }
}

/* What is safe to repair is repaired, and stays so; the rest is as it was. */
static void check_repair(Damage *damage)
{
    BlobStoreOptions options = { .directory_blobs = 4 };
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = NULL;
    g_autofree char *expected = expected_findings(damage);
    const Place *lost = NULL;

    damage->repaired++;
    store = blob_store_open(sim_disk_storage(damage->disk), &options, &error);
    if (!store) {
        fail(damage, "for writing: %s", error->message);
        return;
    }
    expect_findings(damage, store, expected);
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        if (damage->expected.version[n] != LOST) {
            expect_no_fall_back(damage, store, n);
        } else {
            lost = expected_damage(damage, n, is_undone(damage));
        }
    }
    if (lost) {
        fall_back(damage, store, lost->owner);
    }
    if (!blob_store_start(store, &error)) {
        fail(damage, "start: %s", error->message);
        return;
    }
    g_clear_pointer(&expected, g_free);
    expected = lost && damage->expected.version[lost->owner] == LOST
               ? finding_text(BLOB_FINDING_DAMAGED_BLOB, names[lost->owner],
                              lost->offset)
               : g_strdup("");
    for (unsigned round = 0; round < 2; round++) {
        expect_findings(damage, store, expected);
        expect_world(damage, store);
        blob_store_free(store);
        store = blob_store_open(sim_disk_storage(damage->disk), &options,
                                &error);
        if (!store) {
            fail(damage, "repaired: %s", error->message);
            return;
        }
    }
}

static void check_image(Damage *damage)
{
    BlobStoreOptions options = { .read_only = true, .directory_blobs = 4 };
    g_autoptr(GError) error = NULL;
    g_autofree char *findings = NULL;
    g_autoptr(BlobStore) store =
        blob_store_open(sim_disk_storage(damage->disk), &options, &error);
    bool refused = is_lost(damage, PLACE_SUPERBLOCK) ||
                   is_lost(damage, PLACE_DIRECTORY);

    if (refused != !store) {
        fail(damage, "the store %s", store ? "opens" : error->message);
    }
    if (refused) {
        expect_refused(damage, error);
        return;
    }
    if (!store) {
        return;
    }
    findings = expected_findings(damage);
    /* Damage that recovery has found, and damage that reading finds */
    if (damage->images % 2) {
        expect_world(damage, store);
        expect_findings(damage, store, findings);
    } else {
        expect_findings(damage, store, findings);
        expect_world(damage, store);
    }
}

/* @bytes at @at and at @other are not as they were; makes them so again. */
static void check(Damage *damage, const char *kind, uint64_t at,
                  uint64_t other, size_t bytes, bool repair)
{
    const uint8_t *intact = damage->history->disk->data;
    bool any = false;

    damage->kind = kind;
    damage->at = at;
    damage->other = other;
    damage->bytes = bytes;
    if (bytes && !differs(damage, at, at + bytes) &&
        !differs(damage, other, other + bytes)) {
        return;
    }
    damage->images++;
    find_hits(damage);
    find_expected(damage);
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = place_at(damage, i);

        any = any || (place->hit && place->current);
        damage->copies += place->hit && place->owner < 0;
        damage->found += place->hit && place->current && place->owner >= 0 &&
                         !place->unconfirmed;
    }
    damage->harmless += !any;
    check_image(damage);
    if (repair && !is_lost(damage, PLACE_SUPERBLOCK) &&
        !is_lost(damage, PLACE_DIRECTORY)) {
        check_repair(damage);
        memcpy(damage->disk->data, intact, HISTORY_DISK_BYTES);
    }
    memcpy(damage->disk->data + at, intact + at, bytes);
    memcpy(damage->disk->data + other, intact + other, bytes);
}

static uint8_t *piece(Damage *damage, uint64_t at)
{
    return damage->disk->data + at;
}

static void swap(Damage *damage, const char *kind, uint64_t at,
                 uint64_t other, size_t bytes)
{
    const uint8_t *intact = damage->history->disk->data;

    memcpy(piece(damage, at), intact + other, bytes);
    memcpy(piece(damage, other), intact + at, bytes);
    check(damage, kind, at, other, bytes, false);
}

/*
 * Where a piece lies within the image of its slot: so many bytes from the
 * start in a header, from the end in a trailer, or in the payload
 */
static int64_t role(const Place *place, uint64_t at, size_t bytes)
{
    uint64_t image = place->image ? place->image
                                  : blob_layout_image_bytes(0);
    uint64_t from = at - place->offset;

    if (from < BLOB_HEADER_BYTES) {
        return from + bytes;
    }
    if (from + bytes > image - BLOB_HEADER_BYTES) {
        return -(int64_t)(image - from);
    }
    return 0;
}

static const Place *place_around(const Damage *damage, uint64_t at)
{
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = place_at(damage, i);
        uint64_t image = place->image ? place->image
                                      : blob_layout_image_bytes(0);

        if (at >= place->offset && at < place->offset + image) {
            return place;
        }
    }
    return NULL;
}

/* Each two pieces of the same role are swapped once. */
static void swap_roles(Damage *damage, uint64_t at, size_t bytes)
{
    const Place *place = place_around(damage, at);

    for (uint64_t other = at + bytes; place && other < HISTORY_DISK_BYTES;
         other += bytes) {
        const Place *around = place_around(damage, other);

        if (around && role(around, other, bytes) == role(place, at, bytes)) {
            swap(damage, "swapped (same role)", at, other, bytes);
        }
    }
}

static void damage_piece(Damage *damage, uint64_t at, size_t bytes,
                         GRand *random, unsigned swaps)
{
    memset(piece(damage, at), 0, bytes);
    check(damage, "zeroed", at, at, bytes, false);

    for (size_t i = 0; i < bytes; i++) {
        piece(damage, at)[i] = g_rand_int(random);
    }
    check(damage, "random", at, at, bytes, true);

    piece(damage, at)[g_rand_int_range(random, 0, bytes)] ^=
        1 << g_rand_int_range(random, 0, 8);
    check(damage, "with a bit flipped", at, at, bytes, false);

    for (guint i = 0; i < damage->older->len; i++) {
        const uint8_t *older = g_ptr_array_index(damage->older, i);

        memcpy(piece(damage, at), older + at, bytes);
        check(damage, "rolled back", at, at, bytes, false);
    }
    swap_roles(damage, at, bytes);
    for (unsigned i = 0; i < swaps; i++) {
        swap(damage, "swapped", at,
             g_rand_int_range(random, 0, HISTORY_DISK_BYTES / bytes) * bytes,
             bytes);
    }
}

/* R9: a whole slot leaves no evidence of its own. */
static void damage_slots(Damage *damage)
{
    for (guint n = 0; n < damage->places->len; n++) {
        const Place *place = place_at(damage, n);
        uint64_t at = place->offset;
        size_t bytes = place->image;

        memset(piece(damage, at), 0, bytes);
        check(damage, "wiped (a slot)", at, at, bytes, true);
        for (guint i = 0; i < damage->older->len; i++) {
            const uint8_t *older = g_ptr_array_index(damage->older, i);

            memcpy(piece(damage, at), older + at, bytes);
            check(damage, "rolled back (a slot)", at, at, bytes, true);
        }
    }
}

/* The images that the disk held after each flush before the last */
static GPtrArray *older_images(const SimDisk *disk)
{
    GPtrArray *images = g_ptr_array_new_with_free_func(g_free);
    g_autofree uint8_t *image = g_memdup2(disk->start, disk->bytes);

    g_ptr_array_add(images, g_memdup2(image, disk->bytes));
    for (guint i = 0; i + 1 < disk->events->len; i++) {
        const SimEvent *event = &g_array_index(disk->events, SimEvent, i);

        if (event->kind != SIM_WRITE) {
            g_ptr_array_add(images, g_memdup2(image, disk->bytes));
        } else {
            sim_event_apply(event, image);
        }
    }
    return images;
}

/* What the last operation replaced, if nothing came after it */
static World world_before_last(const History *history, const char *ops)
{
    char last = ops[strlen(ops) - 1];
    const Promise *promise;

    if (!strchr("wvmde", last) || history->cuts->len < 2) {
        return history->acknowledged;
    }
    promise = &g_array_index(history->promises, Promise,
                             history->promises->len - 2);
    return promise->worlds[promise->count - 2];
}

static void damage_history(Damage *damage, const char *ops, GRand *random,
                           gint swaps)
{
    g_auto(GStrv) parts = g_strsplit(ops, ".", 2);

    damage->ops = ops;
    damage->clean = parts[1];
    damage->history = history_run(parts[0]);
    if (damage->clean &&
        !blob_store_close_clean(damage->history->store, NULL)) {
        g_error("%s: cannot be closed", ops);
    }
    damage->older = older_images(damage->history->disk);
    damage->before_last = damage->clean
                          ? damage->history->acknowledged
                          : world_before_last(damage->history, ops);
    damage->places = g_array_new(FALSE, TRUE, sizeof(Place));
    find_places(damage);
    damage->disk = sim_disk_new(damage->history->disk->data,
                                HISTORY_DISK_BYTES);
    check(damage, "intact", 0, 0, 0, true);
    for (uint64_t at = 0; at < HISTORY_DISK_BYTES; at += 512) {
        damage_piece(damage, at, 512, random, swaps);
    }
    for (uint64_t at = 0; at < HISTORY_DISK_BYTES; at += 4096) {
        damage_piece(damage, at, 4096, random, swaps);
    }
    damage_slots(damage);
    sim_disk_free(damage->disk);
    g_array_unref(damage->places);
    g_ptr_array_unref(damage->older);
    history_free(damage->history);
}

int main(int argc, char **argv)
{
    gint swaps = 64;
    gint seed = 1;
    const GOptionEntry entries[] = {
        { "swaps", 0, 0, G_OPTION_ARG_INT, &swaps,
          "other sectors that each is swapped with", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of the damage", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GRand) random = NULL;
    Damage damage = { 0 };

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    random = g_rand_new_with_seed(seed);
    for (size_t i = 0; i < G_N_ELEMENTS(histories); i++) {
        damage_history(&damage, histories[i], random, swaps);
    }
    printf("%" PRIu64 " damaged images of %zu stores (seed %d): %" PRIu64
           " blobs and %" PRIu64 " copies found damaged, %" PRIu64
           " with the last commit undone, %" PRIu64 " refused, %" PRIu64
           " harmless; %" PRIu64 " repaired\n", damage.images,
           G_N_ELEMENTS(histories), seed, damage.found, damage.copies,
           damage.unconfirmed, damage.refused, damage.harmless,
           damage.repaired);
    printf("%s: %" PRIu64 " broken promises\n",
           damage.failures ? "FAILED" : "passed", damage.failures);
    return damage.failures ? 1 : 0;
}
