/*
 * Writes the first inputs for the target "open": images of real stores
 *
 * usage: seeds FOLDER
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include "blobstore/blank.h"
#include "blobstore/convert.h"
#include "fuzz.h"
#include "image.h"
#include "resign.h"
#include "sealed.h"
#include "blobstore/superblock.h"

enum {
    BLOBS = 3,
    SEED_BLOCKS = 56,
    SEED_BYTES = SEED_BLOCKS * BLOB_BLOCK_BYTES,
};

/*
 * Recipes of images: each letter is a step.
 *
 * w, v, n  write blob 0, 1, 2
 * m        write blobs 0 and 1 together
 * d        delete blob 1
 * r, c     open again, after a clean close with c
 * g        the same with all blobs larger
 * u        the same without registering blob 1
 * p        the same, and pack from now on
 * S, D     superblock, directory: the copy in slot 1 is lost
 * T, H     the trailer, the header of the current version of blob 0 is lost
 * P        a byte of the current version of blob 0 has changed
 * O        the current version of blob 0 is lost without a trace
 * E, F     in front: the store is sealed with data key 1, or 2
 * k        another secret opens it
 * x, y     it is sealed with data key 1, becomes plain
 * 1 to 9   the next of these two is cut short, early or late
 */
static const char *const recipes[] = {
    "", "w", "wwv", "wc", "wvnmc", "wvm", "wvmm", "wvdc", "wvd", "wdv", "vvvv",
    "wgw", "wgc", "wvuc", "wvu", "wpwc", "pwv", "wS", "wD", "wwT", "wwvT",
    "wwH", "wwwvP", "wwvcP", "wwvO", "wwvwO", "wvmT", "wvmP", "wvmmvO",
    "wvnuw", "wvdrd", "nm", "wwcT", "wvmcO", "vdD", "pwvmS",
    "E", "Ew", "Ewwv", "Ewc", "Ewvnmc", "Ewvmm", "Ewvdc", "Ewvd", "Ewgw",
    "Ewvuc", "Epwvc", "EwS", "EwD", "EwwT", "EwwH", "EwwwvP", "EwvmmvO",
    "Ewvk", "Ewvkc", "wvx", "wvdxmc", "Fwvdxm", "Ewvdyw",
    "wv1x", "wv2x", "wv3x", "wdv4x", "wv5x", "wv6x", "wv7x", "wv9x",
    "Fwv1x", "Fwv2x", "Fwv3x", "Fwvd4x", "Fwv5x", "Fwv6x", "Fwv8x",
    "Ewv1y", "Ewv2y", "Ewv3y", "Ewvd4y", "Ewv5y", "Ewv6y", "Ewv8y",
};

typedef struct Maker {
    FuzzDisk *disk;
    BlobStore *store;
    BlobStoreOptions options;
    unsigned data_key;          /* of a new store; 0: it is plain */
    BlobKeySlots key_slots;
    unsigned cut;               /* the next conversion at this write, or 0 */
    Blob *blobs[BLOBS];
    uint64_t max_size;
    unsigned version;
} Maker;

static void open_store(Maker *maker)
{
    BlobStoreOptions options = maker->options;
    BlobStoreLabel label;

    maker->disk->store = NULL;
    blob_store_free(maker->store);
    FUZZ_CHECK(blob_store_read_label(maker->disk->storage, &label, NULL));
    fuzz_find_key(&label, &options);
    if (label.blank && maker->data_key) {
        fuzz_key_slots(&maker->key_slots, maker->data_key);
        options.key = fuzz_key(maker->data_key);
        options.key_slots = &maker->key_slots;
        options.uuid = fuzz_uuid;
        options.create_as_uuid = true;
    }
    maker->store = blob_store_open(maker->disk->storage, &options, NULL);
    FUZZ_CHECK(maker->store);
    maker->disk->store = maker->store;
}

static void open_again(Maker *maker, int skip)
{
    static const char *const names[BLOBS] = { "a", "b", "c" };

    open_store(maker);
    for (int i = 0; i < BLOBS; i++) {
        if (i != skip) {
            maker->blobs[i] = blob_store_register(
                maker->store, "t", names[i],
                i ? BLOB_KIND_SAVESTATE : BLOB_KIND_PERMANENT,
                maker->max_size, NULL);
            FUZZ_CHECK(maker->blobs[i]);
        }
    }
    FUZZ_CHECK(blob_store_start(maker->store, NULL));
}

