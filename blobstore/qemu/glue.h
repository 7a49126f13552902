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

#include "blobstore/blobstore.h"
#include "blobstore/store.h"
#include "block/aio.h"
#include "qapi/qapi-types-blobstore-object.h"
#include "qapi/qapi-types-blobstore.h"
#include "qapi/qapi-types-block-core.h"
#include "qemu/coroutine.h"
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "qemu/uuid.h"
#include "hw/resettable.h"
#include "system/block-backend.h"
#include "system/runstate.h"

OBJECT_DECLARE_SIMPLE_TYPE(BlobStoreObject, BLOBSTORE)

typedef struct BlobStoreStale BlobStoreStale;
typedef struct BlobStoreVMState BlobStoreVMState;

/* One version of a blob in RAM: immutable, reference-counted */
typedef struct BlobVersion {
    GBytes *content;            /* NULL: absent */
    char **metadata;            /* never NULL */
} BlobVersion;

struct BlobStoreBlob {
    BlobStoreClient *client;
    char *name;
    BlobStoreKind kind;
    uint64_t max_size;
    Blob *core;                 /* NULL if volatile, or store->core is */
    bool rewrite;               /* the medium has lost even that it is absent */

    /* Under the store's versions_lock: */
    BlobVersion *acknowledged;  /* on the medium; or volatile; never NULL */
    BlobVersion *staged;        /* accepted, not on the medium yet; or NULL */

    QTAILQ_ENTRY(BlobStoreBlob) next;
};

struct BlobStoreClient {
    BlobStoreObject *store;     /* holds a reference */
    char *owner;
    const BlobStoreClientOps *ops;  /* or NULL */
    void *opaque;
    bool started;
    QTAILQ_HEAD(, BlobStoreBlob) blobs;
    QTAILQ_ENTRY(BlobStoreClient) next;
};

/*
 * What blobstore-info shows.  Taken after every use of the core, because the
 * core cannot be asked while it waits for I/O.
 */
typedef struct BlobSnapshot {
    BlobInfo info;              /* strings point into this struct */
    char owner[BLOB_NAME_MAX_BYTES + 1];
    char name[BLOB_NAME_MAX_BYTES + 1];
    char *damage;
} BlobSnapshot;

typedef struct StoreSnapshot {
    BlobStoreInfo info;
    GArray *blobs;              /* of BlobSnapshot */
} StoreSnapshot;

/* The medium: a BlobStorage on a BlockBackend */
typedef struct BlockStorage {
    BlobStorage parent;
    BlockBackend *blk;
    int last_errno;             /* positive, of the last failure */
    BlobstoreOperation last_operation;
    bool last_may_be_flush;
    uint64_t bytes_written;
} BlockStorage;

struct BlobStoreObject {
    Object parent;
    ResettableState reset_state;

    /* Properties */
    char *drive;
    char *uuid;
    int format;                 /* BlobstoreFormat */
    bool pack;
    int rerror;                 /* BlockdevOnError */
    int werror;
    BlobstoreKeySource keys;
    uint8_t key_slot;           /* or BLOBSTORE_KEY_SLOT_UNSET */
    char *key_commitment;
    char *min_sequence;
    /* The last two, parsed; of no meaning if they are NULL */
    uint8_t commitment_pin[BLOB_KEY_COMMITMENT_BYTES];
    BlobSequence sequence_pin;

    char *id;                   /* set when the properties are final */
    bool implicit;              /* made for a drive that a device named */
    QTAILQ_HEAD(, BlobStoreClient) clients;
    QemuMutex versions_lock;    /* of all blobs; also for worker threads */

    /* All that follows is valid while the store is open: it has clients. */
    BlockStorage medium;
    BlobStore *core;            /* NULL until the first start if incoming */
    BlobKey *key;               /* the data key; NULL if plain */
    BlobKey *next_key;          /* which takes its place; or may have */
    bool may_be_plain;          /* a medium that is not encrypted is right */
    BlobKeySlots key_slots;     /* of the medium, or of the stream; if @key */
    uint8_t unsure_slots;       /* a bit for each whose change has failed */
    CoMutex core_lock;          /* R5: held while the core is used */
    unsigned core_users;        /* who has it, or waits for it */
    bool closing;               /* nobody gets it any more */
    char *medium_uuid;          /* of the store on the medium; or NULL */
    unsigned warnings_shown;
    StoreSnapshot snapshot;
    bool durable;               /* false with cache=unsafe */

    bool drained;               /* between drained_begin and drained_end */
    CoQueue undrained;          /* writes of workers held back meanwhile */
    QEMUBH *resume_bh;          /* after a drained section or a resize */
    bool resuming;              /* its coroutine is running */
    bool resized;
    bool write_failed;          /* until a write works, or the VM starts */
    bool incoming;              /* the medium belongs to the source */
    bool loading;               /* what is in RAM is not the VM's state yet */
    bool was_loaded;            /* but it has been; or is that of the medium */
    bool identified;            /* what is being loaded is of this store */
    bool check_medium;          /* somebody else may have written to it */
    bool reopen;                /* it is not what the core believes */
    bool reverted;              /* but what a snapshot has */
    bool superseding;           /* which the core has begun to overwrite */
    BlobSequence sequence;      /* of what is acknowledged in RAM */
    BlobStoreStale *stale;      /* not reported yet; or NULL */
    bool shrunk;                /* below what is in use */
    char *failure;              /* why the store failed, or NULL */

