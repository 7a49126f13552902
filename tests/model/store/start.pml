/*
 * Starting a store: start.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define WANTS(n) \
    (registered[n] && (entry[n].extent == NOWHERE || HAS(grows, n)))

inline find_extent()
{
    x = 0;
    do
    :: x < EXTENTS && HAS(taken, x) -> x++
    :: else -> break
    od
}

inline count_extents()
{
    free_extents = 0;
    for (x : 0 .. EXTENTS - 1) {
        free_extents = free_extents + !HAS(taken, x);
    }
    wanted = WANTS(0) + WANTS(1)
}

inline take_back(n)
{
    if
    :: before[n].extent != entry[n].extent ->
#ifdef BREAK_R12_FAILED
        taken = taken & ~BIT(entry[n].extent)
#else
        pending = pending | BIT(entry[n].extent)
#endif
    :: else
    fi;
    copy_entry(entry[n], before[n]);
    clear_entry(before[n])
}

/* place_blob(): takes a new extent, and copies the current version there. */
inline place(n)
{
    if
    :: ok && WANTS(n) ->
        d_step {
            skip;
            find_extent();
            assert(x < EXTENTS);
            copy_entry(before[n], entry[n]);
            taken = taken | BIT(x);
            entry[n].extent = x;
            entry[n].slot = 0;
            row[n] = 0;
            if
            :: entry[n].id == 0 -> entry[n].id = next_id; next_id++
            :: entry[n].id != 0 && entry[n].seq != 0 ->
                row[n] = seen[UNIT(before[n].extent, before[n].slot)]
            :: else
            fi;
#ifdef BREAK_R12
            if
            :: before[n].extent != NOWHERE ->
                taken = taken & ~BIT(before[n].extent)
            :: else
            fi
#endif
            skip
        }
        if
        :: row[n] != 0 -> put(UNIT(entry[n].extent, 0), row[n], false)
        :: else
        fi;
        d_step {
            skip;
            if
            :: ok -> moved = moved | BIT(n)
            :: else ->
                taken = taken & ~BIT(entry[n].extent);
                copy_entry(entry[n], before[n]);
                clear_entry(before[n])
            fi;
            skip
        }
    :: else
    fi
}

/* blob_store_start(); sets ok. */
inline start()
{
    ok = true;
#ifndef BREAK_FLUSH
    if
    :: !epoch_open -> flush()
    :: else
    fi;
#endif
    /* R12: an extent that an older copy of the directory names is not free
     * yet. */
#ifndef BREAK_R12_FAILED
    if
    :: ok && !(intact[0] && intact[1] && pair_epoch[0] == pair_epoch[1]) ->
        record(false)
    :: else
    fi;
#endif
    place(0);
    place(1);
    if
    :: ok && (row[0] != 0 || row[1] != 0) -> flush()
    :: else
    fi;
    d_step {
        skip;
        row[0] = 0;
        row[1] = 0;
        if
        :: ok ->
            for (n : 0 .. 1) {
                if
                :: HAS(moved, n) && before[n].extent != NOWHERE ->
                    pending = pending | BIT(before[n].extent)
                :: else
                fi
            }
        :: else
        fi;
        skip
    }
    if
    :: ok && (moved != 0 || !epoch_open) ->
#ifdef BREAK_R2
        if
        :: moved == 0 && !started && !clean ->
            d_step {
                skip;
                epoch_open = true;
                counter = acknowledged % 16;
                for (n : 0 .. 1) {
                    current(n, promised[n]);
                }
                doubt_nothing();
                skip
            }
        :: else -> record(false)
        fi;
#else
        record(false);
#endif
        d_step {
            skip;
            if
            :: !ok ->
                for (n : 0 .. 1) {
                    if
                    :: HAS(moved, n) && before[n].extent != NOWHERE ->
                        pending = pending & ~BIT(before[n].extent)
                    :: else
                    fi
                }
            :: else
            fi;
            skip
        }
    :: else
    fi;
    d_step {
        skip;
        for (n : 0 .. 1) {
            if
            :: !ok && HAS(moved, n) -> take_back(n)
            :: else -> clear_entry(before[n])
            fi
        }
        moved = 0;
        grows = 0;
        started = started || ok;
        skip
    }
}
