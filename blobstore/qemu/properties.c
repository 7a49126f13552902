/*
 * Blobstore in QEMU: the properties of -object blobstore
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/qapi-visit-block-core.h"
#include "qapi/qapi-visit-blobstore-object.h"
#include "qemu/uuid.h"
#include "glue.h"

typedef enum PropertyKind {
    KIND_STR,                   /* char * */
    KIND_ENUM,                  /* int */
    KIND_BOOL,
    KIND_KEY,                   /* BlobstoreKey *, or NULL */
    KIND_SEQUENCE,              /* BlobstoreSequence *, or NULL */
} PropertyKind;

typedef struct StoreProperty {
    const char *name;
    PropertyKind kind;
    size_t offset;              /* in a BlobStoreObject */
    const char *type;
    const QEnumLookup *lookup;  /* of an enum */
    const char *description;
    bool any_time;              /* may be changed while the store is open */
} StoreProperty;

#define AT(field) offsetof(BlobStoreObject, field)

static const StoreProperty properties[] = {
    { "drive", KIND_STR, AT(drive), "str", NULL,
      "Drive id or node-name of the block device" },
    { "uuid", KIND_STR, AT(props.uuid), "str", NULL,
      "Use only the store with this UUID" },
    { "create", KIND_ENUM, AT(props.create), "BlobstoreCreate",
      &BlobstoreCreate_lookup, "What to do with a blank medium" },
    { "fence", KIND_ENUM, AT(props.fence), "BlobstoreFence",
      &BlobstoreFence_lookup,
      "Whether to look for another process that writes to the store", true },
    { "pack", KIND_BOOL, AT(props.pack), "bool", NULL,
      "Compress blobs where that saves space" },
    { "rerror", KIND_ENUM, AT(props.rerror), "BlockdevOnError",
      &BlockdevOnError_lookup, "What to do when the medium cannot be read" },
    { "werror", KIND_ENUM, AT(props.werror), "BlockdevOnError",
      &BlockdevOnError_lookup,
      "What to do when the medium cannot be written" },
    { "encrypt", KIND_KEY, AT(props.encrypt), "BlobstoreKey", NULL,
      "The key that opens the store" },
    { "key-commitment", KIND_STR, AT(props.key_commitment), "str", NULL,
      "Use only the store with this key commitment" },
    { "min-sequence", KIND_SEQUENCE, AT(props.min_sequence),
      "BlobstoreSequence", NULL,
      "Use only a store that is at this point, or past it" },
};

#undef AT

static void *field_of(Object *obj, const StoreProperty *property)
{
    return (char *)obj + property->offset;
}

static void get_property(Object *obj, Visitor *v, const char *name,
                         void *opaque, Error **errp)
{
    const StoreProperty *property = opaque;
    void *field = field_of(obj, property);
    char *text;

    switch (property->kind) {
    case KIND_STR:
        text = *(char **)field ?: (char *)"";
        visit_type_str(v, name, &text, errp);
        break;
    case KIND_ENUM:
        visit_type_enum(v, name, field, property->lookup, errp);
        break;
    case KIND_BOOL:
        visit_type_bool(v, name, field, errp);
        break;
    case KIND_KEY:
    case KIND_SEQUENCE:
        if (!*(void **)field) {
            error_setg(errp, "'%s' is not set", name);
        } else if (property->kind == KIND_KEY) {
            visit_type_BlobstoreKey(v, name, field, errp);
        } else {
            visit_type_BlobstoreSequence(v, name, field, errp);
        }
        break;
    }
}

static void set_pointer(Object *obj, Visitor *v, const char *name,
                        const StoreProperty *property, Error **errp)
{
    BlobStoreObject *store = BLOBSTORE(obj);
    BlobstoreKey *key;
    BlobstoreSequence *sequence;
    char **text;

    switch (property->kind) {
    case KIND_KEY:
        if (visit_type_BlobstoreKey(v, name, &key, errp)) {
            qapi_free_BlobstoreKey(store->props.encrypt);
            store->props.encrypt = key;
        }
        break;
    case KIND_SEQUENCE:
        if (visit_type_BlobstoreSequence(v, name, &sequence, errp)) {
            qapi_free_BlobstoreSequence(store->props.min_sequence);
            store->props.min_sequence = sequence;
        }
        break;
    default:
        text = field_of(obj, property);
        g_free(*text);
        *text = NULL;
        visit_type_str(v, name, text, errp);
        break;
    }
}

