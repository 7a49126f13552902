/*
 * Blobstore in QEMU: the medium of the core on a BlockBackend
 *
 * All of this runs in the coroutine in which the core was called.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int-common.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "glue.h"
#include "trace.h"

enum { FIRST_NOTE_SECONDS = 1, NOTE_SECONDS = 10 };

static BlockStorage *to_medium(BlobStorage *storage)
{
    return container_of(storage, BlockStorage, parent);
}

/* Fails with an error that says in @format what was done, then the cause. */
static bool G_GNUC_PRINTF(5, 6)
fail(BlockStorage *medium, BlobstoreOperation operation, int ret,
     GError **error, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    medium->last_errno = -ret;
    medium->last_operation = operation;
    medium->last_may_be_flush = false;
    medium->fresh = medium->fresh && operation == BLOBSTORE_OPERATION_READ;
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO, "cannot %s: %s",
                what, strerror(-ret));
    return false;
}

static bool coroutine_fn
medium_length(BlobStorage *storage, uint64_t *bytes, GError **error)
{
    BlockStorage *medium = to_medium(storage);
    int64_t length = blk_co_getlength(medium->blk);

    if (length < 0) {
        return fail(medium, BLOBSTORE_OPERATION_READ, length, error,
                    "get the size of the medium");
    }
    *bytes = length;
    return true;
}

/* A read from @began on has come to @end. */
static void coroutine_fn note_progress(BlockStorage *medium, int64_t began,
                                       uint64_t end)
{
    int64_t length;

    medium->read_ns += qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - began;
    if (!medium->read_for || medium->read_ns < medium->next_note_ns) {
        return;
    }
    medium->next_note_ns = medium->read_ns +
                           NOTE_SECONDS * NANOSECONDS_PER_SECOND;
    length = blk_co_getlength(medium->blk);
    info_report("%s: still reading the medium: %" PRIu64 " of %" PRId64
                " MiB", medium->read_for, end / MiB, length / MiB);
}

/* For query-blockstats */
static void account(BlockStorage *medium, BlockAcctCookie *cookie, int ret)
{
    BlockAcctStats *stats = blk_get_stats(medium->blk);

    if (ret < 0) {
        block_acct_failed(stats, cookie);
    } else {
        block_acct_done(stats, cookie);
    }
}

static int coroutine_fn flush(BlockStorage *medium)
{
    BlockAcctCookie cookie;
    int ret;

    block_acct_start(blk_get_stats(medium->blk), &cookie, 0,
                     BLOCK_ACCT_FLUSH);
    ret = blk_co_flush(medium->blk);
    account(medium, &cookie, ret);
    return ret;
}

static bool coroutine_fn
medium_read(BlobStorage *storage, uint64_t offset, void *buf, size_t bytes,
            GError **error)
{
    BlockStorage *medium = to_medium(storage);
    int64_t began = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    BlockAcctCookie cookie;
    int ret;

    block_acct_start(blk_get_stats(medium->blk), &cookie, bytes,
                     BLOCK_ACCT_READ);
    ret = blk_co_pread(medium->blk, offset, bytes, buf, 0);
    account(medium, &cookie, ret);
    trace_blobstore_read(offset, bytes, ret);
    note_progress(medium, began, offset + bytes);
    if (ret < 0) {
        return fail(medium, BLOBSTORE_OPERATION_READ, ret, error,
                    "read %zu bytes at offset %" PRIu64, bytes, offset);
    }
    return true;
}

static bool coroutine_fn
medium_write(BlobStorage *storage, uint64_t offset, const void *buf,
             size_t bytes, bool durable, GError **error)
{
    BlockStorage *medium = to_medium(storage);
    BlockAcctCookie cookie;
    int ret;

    block_acct_start(blk_get_stats(medium->blk), &cookie, bytes,
                     BLOCK_ACCT_WRITE);
    ret = blk_co_pwrite(medium->blk, offset, bytes, buf, 0);
    account(medium, &cookie, ret);
    /*
     * Not BDRV_REQ_FUA: QEMU's file driver flushes before it counts the write,
     * so after another flush it leaves that one out.
     */
    if (ret >= 0 && durable) {
        ret = flush(medium);
    }
    trace_blobstore_write(offset, bytes, durable, ret);
    if (ret < 0) {
        fail(medium, BLOBSTORE_OPERATION_WRITE, ret, error,
             "write %zu bytes at offset %" PRIu64, bytes, offset);
        medium->last_may_be_flush = durable;
        return false;
    }
    medium->bytes_written += bytes;
    return true;
}

static bool coroutine_fn medium_flush(BlobStorage *storage, GError **error)
{
    BlockStorage *medium = to_medium(storage);
    int ret = flush(medium);

    trace_blobstore_flush(ret);
    if (ret < 0) {
        fail(medium, BLOBSTORE_OPERATION_FLUSH, ret, error,
             "flush the medium");
        medium->last_may_be_flush = true;
        return false;
    }
    return true;
}

