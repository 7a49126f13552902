/*
 * Blobstore: a model of zeroing (S11), for spin
 *
 * A medium of a few blocks, which hold old content, nothing, or a hole, below
 * a page cache as Linux has one.  A process zeroes it as wipe.c does, with
 * writes and flushes that fail; it is killed, or the power fails, and the next
 * one does it again.  When a pass has succeeded, no block of the medium holds
 * old content any more, and no hole was filled.
 *
 * -DFAILS= -DCRASHES= bound a history.  -DBREAK_S11 believes what is read
 * after a write has failed; -DBREAK_S11_HOLES then fills holes as well;
 * -DBREAK_S11_FLUSH does not wait for a flush.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAILS
#define FAILS       3
#endif
#ifndef CRASHES
#define CRASHES     2
#endif
#define BLOCKS      3

mtype = { HOLE, ZERO, OLD };

mtype seen[BLOCKS];
mtype kept[BLOCKS];
bool stuck[BLOCKS];         /* the page is clean, and not on the medium */
bool ok;
bool failed;                /* a write of this process has */
byte fails;
byte crashes;
byte at;

/* What was written and not flushed is on the medium or not. */
inline settle(is_lost)
{
    at = 0;
    do
    :: at < BLOCKS ->
        if
        :: seen[at] != kept[at] && !stuck[at] -> kept[at] = seen[at]
        :: seen[at] != kept[at] && !stuck[at] -> stuck[at] = true
        :: seen[at] == kept[at] || stuck[at]
        fi;
        if
        :: is_lost -> seen[at] = kept[at]; stuck[at] = false
        :: else
        fi;
        at++
    :: else -> break
    od;
    at = 0
}

inline flush()
{
    if
    :: at = 0;
       do
       :: at < BLOCKS && !stuck[at] -> kept[at] = seen[at]; at++
       :: at < BLOCKS && stuck[at] -> at++
       :: else -> break
       od;
       at = 0;
       ok = true
    :: fails < FAILS -> fails++; settle(false); ok = false; failed = true
    fi
}

active proctype user()
{
    byte block;

    atomic {
        do
        :: block < BLOCKS ->
            if
            :: seen[block] = HOLE
            :: seen[block] = ZERO
            :: seen[block] = OLD
            fi;
            kept[block] = seen[block];
            block++
        :: else -> break
        od;
        block = 0
    }

opening:
    /* The store is not at rest, so the opening drops the cache (R16). */
    atomic {
        flush();
        if
        :: !ok -> goto opening
        :: else
        fi;
        do
        :: block < BLOCKS ->
            seen[block] = kept[block];
            stuck[block] = false;
            block++
        :: else -> break
        od;
        block = 0;
        failed = false
    }

wiping:
    do
    :: block < BLOCKS ->
        atomic {
            ok = true;
            if
#ifdef BREAK_S11
            :: seen[block] != OLD
#else
            :: seen[block] != OLD && !failed
#endif
#ifndef BREAK_S11_HOLES
            :: seen[block] == HOLE && failed
#endif
            :: else ->
                assert(seen[block] != HOLE);
                seen[block] = ZERO;
                stuck[block] = false;
                if
                :: true
                :: fails < FAILS ->
                    fails++;
                    ok = false;
                    failed = true;
                    if
                    :: kept[block] = ZERO
                    :: stuck[block] = true
                    fi
                fi
            fi;
            block = (ok -> block + 1 : 0)
        }
    :: block == BLOCKS -> block = 0; break
    :: crashes < CRASHES ->
        atomic {
            crashes++;
            block = 0;
            if
            :: true
            :: settle(true)
            fi;
            goto opening
        }
    od;
#ifndef BREAK_S11_FLUSH
    atomic {
        flush();
        if
        :: !ok -> goto wiping
        :: else
        fi
    }
#endif
    assert(kept[0] != OLD && kept[1] != OLD && kept[2] != OLD)
}
