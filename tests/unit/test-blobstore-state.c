/*
 * Blobstore over the real block layer: the belief of a store, event by event
 *
 * The first test compares every transition with the tables in docs/design.md,
 * which tests/repository compares with the tables here.  The second test
 * confronts a real store, in every situation, with everything that can happen
 * to a VM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "blobstore/qemu/glue.h"
#include "blobstore-state.h"
#include "blobstore-vm.h"
#include "blobstore-writer.h"

enum { TRUSTS = BLOBSTORE_TRUST_SUPERSEDING + 1 };

/*
 * For each event, the state that follows each trust; "-": the event does not
 * happen then
 */
static const char *const trust_table[][TRUSTS + 1] = {
    /* doubt          full     check    none     reverted    superseding */
    { "open",         "full",  "full",  "full",  "full",     "full" },
    { "open-incoming", "none", "none",  "none",  "none",     "none" },
    { "stop",         "check", "check", "none",  "reverted", "superseding" },
    { "restore",      "none",  "none",  "none",  "reverted", "superseding" },
    { "changed",      "none",  "none",  "none",  "reverted", "superseding" },
    { "taken",        "full",  "check", "none",  "reverted", "superseding" },
    { "take-back",    "none",  "none",  "none",  "reverted", "superseding" },
    { "save",         "none",  "none",  "none",  "reverted", "superseding" },
    { "key-unsure",   "none",  "none",  "none",  "reverted", "superseding" },
    { "revert",       "reverted", "reverted", "reverted", "reverted",
                                                             "reverted" },
    { "load",         "full",  "check", "none",  "reverted", "superseding" },
    { "identify",     "full",  "check", "none",  "reverted", "superseding" },
    { "loaded",       "none",  "none",  "none",  "reverted", "superseding" },
    { "load-failed",  "full",  "check", "none",  "reverted", "superseding" },
    { "reset",        "full",  "check", "none",  "reverted", "superseding" },
    { "supersede",    "-",     "-",     "-",     "superseding",
                                                             "superseding" },
    { "superseded",   "-",     "-",     "-",     "-",        "reverted" },
    { "agree",        "full",  "full",  "full",  "full",     "-" },
    { "agree-stopped", "check", "check", "check", "check",   "-" },
    { "start",        "full",  "check", "none",  "reverted", "superseding" },
};

/* The same for RAM: whose content it has, and how far a load has got */
enum { RAMS = 8 };

static const BlobStoreState rams[RAMS] = {
    { 0, BLOBSTORE_ARRIVAL_OWN, BLOBSTORE_LOAD_NONE },
    { 0, BLOBSTORE_ARRIVAL_OWN, BLOBSTORE_LOAD_BEGUN },
    { 0, BLOBSTORE_ARRIVAL_OWN, BLOBSTORE_LOAD_IDENTIFIED },
    { 0, BLOBSTORE_ARRIVAL_WAITING, BLOBSTORE_LOAD_BEGUN },
    { 0, BLOBSTORE_ARRIVAL_WAITING, BLOBSTORE_LOAD_IDENTIFIED },
    { 0, BLOBSTORE_ARRIVAL_LOADED, BLOBSTORE_LOAD_NONE },
    { 0, BLOBSTORE_ARRIVAL_LOADED, BLOBSTORE_LOAD_BEGUN },
    { 0, BLOBSTORE_ARRIVAL_LOADED, BLOBSTORE_LOAD_IDENTIFIED },
};