    CoQueue unstopped;          /* writes of workers that wait for a stop */
    bool resetting;             /* the main loop waits for the workers */
    VMChangeStateEntry *first_on_stop;
    VMChangeStateEntry *last_on_stop;
    Notifier on_shutdown;
    BlobStoreVMState *vmstate;
};

/* object.c */

/* The store that a device names; the caller gets a reference. */
BlobStoreObject *blobstore_object_find(const char *name, Error **errp);
/* Opens the store for its first client.  Writes nothing. */
bool blobstore_object_open(BlobStoreObject *store, Error **errp);
/* Closes the store after its last client has gone. */
void blobstore_object_close(BlobStoreObject *store);

typedef void BlobStoreVisitor(BlobStoreObject *store, void *opaque);
void blobstore_object_foreach(BlobStoreVisitor *visit, void *opaque);

/* properties.c */
enum { BLOBSTORE_KEY_SLOT_UNSET = UINT8_MAX };

void blobstore_properties_class_init(ObjectClass *oc);
void blobstore_properties_init(BlobStoreObject *store);
void blobstore_properties_clear(BlobStoreObject *store);
/* Once they are final.  @id is what the store is going to be called. */
bool blobstore_properties_check(BlobStoreObject *store, const char *id,
                                Error **errp);

/* keys.c */

/* Whether the user wants the store encrypted */
bool blobstore_wants_key(const BlobStoreObject *store);

/* Wraps @key into slot @n of @slots, in a worker: it may take seconds. */
bool coroutine_fn blobstore_put_key(const BlobstoreKeySource *source,
                                    BlobKeySlots *slots, unsigned n,
                                    const BlobKey *key, const QemuUUID *uuid,
                                    GError **error);

/* What has to be known of keys to open a medium; outlives that */
typedef struct BlobStoreKeyPlan {
    BlobStoreLabel label;
    BlobKey *key;
    BlobKeySlots slots;
    char *uuid;                 /* of a new store; or NULL */
} BlobStoreKeyPlan;

/* Whether the medium with @label is guarded as that of @store is, or may be. */
bool blobstore_fits_key(const BlobStoreObject *store,
                        const BlobStoreLabel *label);

void blobstore_key_plan_clear(BlobStoreKeyPlan *plan);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobStoreKeyPlan, blobstore_key_plan_clear)

/*
 * Finds the key for the medium of @store, or makes one if that is blank, and
 * puts it into @options.
 */
bool coroutine_fn blobstore_plan_key(BlobStoreObject *store,
                                     BlobStoreOptions *options,
                                     BlobStoreKeyPlan *plan, GError **error);
/*
 * What guards store->core is known: @key, or nothing if it is not encrypted
 * (any more).
 */
void blobstore_settle_key(BlobStoreObject *store, BlobKey *key);
/* The same for key slots that came with a stream, which @store has not yet */
bool coroutine_fn blobstore_take_key(BlobStoreObject *store,
                                     const BlobKeySlots *slots,
                                     const QemuUUID *uuid, GError **error);
void blobstore_forget_keys(BlobStoreObject *store);

/* drive.c */

/* The node of a drive id or node-name; NULL if there is none. */
BlockDriverState *blobstore_drive_node(const char *name);
bool blobstore_drive_exists(const char *name);
/* A BlockBackend of our own on the drive of @store; NULL on failure. */
BlockBackend *blobstore_drive_attach(BlobStoreObject *store, Error **errp);
bool blobstore_drive_is_durable(BlockBackend *blk);
/* Whether there is a node and it may be written (not while migrating). */
bool blobstore_drive_is_active(BlockBackend *blk);
/* ... and the store's state in RAM is what belongs there */
bool blobstore_may_write(BlobStoreObject *store);

/* block-io.c */
void blobstore_medium_init(BlockStorage *medium, BlockBackend *blk);

/* call.c */
typedef bool coroutine_fn BlobStoreCall(BlobStoreObject *store, void *opaque,
                                        Error **errp);
/*
 * Runs @call in a coroutine of the main AioContext and waits for it.  For
 * any thread.
 */
bool blobstore_call(BlobStoreObject *store, BlobStoreCall *call, void *opaque,
                    Error **errp);
bool blobstore_in_worker_thread(void);
/*
 * Around every use of the core with I/O: one at a time, not in drained
 * sections, whose end only a worker may wait for, with the second: anybody
 * else may be the one, or be called by the one, who would end it.  Nor in a
 * store that is closed meanwhile.
 */
bool coroutine_fn blobstore_try_lock_core(BlobStoreObject *store,
                                          Error **errp);
