/*
 * qemu-blobstore: commands that show a TPM
 *
 * A TPM answers only when it has been started.  A copy is, which is thrown
 * away.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qstring.h"
#include "tpm-send.h"

#define TPM2_CC_NV_READ_PUBLIC 0x169
#define TPM2_CC_READ_CLOCK     0x181

enum {
    PROPERTY_PERMANENT = 0x200,
    OWNER_AUTH_SET = 1 << 0,
    ENDORSEMENT_AUTH_SET = 1 << 1,
    LOCKOUT_AUTH_SET = 1 << 2,
    IN_LOCKOUT = 1 << 9,

    PROPERTY_LOCKOUT_COUNTER = 0x20e,
    PROPERTY_MAX_AUTH_FAIL = 0x20f,

    FIRST_NV_INDEX = 0x01000000,
    FIRST_PERSISTENT = 0x81000000,
    HANDLES_AT_ONCE = 254,
};

static bool add_banks(ToolTpm *tpm, QDict *info, GError **error)
{
    g_auto(ToolReply) reply = { };
    QList *names = qlist_new();
    uint32_t count;

    qdict_put(info, "pcr-banks", names);
    if (!tool_tpm_capability(tpm, TPM2_CAP_PCRS, 0, 1, &reply, error)) {
        return false;
    }
    count = tool_reply_get(&reply, 4);
    for (uint32_t n = 0; n < count && !reply.bad; n++) {
        uint16_t algorithm = tool_reply_get(&reply, 2);
        unsigned bytes = tool_reply_get(&reply, 1);
        bool any = false;

        for (unsigned i = 0; i < bytes; i++) {
            any |= tool_reply_get(&reply, 1);
        }
        if (any) {
            qlist_append_str(names, tpm_banks_name(algorithm) ?: "unknown");
        }
    }
    return true;
}

/* All handles from @first on of the same kind, as an array of numbers */
static bool list_handles(ToolTpm *tpm, uint32_t first, GArray *handles,
                         GError **error)
{
    g_auto(ToolReply) reply = { };
    uint32_t count;

    if (!tool_tpm_capability(tpm, TPM2_CAP_HANDLES, first, HANDLES_AT_ONCE,
                             &reply, error)) {
        return false;
    }
    count = tool_reply_get(&reply, 4);
    for (uint32_t n = 0; n < count && !reply.bad; n++) {
        uint32_t handle = tool_reply_get(&reply, 4);

        g_array_append_val(handles, handle);
    }
    return true;
}

static QString *handle_text(uint32_t handle)
{
    g_autofree char *text = g_strdup_printf("0x%08x", handle);

    return qstring_from_str(text);
}

static bool add_persistent(ToolTpm *tpm, QDict *info, GError **error)
{
    g_autoptr(GArray) handles = g_array_new(false, false, sizeof(uint32_t));
    QList *list = qlist_new();

    qdict_put(info, "persistent", list);
    if (!list_handles(tpm, FIRST_PERSISTENT, handles, error)) {
        return false;
    }
    for (unsigned n = 0; n < handles->len; n++) {
        qlist_append(list, handle_text(g_array_index(handles, uint32_t, n)));
    }
    return true;
}

static bool add_index(ToolTpm *tpm, uint32_t index, QList *list,
                      GError **error)
{
    g_auto(ToolReply) reply = { };
    QDict *entry = qdict_new();
    unsigned policy_bytes;

    qlist_append(list, entry);
    qdict_put(entry, "index", handle_text(index));
    if (!tool_tpm_send(tpm, "TPM2_NV_ReadPublic",
                       tool_tpm_command(TPM2_CC_NV_READ_PUBLIC, index,
                                        NULL), &reply, error)) {
        return false;
    }
    tool_reply_take(&reply, 2 + 4 + 2 + 4);
    policy_bytes = tool_reply_get(&reply, 2);
    tool_reply_take(&reply, policy_bytes);
    qdict_put_int(entry, "size", tool_reply_get(&reply, 2));
    return true;
}

static bool add_nv(ToolTpm *tpm, QDict *info, GError **error)
{
    g_autoptr(GArray) handles = g_array_new(false, false, sizeof(uint32_t));
    QList *list = qlist_new();
    bool ok;

    qdict_put(info, "nv", list);
    ok = list_handles(tpm, FIRST_NV_INDEX, handles, error);
    for (unsigned n = 0; ok && n < handles->len; n++) {
        ok = add_index(tpm, g_array_index(handles, uint32_t, n), list, error);
    }
    return ok;
}

