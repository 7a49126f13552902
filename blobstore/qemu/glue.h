/*
 * Blobstore in QEMU: what the files of the glue share
 *
 * Everything here belongs to the main thread (or a vCPU thread with the BQL)
 * and to coroutines in the main AioContext, unless it says otherwise.  Only
 * blobstore_read_blob() and the call of blobstore_write_blobs() happen in
 * worker threads; the work of a write is done in the main AioContext.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_QEMU_GLUE_H
#define BLOBSTORE_QEMU_GLUE_H

#include "object.h"

/* object.c */

/* Opens the store for its first client.  Writes nothing. */
bool blobstore_object_open(BlobStoreObject *store, Error **errp);
/* Closes the store after its last client has gone. */
void blobstore_object_close(BlobStoreObject *store);

static inline bool blobstore_object_is_open(const BlobStoreObject *store)
{
    return store->open.medium.blk;
}

/* stores.c */

/* The store that a device names; the caller gets a reference. */
BlobStoreObject *blobstore_stores_find(const char *name, Error **errp);
/*
 * Another store than @self (which may be NULL) that has @drive, or else one
 * that is meant for it; or NULL.
 */
BlobStoreObject *blobstore_stores_find_rival(const BlobStoreObject *self,
                                             const char *drive);

typedef void BlobStoreVisitor(BlobStoreObject *store, void *opaque);
void blobstore_stores_foreach(BlobStoreVisitor *visit, void *opaque);

/* properties.c */
void blobstore_properties_class_init(ObjectClass *oc);
void blobstore_properties_init(BlobStoreObject *store);
void blobstore_properties_clear(BlobStoreObject *store);
/* Once they are final.  @id is what the store is going to be called. */
bool blobstore_properties_check(BlobStoreObject *store, const char *id,
                                Error **errp);

/* keys.c */

/* Whether the user wants the store encrypted */
bool blobstore_keys_are_wanted(const BlobStoreObject *store);

/*
 * The data key of the store @uuid, from the slot of @slots that the user's key
 * opens, in a worker: it may take seconds.  @store does not change.
 */
BlobKey *coroutine_fn blobstore_keys_unlock(BlobStoreObject *store,
                                            const BlobKeySlots *slots,
                                            const QemuUUID *uuid,
                                            GError **error);

/* Wraps @key into slot @n of @slots, in a worker: it may take seconds. */
bool coroutine_fn blobstore_keys_put(const BlobStoreKeySource *source,
                                     BlobKeySlots *slots, unsigned n,
                                     const BlobKey *key, const QemuUUID *uuid,
                                     GError **error);

/* Whether the medium with @label is guarded as that of @store is, or may be. */
bool blobstore_keys_fit(const BlobStoreObject *store,
                        const BlobStoreLabel *label);

/* With which key the core opened a medium, or made a store; see below */
typedef struct BlobStoreKeyAnswer {
    BlobStoreObject *store;
    BlobKey *key;               /* a reference; NULL: with none */
} BlobStoreKeyAnswer;

void blobstore_keys_clear_answer(BlobStoreKeyAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobStoreKeyAnswer,
                                 blobstore_keys_clear_answer)

/*
 * Makes blob_store_open() with @options find the key for the medium of @store,
 * or make one if the medium is blank.  @answer must outlive that call.
 */
void blobstore_keys_answer(BlobStoreObject *store, BlobStoreOptions *options,
                           BlobStoreKeyAnswer *answer);
/*
 * What guards store->open.core is known: @key, or nothing if it is not
 * encrypted (any more).
 */
void blobstore_keys_settle(BlobStoreObject *store, BlobKey *key);
/* The same for what came with a stream and was authenticated with @key */
void blobstore_keys_take(BlobStoreObject *store, BlobKey *key,
                         const BlobKeySlots *slots);
void blobstore_keys_forget(BlobStoreObject *store);

/* drive.c */

/* The node of a drive id or node-name; NULL if there is none. */
BlockDriverState *blobstore_drive_node(const char *name);
bool blobstore_drive_exists(const char *name);
/* A BlockBackend of our own on the drive of @store; NULL on failure. */
BlockBackend *blobstore_drive_attach(BlobStoreObject *store, Error **errp);
/* Gives it back, from the device as which it is shown, too. */
void blobstore_drive_release(BlockBackend *blk);
/*
 * If the user that QEMU runs as may not write the file below @bs, sets @errp
 * to an error that names file, owner, mode and user, and returns true.
 */
