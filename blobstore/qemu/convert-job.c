/*
 * Blobstore in QEMU: jobs that encrypt, rekey and decrypt a store
 *
 * A job first derives the new key, which takes seconds; until then it can be
 * cancelled.  Then it rewrites all blobs, holding the core lock, and from that
 * on there is no way back.  At last it zeroes the rest of the medium in
 * pieces, and takes the core lock for each of them: in between devices write,
 * and drained sections begin.
 *
 * If the device is unplugged or QEMU ends meanwhile, the job ends as well, and
 * the next start of the store does the rest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "qemu/job.h"
#include "key-change.h"
#include "trace.h"

enum {
    PIECE_BYTES = 1 << 20,
    DRAINED_SLEEP_MS = 20,
};

typedef struct ConvertJob {
    Job job;
    BlobStoreKeyChange change;
    bool to_key;                /* encrypts or rekeys; else it decrypts */
    bool from_key;              /* the store has to be encrypted before */
    bool is_repeated;           /* ... unless the same has been begun already */
    bool no_way_back;
    bool ended;                 /* this piece was the last one */
    uint64_t progress;          /* bytes */
    uint64_t total;
    char *secret;               /* copies, for the key source below */
    char *uri;
    char *pin_secret;
    BlobStoreKeySource source;
} ConvertJob;

static ConvertJob *to_convert_job(Job *job)
{
    return container_of(job, ConvertJob, job);
}

/* A job counts the bytes of the medium that it has looked at. */
static void show_progress(ConvertJob *self)
{
    BlobStoreStatus status;
    uint64_t now;

    blob_store_get_status(self->change.store->open.core, &status);
    if (!status.converting && !self->no_way_back) {
        return;                 /* There was nothing left to complete. */
    }
    now = status.converting ? status.wiped : status.capacity;
    job_progress_update(&self->job, now - MIN(now, self->progress));
    self->progress = MAX(now, self->progress);
    self->total = MAX(status.capacity, self->progress);
    job_progress_set_remaining(&self->job, self->total - self->progress);
}

/*
 * As blobstore_key_change_run(), but waits for the end of drained sections.
 * That of a QEMU that ends has none: the job is cancelled in it.
 */
static bool coroutine_fn run_locked(ConvertJob *self, BlobStoreKeyCall *call,
                                    Error **errp)
{
    Error *err = NULL;

    while (!job_is_cancelled(&self->job)) {
        job_pause_point(&self->job);
        if (blobstore_gate_is_drained(self->change.store)) {
            job_sleep_ns(&self->job, DRAINED_SLEEP_MS * SCALE_MS);
            continue;
        }
        if (blobstore_key_change_run(&self->change, call, &err)) {
            return true;
        }
        if (!blobstore_gate_is_drained(self->change.store)) {
            error_propagate(errp, err);
            return false;
        }
        g_clear_pointer(&err, error_free);  /* The section began meanwhile. */
    }
    error_setg(errp, "job '%s' was cancelled", self->job.id);
    return false;
}

static ConvertJob *job_of(BlobStoreKeyChange *change)
{
    return container_of(change, ConvertJob, change);
}

/* Zeroes a piece, if a conversion is under way. */
static bool coroutine_fn wipe_piece(BlobStoreKeyChange *change,
                                    GError **error)
{
    ConvertJob *self = job_of(change);
    bool ok = blob_store_convert_next(change->store->open.core, PIECE_BYTES,
                                      &self->ended, error);

    show_progress(self);
    return ok;
}

static bool coroutine_fn wipe_all(ConvertJob *self, Error **errp)
{
    do {
        if (!run_locked(self, wipe_piece, errp)) {
            return false;
        }
        if (!self->ended) {
            job_sleep_ns(&self->job, 0);    /* Others come first. */
        }
    } while (!self->ended);
    return true;
}