static uint64_t coroutine_fn
medium_known_zero(BlobStorage *storage, uint64_t offset, uint64_t bytes)
{
    BlockStorage *medium = to_medium(storage);
    int64_t known = 0;
    int ret;

    if (!blk_bs(medium->blk)) {
        return 0;
    }
    ret = blk_co_block_status_above(medium->blk, NULL, offset, bytes, &known,
                                    NULL, NULL);
    return ret >= 0 && (ret & BDRV_BLOCK_ZERO) ? known : 0;
}

typedef struct CacheDrop {
    BlockBackend *blk;
    Coroutine *co;
    Error *refused;             /* the caches are as they were */
    Error *err;
} CacheDrop;

/*
 * Activating a node makes its driver drop the host's page cache, and a format
 * read its own tables again.  Only the main loop can do it, not a coroutine.
 */
static void drop_cache_bh(void *opaque)
{
    CacheDrop *drop = opaque;
    BlockDriverState *bs = blk_bs(drop->blk);
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (bs) {
        bdrv_ref(bs);
        /* It waits for all requests, and the caller counts as one. */
        blk_dec_in_flight(drop->blk);
        bdrv_inactivate(bs, &drop->refused);
        /* Even if that was refused: it may have come half way. */
        bdrv_activate(bs, &drop->err);
        blk_inc_in_flight(drop->blk);
        bdrv_unref(bs);
    }
    aio_co_wake(drop->co);
}

static bool coroutine_fn medium_drop_cache(BlobStorage *storage,
                                           GError **error)
{
    BlockStorage *medium = to_medium(storage);
    CacheDrop drop = { .blk = medium->blk, .co = qemu_coroutine_self() };

    if (medium->fresh) {
        return true;
    }
    /* If this fails, the node stays active. */
    if (!medium_flush(storage, error)) {
        return false;
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), drop_cache_bh, &drop);
    qemu_coroutine_yield();
    trace_blobstore_drop_cache(drop.err ? error_get_pretty(drop.err)
                               : drop.refused ? error_get_pretty(drop.refused)
                               : "done");
    medium->fresh = !drop.refused && !drop.err;
    error_free(drop.refused);
    if (drop.err) {
        fail(medium, BLOBSTORE_OPERATION_READ, -EIO, error,
             "read the drive again after an unclean end (%s)",
             error_get_pretty(drop.err));
        error_free(drop.err);
        return false;
    }
    /* Only now QEMU believes that there may be something to flush. */
    return medium_flush(storage, error);
}

/*
 * Unmaps what is allocated between @at and @end.  Holes stay as they are: to
 * note that they are zero, qcow2 would make tables.
 */
static int coroutine_fn unmap(BlockBackend *blk, int64_t at, int64_t end)
{
    while (at < end) {
        int64_t n;
        int ret = blk_co_block_status_above(blk, NULL, at, end - at, &n, NULL,
                                            NULL);

        if (ret < 0) {
            n = end - at;
        }
        if (ret < 0 || !(ret & BDRV_BLOCK_ZERO)) {
            ret = blk_co_pwrite_zeroes(blk, at, n, BDRV_REQ_MAY_UNMAP |
                                       BDRV_REQ_NO_FALLBACK);
            if (ret < 0 && ret != -ENOTSUP) {
                return ret;
            }
        }
        at += n;
    }
    return 0;
}

/* Only if the user has said discard=unmap */
static bool coroutine_fn medium_give_back(BlobStorage *storage,
                                          uint64_t offset, uint64_t bytes,
                                          GError **error)
{
    BlockStorage *medium = to_medium(storage);
    BlockDriverState *bs = blk_bs(medium->blk);
    uint32_t align;
    int ret;

    if (!bs || !bdrv_can_write_zeroes_with_unmap(bs)) {
        return true;
    }
    align = MAX(bs->bl.pwrite_zeroes_alignment, BDRV_SECTOR_SIZE);
    ret = unmap(medium->blk, QEMU_ALIGN_UP(offset, align),
                QEMU_ALIGN_DOWN(offset + bytes, align));
    trace_blobstore_give_back(offset, bytes, ret);
    if (ret < 0) {
        return fail(medium, BLOBSTORE_OPERATION_WRITE, ret, error,
                    "give back %" PRIu64 " bytes at offset %" PRIu64, bytes,
                    offset);
    }
    return true;
}

/* The storage is part of the object, which releases the BlockBackend. */
static void medium_free(BlobStorage *storage)
{
}

static const BlobStorageOps medium_ops = {
    .length = medium_length,
    .read = medium_read,
    .write = medium_write,
    .flush = medium_flush,
    .known_zero = medium_known_zero,
    .drop_cache = medium_drop_cache,
    .give_back = medium_give_back,
    .free = medium_free,
};

void blobstore_block_io_init(BlockStorage *medium, BlockBackend *blk)
{
    *medium = (BlockStorage) {
        .parent.ops = &medium_ops,
        .blk = blk,
    };
}

void blobstore_block_io_note_reads(BlockStorage *medium, const char *who)
{
    medium->read_for = who;
    medium->read_ns = 0;
    medium->next_note_ns = FIRST_NOTE_SECONDS * NANOSECONDS_PER_SECOND;
}
