/*
 * Blobstore in QEMU: what a store believes of its medium and of its RAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "glue.h"
#include "trace.h"

static BlobStoreTrust next_trust(BlobStoreTrust now, BlobStoreEvent event)
{
    switch (event) {
    case BLOBSTORE_EVENT_OPEN:
    case BLOBSTORE_EVENT_AGREE:
        return BLOBSTORE_TRUST_FULL;
    case BLOBSTORE_EVENT_AGREE_STOPPED:
        return BLOBSTORE_TRUST_CHECK;
    case BLOBSTORE_EVENT_OPEN_INCOMING:
        return BLOBSTORE_TRUST_NONE;
    case BLOBSTORE_EVENT_STOP:
        /* The image can be handed to another QEMU and back, or be reverted. */
        return MAX(now, BLOBSTORE_TRUST_CHECK);
    case BLOBSTORE_EVENT_SAVE:
        /*
         * Another QEMU may write to the medium before this VM goes on.  And
         * what comes after a snapshot must not look like what was before it.
         */
    case BLOBSTORE_EVENT_RESTORE:
        /* The medium does not show everything that is restored. */
    case BLOBSTORE_EVENT_CHANGED:
    case BLOBSTORE_EVENT_TAKE_BACK:
    case BLOBSTORE_EVENT_KEY_UNSURE:
    case BLOBSTORE_EVENT_LOADED:
        return MAX(now, BLOBSTORE_TRUST_NONE);
    case BLOBSTORE_EVENT_REVERT:
        /* Whatever had begun to overwrite an earlier one is gone with it. */
    case BLOBSTORE_EVENT_SUPERSEDED:
        return BLOBSTORE_TRUST_REVERTED;
    case BLOBSTORE_EVENT_SUPERSEDE:
        return BLOBSTORE_TRUST_SUPERSEDING;
    default:
        return now;
    }
}

/* Whose RAM is, and how far a load has come; the rest stays. */
static BlobStoreState next_ram(BlobStoreState now, BlobStoreEvent event)
{
    switch (event) {
    case BLOBSTORE_EVENT_OPEN:
        now.arrival = BLOBSTORE_ARRIVAL_OWN;
        now.load = BLOBSTORE_LOAD_NONE;
        break;
    case BLOBSTORE_EVENT_OPEN_INCOMING:
        now.arrival = BLOBSTORE_ARRIVAL_WAITING;
        now.load = BLOBSTORE_LOAD_BEGUN;
        break;
    case BLOBSTORE_EVENT_REVERT:
    case BLOBSTORE_EVENT_LOAD:
    case BLOBSTORE_EVENT_LOAD_FAILED:
        now.load = BLOBSTORE_LOAD_BEGUN;
        break;
    case BLOBSTORE_EVENT_IDENTIFY:
        now.load = BLOBSTORE_LOAD_IDENTIFIED;
        break;
    case BLOBSTORE_EVENT_LOADED:
        now.load = BLOBSTORE_LOAD_NONE;
        if (now.arrival == BLOBSTORE_ARRIVAL_WAITING) {
            now.arrival = BLOBSTORE_ARRIVAL_LOADED;
        }
        break;
    case BLOBSTORE_EVENT_RESET:
        /* Devices begin again, from what they had before a failed load. */
        if (now.arrival != BLOBSTORE_ARRIVAL_WAITING) {
            now.load = BLOBSTORE_LOAD_NONE;
        }
        break;
    case BLOBSTORE_EVENT_START:
        now.arrival = BLOBSTORE_ARRIVAL_OWN;
        break;
    default:
        break;
    }
    return now;
}

static BlobStoreOwner next_owner(BlobStoreOwner now, BlobStoreEvent event)
{
    switch (event) {
    case BLOBSTORE_EVENT_OPEN:
    case BLOBSTORE_EVENT_OPEN_INCOMING:
    case BLOBSTORE_EVENT_TAKE_BACK:
        return BLOBSTORE_OWNER_SELF;
    case BLOBSTORE_EVENT_TAKEN:
        return BLOBSTORE_OWNER_OTHER;
    default:
        return now;
    }
}

BlobStoreState blobstore_state_next(BlobStoreState now, BlobStoreEvent event)
{
    BlobStoreState next = next_ram(now, event);

    next.trust = next_trust(now.trust, event);
    next.owner = next_owner(now.owner, event);
    return next;
}

