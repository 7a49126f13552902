/*
 * qtest: commands for TPMs that live in blob stores
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/acpi/tpm.h"
#include "blobstore-tpm.h"
#include "tpm-tis-util.h"

uint64_t tpm_tis_base_addr = TPM_TIS_ADDR_BASE;

static void append_hex(GByteArray *bytes, const char *hex)
{
    while (*hex) {
        uint8_t byte;

        if (*hex == ' ') {
            hex++;
            continue;
        }
        byte = g_ascii_xdigit_value(hex[0]) << 4 |
               g_ascii_xdigit_value(hex[1]);
        g_byte_array_append(bytes, &byte, 1);
        hex += 2;
    }
}

GByteArray *tpm_command(uint16_t tag, uint32_t ordinal, const char *params)
{
    GByteArray *command = g_byte_array_new();

    g_byte_array_set_size(command, 10);
    append_hex(command, params);
    stw_be_p(command->data, tag);
    stl_be_p(command->data + 2, command->len);
    stl_be_p(command->data + 6, ordinal);
    return command;
}

static GByteArray *execute(TPM *tpm, uint16_t tag, uint32_t ordinal,
                           const char *params)
{
    g_autoptr(GByteArray) command = tpm_command(tag, ordinal, params);
    GByteArray *response = g_byte_array_new();

    g_byte_array_set_size(response, 4096);
    tpm->transfer(tpm->vm, command->data, command->len,
                  response->data, response->len);
    g_assert_cmpuint(ldl_be_p(response->data + 2), >=, 10);
    g_assert_cmpuint(ldl_be_p(response->data + 2), <=, 4096);
    return g_byte_array_set_size(response, ldl_be_p(response->data + 2));
}

uint32_t tpm_result(TPM *tpm, uint16_t tag, uint32_t ordinal,
                    const char *params)
{
    g_autoptr(GByteArray) response = execute(tpm, tag, ordinal, params);

    return ldl_be_p(response->data + 6);
}

GByteArray *tpm_run(TPM *tpm, uint16_t tag, uint32_t ordinal,
                    const char *params)
{
    GByteArray *response = execute(tpm, tag, ordinal, params);

    g_assert_cmphex(ldl_be_p(response->data + 6), ==, 0);
    return response;
}

void tpm_do(TPM *tpm, uint16_t tag, uint32_t ordinal, const char *params)
{
    g_byte_array_unref(tpm_run(tpm, tag, ordinal, params));
}

/* TPM 2.0 */

enum {
    TPM2_CC_EVICT_CONTROL   = 0x120,
    TPM2_CC_NV_DEFINE_SPACE = 0x12a,
    TPM2_CC_CREATE_PRIMARY  = 0x131,
    TPM2_CC_NV_WRITE        = 0x137,
    TPM2_CC_STARTUP         = 0x144,
    TPM2_CC_NV_READ         = 0x14e,
    TPM2_CC_FLUSH_CONTEXT   = 0x165,
    TPM2_CC_NV_READ_PUBLIC  = 0x169,
    TPM2_CC_READ_PUBLIC     = 0x173,
};

/* Authorization area with one empty password */
#define EMPTY_PASSWORD "00000009 40000009 0000 00 0000 "
#define OWNER "40000001 "

uint32_t tpm2_startup(TPM *tpm, bool from_state)
{
    return tpm_result(tpm, TPM2_NO_SESSIONS, TPM2_CC_STARTUP,
                      from_state ? "0001" : "0000");
}

uint32_t tpm2_nv_define(TPM *tpm, uint32_t index)
{
    /* The index has SHA-256 and 8 bytes; the owner reads and writes it. */
    g_autofree char *params = g_strdup_printf(
        OWNER EMPTY_PASSWORD "0000 000e %08x 000b 00020002 0000 0008", index);

    return tpm_result(tpm, TPM2_SESSIONS, TPM2_CC_NV_DEFINE_SPACE, params);
}

uint32_t tpm2_nv_write(TPM *tpm, uint32_t index,
                       const char text[TPM_STORED_BYTES])
{
    g_autofree char *params = g_strdup_printf(
        OWNER "%08x " EMPTY_PASSWORD "0008 %016" PRIx64 " 0000",
        index, ldq_be_p(text));

    return tpm_result(tpm, TPM2_SESSIONS, TPM2_CC_NV_WRITE, params);
}

void tpm2_nv_assert(TPM *tpm, uint32_t index,
                    const char text[TPM_STORED_BYTES])
{
    g_autofree char *params = g_strdup_printf(
        OWNER "%08x " EMPTY_PASSWORD "0008 0000", index);
    g_autoptr(GByteArray) response =
        tpm_run(tpm, TPM2_SESSIONS, TPM2_CC_NV_READ, params);

    g_assert_cmpuint(lduw_be_p(response->data + 14), ==, TPM_STORED_BYTES);
    g_assert_cmpmem(response->data + 16, TPM_STORED_BYTES,
                    text, TPM_STORED_BYTES);
}

