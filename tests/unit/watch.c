/*
 * A medium that queries a store at each call
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "watch.h"

#include <string.h>
#include "hooked.h"

static void print_hex(GString *out, const uint8_t *bytes, size_t count)
{
    g_autofree char *hex = blob_digest_to_hex(bytes, count);

    g_string_append_printf(out, " %s", hex);
}

/*
 * Prints everything but counts of attempts: bytes written, write errors,
 * sealings.
 */
static void print_status(GString *out, const BlobStore *store)
{
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    g_string_append_printf(
        out, "%d%d%d%d%d slots %u version %u block %u capacity %"
        G_GUINT64_FORMAT " free %" G_GUINT64_FORMAT " commits %"
        G_GUINT64_FORMAT " sequence %016" G_GINT64_MODIFIER "x", info.blank,
        info.started, info.read_only, info.sealed, info.converting,
        info.key_slots, info.format_version, info.block_size, info.capacity,
        info.free, info.commits, info.sequence);
    print_hex(out, info.uuid, sizeof(info.uuid));
    print_hex(out, info.epoch_id, sizeof(info.epoch_id));
    print_hex(out, info.key_commitment, sizeof(info.key_commitment));
    g_string_append_printf(out, " required %" G_GUINT64_FORMAT,
                           blob_store_required_bytes(store));
    for (const char *const *text = blob_store_warnings(store); *text;
         text++) {
        g_string_append_printf(out, " '%s'", *text);
    }
}

static void print_blob(GString *out, const BlobStore *store, size_t n)
{
    Blob *blob = blob_store_nth(store, n);
    BlobInfo info;

    blob_get_info(blob, &info);
    g_assert_true(blob_store_find(store, info.owner, info.name) == blob);
    g_string_append_printf(
        out, "\n%s/%s %d %d%d%d size %" G_GUINT64_FORMAT " stored %"
        G_GUINT64_FORMAT " max %" G_GUINT64_FORMAT " sequence %"
        G_GINT64_MODIFIER "x damage %s", info.owner, info.name, info.kind,
        info.registered, info.present, info.packed, info.size,
        info.stored_size, info.max_size, info.sequence,
        info.damage ?: "none");
    for (unsigned i = 0; i < info.slots; i++) {
        g_string_append_printf(out, " %" G_GUINT64_FORMAT "+%"
                               G_GUINT64_FORMAT "%s", info.slot[i].offset,
                               info.slot[i].length,
                               info.slot[i].current ? "*" : "");
    }
}

char *watch_ask(const BlobStore *store)
{
    GString *out = g_string_new(NULL);

    print_status(out, store);
    for (size_t n = 0; n < blob_store_count(store); n++) {
        print_blob(out, store, n);
    }
    return g_string_free(out, FALSE);
}

const char *watch_last_seen(const Watch *watch)
{
    return g_ptr_array_index(watch->seen, watch->seen->len - 1);
}

/*
 * What a store says that depends on the medium alone: not on what is
 * registered, or was written since it was opened
 */
static char *ask_lasting(const BlobStore *store)
{
    GString *out = g_string_new(NULL);
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    g_string_append_printf(out, "%d%d slots %u sequence %"
                           G_GINT64_MODIFIER "x", info.sealed,
                           info.converting, info.key_slots, info.sequence);
    print_hex(out, info.epoch_id, sizeof(info.epoch_id));
    print_hex(out, info.key_commitment, sizeof(info.key_commitment));
    for (size_t n = 0; n < blob_store_count(store); n++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(store, n), &blob);
        g_string_append_printf(out, " %s %d %" G_GINT64_MODIFIER "x %d",
                               blob.name, blob.present, blob.sequence,
                               blob.slot[1].current);
    }
    return g_string_free(out, FALSE);
}

void watch_check_is_on_record(const Watch *watch)
{
    g_autoptr(TestDisk) copy = test_disk_clone(watch->disk);
    g_autofree char *said = ask_lasting(watch->store);
    BlobStore *other = keys_try_open(copy, watch->way->to, NULL);
    g_autofree char *found = NULL;

    if (!other) {
        other = keys_open(copy, watch->way->from);
    }
    found = ask_lasting(other);
    g_assert_cmpstr(found, ==, said);
    blob_store_free(other);
}

static HookedVerdict look(void *opaque, const HookedCall *call, GError **error)
{
    Watch *watch = opaque;

    if (watch->store) {
        g_autofree char *state = watch_ask(watch->store);

        if (!watch->seen->len || strcmp(state, watch_last_seen(watch))) {
            g_ptr_array_add(watch->seen, g_steal_pointer(&state));
            if (watch->way) {
                watch_check_is_on_record(watch);
            }
        }
    }
    return HOOKED_PASS;
}

static const Hooks watch_hooks = { .before = look };

void watch_set_up(Watch *watch, uint64_t bytes)
{
    watch->seen = g_ptr_array_new_with_free_func(g_free);
    watch->disk = test_disk_new(bytes);
    watch->storage = hooked_storage_new(watch->disk->storage, &watch_hooks,
                                        watch);
}

void watch_tear_down(Watch *watch)
{
    blob_store_free(watch->store);
    blob_storage_free(watch->storage);
    test_disk_free(watch->disk);
    g_ptr_array_unref(watch->seen);
}