/* o, w, l: own, waiting, loaded; 0, b, i: load none, begun, identified */
static const char *const ram_table[][RAMS + 1] = {
    /* event            o0    ob    oi    wb    wi    l0    lb    li */
    { "open",          "o0", "o0", "o0", "o0", "o0", "o0", "o0", "o0" },
    { "open-incoming", "wb", "wb", "wb", "wb", "wb", "wb", "wb", "wb" },
    { "stop",          "o0", "ob", "oi", "wb", "wi", "l0", "lb", "li" },
    { "restore",       "o0", "ob", "oi", "wb", "wi", "l0", "lb", "li" },
    { "changed",       "o0", "ob", "oi", "wb", "wi", "l0", "lb", "li" },
    { "taken",         "o0", "ob", "oi", "wb", "wi", "l0", "lb", "li" },
    { "take-back",     "o0", "-",  "-",  "wb", "wi", "l0", "-",  "-" },
    { "save",          "o0", "-",  "-",  "-",  "-",  "l0", "-",  "-" },
    { "key-unsure",    "o0", "-",  "-",  "-",  "-",  "-",  "-",  "-" },
    { "revert",        "ob", "ob", "ob", "wb", "wb", "lb", "lb", "lb" },
    { "load",          "-",  "ob", "-",  "wb", "-",  "-",  "lb", "-" },
    { "identify",      "-",  "oi", "-",  "wi", "-",  "-",  "li", "-" },
    { "loaded",        "-",  "-",  "o0", "-",  "l0", "-",  "-",  "l0" },
    { "load-failed",   "ob", "ob", "ob", "wb", "wb", "lb", "lb", "lb" },
    { "reset",         "o0", "o0", "o0", "wb", "wi", "l0", "l0", "l0" },
    { "supersede",     "o0", "-",  "-",  "-",  "-",  "-",  "-",  "-" },
    { "superseded",    "o0", "-",  "-",  "-",  "-",  "-",  "-",  "-" },
    { "agree",         "o0", "-",  "-",  "-",  "-",  "-",  "-",  "-" },
    { "agree-stopped", "o0", "-",  "-",  "-",  "-",  "l0", "-",  "-" },
    { "start",         "o0", "-",  "-",  "-",  "-",  "o0", "-",  "-" },
};

/* The same for the owner; any other event leaves it as it is. */
static const char *const owner_table[][3] = {
    /* event           self     other */
    { "open",          "self",  "self" },
    { "open-incoming", "self",  "self" },
    { "taken",         "other", "other" },
    { "take-back",     "-",     "self" },
};

static const char *owner_after(const char *event, BlobStoreOwner owner)
{
    for (unsigned i = 0; i < ARRAY_SIZE(owner_table); i++) {
        if (!strcmp(owner_table[i][0], event)) {
            return owner_table[i][owner + 1];
        }
    }
    return blobstore_state_owner_name(owner);
}

static const char *ram_name(BlobStoreState state)
{
    static const char *const names[3][3] = {
        { "o0", "ob", "oi" }, { "w0", "wb", "wi" }, { "l0", "lb", "li" },
    };

    return names[state.arrival][state.load];
}

static void test_every_transition(void)
{
    QEMU_BUILD_BUG_ON(ARRAY_SIZE(trust_table) != BLOBSTORE_EVENT__MAX);
    QEMU_BUILD_BUG_ON(ARRAY_SIZE(ram_table) != BLOBSTORE_EVENT__MAX);

    for (BlobStoreEvent event = 0; event < BLOBSTORE_EVENT__MAX; event++) {
        const char *const *trust_row = trust_table[event];
        const char *const *ram_row = ram_table[event];

        g_assert_cmpstr(trust_row[0], ==, blobstore_state_event_name(event));
        g_assert_cmpstr(ram_row[0], ==, blobstore_state_event_name(event));
        for (unsigned trust = 0; trust < TRUSTS; trust++) {
            for (unsigned ram = 0; ram < RAMS; ram++) {
                BlobStoreState state = rams[ram];

                state.trust = trust;
                state = blobstore_state_next(state, event);
                if (strcmp(trust_row[trust + 1], "-")) {
                    g_assert_cmpstr(blobstore_state_trust_name(state.trust),
                                    ==, trust_row[trust + 1]);
                }
                if (strcmp(ram_row[ram + 1], "-")) {
                    g_assert_cmpstr(ram_name(state), ==, ram_row[ram + 1]);
                }
            }
        }
    }
}