bool blobstore_drive_explain_access(BlobStoreObject *store,
                                    BlockDriverState *bs, Error **errp);
bool blobstore_drive_is_durable(BlockBackend *blk);
/* Whether there is a node and it may be written (not while migrating). */
bool blobstore_drive_is_active(BlockBackend *blk);
/* ... and the store's state in RAM is what belongs there */
bool blobstore_drive_may_write(BlobStoreObject *store);

/*
 * block-io.c: @blk counts as having a request in flight while the core is
 * called (blk_inc_in_flight()), and may be inactivated.
 */
void blobstore_block_io_init(BlockStorage *medium, BlockBackend *blk);
/*
 * From now on all of the medium may be read, as when a store is opened.  If
 * reading takes longer than a second, the user is told now and then how far it
 * is.  Messages begin with @who, which stays the caller's; NULL ends them.
 */
void blobstore_block_io_note_reads(BlockStorage *medium, const char *who);

/* call.c */
typedef bool coroutine_fn BlobStoreCall(BlobStoreObject *store, void *opaque,
                                        Error **errp);
/*
 * Runs @call in a coroutine of the main AioContext and waits for it.  For
 * any thread.
 */
bool blobstore_call_core(BlobStoreObject *store, BlobStoreCall *call,
                         void *opaque, Error **errp);
bool blobstore_call_is_from_worker(void);

/* gate.c */

void blobstore_gate_init(BlobStoreObject *store);
/*
 * Take the core lock around every core call that does I/O.  try_enter fails in
 * a drained section, or while the store is closing.  enter waits for the end
 * of the section; only worker threads may cause it to be called, because in
 * the main loop the caller could be what ends the section.  enter fails if the
 * main loop waits for the worker, see blobstore_halt_hurry().
 */
bool coroutine_fn blobstore_gate_try_enter(BlobStoreObject *store,
                                           Error **errp);
bool coroutine_fn blobstore_gate_enter(BlobStoreObject *store);
void coroutine_fn blobstore_gate_leave(BlobStoreObject *store);
/* The lock alone, for calls without I/O: in a drained section as well */
void coroutine_fn blobstore_gate_lock(BlobStoreObject *store);
void coroutine_fn blobstore_gate_unlock(BlobStoreObject *store);
/* Whether it is in a drained section, and not closing either */
static inline bool blobstore_gate_is_drained(const BlobStoreObject *store)
{
    return store->open.gate.state == BLOBSTORE_GATE_DRAINED;
}
/* A drained section begins, or ends; nothing is woken yet. */
void blobstore_gate_drain(BlobStoreObject *store);
void blobstore_gate_undrain(BlobStoreObject *store);
/* Lets the writes go on that wait for the end of a drained section. */
void blobstore_gate_wake(BlobStoreObject *store);
/* Waits until nobody uses the core, and keeps everybody from it. */
void blobstore_gate_shut(BlobStoreObject *store);

/* halt.c */

void blobstore_halt_init(BlobStoreObject *store);
/*
 * Waits until the VM has stopped: the guest must not learn of a success that
 * is not durable while it runs.  The caller holds nothing that stopping the VM
 * waits for.  Returns whether the VM still runs, because the stop was taken
 * back.
 */
bool coroutine_fn blobstore_halt_wait(BlobStoreObject *store);
/* Whether the VM has stopped, or the main loop waits for the workers. */
bool blobstore_halt_is_due(const BlobStoreObject *store);
/* Lets everybody go on. */
void blobstore_halt_release(BlobStoreObject *store);
/*
 * While devices are reset or saved nobody waits, for this or for the end of a
 * drained section: the devices wait for their workers.
 */
void blobstore_halt_hurry(BlobStoreObject *store, bool hurried);

/* drain.c */

/* Between them the store follows the drained sections of its drive. */
void blobstore_drain_follow(BlobStoreObject *store);
void blobstore_drain_unfollow(BlobStoreObject *store);

/* fence.c */

/* Whether the core is to look for another owner before it writes */
bool coroutine_fn blobstore_fence_is_wanted(BlobStoreObject *store);
/* Warn the user of a drive on which the store cannot see other hosts. */
void blobstore_fence_warn(BlobStoreObject *store);
/* Returns false, with TAKEN and the reason that is known. */
bool blobstore_fence_fail(BlobStoreObject *store, GError **error);
/*
 * Whether @error says that the store belongs to another process.  Then that is
 * noted and reported once, and the VM is paused.
 */
