/*
 * Blobstore over the real block layer: the state of a VM with a sealed store,
 * changed by somebody who has no key
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "block/qdict.h"
#include "crypto/secret.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qom/object_interfaces.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (1 * MiB)

/* Of the permanent blob, at all times */
#define METADATA "colour=blue"

/* Places in the stream; see vmstate-identity.c and vmstate-blobs.c */
enum {
    SEQUENCE = 16 + 4,
    FIRST_SECTION = 16 + 4 + 8 + 16 + 1 + 4 + 3 * (64 + 64 + 1 + 8 + 4) +
                    4 + sizeof(METADATA) + 2 +
                    sizeof("blobstore-identity/keys") - 1 + 4 +
                    32 + 8 * KiB + 1 + 12 + 16 + 1,
};

/* Places in the image; see docs/format.md */
enum {
    KEY_SLOTS = 1280 + 512,
    KEY_SLOT_BYTES = 1024,
    KEY_SLOTS_BYTES = 8 * KEY_SLOT_BYTES,
};

/* The medium that the destination finds */
typedef enum Medium { SHARED, BLANK, OLDER, NEWER, MEDIA } Medium;

static const char *const medium_names[MEDIA] = {
    "shared", "blank", "older", "newer",
};

typedef struct Fixture {
    char *path;
    Object *secrets[2];
    GBytes *streams[2];         /* an earlier stream, and the one that counts */
    BlobstoreInfo *info;        /* of the source when it made that one */
    GBytes *media[MEDIA];
    int64_t sequence;           /* of the store that goes on; 0: not yet */
    Device device;
} Fixture;

static void G_GNUC_PRINTF(1, 2) add_store(const char *more, ...)
{
    g_autofree char *options = NULL;
    QDict *dict;
    Visitor *v;
    va_list args;

    va_start(args, more);
    options = g_strdup_vprintf(more, args);
    va_end(args);
    dict = qobject_to(QDict, qobject_from_jsonf_nofail(
        "{'drive': 'nvram', 'encrypt': {'type': 'raw', "
        "'key-secret': 'sec0'}}"));
    if (*options) {
        g_autofree char *text = g_strdup_printf("{%s}", options);
        QDict *other = qobject_to(QDict, qobject_from_json(text,
                                                           &error_abort));

        qdict_join(dict, other, true);
        qobject_unref(other);
    }
    v = qobject_input_visitor_new(QOBJECT(dict));
    object_unref(user_creatable_add_type(TYPE_BLOBSTORE, "bs", dict, v,
                                         &error_abort));
    visit_free(v);
    qobject_unref(dict);
}

static Object *add_secret(const char *id, char fill)
{
    char data[33] = { 0 };

    memset(data, fill, 32);
    return object_new_with_props(TYPE_QCRYPTO_SECRET,
                                 object_get_objects_root(), id, &error_abort,
                                 "data", data, NULL);
}

static void coroutine_fn add_key_entry(void *opaque)
{
    bool *done = opaque;
    BlobstoreKeyAdd arg = {
        .id = (char *)"bs",
        .type = BLOBSTORE_KEY_TYPE_RAW,
        .u.raw.new_secret = (char *)"sec1",
    };

    g_free(qmp_blobstore_key_add(&arg, &error_abort));
    *done = true;
    aio_wait_kick();
}

static void coroutine_fn remove_key_entry(void *opaque)
{
    bool *done = opaque;

    qmp_blobstore_key_remove("bs", 1, &error_abort);
    *done = true;
    aio_wait_kick();
}

static void run(CoroutineEntry *entry)
{
    bool done = false;

    aio_co_enter(qemu_get_aio_context(), qemu_coroutine_create(entry, &done));
    AIO_WAIT_WHILE(qemu_get_aio_context(), !done);
}

/* Nobody without the key can make the store ask about other metadata. */
static bool accepts(void *opaque, const BlobStoreBlob *blob, char **metadata,
                    Error **errp)
{
    Device *device = opaque;

    g_assert_true(blob == device->permanent);
    g_assert_cmpstr(metadata[0], ==, METADATA);
    g_assert_null(metadata[1]);
    return true;
}

static const BlobStoreClientOps accepts_ops = { .accepts = accepts };

static void plug(Fixture *fixture)
{
    g_assert_true(device_plug(&fixture->device, "bs", &error_abort));
    blobstore_set_ops(fixture->device.client, &accepts_ops, &fixture->device);
}

static void write_permanent(Fixture *fixture, const char *text)
{
    static const char *const metadata[] = { METADATA, NULL };

    g_assert_true(blobstore_write_blob(fixture->device.permanent, text,
                                       strlen(text), metadata, &error_abort));
}

static bool start_at_last(void *opaque, Error **errp)
{
    return vm_start_now();
}

/*
 * The VM was stopped when saving began, and ran after that, so that the second
 * section is of another epoch than the first.
 */