static void test_every_owner(void)
{
    for (BlobStoreEvent event = 0; event < BLOBSTORE_EVENT__MAX; event++) {
        for (unsigned owner = 0; owner <= BLOBSTORE_OWNER_OTHER; owner++) {
            const char *after =
                owner_after(blobstore_state_event_name(event), owner);
            BlobStoreState state = { .owner = owner };

            state = blobstore_state_next(state, event);
            if (strcmp(after, "-")) {
                g_assert_cmpstr(blobstore_state_owner_name(state.owner), ==,
                                after);
            }
        }
    }
}

/* A store in a VM, and a snapshot of both */
typedef struct Scene {
    Fixture fixture;
    GBytes *state;
    GBytes *image;
    bool incoming;              /* the store still waits */
    bool drained;
} Scene;

static BlobStoreObject *store(const Scene *scene)
{
    return scene->fixture.device.client->store;
}

static BlockDriverState *node(void)
{
    return blk_bs(blk_by_name("nvram"));
}

static void act_stop(Scene *scene)
{
    vm_stop_now(RUN_STATE_PAUSED);
}

static void act_cont(Scene *scene)
{
    vm_start_now();
}

/* savevm, or a migration that is cancelled: `cont` may follow or not. */
static void act_save(Scene *scene)
{
    g_autoptr(GBytes) state = NULL;

    if (runstate_is_running()) {
        vm_stop_now(RUN_STATE_SAVE_VM);
    }
    state = vm_save_state();
}

static void act_revert(Scene *scene)
{
    if (scene->incoming) {
        return;
    }
    vm_stop_now(RUN_STATE_RESTORE_VM);
    image_set_content(scene->fixture.path, scene->image);
    vm_reset_for_snapshot();
}

static void act_load(Scene *scene)
{
    bool may;

    act_revert(scene);
    may = blobstore_state_may_be_identified(&store(scene)->open.state);
    g_assert_cmpint(vm_load_state(scene->state), ==, may);
}

/* The stream breaks off in its second section. */
static void act_load_half(Scene *scene)
{
    g_autoptr(GBytes) half = g_bytes_new_from_bytes(
        scene->state, 0, g_bytes_get_size(scene->state) - 40);

    act_revert(scene);
    g_assert_false(vm_load_state(half));
}

/* The destination has run and written before it handed the VM back. */
static void act_there_and_back(Scene *scene)
{
    act_save(scene);
    image_set_content(scene->fixture.path, scene->image);
    vm_start_now();
}

static void act_write(Scene *scene)
{
    try_write_text(scene->fixture.device.permanent, "latest", NULL);
}

static void act_failing_write(Scene *scene)
{
    fail_writes(true);
    try_write_text(scene->fixture.device.permanent, "refused", NULL);
    fail_writes(false);
}

static void act_shrink(Scene *scene)
{
    drive_resize(128 * KiB);
}

static void act_grow(Scene *scene)
{
    drive_resize(IMAGE_BYTES);
}

static void act_drain(Scene *scene)
{
    if (!scene->drained) {
        bdrv_drained_begin(node());
        scene->drained = true;
    }
}

static void act_undrain(Scene *scene)
{
    if (scene->drained) {
        bdrv_drained_end(node());
        scene->drained = false;
        run_until_idle();
    }
}

static void act_reset(Scene *scene)
{
    vm_reset_now();
}

static void act_quit(Scene *scene)
{
    vm_stop_now(RUN_STATE_SHUTDOWN);
}

typedef void Act(Scene *scene);

static const struct {
    const char *name;
    Act *act;
} acts[] = {
    { "stop", act_stop },
    { "cont", act_cont },
    { "save", act_save },
    { "revert", act_revert },
    { "load", act_load },
    { "load-half", act_load_half },
    { "there-and-back", act_there_and_back },
    { "write", act_write },
    { "failing-write", act_failing_write },
    { "shrink", act_shrink },
    { "grow", act_grow },
    { "drain", act_drain },
    { "undrain", act_undrain },
    { "reset", act_reset },
    { "quit", act_quit },
};