bool blobstore_fence_has_fallen(BlobStoreObject *store, const GError *error);
/*
 * Makes the store that was taken over ours again, if the user has decided so:
 * it will be opened again, and what is in RAM written.  The decision is good
 * once.
 */
void blobstore_fence_take_over(BlobStoreObject *store);

/* report.c */

/* Hands @error, which it consumes, to the user as one of this store. */
void blobstore_report_propagate(BlobStoreObject *store, GError *error,
                                Error **errp);
/* After the report of an error: what can be done if a flush has failed. */
void blobstore_report_flush_advice(BlobStoreObject *store);
/* What the core found wrong and lives with: reports it, once. */
void blobstore_report_warnings(BlobStoreObject *store);
void blobstore_report_failure(BlobStoreObject *store, const char *reason);
/* Tells management that @blobs, which it consumes, could not be written. */
void blobstore_report_error(BlobStoreObject *store,
                            BlobstoreBlobNameList *blobs,
                            const GError *error);
BlobstoreBlobName *blobstore_report_blob_name(const BlobStoreBlob *blob);
/* Notes that the medium does not hold what it should of @blob. */
void blobstore_report_add_stale(BlobStoreObject *store, BlobstoreFound found,
                                BlobStoreBlob *blob);
/* Tells the user of that, when the medium has been brought up to date. */
void blobstore_report_stale(BlobStoreObject *store);
/* Tells user and management that a blank medium has become a new store. */
void blobstore_report_created(BlobStoreObject *store);
/* Releases what the store knows of its health, when it is closed. */
void blobstore_report_forget(BlobStoreObject *store);

/* version.c */
BlobStoreVersion *blobstore_version_new(GBytes *content,
                                        const char *const *metadata);
BlobStoreVersion *blobstore_version_ref(BlobStoreVersion *version);
void blobstore_version_unref(BlobStoreVersion *version);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobStoreVersion, blobstore_version_unref)
bool blobstore_version_equal(const BlobStoreVersion *a,
                             const BlobStoreVersion *b);
/* What the device wrote last; the caller gets a reference. */
BlobStoreVersion *blobstore_version_latest(BlobStoreBlob *blob);
BlobStoreVersion *blobstore_version_staged(BlobStoreBlob *blob);
BlobStoreVersion *blobstore_version_acknowledged(BlobStoreBlob *blob);
void blobstore_version_acknowledge(BlobStoreBlob *blob,
                                   BlobStoreVersion *version);
void blobstore_version_stage(BlobStoreBlob *blob, BlobStoreVersion *version,
                             const char *reason);
/* As after a start with @version on the medium */
void blobstore_version_replace(BlobStoreBlob *blob, BlobStoreVersion *version);
/* What a blob has, to be put back if what replaces it is no good */
typedef struct BlobStoreCopy {
    BlobStoreBlob *blob;
    BlobStoreVersion *acknowledged;
    BlobStoreVersion *staged;        /* or NULL */
    bool rewrite;
} BlobStoreCopy;

void blobstore_version_keep(BlobStoreBlob *blob, BlobStoreCopy *copy);
void blobstore_version_put_back(const BlobStoreCopy *copy);
void blobstore_version_clear_copy(BlobStoreCopy *copy);
/* Before @blob is freed */
void blobstore_version_drop(BlobStoreBlob *blob);
/* Whether a version is staged */
bool blobstore_version_is_dirty(BlobStoreObject *store);
/*
 * Up to @room blobs that have a staged version, those staged first first;
 * returns how many.
 */
size_t blobstore_version_list_staged(BlobStoreObject *store,
                                     BlobStoreBlob **blobs, size_t room);

/* state.c */

/* Notes what happened.  Main thread. */
void blobstore_state_event(BlobStoreObject *store, BlobStoreEvent event);
/* The last sequence that was acknowledged of what is in RAM */
BlobSequence blobstore_state_sequence(const BlobStoreObject *store);

/* core.c; the coroutine_fns want the core locked */

/* What the core is to demand of the medium; pointers are into @store. */
BlobStoreOptions coroutine_fn blobstore_core_options(BlobStoreObject *store);
/* Opens store->open.core, for the first time. */
bool coroutine_fn blobstore_core_open(BlobStoreObject *store, GError **error);
Blob *blobstore_core_register(BlobStore *core, BlobStoreBlob *blob,
                              GError **error);