/* Steps 1 to 5 of a conversion */
static bool coroutine_fn switch_key(BlobStoreKeyChange *change,
                                    GError **error)
{
    ConvertJob *self = job_of(change);
    BlobStoreObject *store = change->store;
    bool ok;

    self->no_way_back = true;
    g_clear_pointer(&store->open.keys.next, blob_key_unref);
    store->open.keys.next = change->key ? blob_key_ref(change->key) : NULL;
    store->open.keys.may_be_plain =
        store->open.keys.may_be_plain || !change->key;
    ok = blob_store_convert_begin(store->open.core, change->key, &change->slots,
                                  error);
    trace_blobstore_change_keys(store->id, ok);
    if (!ok) {
        /* Which of the keys is right is for the medium to say. */
        blobstore_state_event(store, BLOBSTORE_EVENT_KEY_UNSURE);
        return false;
    }
    blobstore_keys_settle(store, change->key);
    store->open.keys.unsure_slots = 0;
    show_progress(self);
    return true;
}

/* The medium may have been taken back to an earlier state meanwhile. */
static bool check_result(const ConvertJob *self, Error **errp)
{
    const BlobStoreObject *store = self->change.store;
    const BlobKey *key = self->change.key;

    if (!!key != !!store->open.keys.key ||
        (key && !blob_key_equal(key, store->open.keys.key))) {
        error_setg(errp, "blobstore '%s': the medium was taken back to an "
                   "earlier state while the job ran", store->id);
        return false;
    }
    return true;
}

static bool coroutine_fn convert(ConvertJob *self, Error **errp)
{
    BlobStoreObject *store = self->change.store;
    GError *error = NULL;

    /* What failed or was interrupted earlier is completed first. */
    if (!wipe_all(self, errp)) {
        return false;
    }
    if (!self->to_key && self->is_repeated && !store->open.keys.key) {
        return true;
    }
    if (!self->is_repeated &&
        !blobstore_key_change_check_encrypted(store, self->from_key, errp)) {
        return false;
    }
    if (self->to_key) {
        self->change.key = blob_key_new(&error);
        if (!self->change.key) {
            blobstore_report_propagate(store, error, errp);
            return false;
        }
        if (!blobstore_key_change_put(&self->change, &self->source, errp)) {
            return false;
        }
    }
    self->progress = 0;
    return run_locked(self, switch_key, errp) && wipe_all(self, errp) &&
           check_result(self, errp);
}

static void end(ConvertJob *self)
{
    if (self->change.store) {
        self->change.store->job_id = NULL;
        blobstore_key_change_end(&self->change);
    }
}

static int coroutine_fn convert_run(Job *job, Error **errp)
{
    ERRP_GUARD();
    ConvertJob *self = to_convert_job(job);
    BlobStoreStatus status;
    bool ok;

    blob_store_get_status(self->change.store->open.core, &status);
    job_progress_set_remaining(job, status.capacity);
    ok = convert(self, errp);
    if (ok) {
        job_progress_set_remaining(job, 0);
    } else if (self->no_way_back) {
        error_prepend(errp, "the conversion has begun, and the next start of "
                      "the store completes it: ");
    }
    end(self);
    return ok ? 0 : job_is_cancelled(job) ? -ECANCELED : -EIO;
}

static bool convert_check_user_cancel(Job *job, Error **errp)
{
    ConvertJob *self = to_convert_job(job);

    if (!self->no_way_back) {
        return true;
    }
    error_setg(errp, "job '%s' cannot be cancelled: blobs have been rewritten "
               "already", job->id);
    return false;
}

static void convert_free(Job *job)
{
    ConvertJob *self = to_convert_job(job);

    end(self);
    g_free(self->secret);
    g_free(self->uri);
    g_free(self->pin_secret);
}

#define CONVERT_DRIVER(type)                             \
    {                                                    \
        .instance_size = sizeof(ConvertJob),             \
        .job_type = type,                                \
        .run = convert_run,                              \
        .check_user_cancel = convert_check_user_cancel,  \
        .free = convert_free,                            \
    }

static const JobDriver encrypt_driver =
    CONVERT_DRIVER(JOB_TYPE_BLOBSTORE_ENCRYPT);
static const JobDriver rekey_driver =
    CONVERT_DRIVER(JOB_TYPE_BLOBSTORE_REKEY);
static const JobDriver decrypt_driver =
    CONVERT_DRIVER(JOB_TYPE_BLOBSTORE_DECRYPT);