static void run_act(Scene *scene, const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(acts); i++) {
        if (!strcmp(acts[i].name, name)) {
            acts[i].act(scene);
            return;
        }
    }
    g_assert_not_reached();
}

static char *describe(const Scene *scene)
{
    g_autoptr(BlobstoreInfo) info = store_info("nvram");
    BlobStoreState state = store(scene)->open.state;

    return g_strdup_printf("%s %s %s", blobstore_state_trust_name(state.trust),
                           ram_name(state),
                           BlobstoreCondition_str(info->state));
}

static void set_up(Scene *scene, bool incoming)
{
    fixture_set_up_policy(&scene->fixture,
                          GINT_TO_POINTER(BLOCKDEV_ON_ERROR_REPORT));
    vm_stop_now(RUN_STATE_SAVE_VM);
    scene->state = vm_save_state();
    scene->image = image_content(scene->fixture.path);
    if (incoming) {
        device_unplug(&scene->fixture.device);
        vm_set_incoming(true);
        g_assert_true(device_plug(&scene->fixture.device, "nvram",
                                  &error_abort));
        return;
    }
    g_assert_true(vm_start_now());
    write_text(scene->fixture.device.permanent, "newer");
    g_assert_cmpint(store(scene)->open.state.trust, ==, BLOBSTORE_TRUST_FULL);
}

/*
 * Whatever has happened, the store can be repaired, and then RAM and medium
 * agree.
 */
static void tear_down(Scene *scene)
{
    Device *device = &scene->fixture.device;
    g_autoptr(GBytes) content = NULL;
    g_autofree char *text = NULL;

    act_undrain(scene);
    act_grow(scene);
    if (store(scene)->open.state.arrival == BLOBSTORE_ARRIVAL_WAITING) {
        vm_reset_for_snapshot();    /* loadvm resets like this. */
        g_assert_true(vm_load_state(scene->state));
    }
    vm_reset_now();
    g_assert_true(vm_start_now());
    g_assert_false(blobstore_state_is_lost(&store(scene)->open.state));
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    blobstore_read_blob(device->permanent, &content, NULL, &error_abort);
    text = g_strndup(g_bytes_get_data(content, NULL),
                     g_bytes_get_size(content));
    assert_text_on_medium(device, "nvram", text);

    fixture_tear_down(&scene->fixture, NULL);
    g_bytes_unref(scene->state);
    g_bytes_unref(scene->image);
}

static void test_every_event_in_situation(gconstpointer data)
{
    unsigned n = GPOINTER_TO_UINT(data);

    QEMU_BUILD_BUG_ON(ARRAY_SIZE(acts) != ACTS);
    for (unsigned i = 0; i < ARRAY_SIZE(acts); i++) {
        Scene scene = { 0 };
        g_autofree char *after = NULL;

        set_up(&scene, situations[n].incoming);
        scene.incoming = situations[n].incoming;
        for (unsigned k = 0; situations[n].path[k]; k++) {
            run_act(&scene, situations[n].path[k]);
        }
        acts[i].act(&scene);
        after = describe(&scene);
        g_test_message("%s, then %s: %s", situations[n].name, acts[i].name,
                       after);
        g_assert_cmpstr(acts[i].name, ==, situations[n].after[i].act);
        g_assert_cmpstr(after, ==, situations[n].after[i].then);
        tear_down(&scene);
    }
}

static void add_tests(void)
{
    g_test_add_func("/blobstore/state/transitions", test_every_transition);
    g_test_add_func("/blobstore/state/owner", test_every_owner);
    for (unsigned n = 0; n < ARRAY_SIZE(situations); n++) {
        g_autofree char *path = g_strdup_printf("/blobstore/state/%s",
                                                situations[n].name);

        g_strdelimit(path, " ", '-');
        g_test_add_data_func(path, GUINT_TO_POINTER(n),
                             test_every_event_in_situation);
    }
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
