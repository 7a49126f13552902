/*
 * Blobstore in QEMU: all stores, and the one that a device or a drive belongs
 * to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "glue.h"

/* Implicit stores are children of this object, the others of /objects. */
static Object *implicit_root(void)
{
    Object *root = object_get_root();

    return object_resolve_path_component(root, "blobstores") ?:
           object_property_add_new_container(root, "blobstores");
}

typedef struct Walk {
    BlobStoreVisitor *visit;
    void *opaque;
} Walk;

static int visit_child(Object *child, void *opaque)
{
    Walk *walk = opaque;
    Object *store = object_dynamic_cast(child, TYPE_BLOBSTORE);

    if (store) {
        walk->visit(BLOBSTORE(store), walk->opaque);
    }
    return 0;
}

void blobstore_stores_foreach(BlobStoreVisitor *visit, void *opaque)
{
    Walk walk = { visit, opaque };

    object_child_foreach(object_get_objects_root(), visit_child, &walk);
    object_child_foreach(implicit_root(), visit_child, &walk);
}

/* The search for another store that has, or is meant for, the same drive */
typedef struct Rival {
    const BlobStoreObject *self;
    const char *drive;
    BlockDriverState *bs;
    BlobStoreObject *found;
} Rival;

static void match_rival(BlobStoreObject *store, void *opaque)
{
    Rival *rival = opaque;
    BlockDriverState *bs = blobstore_object_is_open(store)
                               ? blk_bs(store->open.medium.blk)
                               : blobstore_drive_node(store->drive);

    if (store == rival->self ||
        (rival->found && blobstore_object_is_open(rival->found))) {
        return;
    }
    if (!strcmp(store->drive, rival->drive) || (bs && bs == rival->bs)) {
        rival->found = store;
    }
}

BlobStoreObject *blobstore_stores_find_rival(const BlobStoreObject *self,
                                   const char *drive)
{
    Rival rival = {
        .self = self,
        .drive = drive,
        .bs = blobstore_drive_node(drive),
    };

    blobstore_stores_foreach(match_rival, &rival);
    return rival.found;
}

static void append_id(BlobStoreObject *store, void *opaque)
{
    GString *names = opaque;

    g_string_append_printf(names, " %s", store->id);
}

static void refuse_unknown(const char *name, Error **errp)
{
    g_autoptr(GString) names = g_string_new(NULL);
    BlockBackend *blk = NULL;
    Object *other = object_resolve_path_component(object_get_objects_root(),
                                                  name);

    if (!*name) {
        error_setg(errp, "the name of a blobstore object, drive or node is "
                   "empty");
    } else if (other) {
        error_setg(errp, "'%s' is a %s object, not a blobstore or a drive",
                   name, object_get_typename(other));
    } else {
        error_setg(errp, "there is no blobstore object, drive or node '%s'",
                   name);
    }
    blobstore_stores_foreach(append_id, names);
    while ((blk = blk_next(blk))) {
        if (!blk_get_attached_dev(blk)) {
            g_string_append_printf(names, " %s", blk_name(blk));
        }
    }
    if (names->len) {
        error_append_hint(errp, "There is:%s. ", names->str);
    }
    error_append_hint(errp, "To add it: -drive if=none,id=%s,file=...,"
                      "format=...\n", *name ? name : "nvram");
}

static BlobStoreObject *make_implicit(const char *drive)
{
    Object *obj = object_new(TYPE_BLOBSTORE);
    BlobStoreObject *store = BLOBSTORE(obj);

    store->implicit = true;
    store->drive = g_strdup(drive);
    store->id = g_strdup(drive);
    object_property_add_child(implicit_root(), drive, obj);
    return store;
}

BlobStoreObject *blobstore_stores_find(const char *name, Error **errp)
{
    Object *obj = object_resolve_path_component(object_get_objects_root(),
                                                name);
    BlobStoreObject *rival;

    if (obj && object_dynamic_cast(obj, TYPE_BLOBSTORE)) {
        BlobStoreObject *store = BLOBSTORE(obj);

        if (blobstore_drive_exists(name) && strcmp(store->drive, name)) {
            error_setg(errp, "'%s' is both a blobstore object, on drive '%s', "
                       "and a drive", name, store->drive);
            error_append_hint(errp, "Give the object another id.\n");
            return NULL;
        }
        object_ref(obj);
        return store;
    }
    if (!blobstore_drive_exists(name)) {
        refuse_unknown(name, errp);
        return NULL;
    }
    rival = blobstore_stores_find_rival(NULL, name);
    if (!rival) {
        return make_implicit(name);
    }
    if (!rival->implicit) {
        error_setg(errp, "drive '%s' belongs to the blobstore object '%s'",
                   name, rival->id);
        error_append_hint(errp, "Name the object instead: blobstore=%s\n",
                          rival->id);
        return NULL;
    }
    object_ref(OBJECT(rival));
    return rival;
}
