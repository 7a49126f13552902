/*
 * Writes the first inputs for the target "open": images of real stores
 *
 * usage: seeds FOLDER
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include "blank.h"
#include "fuzz.h"
#include "image.h"
#include "seal.h"

enum {
    BLOBS = 3,
    SEED_BLOCKS = 56,
    SEED_BYTES = SEED_BLOCKS * BLOB_BLOCK_BYTES,
};

/*
 * How an image is made: a step each.
 * w, v, n  write blob 0, 1, 2
 * m        write blobs 0 and 1 together
 * d        delete blob 1
 * r, c     open again, after a clean close with c
 * g        the same with all blobs larger
 * u        the same without registering blob 1
 * p        the same, and pack from now on
 * S, D     superblock, directory: the copy in slot 1 is lost
 * T, H     of the current version of blob 0 the trailer, header is lost
 * P        of the current version of blob 0 a byte has changed
 * O        the current version of blob 0 is lost without a trace
 */
static const char *const recipes[] = {
    "", "w", "wwv", "wc", "wvnmc", "wvm", "wvmm", "wvdc", "wvd", "wdv", "vvvv",
    "wgw", "wgc", "wvuc", "wvu", "wpwc", "pwv", "wS", "wD", "wwT", "wwvT",
    "wwH", "wwwvP", "wwvcP", "wwvO", "wwvwO", "wvmT", "wvmP", "wvmmvO",
    "wvnuw", "wvdrd", "nm", "wwcT", "wvmcO", "vdD", "pwvmS",
};

typedef struct Maker {
    BlobStorage *storage;
    BlobStore *store;
    BlobStoreOptions options;
    Blob *blobs[BLOBS];
    uint64_t max_size;
    unsigned version;
} Maker;

static void open_again(Maker *maker, int skip)
{
    static const char *const names[BLOBS] = { "a", "b", "c" };

    blob_store_free(maker->store);
    maker->store = blob_store_open(maker->storage, &maker->options, NULL);
    FUZZ_CHECK(maker->store);
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
    uint8_t *at = blob_storage_memory(maker->storage) + slot.offset;
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

static void step(Maker *maker, char what)
{
    uint8_t *bytes = blob_storage_memory(maker->storage);
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
    case 'S':
        memset(bytes + BLOB_SUPERBLOCK_SLOT_BYTES, 0,
               BLOB_SUPERBLOCK_SLOT_BYTES);
        break;
    case 'D':
        memset(bytes + blob_pair_slot(directory, 1).offset, 0,
               directory->slot_bytes);
        break;
    default:
        damage(maker, what);
    }
}

/*
 * The input for the medium as it is.  A damaged one must not be put right, so
 * less and less of it is.
 */
static GByteArray *encode(BlobStorage *storage)
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

        memcpy(disk->data, blob_storage_memory(storage), SEED_BYTES);
        fuzz_unseal(disk, &head);
        input = fuzz_image_encode(&head, disk);
        again = fuzz_image_decode(input->data, input->len, &head);
        if (!memcmp(again->data, blob_storage_memory(storage), SEED_BYTES)) {
            return g_steal_pointer(&input);
        }
    }
    fuzz_fail("an input does not give the image it was made from");
}

/* Saves the medium as inputs that do different things to it. */
static void save_all(const char *folder, unsigned n, BlobStorage *storage)
{
    static const uint8_t scripts[][16] = {
        { 0 },
        { 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 2, 1 },
        { 0, 0x80, 0x40, 0, 0, 0, 0, 0, 3, 4, 4, 0xc4 },
    };
    g_autoptr(GByteArray) input = encode(storage);

    for (unsigned i = 0; i < G_N_ELEMENTS(scripts); i++) {
        FuzzHead *head = (FuzzHead *)input->data;
        g_autofree char *path = g_strdup_printf("%s/%02u-%u", folder, n, i);

        head->options = i == 1;
        head->fail_read = 7 * i;
        head->fail_write = 0x32 * i;
        memcpy(head->script, scripts[i], sizeof(scripts[i]));
        FUZZ_CHECK(g_file_set_contents(path, (const char *)input->data,
                                       input->len, NULL));
    }
}

static void make(const char *folder, unsigned n)
{
    Maker maker = {
        .storage = blob_storage_new_memory(SEED_BYTES),
        .options = { .directory_blobs = 4 },
        .max_size = 1000,
    };

    fuzz_begin((const uint8_t *)&n, sizeof(n));
    open_again(&maker, -1);
    for (const char *at = recipes[n]; *at; at++) {
        step(&maker, *at);
    }
    save_all(folder, n, maker.storage);
    blob_store_free(maker.store);
    blob_storage_free(maker.storage);
}

/* What is no store: blank, half formatted, something else */
static void make_others(const char *folder, unsigned n)
{
    g_autoptr(BlobStorage) storage =
        blob_storage_new_memory(SEED_BYTES);
    g_autoptr(BlobGuard) zero_guard = blob_guard_new_plain(NULL);
    BlobMedium medium = { .storage = storage };

    save_all(folder, n, storage);
    FUZZ_CHECK(blob_blank_write_marker(&medium, zero_guard, NULL));
    save_all(folder, n + 1, storage);
    memset(blob_storage_memory(storage) + 512, 0, 4096);
    save_all(folder, n + 2, storage);
    memset(blob_storage_memory(storage), 0, SEED_BYTES);
    memcpy(blob_storage_memory(storage), "LUKS\xba\xbe", 6);
    save_all(folder, n + 3, storage);
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