void coroutine_fn blobstore_lock_core(BlobStoreObject *store);
void coroutine_fn blobstore_unlock_core(BlobStoreObject *store);
/* Waits until nobody uses the core, and keeps everybody from it. */
void blobstore_lock_core_for_good(BlobStoreObject *store);
/* Between them the store follows the drained sections of its drive. */
void blobstore_gate_open(BlobStoreObject *store);
void blobstore_gate_close(BlobStoreObject *store);

/* report.c */

/* Hands @error, which it consumes, to the user as one of this store. */
void blobstore_propagate(BlobStoreObject *store, GError *error, Error **errp);
/* After the report of an error: what can be done if a flush has failed. */
void blobstore_advise_on_flush(BlobStoreObject *store);
/* What the core found wrong and lives with: reports it, once. */
void blobstore_show_warnings(BlobStoreObject *store);
void blobstore_set_failure(BlobStoreObject *store, const char *reason);
/* Tells management that @blobs, which it consumes, could not be written. */
void blobstore_send_error(BlobStoreObject *store, strList *blobs,
                          const GError *error);
char *blobstore_blob_path(const BlobStoreBlob *blob);
/* Notes that the medium does not hold what it should of @blob. */
void blobstore_add_stale(BlobStoreObject *store, BlobstoreFound found,
                         BlobStoreBlob *blob);
/* Tells the user of that, when the medium has been brought up to date. */
void blobstore_report_stale(BlobStoreObject *store);
void blobstore_stale_free(BlobStoreStale *stale);
void blobstore_take_snapshot(BlobStoreObject *store);
void blobstore_clear_snapshot(BlobStoreObject *store);

/* version.c */
BlobVersion *blob_version_new(GBytes *content, const char *const *metadata);
BlobVersion *blob_version_ref(BlobVersion *version);
void blob_version_unref(BlobVersion *version);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobVersion, blob_version_unref)
bool blob_version_equal(const BlobVersion *a, const BlobVersion *b);
/* What the device wrote last; the caller gets a reference. */
BlobVersion *blobstore_latest_version(BlobStoreBlob *blob);
BlobVersion *blobstore_staged_version(BlobStoreBlob *blob);
BlobVersion *blobstore_acknowledged_version(BlobStoreBlob *blob);
void blobstore_acknowledge(BlobStoreBlob *blob, BlobVersion *version);
void blobstore_stage(BlobStoreBlob *blob, BlobVersion *version,
                     const char *reason);
/* As after a start with @version on the medium */
void blobstore_replace(BlobStoreBlob *blob, BlobVersion *version);
/* What a blob has, to be put back if what replaces it is no good */
typedef struct BlobCopy {
    BlobStoreBlob *blob;
    BlobVersion *acknowledged;
    BlobVersion *staged;        /* or NULL */
    bool rewrite;
} BlobCopy;

void blobstore_keep(BlobStoreBlob *blob, BlobCopy *copy);
void blobstore_put_back(const BlobCopy *copy);
void blob_copy_clear(BlobCopy *copy);
bool blobstore_is_dirty(BlobStoreObject *store);

/* reconcile.c; the coroutine_fns want the core locked */
bool coroutine_fn blobstore_open_core(BlobStoreObject *store, GError **error);
Blob *blobstore_register_core(BlobStore *core, BlobStoreBlob *blob,
                              GError **error);
/*
 * Makes sure that the medium is as the core wrote it last.  If it is not,
 * opens it anew and stages what differs from RAM.
 */
bool coroutine_fn blobstore_ensure_medium(BlobStoreObject *store,
                                          GError **error);
/*
 * Notes if somebody else has written to the medium while the VM was stopped.
 * What cannot be read now is looked at before the next write.
 */
void blobstore_look_at_medium(BlobStoreObject *store);
bool coroutine_fn blobstore_start_core(BlobStoreClient *client,
                                       GError **error);
/*
 * Refuses, as far as that can be seen now, a medium that an incoming VM will
 * not be able to use.  Writes nothing.
 */
bool blobstore_probe_medium(BlobStoreObject *store, Error **errp);
/* Records that the store is at rest, if that can be done. */
void blobstore_close_clean(BlobStoreObject *store);

/* resize.c */
void coroutine_fn blobstore_check_size(BlobStoreObject *store);

/* commit.c */
bool blobstore_commit(BlobStoreClient *client, const BlobStoreChange *changes,
                      size_t count, Error **errp);
/* Writes what is staged.  An error is handled as the drive's policy says. */
void blobstore_write_staged(BlobStoreObject *store);
/* Before QEMU ends: makes the medium what devices believe it is, if it can. */
void blobstore_write_last(BlobStoreObject *store);
/*
 * Makes sure that the VM can start: its state has been loaded completely, and
 * the medium is as devices believe it is.
 */
bool blobstore_prepare_start(BlobStoreObject *store);

/* runstate.c */
void blobstore_runstate_register(BlobStoreObject *store);
void blobstore_runstate_unregister(BlobStoreObject *store);
void blobstore_reset_class_init(ObjectClass *oc);

/* vmstate.c */
bool blobstore_vmstate_register(BlobStoreObject *store, Error **errp);
void blobstore_vmstate_unregister(BlobStoreObject *store);

#endif /* BLOBSTORE_QEMU_GLUE_H */