static GBytes *save(Fixture *fixture)
{
    static const BlobStoreClientOps ops = { .save = start_at_last };
    g_autoptr(GBytes) before = vm_save_state();
    GBytes *stream;

    blobstore_set_ops(fixture->device.client, &ops, NULL);
    stream = vm_save_state();
    g_assert_nonnull(stream);
    g_assert_null(memmem(g_bytes_get_data(stream, NULL),
                         g_bytes_get_size(stream), METADATA,
                         sizeof(METADATA)));
    blobstore_set_ops(fixture->device.client, NULL, NULL);
    g_assert_true(vm_start_now());
    return stream;
}

/* Runs the source and keeps its image as it was earlier, now, and later. */
static void run_source(Fixture *fixture)
{
    plug(fixture);
    write_permanent(fixture, "older");
    fixture->media[OLDER] = image_content(fixture->path);
    fixture->streams[0] = save(fixture);
    write_permanent(fixture, "kept");
    write_text(fixture->device.volatile_, "as saved");
    run(add_key_entry);
    fixture->info = store_info("bs");
    fixture->streams[1] = save(fixture);
    g_assert_cmpuint(g_bytes_get_size(fixture->streams[1]), >, FIRST_SECTION);
    fixture->media[SHARED] = image_content(fixture->path);
    run(remove_key_entry);
    write_permanent(fixture, "newer");
    write_text(fixture->device.savestate, "newer");
    fixture->media[NEWER] = image_content(fixture->path);
    device_unplug(&fixture->device);
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->path = image_new("image", "raw", IMAGE_BYTES);
    fixture->media[BLANK] = image_content(fixture->path);
    fixture->secrets[0] = add_secret("sec0", 'a');
    fixture->secrets[1] = add_secret("sec1", 'b');
    drive_add_image("nvram", "raw", fixture->path);
    add_store("%s", "");
    run_source(fixture);
    vm_set_incoming(true);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vm_set_incoming(false);
    store_remove("bs");
    drive_remove("nvram");
    object_unparent(fixture->secrets[0]);
    object_unparent(fixture->secrets[1]);
    qapi_free_BlobstoreInfo(fixture->info);
    for (Medium medium = 0; medium < MEDIA; medium++) {
        g_bytes_unref(fixture->media[medium]);
    }
    g_bytes_unref(fixture->streams[0]);
    g_bytes_unref(fixture->streams[1]);
    unlink(fixture->path);
    g_free(fixture->path);
}

/* Starts a QEMU that waits for a stream, on @medium. */
static void wait_on(Fixture *fixture, Medium medium)
{
    image_set_content(fixture->path, fixture->media[medium]);
    vm_set_incoming(true);
    plug(fixture);
}

static void assert_medium(Fixture *fixture, Medium medium)
{
    g_autoptr(GBytes) now = image_content(fixture->path);

    g_assert_true(g_bytes_equal(now, fixture->media[medium]));
}

static void assert_key_slots(Fixture *fixture)
{
    g_autoptr(GBytes) now = image_content(fixture->path);
    const uint8_t *found = g_bytes_get_data(now, NULL);
    const uint8_t *wanted = g_bytes_get_data(fixture->media[SHARED], NULL);

    /* The test assumes that two key slots are in use. */
    g_assert_cmpuint(wanted[KEY_SLOTS], !=, 0);
    g_assert_cmpuint(wanted[KEY_SLOTS + KEY_SLOT_BYTES], !=, 0);
    g_assert_cmpmem(found + KEY_SLOTS, KEY_SLOTS_BYTES,
                    wanted + KEY_SLOTS, KEY_SLOTS_BYTES);
}

/*
 * The destination loaded exactly what the source had, and wrote that to the
 * medium.
 */
static void assert_exact_state(Fixture *fixture)
{
    g_autoptr(BlobstoreInfo) info = NULL;

    assert_text(fixture->device.permanent, "kept");
    assert_text(fixture->device.savestate, NULL);
    assert_text(fixture->device.volatile_, "as saved");
    g_assert_true(vm_start_now());
    assert_text(fixture->device.permanent, "kept");
    assert_state("bs", BLOBSTORE_CONDITION_ACTIVE);
    info = store_info("bs");
    g_assert_cmpstr(info->uuid, ==, fixture->info->uuid);
    g_assert_cmpint(info->sequence, >, fixture->info->sequence);
    if (!fixture->sequence) {
        fixture->sequence = info->sequence;
    }
    g_assert_cmpint(info->sequence, ==, fixture->sequence);
    assert_text_on_medium(&fixture->device, "bs", "kept");
    assert_text(fixture->device.savestate, NULL);
    assert_key_slots(fixture);
}

static GBytes *change(GBytes *stream, gsize at, uint8_t mask)
{
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(stream, &bytes);
    uint8_t *changed = g_memdup2(data, bytes);

    changed[at] ^= mask;
    return g_bytes_new_take(changed, bytes);
}