static void write_blobs(Maker *maker, unsigned mask, bool remove)
{
    static const char *const metadata[] = { "k=v", NULL };
    BlobChange changes[BLOBS] = { 0 };
    size_t count = 0;

    for (unsigned i = 0; i < BLOBS; i++) {
        size_t bytes = maker->options.pack ? 6000 : 16;
        uint8_t *content = g_malloc(bytes);

        memset(content, ++maker->version, bytes);
        if (mask & 1 << i) {
            changes[count++] = (BlobChange) {
                .blob = maker->blobs[i],
                .content = remove ? NULL : g_bytes_new(content, bytes),
                .metadata = i ? NULL : metadata,
            };
        }
        g_free(content);
    }
    FUZZ_CHECK(blob_store_write(maker->store, changes, count, NULL));
    for (size_t i = 0; i < count; i++) {
        g_clear_pointer(&changes[i].content, g_bytes_unref);
    }
}

/* Damages what the current version of blob 0 has written. */
static void damage(Maker *maker, char how)
{
    const Blob *blob = maker->blobs[0];
    BlobSlot slot = blob_slot_of(blob, blob->entry.slot);
    uint8_t *at = maker->disk->data + slot.offset;
    uint64_t end = blob_layout_image_bytes(blob->entry.stored_bytes);

    switch (how) {
    case 'T':
        memset(at + end - BLOB_HEADER_BYTES, 0, BLOB_HEADER_BYTES);
        break;
    case 'H':
        memset(at, 0, BLOB_HEADER_BYTES);
        break;
    case 'P':
        at[BLOB_HEADER_BYTES] ^= 1;
        break;
    default:
        memset(at, 0, end);
    }
}

static void add_key_slot(Maker *maker)
{
    BlobKeySlots slots;

    blob_store_get_key_slots(maker->store, &slots);
    memcpy(slots.bytes[1], slots.bytes[0], BLOB_KEY_SLOT_BYTES);
    FUZZ_CHECK(blob_store_set_key_slots(maker->store, maker->store->key,
                                        &slots, NULL));
}

static void convert(Maker *maker, bool unseal)
{
    BlobKeySlots slots;
    bool done;

    fuzz_key_slots(&slots, 1);
    maker->disk->fail_write = maker->cut;
    maker->disk->cut = maker->cut;
    done = blob_store_convert(maker->store, unseal ? NULL : fuzz_key(1),
                              &slots, NULL);
    FUZZ_CHECK(done == !maker->cut);
}

static void step(Maker *maker, char what)
{
    uint8_t *bytes = maker->disk->data;
    const BlobPair *directory = &maker->store->directory_pair;

    switch (what) {
    case 'w':
    case 'v':
    case 'n':
        write_blobs(maker, what == 'w' ? 1 : what == 'v' ? 2 : 4, false);
        break;
    case 'm':
        write_blobs(maker, 3, false);
        break;
    case 'd':
        write_blobs(maker, 2, true);
        break;
    case 'c':
        FUZZ_CHECK(blob_store_close_clean(maker->store, NULL));
        break;
    case 'g':
        maker->max_size += BLOB_BLOCK_BYTES;
        open_again(maker, -1);
        break;
    case 'u':
        open_again(maker, 1);
        break;
    case 'p':
        maker->options.pack = true;
        maker->max_size = 6000;
        open_again(maker, -1);
        break;
    case 'r':
        open_again(maker, -1);
        break;
    case 'k':
        add_key_slot(maker);
        break;
    case 'x':
    case 'y':
        convert(maker, what == 'y');
        break;
    case 'S':
        memset(bytes + BLOB_SUPERBLOCK_SLOT_BYTES, 0,
               BLOB_SUPERBLOCK_SLOT_BYTES);
        break;
    case 'D':
        memset(bytes + blob_pair_slot(directory, 1).offset, 0,
               directory->slot_bytes);
        break;
    default:
        if (g_ascii_isdigit(what)) {
            maker->cut = 2 * (what - '0');
        } else {
            damage(maker, what);
        }
    }
}

