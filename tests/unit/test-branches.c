/*
 * Unit tests of the core: two branches of one store, mixed
 *
 * An image was copied, and both went on.  What they have written since has the
 * same numbers, lengths and places.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>

/* Another branch of the store that @trio has, from its image as it is now */
static void branch_off(Trio *branch, const Trio *trio)
{
    branch->disk = test_disk_clone(trio->disk);
    branch->store = NULL;
    trio_crash(branch);
    trio_start(branch);
}

static void end_branch(Trio *branch)
{
    g_clear_pointer(&branch->store, blob_store_free);
    g_clear_pointer(&branch->disk, test_disk_free);
}

/* What the directory says of a blob, but for the digest */
static void assert_same_entry(const Blob *a, const Blob *b)
{
    BlobEntry x = a->entry;
    BlobEntry y = b->entry;

    g_assert_true(memcmp(x.digest, y.digest, sizeof(x.digest)));
    memset(x.digest, 0, sizeof(x.digest));
    memset(y.digest, 0, sizeof(y.digest));
    g_assert_cmpmem(&x, sizeof(x), &y, sizeof(y));
}

/* How a branch ends before something is put into it */
typedef enum End {
    END_CLOSED,
    END_RECORDED,               /* in an epoch without a commit */
    END_OTHER_COMMIT,           /* ... with a commit of another blob */
    END_COUNT,
} End;

static void end_with(Trio *trio, End end)
{
    if (end == END_CLOSED) {
        test_close(trio->store);
        return;
    }
    trio_crash(trio);
    trio_start(trio);
    if (end == END_OTHER_COMMIT) {
        trio_write(trio, 2, "c2");
    }
}

/* Of blob a, what the other branch wrote in the place of @mine */
static void mix(Trio *trio, const char *mine, const char *theirs, End end,
                const char *c)
{
    Trio branch;

    trio_renew(trio);
    branch_off(&branch, trio);
    trio_crash(trio);
    trio_start(trio);
    trio_write(trio, 0, mine);
    trio_write(&branch, 0, theirs);
    end_with(trio, end);
    if (mine && theirs && strlen(mine) == strlen(theirs)) {
        assert_same_entry(trio->blobs[0], branch.blobs[0]);
    }
    memcpy(trio_current(trio, 0), trio_current(&branch, 0), 8192);
    trio_crash(trio);
    if (mine || end != END_CLOSED) {
        trio_expect(trio, "damaged", "b1", c);
    } else {
        trio_expect(trio, NULL, "b1", c);
    }
    end_branch(&branch);
}

/* R3: the directory has a digest of the version that it names. */
static void test_version_of_another_branch_is_damage(Trio *trio,
                                                     gconstpointer unused)
{
    for (End end = 0; end < END_COUNT; end++) {
        const char *c = end == END_OTHER_COMMIT ? "c2" : "c1";

        mix(trio, "mine", "thei", end, c);
        mix(trio, "mine", "another length", end, c);
        mix(trio, "mine", NULL, end, c);
    }
}

/* ... of a tombstone as well: neither content nor nothing is made up. */
static void test_content_of_another_branch_is_not_undeleted(
    Trio *trio, gconstpointer unused)
{
    mix(trio, NULL, "thei", END_CLOSED, "c1");
}

/* What has moved is another version, of which the directory knows as well. */
static void test_version_of_a_branch_that_grew_is_damage(Trio *trio,
                                                         gconstpointer unused)
{
    Trio branch;

    branch_off(&branch, trio);
    trio_crash(trio);
    trio_start(trio);
    for (unsigned i = 0; i < 2; i++) {
        Trio *each = i ? &branch : trio;

        trio_write(each, 0, i ? "thei" : "mine");
        trio_crash(each);
        test_register_again(each->store, "a", 9000);
        test_register_again(each->store, "b", 1000);
        test_register_again(each->store, "c", 1000);
        test_start(each->store);
        test_close(each->store);
    }
    assert_same_entry(trio->blobs[0], branch.blobs[0]);
    trio_crash(trio);
    trio_expect(trio, "mine", "b1", "c1");
    memcpy(trio_current(trio, 0), trio_current(&branch, 0), 8192);
    trio_crash(trio);
    trio_expect(trio, "damaged", "b1", "c1");
    end_branch(&branch);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/branches/" #name, Trio, NULL, trio_set_up, \
                             test_##name, trio_tear_down)
    ADD(version_of_another_branch_is_damage);
    ADD(content_of_another_branch_is_not_undeleted);
    ADD(version_of_a_branch_that_grew_is_damage);
    return g_test_run();
}