/* What the medium has of @blob, for the caller to unref; NULL on failure */
BlobStoreVersion *coroutine_fn blobstore_core_read(BlobStore *core, Blob *blob,
                                                   GError **error);
void blobstore_core_remember_uuid(BlobStoreObject *store);

/* A blob of ours and its place in a core that was opened again */
typedef struct BlobStoreTwin {
    BlobStoreBlob *blob;
    Blob *core;
    BlobStoreVersion *found;    /* on the medium; NULL: not read, or damaged */
} BlobStoreTwin;

/*
 * Registers all blobs of @store but the volatile ones in @core.  Returns an
 * array of BlobStoreTwin, or NULL.
 */
GArray *blobstore_core_register_all(BlobStoreObject *store, BlobStore *core,
                                    GError **error);

/* reopen.c */

/*
 * Opens the medium again and stages what differs from RAM.  On failure the
 * store is as before.
 */
bool coroutine_fn blobstore_reopen_medium(BlobStoreObject *store,
                                          GError **error);

/* medium.c; the coroutine_fns want the core locked */

/*
 * Makes sure that the medium is as the core wrote it last, or opens it again.
 */
bool coroutine_fn blobstore_medium_ensure(BlobStoreObject *store,
                                          GError **error);
/*
 * Notes if somebody else has written to the medium while the VM was stopped.
 * A medium that cannot be read now is compared before the next write.
 */
void blobstore_medium_look(BlobStoreObject *store);
/* Notes only if the store belongs to another process. */
void blobstore_medium_look_for_owner(BlobStoreObject *store);
/* Reads the blobs of @client, and writes nothing. */
bool coroutine_fn blobstore_medium_load(BlobStoreClient *client,
                                        GError **error);
/* Makes the medium ready to be written for @client, whose blobs are read. */
bool coroutine_fn blobstore_medium_start(BlobStoreClient *client,
                                         GError **error);
/* Records that the store is at rest, if that can be done. */
void blobstore_medium_close_clean(BlobStoreObject *store);

/* reconnect.c */

/*
 * Wait until a drive on an NBD server that was gone can be read, at most for as
 * long as it takes if the server is back.  Before the VM starts the main loop
 * waits.  After a reset of a VM whose last write had failed, the first write of
 * a worker waits, unless the VM is to stop.
 */
void coroutine_fn blobstore_reconnect_for_start(BlobStoreObject *store);
void blobstore_reconnect_note_reset(BlobStoreObject *store);
void coroutine_fn blobstore_reconnect_after_reset(BlobStoreObject *store);

/* probe.c */

/*
 * Refuses, as far as that can be seen now, a medium that an incoming VM will
 * not be able to use.  Writes nothing.
 */
bool blobstore_probe_medium(BlobStoreObject *store, Error **errp);

/* snapshot-view.c */

/*
 * The image of @bs, which has the snapshot @name, as it was then; for reading,
 * while nothing is drained.  The caller releases it before the image goes back
 * to a snapshot.
 */
BlockBackend *blobstore_snapshot_open_view(BlockDriverState *bs,
                                           const char *name, Error **errp);

/* resize.c */
void coroutine_fn blobstore_resize_check(BlobStoreObject *store);

/* commit.c */
bool blobstore_commit_changes(BlobStoreClient *client,
                              const BlobStoreChange *changes, size_t count,
                              Error **errp);
/* Writes what is staged.  An error is handled as the drive's policy says. */
void blobstore_commit_staged(BlobStoreObject *store);
/* Before QEMU ends: makes the medium what devices believe it is, if it can. */
void blobstore_commit_last(BlobStoreObject *store);
/*
 * Makes sure that the VM can start: its state has been loaded completely, and
 * the medium is as devices believe it is.
 */
bool blobstore_commit_before_start(BlobStoreObject *store);

/* runstate.c */
void blobstore_runstate_register(BlobStoreObject *store);
void blobstore_runstate_unregister(BlobStoreObject *store);
void blobstore_runstate_class_init(ObjectClass *oc);

/* vmstate.c */
bool blobstore_vmstate_register(BlobStoreObject *store, Error **errp);
void blobstore_vmstate_unregister(BlobStoreObject *store);

#endif /* BLOBSTORE_QEMU_GLUE_H */
