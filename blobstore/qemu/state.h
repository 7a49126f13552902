/*
 * Blobstore in QEMU: what a store believes of its medium and of its RAM
 *
 * Four small enums and one function that takes an event: nothing else changes
 * them.  The table of all transitions is in docs/design.md, "States of a store
 * in QEMU"; tests/unit/test-blobstore-state.c walks it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_QEMU_STATE_H
#define BLOBSTORE_QEMU_STATE_H

/*
 * How far the medium is what the core believes it is.  Doubt only ever raises
 * the value; it falls when the medium has been compared or opened again, and
 * when loadvm puts a whole image in its place.
 */
typedef enum BlobStoreTrust {
    /* We wrote it last, and the VM runs. */
    BLOBSTORE_TRUST_FULL,
    /* The directory is compared before the next write. */
    BLOBSTORE_TRUST_CHECK,
    /* The medium is opened again before the next write, and compared to RAM. */
    BLOBSTORE_TRUST_NONE,
    /* The same, and loadvm has taken the image back. */
    BLOBSTORE_TRUST_REVERTED,
    /* The same, and overwriting what it was taken back to has begun. */
    BLOBSTORE_TRUST_SUPERSEDING,
} BlobStoreTrust;

/* Which VM the versions in RAM belong to */
typedef enum BlobStoreArrival {
    /* To this one, and so does the medium. */
    BLOBSTORE_ARRIVAL_OWN,
    /* To none: they come with a migration, and the medium is the source's. */
    BLOBSTORE_ARRIVAL_WAITING,
    /* They have been migrated in; the medium is ours when the VM starts. */
    BLOBSTORE_ARRIVAL_LOADED,
} BlobStoreArrival;

/* How far a stream has been loaded (migration, or loadvm) */
typedef enum BlobStoreLoad {
    /* No load is under way: RAM has the state of the VM. */
    BLOBSTORE_LOAD_NONE,
    /* RAM does not have it: a load is to come, has begun, or has failed. */
    BLOBSTORE_LOAD_BEGUN,
    /* The same, and the stream has been found to be one of this store. */
    BLOBSTORE_LOAD_IDENTIFIED,
} BlobStoreLoad;

/* Whose store it is; see fence.c */
typedef enum BlobStoreOwner {
    BLOBSTORE_OWNER_SELF,
    /* Another process has begun an epoch: nothing is written any more. */
    BLOBSTORE_OWNER_OTHER,
} BlobStoreOwner;

typedef struct BlobStoreState {
    BlobStoreTrust trust;
    BlobStoreArrival arrival;
    BlobStoreLoad load;
    BlobStoreOwner owner;
} BlobStoreState;

typedef enum BlobStoreEvent {
    BLOBSTORE_EVENT_OPEN,           /* for a VM that starts here */
    BLOBSTORE_EVENT_OPEN_INCOMING,  /* for a VM that is migrated in */
    BLOBSTORE_EVENT_STOP,           /* the VM has stopped, or does not run */
    BLOBSTORE_EVENT_RESTORE,        /* it has stopped to be restored */
    BLOBSTORE_EVENT_CHANGED,        /* somebody else wrote to the medium */
    BLOBSTORE_EVENT_TAKEN,          /* somebody else owns the store */
    BLOBSTORE_EVENT_TAKE_BACK,      /* the user wants it back */
    BLOBSTORE_EVENT_SAVE,           /* the state of the VM was saved */
    BLOBSTORE_EVENT_KEY_UNSURE,     /* a conversion failed half way */
    BLOBSTORE_EVENT_REVERT,         /* loadvm has taken the image back */
    BLOBSTORE_EVENT_LOAD,           /* the first section of a stream begins */
    BLOBSTORE_EVENT_IDENTIFY,       /* it is of this store */
    BLOBSTORE_EVENT_LOADED,         /* all blobs have been taken */
    BLOBSTORE_EVENT_LOAD_FAILED,    /* the stream was refused */
    BLOBSTORE_EVENT_RESET,          /* the VM is reset */
    BLOBSTORE_EVENT_SUPERSEDE,      /* overwriting a reverted image begins */
    BLOBSTORE_EVENT_SUPERSEDED,     /* that is done */
    BLOBSTORE_EVENT_AGREE,          /* medium and RAM agree; the VM runs */
    BLOBSTORE_EVENT_AGREE_STOPPED,  /* the same while it does not run */
    BLOBSTORE_EVENT_START,          /* the VM is about to run */
    BLOBSTORE_EVENT__MAX,
} BlobStoreEvent;

/* The state after @event.  For any thread: it only computes. */
BlobStoreState blobstore_state_next(BlobStoreState now, BlobStoreEvent event);

/* Names for traces and tests; static */
const char *blobstore_state_event_name(BlobStoreEvent event);
const char *blobstore_state_trust_name(BlobStoreTrust trust);
const char *blobstore_state_arrival_name(BlobStoreArrival arrival);
const char *blobstore_state_load_name(BlobStoreLoad load);
const char *blobstore_state_owner_name(BlobStoreOwner owner);

/* Whether the medium must be opened again before it is written to */
static inline bool blobstore_state_is_lost(const BlobStoreState *state)
{
    return state->trust >= BLOBSTORE_TRUST_NONE;
}

/* Whether another process owns the store */
static inline bool blobstore_state_is_taken(const BlobStoreState *state)
{
    return state->owner == BLOBSTORE_OWNER_OTHER;
}

/* Whether the medium still belongs to the source of a migration */
static inline bool blobstore_state_is_incoming(const BlobStoreState *state)
{
    return state->arrival != BLOBSTORE_ARRIVAL_OWN;
}

/* Whether what is in RAM is not the state of the VM */
static inline bool blobstore_state_is_loading(const BlobStoreState *state)
{
    return state->load != BLOBSTORE_LOAD_NONE;
}

/*
 * Whether the first section of a stream may come: once in a load, which begins
 * with open-incoming or revert.
 */
static inline bool
blobstore_state_may_be_identified(const BlobStoreState *state)
{
    return state->load == BLOBSTORE_LOAD_BEGUN;
}

#endif /* BLOBSTORE_QEMU_STATE_H */