/*
 * The unchanged stream is taken, so the others are refused for no other
 * reason.
 */
static void take_unchanged(Fixture *fixture, Medium medium)
{
    wait_on(fixture, medium);
    g_assert_true(vm_load_state(fixture->streams[1]));
    assert_exact_state(fixture);
    device_unplug(&fixture->device);
}

/* Returns whether the stream with one byte changed was taken. */
static bool try_change(Fixture *fixture, Medium medium, gsize at,
                       uint8_t mask)
{
    g_autoptr(GBytes) stream = change(fixture->streams[1], at, mask);
    bool ok;

    vm_set_incoming(true);
    plug(fixture);
    ok = vm_load_state(stream);
    if (ok) {
        assert_exact_state(fixture);
    } else {
        g_assert_false(vm_start_now());
        g_assert_null(vm_save_state());
    }
    device_unplug(&fixture->device);
    if (ok) {
        image_set_content(fixture->path, fixture->media[medium]);
    }
    return ok;
}

static void test_every_byte(Fixture *fixture, gconstpointer data)
{
    Medium medium = GPOINTER_TO_UINT(data);
    /*
     * The loop leaves out the mark of the end, which the store does not read.
     */
    gsize bytes = g_bytes_get_size(fixture->streams[1]) - 1;
    unsigned taken = 0;

    take_unchanged(fixture, medium);
    image_set_content(fixture->path, fixture->media[medium]);
    reports_hide(true);
    for (gsize at = 0; at < bytes; at++) {
        taken += try_change(fixture, medium, at,
                            g_test_rand_int_range(1, 256));
        if (at % 256 == 0) {
            assert_medium(fixture, medium);
        }
    }
    reports_hide(false);
    assert_medium(fixture, medium);
    g_test_message("%s: %zu changes, %u of no importance",
                   medium_names[medium], bytes, taken);
    /* Three bools, and three bytes of a version, of which QEMU reads four */
    g_assert_cmpuint(taken, <=, 6);
}

static void assert_stream(Fixture *fixture, GBytes *stream, bool taken)
{
    wait_on(fixture, NEWER);
    g_assert_cmpint(vm_load_state(stream), ==, taken);
    if (!taken) {
        g_assert_false(vm_start_now());
    }
    device_unplug(&fixture->device);
    if (!taken) {
        assert_medium(fixture, NEWER);
    }
}

static void set_min_sequence(Fixture *fixture)
{
    store_remove("bs");
    add_store("'min-sequence': {'number': %" PRId64 ", 'epoch-id': '%s'}",
              fixture->info->sequence, fixture->info->epoch_id);
}

/* Joins the first section of one stream and the second of another. */
static GBytes *put_together(GBytes *first, GBytes *second)
{
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(second, &bytes);
    GByteArray *both = g_byte_array_new();

    g_byte_array_append(both, g_bytes_get_data(first, NULL), FIRST_SECTION);
    g_byte_array_append(both, data + FIRST_SECTION, bytes - FIRST_SECTION);
    return g_byte_array_free_to_bytes(both);
}

/*
 * Takes the sequence of the store from one stream, and all else from another.
 */
static GBytes *forge_sequence(GBytes *first, GBytes *second)
{
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(second, &bytes);
    uint8_t *forged = g_memdup2(data, bytes);

    memcpy(forged + SEQUENCE,
           (const uint8_t *)g_bytes_get_data(first, NULL) + SEQUENCE, 24);
    return g_bytes_new_take(forged, bytes);
}

static void test_old_stream(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) old_end = put_together(fixture->streams[1],
                                       fixture->streams[0]);
    g_autoptr(GBytes) old_beginning = put_together(fixture->streams[0],
                                             fixture->streams[1]);
    g_autoptr(GBytes) forged = forge_sequence(fixture->streams[1],
                                              fixture->streams[0]);

    assert_stream(fixture, old_end, false);
    assert_stream(fixture, old_beginning, false);
    assert_stream(fixture, forged, false);
    /* The earlier stream is the user's own, and the user has set no minimum. */
    assert_stream(fixture, fixture->streams[0], true);
    set_min_sequence(fixture);
    assert_stream(fixture, old_end, false);
    assert_stream(fixture, old_beginning, false);
    assert_stream(fixture, forged, false);
    assert_stream(fixture, fixture->streams[0], false);
    assert_stream(fixture, fixture->streams[1], true);
}

static void add_tests(void)
{
    for (Medium medium = 0; medium < MEDIA; medium++) {
        g_autofree char *path =
            g_strdup_printf("/blobstore/vmstate-sealed/every-byte/%s",
                            medium_names[medium]);

        g_test_add(path, Fixture, GUINT_TO_POINTER(medium), set_up,
                   test_every_byte, tear_down);
    }
    g_test_add("/blobstore/vmstate-sealed/old-stream", Fixture, NULL, set_up,
               test_old_stream, tear_down);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