static bool add_properties(ToolTpm *tpm, QDict *info, GError **error)
{
    uint32_t permanent, counter, most;

    if (!tool_tpm_property(tpm, PROPERTY_PERMANENT, &permanent, error) ||
        !tool_tpm_property(tpm, PROPERTY_LOCKOUT_COUNTER, &counter, error) ||
        !tool_tpm_property(tpm, PROPERTY_MAX_AUTH_FAIL, &most, error)) {
        return false;
    }
    qdict_put_bool(info, "owner-password", permanent & OWNER_AUTH_SET);
    qdict_put_bool(info, "endorsement-password",
                   permanent & ENDORSEMENT_AUTH_SET);
    qdict_put_bool(info, "lockout-password", permanent & LOCKOUT_AUTH_SET);
    qdict_put_bool(info, "locked-out", permanent & IN_LOCKOUT);
    qdict_put_int(info, "failed-tries", counter);
    qdict_put_int(info, "failed-tries-allowed", most);
    return true;
}

/* The copy was started once more than the TPM. */
static bool add_clock(ToolTpm *tpm, QDict *info, GError **error)
{
    g_auto(ToolReply) reply = { };
    uint64_t clock;

    if (!tool_tpm_send(tpm, "TPM2_ReadClock",
                       tool_tpm_command(TPM2_CC_READ_CLOCK, 0, NULL),
                       &reply, error)) {
        return false;
    }
    tool_reply_take(&reply, 8);
    clock = (uint64_t)tool_reply_get(&reply, 4) << 32;
    clock |= tool_reply_get(&reply, 4);
    qdict_put_int(info, "clock", clock);
    qdict_put_int(info, "resets",
                  (int64_t)tool_reply_get(&reply, 4) - 1);
    return true;
}

static bool add_all(ToolTpm *tpm, QDict *info, GError **error)
{
    tpm->engine.nvram.checking = true;
    return tool_tpm_power_on(tpm, error) && tool_tpm_startup(tpm, error) &&
           add_banks(tpm, info, error) && add_persistent(tpm, info, error) &&
           add_nv(tpm, info, error) && add_properties(tpm, info, error) &&
           add_clock(tpm, info, error);
}

static void print_names(const char *key, const QDict *info)
{
    const QListEntry *entry;

    printf("%-22s", key);
    if (qlist_empty(qobject_to(QList, qdict_get(info, key)))) {
        printf(" none");
    }
    QLIST_FOREACH_ENTRY(qobject_to(QList, qdict_get(info, key)), entry) {
        printf(" %s", qstring_get_str(qobject_to(QString,
                                                 qlist_entry_obj(entry))));
    }
    putchar('\n');
}

static void print_indices(const QDict *info)
{
    const QListEntry *entry;

    if (qlist_empty(qobject_to(QList, qdict_get(info, "nv")))) {
        printf("%-22s none\n", "nv");
        return;
    }
    printf("%-22s", "nv");
    QLIST_FOREACH_ENTRY(qobject_to(QList, qdict_get(info, "nv")), entry) {
        QDict *index = qobject_to(QDict, qlist_entry_obj(entry));

        printf(" %s (%" PRId64 " bytes)", qdict_get_str(index, "index"),
               qdict_get_int(index, "size"));
    }
    putchar('\n');
}

static void print_info(const QDict *info)
{
    static const char *const flags[] = {
        "owner-password", "endorsement-password", "lockout-password",
        "locked-out",
    };
    static const char *const numbers[] = {
        "failed-tries", "failed-tries-allowed", "clock", "resets",
    };

    printf("%-22s %s\n", "version", qdict_get_str(info, "version"));
    printf("%-22s %s\n", "libtpms", qdict_get_try_str(info, "libtpms")
                                    ?: "unknown");
    if (!qdict_haskey(info, "pcr-banks")) {
        return;                 /* a TPM 1.2 */
    }
    print_names("pcr-banks", info);
    print_names("persistent", info);
    print_indices(info);
    for (int n = 0; n < ARRAY_SIZE(flags); n++) {
        printf("%-22s %s\n", flags[n], qdict_get_bool(info, flags[n])
                                       ? "yes" : "no");
    }
    for (int n = 0; n < ARRAY_SIZE(numbers); n++) {
        printf("%-22s %" PRId64 "\n", numbers[n],
               qdict_get_int(info, numbers[n]));
    }
}

bool coroutine_fn tool_tpm_info(Tool *tool, GError **error)
{
    g_auto(ToolTpm) tpm = { };
    g_auto(ToolStore) opened = { };
    g_autoptr(QDict) info = qdict_new();
    g_autofree char *stored_by = NULL;
    TPMVersion version;

    if (!tool_open(tool, &tool->image, TOOL_READ, &opened, error) ||
        !tool_tpm_load(&opened, &tpm, error)) {
        return false;
    }
    version = tpm.engine.nvram.version;
    stored_by = tpm_nvram_stored_by(&tpm.engine.nvram);
    qdict_put_str(info, "version", tpm_libtpms_version_str(version));
    if (stored_by) {
        qdict_put_str(info, "libtpms", stored_by);
    }
    if (version == TPM_VERSION_1_2 ? !tool_tpm_check(&tpm, error)
                                   : !add_all(&tpm, info, error)) {
        return false;
    }
    if (tool->output == TOOL_OUTPUT_JSON) {
        tool_print_json(QOBJECT(g_steal_pointer(&info)));
    } else {
        print_info(info);
    }
    return true;
}