static void set_property(Object *obj, Visitor *v, const char *name,
                         void *opaque, Error **errp)
{
    const StoreProperty *property = opaque;
    BlobStoreObject *store = BLOBSTORE(obj);

    if (store->id && !property->any_time) {
        error_setg(errp, "blobstore '%s': '%s' cannot be changed any more",
                   store->id, name);
    } else if (property->kind == KIND_ENUM || property->kind == KIND_BOOL) {
        get_property(obj, v, name, opaque, errp);   /* visits either way */
    } else {
        set_pointer(obj, v, name, property, errp);
    }
}

void blobstore_properties_class_init(ObjectClass *oc)
{
    for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
        const StoreProperty *property = &properties[i];

        object_class_property_add(oc, property->name, property->type,
                                  get_property, set_property, NULL,
                                  (void *)property);
        object_class_property_set_description(oc, property->name,
                                              property->description);
    }
}

void blobstore_properties_init(BlobStoreObject *store)
{
    store->props.rerror = BLOCKDEV_ON_ERROR_AUTO;
    store->props.werror = BLOCKDEV_ON_ERROR_AUTO;
}

void blobstore_properties_clear(BlobStoreObject *store)
{
    for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
        if (properties[i].kind == KIND_STR) {
            g_free(*(char **)field_of(OBJECT(store), &properties[i]));
        }
    }
    qapi_free_BlobstoreKey(store->props.encrypt);
    qapi_free_BlobstoreSequence(store->props.min_sequence);
}

/* Exactly @bytes bytes in hexadecimal */
static bool parse_hex(const char *text, uint8_t *out, size_t bytes)
{
    if (strlen(text) != 2 * bytes) {
        return false;
    }
    for (size_t i = 0; i < 2 * bytes; i++) {
        if (!g_ascii_isxdigit(text[i])) {
            return false;
        }
        out[i / 2] = out[i / 2] << 4 | g_ascii_xdigit_value(text[i]);
    }
    return true;
}

static bool parse_min_sequence(const BlobstoreSequence *text,
                               BlobSequence *sequence)
{
    sequence->number = text->number;
    return text->number >= 0 &&
           parse_hex(text->epoch_id, sequence->epoch_id,
                     sizeof(sequence->epoch_id));
}

static bool check_pins(BlobStoreObject *store, const char *id, Error **errp)
{
    if (store->props.uuid &&
        qemu_uuid_parse(store->props.uuid, &store->props.uuid_pin) < 0) {
        error_setg(errp, "blobstore '%s': '%s' is not a UUID", id,
                   store->props.uuid);
        return false;
    }
    if (store->props.key_commitment &&
        !parse_hex(store->props.key_commitment, store->props.commitment_pin,
                   sizeof(store->props.commitment_pin))) {
        error_setg(errp, "blobstore '%s': key-commitment '%s' is not %zu "
                   "hexadecimal digits", id, store->props.key_commitment,
                   2 * sizeof(store->props.commitment_pin));
        return false;
    }
    if (store->props.min_sequence &&
        !parse_min_sequence(store->props.min_sequence,
                            &store->props.sequence_pin)) {
        error_setg(errp, "blobstore '%s': min-sequence is not a number from 0 "
                   "to 2^63 - 1 with an epoch-id of %zu hexadecimal digits",
                   id, 2 * sizeof(store->props.sequence_pin.epoch_id));
        error_append_hint(errp, "blobstore-info shows sequence and "
                          "epoch-id.\n");
        return false;
    }
    return true;
}

static bool check_key(const BlobstoreKey *key, const char *id, Error **errp)
{
    BlobStoreKeySource source = blobstore_credential_source(key);

    if (key->has_keyslot && key->keyslot >= BLOB_KEY_SLOTS) {
        error_setg(errp, "blobstore '%s': encrypt.keyslot is 0 to %d", id,
                   BLOB_KEY_SLOTS - 1);
        return false;
    }
    if (!blobstore_credential_check_iter_time(source.iter_time, errp)) {
        error_prepend(errp, "blobstore '%s': encrypt.", id);
        return false;
    }
    return true;
}

bool blobstore_properties_check(BlobStoreObject *store, const char *id,
                                Error **errp)
{
    ERRP_GUARD();

    if (!store->drive || !*store->drive) {
        error_setg(errp, "blobstore '%s' needs 'drive', the id of the drive "
                   "that it is on", id);
        return false;
    }
    if (store->props.rerror == BLOCKDEV_ON_ERROR_ENOSPC) {
        error_setg(errp, "blobstore '%s': rerror=enospc makes no sense: "
                   "reading needs no space", id);
        return false;
    }
    return check_pins(store, id, errp) &&
           (!store->props.encrypt || check_key(store->props.encrypt, id, errp));
}
