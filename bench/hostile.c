/*
 * Blobstore benchmark: what the worst images cost to open, by class
 *
 *   hostile DIR
 *
 * Each image is made by one process and opened by another one, whose time and
 * memory are printed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "blobstore/crypto/keyslot-layout.h"
#include "blobstore/format/slot.h"
#include "blobstore/superblock.h"

enum {
    MANY_BLOBS = 299000,        /* nearly all that a directory has room for */
    COLLIDING_BLOBS = 60000,
    LARGE_BLOBS = 8000,
    EPOCH = 5,
};

typedef struct Image {
    const char *path;
    BlobMedium medium;
    BlobGuard *guard;
    BlobSuperblock super;
    BlobDirectory directory;
} Image;

static void check(bool ok)
{
    if (!ok) {
        fprintf(stderr, "cannot make an image\n");
        _exit(2);
    }
}

/* Pairs of these, of two characters each, have the same g_str_hash(). */
static void colliding_name(unsigned number, char *out)
{
    for (unsigned bit = 0; bit < 20; bit++) {
        memcpy(out + 2 * bit, number >> bit & 1 ? "bA" : "ab", 2);
    }
    out[40] = '\0';
}

static void add_blobs(Image *image, unsigned count, uint64_t max_size,
                      bool collide)
{
    uint64_t slot_bytes = blob_layout_slot_bytes(max_size);
    uint64_t at;

    image->super.directory_slot_bytes =
        blob_layout_directory_slot_bytes(count);
    at = BLOB_DIRECTORY_OFFSET + 2 * image->super.directory_slot_bytes;
    image->super.data_offset = at;
    for (unsigned i = 0; i < count; i++, at += 2 * slot_bytes) {
        BlobEntry entry = {
            .id = BLOB_ID_FIRST + i,
            .max_size = max_size,
            .slot_bytes = slot_bytes,
            .offset = at,
            .kind = BLOB_KIND_PERMANENT,
            .owner = "hostile",
        };

        if (collide) {
            colliding_name(i, entry.name);
        } else {
            snprintf(entry.name, sizeof(entry.name), "%u", i);
        }
        g_array_append_val(image->directory.entries, entry);
    }
    image->directory.capacity = at;
    image->directory.next_id = BLOB_ID_FIRST + count;
}

static void write_heads(Image *image)
{
    g_autoptr(BlobGuard) zero = blob_guard_new_plain(NULL);
    uint8_t *bytes = g_malloc(BLOB_SUPERBLOCK_BYTES);
    g_autoptr(GBytes) super = NULL;
    g_autoptr(GBytes) payload =
        blob_layout_encode_directory(&image->directory, NULL);
    BlobPair pair = blob_superblock_pair();
    BlobHeader header = { .sequence = image->super.generation,
                          .raw_bytes = BLOB_SUPERBLOCK_BYTES };

    blob_layout_encode_superblock(&image->super, NULL, bytes);
    super = g_bytes_new_take(bytes, BLOB_SUPERBLOCK_BYTES);
    check(blob_pair_write(&image->medium, zero, &pair, &header, super, NULL));
    pair = (BlobPair) {
        .id = BLOB_ID_DIRECTORY,
        .offset = BLOB_DIRECTORY_OFFSET,
        .slot_bytes = image->super.directory_slot_bytes,
    };
    header = (BlobHeader) { .sequence = blob_sequence(EPOCH, 0),
                            .raw_bytes = g_bytes_get_size(payload) };
    check(blob_pair_write(&image->medium, image->guard, &pair, &header,
                          payload, NULL));
}

static void no_more(Image *image)
{
}

/* A version of the present epoch, all of whose content is a hole */
static void hollow(Image *image)
{
    for (guint i = 0; i < image->directory.entries->len; i++) {
        const BlobEntry *entry =
            &g_array_index(image->directory.entries, BlobEntry, i);
        uint8_t block[BLOB_BLOCK_BYTES] = { 0 };
        int file = open(image->path, O_RDWR);
        BlobHeader header = {
            .id = entry->id,
            .offset = entry->offset,
            .sequence = blob_sequence(EPOCH, i + 1),
            .raw_bytes = entry->max_size,
            .stored_bytes = entry->max_size,
        };
        uint64_t end = entry->offset +
                       blob_layout_image_bytes(header.stored_bytes);

        blob_layout_encode_header(&header, image->guard, block);
        check(pwrite(file, block, sizeof(block), entry->offset) > 0 &&
              pwrite(file, block, BLOB_HEADER_BYTES,
                     end - BLOB_HEADER_BYTES) > 0);
        close(file);
    }
}

