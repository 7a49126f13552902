/*
 * Blobstore in QEMU: the properties of -object blobstore
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/qapi-visit-block-core.h"
#include "qemu/cutils.h"
#include "qemu/uuid.h"
#include "credential.h"
#include "glue.h"

typedef enum PropertyKind {
    KIND_STR,                   /* char * */
    KIND_ENUM,                  /* int */
    KIND_BOOL,
    KIND_UINT8,
    KIND_UINT32,
} PropertyKind;

typedef struct StoreProperty {
    const char *name;
    PropertyKind kind;
    size_t offset;              /* in a BlobStoreObject */
    const char *type;
    const QEnumLookup *lookup;  /* of an enum */
    const char *description;
} StoreProperty;

#define AT(field) offsetof(BlobStoreObject, field)

static const StoreProperty properties[] = {
    { "drive", KIND_STR, AT(drive), "str", NULL,
      "Drive id or node-name of the block device" },
    { "uuid", KIND_STR, AT(uuid), "str", NULL,
      "Use only the store with this UUID" },
    { "format", KIND_ENUM, AT(format), "BlobstoreFormat",
      &BlobstoreFormat_lookup, "What to do with a blank medium" },
    { "pack", KIND_BOOL, AT(pack), "bool", NULL,
      "Compress blobs where that saves space" },
    { "rerror", KIND_ENUM, AT(rerror), "BlockdevOnError",
      &BlockdevOnError_lookup, "What to do when the medium cannot be read" },
    { "werror", KIND_ENUM, AT(werror), "BlockdevOnError",
      &BlockdevOnError_lookup,
      "What to do when the medium cannot be written" },
    { "key-secret", KIND_STR, AT(keys.key_secret), "str", NULL,
      "ID of the secret that encrypts the store" },
    { "key-uri", KIND_STR, AT(keys.key_uri), "str", NULL,
      "PKCS#11 URI of the key in a token that encrypts the store" },
    { "pin-secret", KIND_STR, AT(keys.pin_secret), "str", NULL,
      "ID of the secret with the PIN of the token" },
    { "key-type", KIND_ENUM, AT(keys.key_type), "BlobstoreKeyType",
      &BlobstoreKeyType_lookup, "What the key slot of a new store is" },
    { "key-iter-time", KIND_UINT32, AT(keys.key_iter_time), "uint32", NULL,
      "Milliseconds to try the passphrase of a new store" },
    { "key-slot", KIND_UINT8, AT(key_slot), "uint8", NULL,
      "Use only this key slot" },
    { "key-commitment", KIND_STR, AT(key_commitment), "str", NULL,
      "Use only the store with this key commitment" },
    { "min-sequence", KIND_STR, AT(min_sequence), "str", NULL,
      "Use only a store that has come so far: SEQUENCE:EPOCH-ID" },
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
    case KIND_UINT8:
        visit_type_uint8(v, name, field, errp);
        break;
    case KIND_UINT32:
        visit_type_uint32(v, name, field, errp);
        break;
    }
}

static void set_property(Object *obj, Visitor *v, const char *name,
                         void *opaque, Error **errp)
{
    const StoreProperty *property = opaque;
    BlobStoreObject *store = BLOBSTORE(obj);
    void *field = field_of(obj, property);
    char *text;

    if (store->id) {
        error_setg(errp, "blobstore '%s': '%s' cannot be changed any more",
                   store->id, name);
        return;
    }
    if (property->kind != KIND_STR) {
        get_property(obj, v, name, opaque, errp);   /* visits either way */
    } else if (visit_type_str(v, name, &text, errp)) {
        g_free(*(char **)field);
        *(char **)field = text;
    }
    if (field == &store->keys.key_type) {
        store->keys.has_key_type = true;
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
    store->rerror = BLOCKDEV_ON_ERROR_AUTO;
    store->werror = BLOCKDEV_ON_ERROR_AUTO;
    store->keys.has_key_iter_time = true;
    store->keys.key_iter_time = BLOB_KEY_KDF_MILLISECONDS;
    store->key_slot = BLOBSTORE_KEY_SLOT_UNSET;
}

void blobstore_properties_clear(BlobStoreObject *store)
{
    for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
        if (properties[i].kind == KIND_STR) {
            g_free(*(char **)field_of(OBJECT(store), &properties[i]));
        }
    }
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

static bool parse_min_sequence(const char *text, BlobSequence *sequence)
{
    const char *end;

    return !qemu_strtou64(text, &end, 10, &sequence->number) &&
           *end == ':' && parse_hex(end + 1, sequence->epoch_id,
                                    sizeof(sequence->epoch_id));
}

static bool check_pins(BlobStoreObject *store, const char *id, Error **errp)
{
    if (store->uuid && qemu_uuid_parse(store->uuid, &store->uuid_pin) < 0) {
        error_setg(errp, "blobstore '%s': '%s' is not a UUID", id,
                   store->uuid);
        return false;
    }
    if (store->key_commitment &&
        !parse_hex(store->key_commitment, store->commitment_pin,
                   sizeof(store->commitment_pin))) {
        error_setg(errp, "blobstore '%s': key-commitment '%s' is not %zu "
                   "hexadecimal digits", id, store->key_commitment,
                   2 * sizeof(store->commitment_pin));
        return false;
    }
    if (store->min_sequence &&
        !parse_min_sequence(store->min_sequence, &store->sequence_pin)) {
        error_setg(errp, "blobstore '%s': min-sequence '%s' is not a number, "
                   "a colon and %zu hexadecimal digits", id,
                   store->min_sequence,
                   2 * sizeof(store->sequence_pin.epoch_id));
        error_append_hint(errp, "It is sequence and epoch-id of "
                          "blobstore-info.\n");
        return false;
    }
    return true;
}

static bool check_key_source(BlobStoreObject *store, const char *id,
                             Error **errp)
{
    if (store->key_slot != BLOBSTORE_KEY_SLOT_UNSET &&
        store->key_slot >= BLOB_KEY_SLOTS) {
        error_setg(errp, "blobstore '%s': key-slot is 0 to %d", id,
                   BLOB_KEY_SLOTS - 1);
        return false;
    }
    if (!blobstore_credential_source_is_valid(&store->keys, errp)) {
        error_prepend(errp, "blobstore '%s': ", id);
        return false;
    }
    if (!blobstore_keys_are_wanted(store) &&
        (store->keys.pin_secret || store->keys.has_key_type ||
         store->key_slot != BLOBSTORE_KEY_SLOT_UNSET)) {
        error_setg(errp, "blobstore '%s': no key is given", id);
        error_append_hint(errp, "Add key-secret= or key-uri=.\n");
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
    if (store->rerror == BLOCKDEV_ON_ERROR_ENOSPC) {
        error_setg(errp, "blobstore '%s': rerror=enospc makes no sense: "
                   "reading needs no space", id);
        return false;
    }
    return check_pins(store, id, errp) && check_key_source(store, id, errp);
}
