/*
 * Blobstore benchmark: ways to make the content of one name durable
 *
 * All files are opened through the page cache, as blob_storage_new_file()
 * opens them.  Each way is the one that its manual gives for full durability.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "blobstore/store.h"

static int open_or_die(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd < 0) {
        bench_die("cannot open '%s': %s", path, g_strerror(errno));
    }
    return fd;
}

static void write_or_die(int fd, const void *content, size_t bytes,
                         off_t offset)
{
    for (size_t done = 0; done < bytes; ) {
        ssize_t n = pwrite(fd, (const char *)content + done, bytes - done,
                           offset + done);

        if (n <= 0) {
            bench_die("cannot write: %s", g_strerror(errno));
        }
        done += n;
    }
}

static void check(bool ok, const char *what)
{
    if (!ok) {
        bench_die("%s: %s", what, g_strerror(errno));
    }
}

/* Ours: one registered blob in a store in a file */

typedef struct Ours {
    BlobStorage *storage;
    BlobStore *store;
    Blob *blob;
} Ours;

static Ours *open_store(const char *dir, size_t max_bytes, bool sealed)
{
    Ours *ours = g_new0(Ours, 1);
    g_autofree char *path = g_build_filename(dir, sealed ? "sealed" : "store",
                                             NULL);
    g_autoptr(GError) error = NULL;
    int fd = open_or_die(path, O_RDWR | O_CREAT);

    check(ftruncate(fd, (1 << 20) + 4 * max_bytes) == 0, "ftruncate");
    close(fd);
    ours->storage = blob_storage_new_file(path, true, &error);
    ours->store = ours->storage ? bench_open(ours->storage, sealed, &error)
                                : NULL;
    ours->blob = ours->store
                 ? blob_store_register(ours->store, "bench", "blob",
                                       BLOB_KIND_PERMANENT, max_bytes, &error)
                 : NULL;
    if (!ours->blob || !blob_store_start(ours->store, &error)) {
        bench_die("ours: %s", error->message);
    }
    return ours;
}

static void *ours_open(const char *dir, size_t max_bytes)
{
    return open_store(dir, max_bytes, false);
}

static void *sealed_open(const char *dir, size_t max_bytes)
{
    return open_store(dir, max_bytes, true);
}

static void ours_commit(void *self, const void *content, size_t bytes)
{
    Ours *ours = self;
    g_autoptr(GBytes) data = g_bytes_new_static(content, bytes);
    BlobChange change = { .blob = ours->blob, .content = data };
    g_autoptr(GError) error = NULL;

    if (!blob_store_write(ours->store, &change, 1, &error)) {
        bench_die("ours: %s", error->message);
    }
}

static GBytes *ours_read(void *self)
{
    Ours *ours = self;
    GBytes *content;
    g_autoptr(GError) error = NULL;

    if (!blob_store_read(ours->store, ours->blob, &content, NULL, &error)) {
        bench_die("ours: %s", error->message);
    }
    return content;
}

static void ours_close(void *self)
{
    Ours *ours = self;

    blob_store_free(ours->store);
    blob_storage_free(ours->storage);
    g_free(ours);
}

/* The limit: the content alone, to two places of a file in turn */

typedef struct Limit {
    int fd;
    size_t max_bytes;
    size_t bytes;
    off_t offset;
} Limit;

static void *limit_open(const char *dir, size_t max_bytes)
{
    Limit *limit = g_new0(Limit, 1);
    g_autofree char *path = g_build_filename(dir, "limit", NULL);

    limit->fd = open_or_die(path, O_RDWR | O_CREAT);
    limit->max_bytes = MAX(max_bytes, 4096);
    check(ftruncate(limit->fd, 2 * limit->max_bytes) == 0, "ftruncate");
    return limit;
}

static void limit_commit(void *self, const void *content, size_t bytes)
{
    Limit *limit = self;

    limit->offset = limit->offset ? 0 : limit->max_bytes;
    limit->bytes = bytes;
    write_or_die(limit->fd, content, bytes, limit->offset);
    check(fdatasync(limit->fd) == 0, "fdatasync");
}

static GBytes *limit_read(void *self)
{
    Limit *limit = self;
    void *content = g_malloc(limit->bytes);

    check(pread(limit->fd, content, limit->bytes, limit->offset) ==
          limit->bytes, "pread");
    return g_bytes_new_take(content, limit->bytes);
}