void blobstore_state_event(BlobStoreObject *store, BlobStoreEvent event)
{
    BlobSequence sequence = blobstore_state_sequence(store);

    store->open.state = blobstore_state_next(store->open.state, event);
    /* What the core says of a medium that is lost is not of RAM any more. */
    store->open.sequence = sequence;
    trace_blobstore_state(
        store->id, blobstore_state_event_name(event),
        blobstore_state_trust_name(store->open.state.trust),
        blobstore_state_arrival_name(store->open.state.arrival),
        blobstore_state_load_name(store->open.state.load),
        blobstore_state_owner_name(store->open.state.owner));
}

BlobSequence blobstore_state_sequence(const BlobStoreObject *store)
{
    BlobSequence sequence;
    BlobStoreStatus status;

    if (!store->open.core || blobstore_state_is_lost(&store->open.state)) {
        return store->open.sequence;
    }
    blob_store_get_status(store->open.core, &status);
    sequence.number = status.sequence;
    memcpy(sequence.epoch_id, status.epoch_id, sizeof(sequence.epoch_id));
    return sequence;
}

const char *blobstore_state_event_name(BlobStoreEvent event)
{
    static const char *const names[] = {
        [BLOBSTORE_EVENT_OPEN] = "open",
        [BLOBSTORE_EVENT_OPEN_INCOMING] = "open-incoming",
        [BLOBSTORE_EVENT_STOP] = "stop",
        [BLOBSTORE_EVENT_RESTORE] = "restore",
        [BLOBSTORE_EVENT_CHANGED] = "changed",
        [BLOBSTORE_EVENT_TAKEN] = "taken",
        [BLOBSTORE_EVENT_TAKE_BACK] = "take-back",
        [BLOBSTORE_EVENT_SAVE] = "save",
        [BLOBSTORE_EVENT_KEY_UNSURE] = "key-unsure",
        [BLOBSTORE_EVENT_REVERT] = "revert",
        [BLOBSTORE_EVENT_LOAD] = "load",
        [BLOBSTORE_EVENT_IDENTIFY] = "identify",
        [BLOBSTORE_EVENT_LOADED] = "loaded",
        [BLOBSTORE_EVENT_LOAD_FAILED] = "load-failed",
        [BLOBSTORE_EVENT_RESET] = "reset",
        [BLOBSTORE_EVENT_SUPERSEDE] = "supersede",
        [BLOBSTORE_EVENT_SUPERSEDED] = "superseded",
        [BLOBSTORE_EVENT_AGREE] = "agree",
        [BLOBSTORE_EVENT_AGREE_STOPPED] = "agree-stopped",
        [BLOBSTORE_EVENT_START] = "start",
    };

    return names[event];
}

const char *blobstore_state_trust_name(BlobStoreTrust trust)
{
    static const char *const names[] = {
        [BLOBSTORE_TRUST_FULL] = "full",
        [BLOBSTORE_TRUST_CHECK] = "check",
        [BLOBSTORE_TRUST_NONE] = "none",
        [BLOBSTORE_TRUST_REVERTED] = "reverted",
        [BLOBSTORE_TRUST_SUPERSEDING] = "superseding",
    };

    return names[trust];
}

const char *blobstore_state_arrival_name(BlobStoreArrival arrival)
{
    static const char *const names[] = {
        [BLOBSTORE_ARRIVAL_OWN] = "own",
        [BLOBSTORE_ARRIVAL_WAITING] = "waiting",
        [BLOBSTORE_ARRIVAL_LOADED] = "loaded",
    };

    return names[arrival];
}

const char *blobstore_state_load_name(BlobStoreLoad load)
{
    static const char *const names[] = {
        [BLOBSTORE_LOAD_NONE] = "none",
        [BLOBSTORE_LOAD_BEGUN] = "begun",
        [BLOBSTORE_LOAD_IDENTIFIED] = "identified",
    };

    return names[load];
}

const char *blobstore_state_owner_name(BlobStoreOwner owner)
{
    static const char *const names[] = {
        [BLOBSTORE_OWNER_SELF] = "self",
        [BLOBSTORE_OWNER_OTHER] = "other",
    };

    return names[owner];
}