/*
 * Returns the input for the current medium.  Damage must not be repaired, so
 * the input repairs less and less until it gives the same bytes.
 */
static GByteArray *encode(const uint8_t *bytes)
{
    static const uint8_t repairs[] = {
        FUZZ_REPAIR_ALL, FUZZ_REPAIR_ALL & ~FUZZ_REPAIR_CENSUS,
        FUZZ_REPAIR_ALL & ~FUZZ_REPAIR_DIGEST,
        FUZZ_REPAIR_ALL & ~(FUZZ_REPAIR_CENSUS | FUZZ_REPAIR_DIGEST),
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(repairs); i++) {
        g_autoptr(FuzzDisk) disk = fuzz_disk_new(SEED_BYTES);
        g_autoptr(FuzzDisk) again = NULL;
        FuzzHead head = { .blocks = SEED_BLOCKS, .repair = repairs[i] };
        g_autoptr(GByteArray) input = NULL;

        memcpy(disk->data, bytes, SEED_BYTES);
        fuzz_unsign(disk, &head);
        input = fuzz_image_encode(&head, disk);
        again = fuzz_image_decode(input->data, input->len, &head);
        if (!memcmp(again->data, bytes, SEED_BYTES)) {
            return g_steal_pointer(&input);
        }
    }
    fuzz_fail("an input does not give the image it was made from");
}

/* Saves the medium as inputs that run different operations on it. */
static void save_all(const char *folder, unsigned n, const uint8_t *bytes)
{
    static const uint8_t scripts[][16] = {
        { 0 },
        { 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 2, 1 },
        { 0, 0x80, 0x40, 0, 0, 0, 0, 0, 3, 4, 4, 0xc4 },
    };
    g_autoptr(GByteArray) input = encode(bytes);

    for (unsigned i = 0; i < G_N_ELEMENTS(scripts); i++) {
        FuzzHead *head = (FuzzHead *)input->data;
        g_autofree char *path = g_strdup_printf("%s/%02u-%u", folder, n, i);

        head->options = i == 1;
        head->key = i == 1;
        head->fail_read = 7 * i;
        head->fail_write = 0x32 * i;
        memcpy(head->script, scripts[i], sizeof(scripts[i]));
        FUZZ_CHECK(g_file_set_contents(path, (const char *)input->data,
                                       input->len, NULL));
    }
}

static void make(const char *folder, unsigned n)
{
    g_autoptr(FuzzDisk) disk = fuzz_disk_new(SEED_BYTES);
    const char *steps = recipes[n];
    Maker maker = {
        .disk = disk,
        .options = { .directory_blobs = 4 },
        .max_size = 1000,
    };

    fuzz_begin((const uint8_t *)&n, sizeof(n));
    disk->knows_zero = true;
    if (*steps == 'E' || *steps == 'F') {
        maker.data_key = *steps++ == 'E' ? 1 : 2;
    }
    open_again(&maker, -1);
    while (*steps) {
        step(&maker, *steps++);
    }
    save_all(folder, n, disk->data);
    blob_store_free(maker.store);
}

/*
 * Makes media that are no stores: blank, half created, and with other content.
 */
static void make_others(const char *folder, unsigned n)
{
    g_autoptr(BlobStorage) storage =
        blob_storage_new_memory(SEED_BYTES);
    g_autoptr(BlobGuard) zero_guard = blob_guard_new_plain(NULL);
    BlobMedium medium = { .storage = storage };
    uint8_t *bytes = blob_storage_memory(storage);

    save_all(folder, n, bytes);
    FUZZ_CHECK(blob_blank_write_marker(&medium, zero_guard, NULL));
    save_all(folder, n + 1, bytes);
    memset(bytes + 512, 0, 4096);
    save_all(folder, n + 2, bytes);
    memset(bytes, 0, SEED_BYTES);
    memcpy(bytes, "LUKS\xba\xbe", 6);
    save_all(folder, n + 3, bytes);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    LLVMFuzzerInitialize(&argc, &argv);
    for (unsigned n = 0; n < G_N_ELEMENTS(recipes); n++) {
        make(argv[1], n);
    }
    make_others(argv[1], G_N_ELEMENTS(recipes));
    return 0;
}