/*
 * Whether a conversion is incomplete, so that the medium may already be what
 * the next one shall make of it
 */
static bool is_unsettled(const BlobStoreObject *store)
{
    return store->open.keys.next ||
           (store->open.keys.key && store->open.keys.may_be_plain);
}

/*
 * Whether the command may be the repetition of one that failed.  The store
 * counts as what it was before, until its medium is read; but as what it
 * becomes, if only zeros are missing.
 */
static bool may_be_repeated(const BlobStoreObject *store, bool to_key,
                            bool from_key)
{
    BlobStoreStatus status;

    if (to_key && from_key) {
        return false;           /* Rekeying needs a key in any case. */
    }
    if (is_unsettled(store)) {
        return !!store->open.keys.key == from_key;
    }
    blob_store_get_status(store->open.core, &status);
    return status.converting;
}

typedef struct Request {
    const JobDriver *driver;
    const char *job_id;
    const char *id;
    bool manual_finalize;
    bool auto_dismiss;
    const BlobStoreKeySource *source;   /* NULL: it becomes plain */
    bool from_key;
} Request;

static void start(const Request *request, Error **errp)
{
    g_auto(BlobStoreKeyChange) change = { 0 };
    int flags = (request->manual_finalize ? JOB_MANUAL_FINALIZE : 0) |
                (request->auto_dismiss ? 0 : JOB_MANUAL_DISMISS);
    bool is_repeated;
    ConvertJob *self;

    if (!blobstore_key_change_begin(&change, request->id, errp)) {
        return;
    }
    is_repeated = may_be_repeated(change.store, request->source,
                                  request->from_key);
    if (!is_repeated && !is_unsettled(change.store) &&
        !blobstore_key_change_check_encrypted(change.store,
                                              request->from_key, errp)) {
        return;
    }
    self = job_create(request->job_id, request->driver, NULL,
                      qemu_get_aio_context(), flags, NULL, NULL, errp);
    if (!self) {
        return;
    }
    self->change = change;
    change = (BlobStoreKeyChange) { 0 };
    self->to_key = request->source;
    self->from_key = request->from_key;
    self->is_repeated = is_repeated;
    if (request->source) {
        self->source = *request->source;
        self->source.secret = self->secret = g_strdup(self->source.secret);
        self->source.uri = self->uri = g_strdup(self->source.uri);
        self->source.pin_secret = self->pin_secret =
            g_strdup(self->source.pin_secret);
    }
    self->change.store->job_id = self->job.id;
    job_start(&self->job);
}

static void start_encrypt(const JobDriver *driver, BlobstoreEncrypt *arg,
                          bool from_key, Error **errp)
{
    BlobStoreKeySource source =
        blobstore_key_change_source(arg->type, &arg->u.passphrase,
                                    &arg->u.raw, &arg->u.token);
    Request request = {
        .driver = driver,
        .job_id = arg->job_id,
        .id = arg->id,
        .manual_finalize = arg->has_auto_finalize && !arg->auto_finalize,
        .auto_dismiss = arg->has_auto_dismiss && arg->auto_dismiss,
        .source = &source,
        .from_key = from_key,
    };

    if (blobstore_credential_check_iter_time(source.iter_time, errp)) {
        start(&request, errp);
    }
}

void qmp_blobstore_encrypt(BlobstoreEncrypt *arg, Error **errp)
{
    start_encrypt(&encrypt_driver, arg, false, errp);
}

void qmp_blobstore_rekey(BlobstoreEncrypt *arg, Error **errp)
{
    start_encrypt(&rekey_driver, arg, true, errp);
}

void qmp_blobstore_decrypt(const char *job_id, const char *id,
                           bool has_auto_finalize, bool auto_finalize,
                           bool has_auto_dismiss, bool auto_dismiss,
                           Error **errp)
{
    Request request = {
        .driver = &decrypt_driver,
        .job_id = job_id,
        .id = id,
        .manual_finalize = has_auto_finalize && !auto_finalize,
        .auto_dismiss = has_auto_dismiss && auto_dismiss,
        .from_key = true,
    };

    start(&request, errp);
}
