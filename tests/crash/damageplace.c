/*
 * Damage of a populated store: the places, and the hits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "blobstore/format/layout.h"

const char *const damage_names[HISTORY_BLOBS] = { "a", "b", "c" };

void G_GNUC_PRINTF(2, 3) damage_fail(Damage *damage, const char *format, ...)
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

/* Decodes the header at @offset by docs/format.md. */
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
    Blob *blob = blob_store_find(damage->history->store, "dev",
                                 damage_names[n]);
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

void damage_find_places(Damage *damage)
{
    uint64_t directory_bytes = blob_layout_directory_slot_bytes(4);

    add_copies(damage, PLACE_SUPERBLOCK, 0, BLOB_SUPERBLOCK_SLOT_BYTES);
    add_copies(damage, PLACE_DIRECTORY, BLOB_DIRECTORY_OFFSET,
               directory_bytes);
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        add_blob(damage, n);
    }
}

Place *damage_place(const Damage *damage, guint i)
{
    return &g_array_index(damage->places, Place, i);
}

bool damage_differs(const Damage *damage, uint64_t from, uint64_t to)
{
    return memcmp(damage->disk->data + from,
                  damage->history->disk->data + from, to - from);
}

/* Bytes between payload and trailer, and behind the trailer, do not matter. */
void damage_find_hits(Damage *damage)
{
    for (guint i = 0; i < damage->places->len; i++) {
        Place *place = damage_place(damage, i);
        uint64_t end = place->offset + place->image;

        place->hit = place->image &&
                     (damage_differs(damage, place->offset, place->offset +
                              BLOB_HEADER_BYTES + place->payload) ||
                      damage_differs(damage, end - BLOB_HEADER_BYTES, end));
    }
}

/* Returns the slot of blob @n that is current, or the other one. */
static const Place *blob_place(const Damage *damage, int n, bool current)
{
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);

        if (place->owner == n && place->current == current) {
            return place;
        }
    }
    return NULL;
}

const Place *damage_expected(const Damage *damage, int n, bool undone)
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

bool damage_is_undone(const Damage *damage)
{
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);

        if (place->unconfirmed && place->hit) {
            return true;
        }
    }
    return false;
}

/* Returns whether a superblock is still of use if its key slots are damaged. */
static bool has_head(const Damage *damage, const Place *place)
{
    uint64_t end = place->offset + place->image;

    return !damage_differs(damage, place->offset,
                           place->offset + BLOB_HEADER_BYTES +
                           BLOB_SUPERBLOCK_HEAD_BYTES) &&
           !damage_differs(damage, end - BLOB_HEADER_BYTES, end);
}

bool damage_is_lost(const Damage *damage, int owner)
{
    unsigned hits = 0;

    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);

        hits += place->owner == owner && place->hit &&
                !(owner == PLACE_SUPERBLOCK && has_head(damage, place));
    }
    return hits == 2;
}

static bool key_slot_is_hit(const Damage *damage, unsigned copy, unsigned n)
{
    uint64_t at = copy * BLOB_SUPERBLOCK_SLOT_BYTES + BLOB_HEADER_BYTES +
                  BLOB_SUPERBLOCK_HEAD_BYTES + n * BLOB_KEY_SLOT_BYTES;

    return damage_differs(damage, at, at + BLOB_KEY_SLOT_BYTES);
}

/* Nothing is lost if one copy is intact; a plain store has no key slots. */
static unsigned find_lost_key_slots(const Damage *damage)
{
    unsigned lost = 0;

    if (!damage->sealed || !damage_place(damage, 0)->hit ||
        !damage_place(damage, 1)->hit) {
        return 0;
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        if (key_slot_is_hit(damage, 0, n) && key_slot_is_hit(damage, 1, n)) {
            lost |= 1u << n;
        }
    }
    return lost;
}

unsigned damage_secrets(const Damage *damage)
{
    const BlobSuperblock *super = &damage->history->store->super;
    BlobKeySlots slots = super->key_slots;

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        slots.damaged[n] = damage->lost_key_slots & 1u << n;
    }
    return keyring_secrets(&slots, super->uuid);
}

void damage_find_expected(Damage *damage)
{
    bool undone = damage_is_undone(damage);

    damage->expected = undone ? damage->before_last
                              : damage->history->acknowledged;
    damage->unconfirmed += undone;
    for (int n = 0; n < HISTORY_BLOBS; n++) {
        if (damage_expected(damage, n, undone)) {
            damage->expected.version[n] = LOST;
        }
    }
    damage->lost_key_slots = find_lost_key_slots(damage);
    damage->key_slots += damage->lost_key_slots != 0;
}
