/*
 * Blobstore in QEMU: why an image cannot be written
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int-common.h"
#include "block/block_int-io.h"
#include "qapi/error.h"
#include "glue.h"
#include <pwd.h>

static char *user_name(uid_t uid)
{
    struct passwd *entry = getpwuid(uid);

    return entry ? g_strdup(entry->pw_name)
                 : g_strdup_printf("%u", (unsigned)uid);
}

/* The local file or device below @bs; NULL if there is none */
static char *GRAPH_RDLOCK local_path(BlockDriverState *bs)
{
    BlockDriverState *below;

    while ((below = bdrv_primary_bs(bs))) {
        bs = below;
    }
    if (!bs->drv || !bs->drv->protocol_name ||
        (strcmp(bs->drv->protocol_name, "file") &&
         strcmp(bs->drv->protocol_name, "host_device"))) {
        return NULL;
    }
    return g_strdup(bs->filename);
}

static const char *hint_for(int reason)
{
    switch (reason) {
    case EACCES:
        return "Give that user the permission (chown, chmod, an ACL or the "
               "security module of the host).\n";
    case EPERM:
        return "The file is immutable or append-only: chattr -i -a FILE\n";
    case EROFS:
        return "The file system is mounted read-only.\n";
    default:
        return "";
    }
}

bool blobstore_drive_explain_access(BlobStoreObject *store,
                                    BlockDriverState *bs, Error **errp)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    g_autofree char *path = local_path(bs);
    g_autofree char *owner = NULL;
    g_autofree char *user = NULL;
    struct stat info;
    int reason;

    /* For the effective user: access() would ask for the real one. */
    if (!path || !faccessat(AT_FDCWD, path, W_OK, AT_EACCESS)) {
        return false;
    }
    reason = errno;
    if (stat(path, &info) < 0) {
        return false;
    }
    owner = user_name(info.st_uid);
    user = user_name(geteuid());
    error_setg(errp, "drive '%s' cannot be written: file '%s' (owner %s, mode "
               "%04o), opened by user %s: %s", store->drive, path, owner,
               (unsigned)info.st_mode & 07777, user, strerror(reason));
    error_append_hint(errp, "%s", hint_for(reason));
    return true;
}