bool tpm2_nv_exists(TPM *tpm, uint32_t index)
{
    g_autofree char *params = g_strdup_printf("%08x", index);

    return tpm_result(tpm, TPM2_NO_SESSIONS, TPM2_CC_NV_READ_PUBLIC,
                      params) == 0;
}

void tpm2_make_key(TPM *tpm, uint32_t handle)
{
    /* Makes a storage key: ECC P-256, AES-128-CFB. */
    g_autoptr(GByteArray) response = tpm_run(
        tpm, TPM2_SESSIONS, TPM2_CC_CREATE_PRIMARY,
        OWNER EMPTY_PASSWORD "0004 0000 0000 "
        "001a 0023 000b 00030072 0000 0006 0080 0043 0010 0003 0010 0000 0000 "
        "0000 00000000");
    uint32_t transient = ldl_be_p(response->data + 10);
    g_autofree char *evict = g_strdup_printf(
        OWNER "%08x " EMPTY_PASSWORD "%08x", transient, handle);
    g_autofree char *flush = g_strdup_printf("%08x", transient);

    tpm_do(tpm, TPM2_SESSIONS, TPM2_CC_EVICT_CONTROL, evict);
    tpm_do(tpm, TPM2_NO_SESSIONS, TPM2_CC_FLUSH_CONTEXT, flush);
}

GByteArray *tpm2_key(TPM *tpm, uint32_t handle)
{
    g_autofree char *params = g_strdup_printf("%08x", handle);

    return tpm_run(tpm, TPM2_NO_SESSIONS, TPM2_CC_READ_PUBLIC, params);
}

/* The registers of a TIS, step by step */

void tis_start(QTestState *vm, int locality, GByteArray *command)
{
    qtest_writeb(vm, TIS_REG(locality, TPM_TIS_REG_ACCESS),
                 TPM_TIS_ACCESS_REQUEST_USE);
    /*
     * The first write leads from idle to ready, the second to the buffer's
     * start.
     */
    for (int i = 0; i < 2; i++) {
        qtest_writel(vm, TIS_REG(locality, TPM_TIS_REG_STS),
                     TPM_TIS_STS_COMMAND_READY);
    }
    for (int i = 0; i < command->len; i++) {
        qtest_writeb(vm, TIS_REG(locality, TPM_TIS_REG_DATA_FIFO),
                     command->data[i]);
    }
    qtest_writeb(vm, TIS_REG(locality, TPM_TIS_REG_STS), TPM_TIS_STS_TPM_GO);
}

bool tis_is_done(QTestState *vm, int locality)
{
    return qtest_readl(vm, TIS_REG(locality, TPM_TIS_REG_STS)) &
           TPM_TIS_STS_DATA_AVAILABLE;
}

uint32_t tis_wait(QTestState *vm, int locality)
{
    while (!tis_is_done(vm, locality)) {
        g_usleep(1000);
    }
    return qtest_readl(vm, TIS_REG(locality, TPM_TIS_REG_STS));
}

uint32_t tis_end(QTestState *vm, int locality)
{
    uint8_t response[10];

    tis_wait(vm, locality);
    for (int i = 0; i < sizeof(response); i++) {
        response[i] = qtest_readb(vm, TIS_REG(locality,
                                              TPM_TIS_REG_DATA_FIFO));
    }
    qtest_writel(vm, TIS_REG(locality, TPM_TIS_REG_STS),
                 TPM_TIS_STS_COMMAND_READY);
    qtest_writeb(vm, TIS_REG(locality, TPM_TIS_REG_ACCESS),
                 TPM_TIS_ACCESS_ACTIVE_LOCALITY);
    return ldl_be_p(response + 6);
}

/* A TPM in a raw image */

TPM tpm_on_raw(const char *image)
{
    g_autofree char *args = g_strdup_printf(TPM_ON_RAW, image);

    return (TPM) { qtest_init(args), tpm_tis_transfer };
}

TPMImage tpm_image_new(void)
{
    TPMImage store = { .path = image_new("raw") };
    TPM tpm = tpm_on_raw(store.path);
    QDict *info;
    QDict *blob;

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX), ==, 0);
    g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, "unlikely"), ==, 0);
    /* The host has nothing to store when QEMU quits. */
    tpm_do(&tpm, TPM2_NO_SESSIONS, 0x145, "0000");
    info = store_info(tpm.vm);
    blob = store_blob(info, "permanent");
    store.uuid = g_strdup(qdict_get_str(info, "uuid"));
    store.permanent = blob_slot(blob, true);
    store.former = blob_slot(blob, false);
    qobject_unref(info);
    qtest_quit(tpm.vm);
    return store;
}

void tpm_image_clear(TPMImage *store)
{
    g_free(store->path);
    g_free(store->uuid);
}

void assert_tpm_image_works(TPMImage *store)
{
    TPM tpm = tpm_on_raw(store->path);

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
    qtest_quit(tpm.vm);
}
