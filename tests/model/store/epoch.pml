/*
 * Epoch records: epoch.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define LISTED(n) \
    (entry[n].extent != NOWHERE && \
     (registered[n] || entry[n].seq != 0 && !entry[n].deleted || damaged[n]))

inline make_directory(is_clean)
{
    epoch++;
    assert(epoch < 16);         /* of the model, not of the store */
    epoch_open = false;
    clean = false;
    collect();
    new_dir = 1;
    do
    :: new_dir < DIRECTORIES && directory[new_dir].epoch != 0 -> new_dir++
    :: else -> break
    od;
    assert(new_dir < DIRECTORIES);
    find_epoch_id();
    directory[new_dir].epoch = epoch;
    directory[new_dir].epoch_id = fresh;
    directory[new_dir].clean = is_clean;
    directory[new_dir].next_id = next_id;
    for (n : 0 .. 1) {
        if
        :: LISTED(n) -> copy_entry(directory[new_dir].entry[n], entry[n])
        :: else -> clear_entry(directory[new_dir].entry[n])
        fi
    }
    /* R16: of two copies that are the same, the one that was written last
     * may be in a cache only. */
    first = intact[0] && !(intact[1] && pair_epoch[1] > pair_epoch[0]);
#ifndef BREAK_R16_ORDER
    if
    :: intact[0] && intact[1] && pair_epoch[0] == pair_epoch[1] ->
        first = directory[dir_seen[0]].last
    :: else
    fi;
#endif
    directory[new_dir].last = 1 - first
}

inline adopt_record()
{
    epoch_id = directory[new_dir].epoch_id;
    clean = directory[new_dir].clean;
    counter = 0;
    acknowledged = SEQ(epoch, 0);
    epoch_open = !clean;
    for (n : 0 .. 1) {
        if
        :: entry[n].extent != NOWHERE && !LISTED(n) ->
            taken = taken & ~BIT(entry[n].extent);
            clear_entry(entry[n])
        :: else
        fi
    }
    taken = taken & ~pending;
    pending = 0;
    if
    :: is_commit ->
        for (n : 0 .. 1) {
            promised[n] = NEW(n);
        }
    :: else ->
        for (n : 0 .. 1) {
            current(n, c);
            told[n] = c == DAMAGED;
            if
            :: c != DAMAGED -> promised[n] = c
            :: c == DAMAGED && HAS(doubtful, n) && maybe[n] == 0 ->
                promised[n] = 0
            :: else
            fi
        }
    fi;
    doubt_nothing();
    confirm_last()
}

/* blob_epoch_record(); sets ok. */
inline record(is_clean)
{
    d_step { skip; make_directory(is_clean); skip }
    put_directory(first);
#ifndef BREAK_R2_COPY
    if
    :: ok -> put_directory(1 - first)
    :: else
    fi;
#endif
    d_step {
        skip;
        if
        :: ok -> adopt_record()
        :: else
        fi;
        new_dir = 0;
        first = 0;
        collect();
        skip
    }
}
