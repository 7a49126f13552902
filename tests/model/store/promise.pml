/*
 * The promise: what each blob must read as
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* Finds out whether something readable was written after the last commit, or
 * whether the directory names it. */
inline find_confirmation()
{
    confirmed = false;
    for (n : 0 .. 1) {
        confirmed = confirmed ||
            (HAS(last, n) && directory[chosen].entry[n].seq + 1 >= last_seq);
    }
    for (n : 0 .. 1) {
        if
        :: entry[n].id != 0 ->
            for (u : 0 .. 5) {
                v = seen[entry[n].extent * 6 + u];
                confirmed = confirmed ||
                    (u % 3 != 1 && HOLDS(n, v) &&
                     version[v].epoch_id == epoch_id &&
                     version[v].seq > last_seq);
            }
        :: else
        fi
    }
}

/* Blob @n reads as @want, or as damaged if its slots were damaged.  Damage on
 * record does not heal; that of a tombstone does not matter. */
#define READS(n, want)  (reads[n] == DAMAGED && HAS(hurt, n) || \
                         reads[n] == (want) && \
                         (!told[n] || promised[n] == 0))
#define NEW(n)          (HAS(doubtful, n) -> maybe[n] : promised[n])
#define OLD(n)          (HAS(last, n) -> earlier[n] : promised[n])

inline check()
{
    /* R10: an older directory is refused, and nothing else is. */
    assert(refused == rolled_back);
    if
    :: !refused ->
        for (c : 0 .. 1) {
            current(c, reads[c]);
            damaged[c] = reads[c] == DAMAGED;
        }
        find_confirmation();
        /* The one exception: damage of the last commit, unconfirmed, takes all
         * its members back, but for a first version (R11): what exists
         * never reads as if it never had.  A member whose older version was being overwritten
         * by the next commit is damaged, too. */
        assert(READS(0, promised[0]) && READS(1, promised[1]) ||
               doubtful != 0 && READS(0, NEW(0)) && READS(1, NEW(1)) ||
               !confirmed && (last & hurt) != 0 && !last_is_first &&
               (READS(0, OLD(0)) || reads[0] == DAMAGED && HAS(last, 0)) &&
               (READS(1, OLD(1)) || reads[1] == DAMAGED && HAS(last, 1)));
        hurt = hurt | damaged[0] | damaged[1] * 2;
    :: else
    fi
}

/* In a session the promised content is current, whatever failed. */
inline check_session()
{
    for (c : 0 .. 1) {
        current(c, reads[c]);
        assert(damaged[c] || reads[c] == promised[c]);
    }
}

inline doubt_nothing()
{
    doubtful = 0; maybe[0] = 0; maybe[1] = 0
}

inline confirm_last()
{
    last = 0; last_seq = 0; last_is_first = false; earlier[0] = 0; earlier[1] = 0
}
