/*
 * Blobstore in QEMU: what a store has, and the file that owns each part
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_QEMU_OBJECT_H
#define BLOBSTORE_QEMU_OBJECT_H

#include "blobstore/blobstore.h"
#include "blobstore/store.h"
#include "credential.h"
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
#include "state.h"

OBJECT_DECLARE_SIMPLE_TYPE(BlobStoreObject, BLOBSTORE)

typedef struct BlobStoreStale BlobStoreStale;
typedef struct BlobStoreVMState BlobStoreVMState;

/* One version of a blob in RAM: immutable, reference-counted */
typedef struct BlobStoreVersion {
    GBytes *content;            /* NULL: absent */
    char **metadata;            /* never NULL */
} BlobStoreVersion;

struct BlobStoreBlob {
    BlobStoreClient *client;
    char *name;
    BlobStoreKind kind;
    uint64_t max_size;
    Blob *core;                 /* NULL if volatile, or store->open.core is */
    bool rewrite;               /* the medium has lost even that it is absent */

    /* Under the store's versions_lock: */
    BlobStoreVersion *acknowledged; /* on the medium; or volatile; never NULL */
    BlobStoreVersion *staged; /* accepted, not on the medium yet; or NULL */

    QTAILQ_ENTRY(BlobStoreBlob) next_staged;    /* if @staged */

    QTAILQ_ENTRY(BlobStoreBlob) next;
};

struct BlobStoreClient {
    BlobStoreObject *store;     /* holds a reference */
    char *owner;
    const BlobStoreClientOps *ops;  /* or NULL */
    void *opaque;
    bool loaded;                /* its blobs can be read */
    bool started;               /* and written */
    QTAILQ_HEAD(, BlobStoreBlob) blobs;
    QTAILQ_ENTRY(BlobStoreClient) next;
};

/* The medium: a BlobStorage on a BlockBackend */
typedef struct BlockStorage {
    BlobStorage parent;
    BlockBackend *blk;
    int last_errno;             /* positive, of the last failure */
    BlobstoreOperation last_operation;
    bool last_may_be_flush;
    uint64_t bytes_written;
    bool fresh;                 /* no cache shows what is not on the medium */
    const char *read_for;     /* see blobstore_block_io_note_reads(); or NULL */
    int64_t read_ns;            /* what reading has taken since it was set */
    int64_t next_note_ns;       /* of that, when the user is told next */
} BlockStorage;

/* Who may use the core; see gate.c */
typedef enum BlobStoreGateState {
    BLOBSTORE_GATE_OPEN,
    BLOBSTORE_GATE_DRAINED,     /* between drained_begin and drained_end */
    BLOBSTORE_GATE_SHUT,        /* the store is being closed */
} BlobStoreGateState;

typedef struct BlobStoreGate {
    CoMutex lock;               /* R5: held while the core is used */
    unsigned users;             /* that hold it, or wait for it */
    BlobStoreGateState state;
    CoQueue opened;             /* writes of workers wait for the gate here */
} BlobStoreGate;

/* What is due after a drained section or a resize; see drain.c */
typedef struct BlobStoreDrain {
    QEMUBH *resume_bh;
    bool resuming;              /* its coroutine is running */
    bool resized;               /* the new size has not been looked at */
} BlobStoreDrain;

/* Writes that wait for the VM to stop; see halt.c */
typedef struct BlobStoreHalt {
    CoQueue waiters;
    bool hurried;               /* the main loop waits for the workers */
} BlobStoreHalt;

/* As the user set them; see properties.c */
typedef struct BlobStoreProps {
    char *uuid;
    int create;                 /* BlobstoreCreate */
    int fence;                  /* BlobstoreFence; may change at any time */
    bool pack;
    int rerror;                 /* BlockdevOnError */
    int werror;
    BlobstoreKey *encrypt;      /* the key that opens it; NULL: plain */
    char *key_commitment;
    BlobstoreSequence *min_sequence;
    /* The last two and @uuid, parsed; valid unless they are NULL */
    QemuUUID uuid_pin;
    uint8_t commitment_pin[BLOB_KEY_COMMITMENT_BYTES];
    BlobSequence sequence_pin;
} BlobStoreProps;

/* What guards the medium; see keys.c */
typedef struct BlobStoreKeys {
    BlobKey *key;               /* the data key; NULL if plain */
    BlobKey *next;              /* takes, or may have taken, its place */
    bool may_be_plain;          /* a medium that is not encrypted is right */
    BlobKeySlots slots;         /* of the medium, or of the stream; if @key */
    uint8_t unsure_slots;       /* a bit for each whose change has failed */
} BlobStoreKeys;

/* What is wrong, and what the user knows of it; see report.c */
typedef struct BlobStoreHealth {
    bool write_failed;          /* until a write works, or the VM starts */
    bool reset_after_failure;   /* and nothing written since */
    bool shrunk;                /* the medium, below what is in use */
    char *failure;              /* why the store failed, or NULL */
    BlobStoreStale *stale;      /* not reported yet; or NULL */
    unsigned warnings_shown;
} BlobStoreHealth;

/* How QEMU calls the store when the VM changes; see runstate.c */
typedef struct BlobStoreHandlers {
    VMChangeStateEntry *first_on_stop;
    VMChangeStateEntry *last_on_stop;
    Notifier on_shutdown;
} BlobStoreHandlers;

/* What a store has while it is open; closed, it is all zero. */
typedef struct BlobStoreSession {
    BlockStorage medium;
    BlobStore *core;            /* NULL until the first start if incoming */
    QemuUUID *uuid;             /* of the store on the medium; or NULL */
    bool created;               /* by this process, on a blank medium */
    bool durable;               /* false with cache=unsafe */
    BlobStoreState state;       /* of medium and RAM; see state.h */
    BlobSequence sequence;      /* what RAM has, if the medium is lost */
    BlobStoreKeys keys;
    BlobStoreGate gate;
    BlobStoreDrain drain;
    BlobStoreHalt halt;
    BlobStoreHealth health;
    BlobStoreHandlers vm;
    BlobStoreVMState *vmstate;
} BlobStoreSession;

struct BlobStoreObject {
    Object parent;
    ResettableState reset_state;

    char *id;                   /* set when the properties are final */
    char *drive;                /* a property, too */
    BlobStoreProps props;
    bool implicit;              /* made for a drive that a device named */
    const char *job_id;         /* of the job that converts it; or NULL */
    QTAILQ_HEAD(, BlobStoreClient) clients;
    QemuMutex versions_lock;    /* of all blobs; also for worker threads */
    QTAILQ_HEAD(, BlobStoreBlob) staged;        /* under versions_lock */
    BlobStoreSession open;      /* while it has clients */
};

#endif /* BLOBSTORE_QEMU_OBJECT_H */
