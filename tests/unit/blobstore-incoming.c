/*
 * Blobstore unit tests over the real block layer: a VM that waits for a stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "blobstore-incoming.h"

static bool save(void *opaque, Error **errp)
{
    Calls *calls = opaque;

    calls->saved++;
    if (calls->failure) {
        error_setg(errp, "%s", calls->failure);
        return false;
    }
    write_text(calls->device->volatile_, "as saved");
    return true;
}

static bool load(void *opaque, Error **errp)
{
    Calls *calls = opaque;
    g_autoptr(GBytes) content = NULL;

    calls->loaded++;
    blobstore_read_blob(calls->device->volatile_, &content, NULL,
                        &error_abort);
    g_free(calls->seen);
    calls->seen = content ? g_strndup(g_bytes_get_data(content, NULL),
                                      g_bytes_get_size(content)) : NULL;
    if (calls->failure) {
        error_setg(errp, "%s", calls->failure);
        return false;
    }
    return true;
}

static const BlobStoreClientOps ops = { .save = save, .load = load };

static void plug(Fixture *fixture)
{
    drive_add_image("nvram", "raw", fixture->path);
    g_assert_true(device_plug(&fixture->device, "nvram", &error_abort));
    blobstore_set_ops(fixture->device.client, fixture->ops, fixture->opaque);
}

static void unplug(Fixture *fixture)
{
    device_unplug(&fixture->device);
    drive_remove("nvram");
}

char *incoming_store_uuid(void)
{
    g_autoptr(BlobstoreInfo) info = store_info("nvram");

    return g_strdup(info->uuid);
}

void incoming_begin(Fixture *fixture, const BlobStoreClientOps *device_ops,
                    void *opaque)
{
    fixture->path = image_new("source", "raw", IMAGE_BYTES);
    fixture->ops = device_ops;
    fixture->opaque = opaque;
    plug(fixture);
}

void incoming_wait(Fixture *fixture)
{
    fixture->stream = vm_save_state();
    g_assert_nonnull(fixture->stream);
    fixture->uuid = incoming_store_uuid();
    unplug(fixture);
    unlink(fixture->path);
    g_free(fixture->path);

    fixture->path = image_new("image", "raw", IMAGE_BYTES);
    fixture->blank = image_content(fixture->path);
    vm_set_incoming(true);
    plug(fixture);
}

void incoming_set_up(Fixture *fixture, gconstpointer data)
{
    static const char *const metadata[] = { "colour=blue", "size=", NULL };

    fixture->calls.device = &fixture->device;
    incoming_begin(fixture, &ops, &fixture->calls);
    g_assert_true(blobstore_write_blob(fixture->device.permanent, "kept", 4,
                                       metadata, &error_abort));
    incoming_wait(fixture);
}

void incoming_tear_down(Fixture *fixture, gconstpointer data)
{
    unplug(fixture);
    vm_set_incoming(false);
    unlink(fixture->path);
    g_free(fixture->path);
    g_free(fixture->uuid);
    g_free(fixture->calls.seen);
    g_bytes_unref(fixture->stream);
    g_bytes_unref(fixture->blank);
}

void incoming_assert_nothing_written(Fixture *fixture)
{
    g_autoptr(GBytes) now = image_content(fixture->path);

    g_assert_true(g_bytes_equal(now, fixture->blank));
}

void incoming_assert_loaded(Fixture *fixture)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;

    g_assert_true(blobstore_read_blob(fixture->device.permanent, &content,
                                      &metadata, &error_abort));
    g_assert_cmpmem(g_bytes_get_data(content, NULL),
                    g_bytes_get_size(content), "kept", 4);
    g_assert_cmpuint(g_strv_length(metadata), ==, 2);
    g_assert_cmpstr(metadata[0], ==, "colour=blue");
    g_assert_cmpstr(metadata[1], ==, "size=");
    assert_text(fixture->device.savestate, NULL);
    assert_text(fixture->device.volatile_, "as saved");
}

void incoming_reset_for_snapshot(void)
{
    vm_stop_now(RUN_STATE_RESTORE_VM);
    vm_reset_for_snapshot();
}

void incoming_wait_again(Fixture *fixture)
{
    unplug(fixture);
    vm_set_incoming(true);
    plug(fixture);
}