static void limit_close(void *self)
{
    close(((Limit *)self)->fd);
    g_free(self);
}

/* Temporary file, fsync, rename, fsync of the directory */

typedef struct Rename {
    int dir;
} Rename;

static void *rename_open(const char *dir, size_t max_bytes)
{
    Rename *self = g_new0(Rename, 1);

    self->dir = open_or_die(dir, O_RDONLY | O_DIRECTORY);
    return self;
}

static void rename_commit(void *self, const void *content, size_t bytes)
{
    int dir = ((Rename *)self)->dir;
    int fd = openat(dir, "renamed.tmp",
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    check(fd >= 0, "openat");
    write_or_die(fd, content, bytes, 0);
    check(fsync(fd) == 0, "fsync");
    check(close(fd) == 0, "close");
    check(renameat(dir, "renamed.tmp", dir, "renamed") == 0, "renameat");
    check(fsync(dir) == 0, "fsync of the directory");
}

static GBytes *rename_read(void *self)
{
    int fd = openat(((Rename *)self)->dir, "renamed", O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *content;

    check(fd >= 0 && fstat(fd, &st) == 0, "openat");
    content = g_malloc(st.st_size);
    check(read(fd, content, st.st_size) == st.st_size, "read");
    close(fd);
    return g_bytes_new_take(content, st.st_size);
}

static void rename_close(void *self)
{
    close(((Rename *)self)->dir);
    g_free(self);
}

/*
 * SQLite: write-ahead log, synchronous=FULL, statements prepared once
 *
 * SQLite's log grows to 1000 pages, and is then written from its start again.
 * Growing costs more, because each flush commits the file's new size, too.
 * The last close deletes the log, so a program that writes little only ever
 * sees a growing log.  Both cases are measured.
 */

enum { SQLITE_PAGE_BYTES = 4096, SQLITE_LOG_PAGES = 1000 };

typedef struct Sqlite {
    sqlite3 *db;
    sqlite3_stmt *update;
    size_t log_pages;       /* about */
} Sqlite;

static void check_sqlite(Sqlite *self, bool ok)
{
    if (!ok) {
        bench_die("sqlite: %s", sqlite3_errmsg(self->db));
    }
}

static void *sqlite_open_file(const char *dir, const char *name)
{
    Sqlite *self = g_new0(Sqlite, 1);
    g_autofree char *path = g_build_filename(dir, name, NULL);

    check_sqlite(self, sqlite3_open(path, &self->db) == SQLITE_OK);
    check_sqlite(self, sqlite3_exec(self->db,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE blobs (id INTEGER PRIMARY KEY, content BLOB);"
        "INSERT INTO blobs VALUES (1, NULL);", NULL, NULL, NULL) ==
        SQLITE_OK);
    check_sqlite(self, sqlite3_prepare_v2(self->db,
        "UPDATE blobs SET content = ?1 WHERE id = 1", -1, &self->update,
        NULL) == SQLITE_OK);
    return self;
}

static void *sqlite_open(const char *dir, size_t max_bytes)
{
    return sqlite_open_file(dir, "sqlite");
}

static void sqlite_commit(void *data, const void *content, size_t bytes)
{
    Sqlite *self = data;

    check_sqlite(self, sqlite3_bind_blob64(self->update, 1, content, bytes,
                                           SQLITE_STATIC) == SQLITE_OK);
    check_sqlite(self, sqlite3_step(self->update) == SQLITE_DONE);
    check_sqlite(self, sqlite3_reset(self->update) == SQLITE_OK);
    self->log_pages += bytes / SQLITE_PAGE_BYTES + 2;
}

/*
 * Makes the database as after a close and a new open before its log was full.
 */
static void sqlite_rest(void *data, size_t bytes)
{
    Sqlite *self = data;

    if (self->log_pages + bytes / SQLITE_PAGE_BYTES + 2 > SQLITE_LOG_PAGES) {
        check_sqlite(self, sqlite3_wal_checkpoint_v2(self->db, NULL,
                     SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK);
        self->log_pages = 0;
    }
}

static void *sqlite_open_reused(const char *dir, size_t max_bytes)
{
    Sqlite *self = sqlite_open_file(dir, "sqlite-reused");
    g_autofree void *content = g_malloc0(max_bytes);

    /* A commit may take less than counted, but not less than a page. */
    for (size_t pages = 0; pages <= SQLITE_LOG_PAGES;
         pages += max_bytes / SQLITE_PAGE_BYTES + 1) {
        sqlite_commit(self, content, max_bytes);
    }
    return self;
}

static GBytes *sqlite_read(void *data)
{
    Sqlite *self = data;
    sqlite3_stmt *select;
    GBytes *content;

    check_sqlite(self, sqlite3_prepare_v2(self->db,
        "SELECT content FROM blobs WHERE id = 1", -1, &select, NULL) ==
        SQLITE_OK);
    check_sqlite(self, sqlite3_step(select) == SQLITE_ROW);
    content = g_bytes_new(sqlite3_column_blob(select, 0),
                          sqlite3_column_bytes(select, 0));
    sqlite3_finalize(select);
    return content;
}

static void sqlite_close(void *data)
{
    Sqlite *self = data;

    sqlite3_finalize(self->update);
    check_sqlite(self, sqlite3_close(self->db) == SQLITE_OK);
    g_free(self);
}

/* LMDB with its default, fully durable flags */

typedef struct Lmdb {
    MDB_env *env;
    MDB_dbi dbi;
} Lmdb;

static MDB_val lmdb_key = { .mv_size = 4, .mv_data = (char *)"blob" };

static void check_lmdb(int err)
{
    if (err) {
        bench_die("lmdb: %s", mdb_strerror(err));
    }
}

static void *lmdb_open(const char *dir, size_t max_bytes)
{
    Lmdb *self = g_new0(Lmdb, 1);
    g_autofree char *path = g_build_filename(dir, "lmdb", NULL);
    MDB_txn *txn;

    check_lmdb(mdb_env_create(&self->env));
    check_lmdb(mdb_env_set_mapsize(self->env, 64 << 20));
    check_lmdb(mdb_env_open(self->env, path, MDB_NOSUBDIR, 0600));
    check_lmdb(mdb_txn_begin(self->env, NULL, 0, &txn));
    check_lmdb(mdb_dbi_open(txn, NULL, 0, &self->dbi));
    check_lmdb(mdb_txn_commit(txn));
    return self;
}

static void lmdb_commit(void *data, const void *content, size_t bytes)
{
    Lmdb *self = data;
    MDB_val value = { .mv_size = bytes, .mv_data = (void *)content };
    MDB_txn *txn;

    check_lmdb(mdb_txn_begin(self->env, NULL, 0, &txn));
    check_lmdb(mdb_put(txn, self->dbi, &lmdb_key, &value, 0));
    check_lmdb(mdb_txn_commit(txn));
}

static GBytes *lmdb_read(void *data)
{
    Lmdb *self = data;
    MDB_val value;
    MDB_txn *txn;
    GBytes *content;

    check_lmdb(mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn));
    check_lmdb(mdb_get(txn, self->dbi, &lmdb_key, &value));
    content = g_bytes_new(value.mv_data, value.mv_size);
    mdb_txn_abort(txn);
    return content;
}

static void lmdb_close(void *data)
{
    mdb_env_close(((Lmdb *)data)->env);
    g_free(data);
}

const Contender contenders[CONTENDERS] = {
    { "ours", "blobstore",
      ours_open, ours_commit, NULL, ours_read, ours_close },
    { "sealed", "blobstore, encrypted",
      sealed_open, ours_commit, NULL, ours_read, ours_close },
    { "limit", "pwrite + fdatasync",
      limit_open, limit_commit, NULL, limit_read, limit_close },
    { "rename", "fsync + rename",
      rename_open, rename_commit, NULL, rename_read, rename_close },
    { "sqlite", "SQLite, log growing",
      sqlite_open, sqlite_commit, sqlite_rest, sqlite_read, sqlite_close },
    { "sqlite_reused", "SQLite, log reused",
      sqlite_open_reused, sqlite_commit, NULL, sqlite_read, sqlite_close },
    { "lmdb", "LMDB",
      lmdb_open, lmdb_commit, NULL, lmdb_read, lmdb_close },
};