/* Every header is of the present epoch, and none has the right census. */
static void wrong_census(Image *image)
{
    for (guint i = 0; i < image->directory.entries->len; i++) {
        const BlobEntry *entry =
            &g_array_index(image->directory.entries, BlobEntry, i);
        BlobSlot slot = { entry->id, entry->offset, entry->slot_bytes, entry };
        BlobHeader header = {
            .sequence = blob_sequence(EPOCH, 1 + i),
            .watermark = blob_sequence(EPOCH, UINT32_MAX),
            .census = { 1 },
        };

        check(blob_slot_write(&image->medium, image->guard, &slot, &header,
                              NULL, false, NULL));
    }
}

static const struct {
    const char *what;
    unsigned blobs;
    uint64_t max_size;
    bool collide;
    void (*finish)(Image *image);
} classes[] = {
    { "blobs whose names have one hash", COLLIDING_BLOBS, 512, true, no_more },
    { "as many blobs as there can be", MANY_BLOBS, 512, false, no_more },
    { "large slots that are holes", LARGE_BLOBS, BLOB_MAX_SIZE_BYTES, false,
      no_more },
    { "large content that is a hole", 64, BLOB_MAX_SIZE_BYTES - 8192, false,
      hollow },
    { "versions, and a census that is wrong", 4000, 512, false,
      wrong_census },
};

static void make(const char *path, unsigned n)
{
    g_autoptr(BlobStorage) storage = NULL;
    Image image = {
        .path = path,
        .super = {
            .version = BLOB_FORMAT_VERSION,
            .state = BLOB_STATE_READY,
            .generation = 2,
            .directory_offset = BLOB_DIRECTORY_OFFSET,
        },
        .directory = {
            .epoch = EPOCH,
            .superblock_generation = 1,
            .entries = g_array_new(FALSE, FALSE, sizeof(BlobEntry)),
            .history = g_array_new(FALSE, FALSE, sizeof(BlobPastEpoch)),
        },
    };

    add_blobs(&image, classes[n].blobs, classes[n].max_size,
              classes[n].collide);
    unlink(path);
    check(g_file_set_contents(path, "", 0, NULL));
    check(!truncate(path, image.directory.capacity));
    storage = blob_storage_new_file(path, true, NULL);
    check(storage);
    image.medium.storage = storage;
    image.guard = blob_guard_new_plain(image.super.seed);
    write_heads(&image);
    classes[n].finish(&image);
}

static void look(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStorage) storage = blob_storage_new_file(path, false,
                                                           &error);
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(BlobStore) store = NULL;

    if (storage) {
        store = blob_store_open(storage, &options, &error);
    }
    printf(" %-32.32s", store ? "opens" : error->message);
    fflush(stdout);
}

/* What no slot opens, at the limit of each slot */
static void try_key_slots(void)
{
    static const uint8_t uuid[BLOB_UUID_BYTES];
    g_autofree BlobKeySlots *slots = g_new0(BlobKeySlots, 1);
    g_autoptr(BlobSecret) secret = blob_secret_new("x", 1, NULL);
    BlobCredential credential = { .secret = secret, .slot = BLOB_KEY_SLOT_ANY };
    BlobKeySlot slot = {
        .type = BLOB_KEY_SLOT_PASSPHRASE,
        .kdf_memory_kib = 1 << 17,
        .kdf_iterations = 32,
        .kdf_parallelism = 1,
        .wrapped_bytes = BLOB_KEY_BYTES,
    };

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        blob_key_slot_encode(&slot, slots->bytes[n]);
    }
    blob_key_unref(blob_key_slots_unlock(slots, uuid, &credential, NULL));
    printf(" %-32s", "none opens");
    fflush(stdout);
}

/* Of the processor: others may use it meanwhile. */
static double seconds(const struct timeval *time)
{
    return time->tv_sec + time->tv_usec / 1e6;
}

/* Runs class @n, or the key slots if that is -1, in a process of its own. */
static void measure(const char *what, const char *path, int n)
{
    struct rusage usage;
    struct stat status = { 0 };
    pid_t child;

    printf("%-40s", what);
    fflush(stdout);
    child = fork();
    if (!child) {
        if (n < 0) {
            try_key_slots();
        } else {
            look(path);
        }
        _exit(0);
    }
    wait4(child, NULL, 0, &usage);
    if (n >= 0) {
        stat(path, &status);
    }
    printf("%6.1f MiB of image %6.2f s %5ld MiB\n", status.st_blocks / 2048.0,
           seconds(&usage.ru_utime) + seconds(&usage.ru_stime),
           usage.ru_maxrss / 1024);
}

int main(int argc, char **argv)
{
    g_autofree char *path = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: hostile DIR\n");
        return 2;
    }
    path = g_build_filename(argv[1], "hostile.img", NULL);
    for (unsigned n = 0; n < G_N_ELEMENTS(classes); n++) {
        pid_t child = fork();

        if (!child) {
            make(path, n);
            _exit(0);
        }
        waitpid(child, NULL, 0);
        measure(classes[n].what, path, n);
    }
    measure("key slots, each at its limit", path, -1);
    unlink(path);
    return 0;
}
