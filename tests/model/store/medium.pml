/*
 * The medium: writes that land, fail or are cut, lost power, damage
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifdef PAGE_CACHE
#define IS_STUCK(u)     HAS(stuck, u)
#define IS_DIR_STUCK(c) HAS(dir_stuck, c)
#else
#define IS_STUCK(u)     false
#define IS_DIR_STUCK(c) false
#endif

/* A page that is written again is dirty again. */
inline unstick(at)
{
#ifdef PAGE_CACHE
    stuck = stuck & ~(7 << (at))
#else
    skip
#endif
}

inline unstick_directory(copy)
{
#ifdef PAGE_CACHE
    dir_stuck = dir_stuck & ~BIT(copy)
#else
    skip
#endif
}

/* Puts any of the units of a write that failed or was cut, one of them
 * garbled. */
inline put_part(at, v)
{
    select (pick : 0 .. 26);
    skip;
    d_step {
        skip;
        used = false;
        for (u : 0 .. 2) {
            if
            :: pick % 3 == 1 -> seen[at + u] = v
            :: pick % 3 == 2 && !used -> seen[at + u] = GARBLED; used = true
            :: else
            fi;
            pick = pick / 3;
        }
        skip
    }
}

/* A write that fails: with a page cache all of it can be read, and any of it
 * is on the medium. */
inline fail_part(at, v)
{
#ifdef PAGE_CACHE
    select (pick : 0 .. 26);
    skip;
    d_step {
        skip;
        used = false;
        for (u : 0 .. 2) {
            seen[at + u] = v;
            stuck = stuck | 1 << (at + u);
            if
            :: pick % 3 == 1 -> kept[at + u] = v
            :: pick % 3 == 2 && !used -> kept[at + u] = GARBLED; used = true
            :: else
            fi;
            if
            :: kept[at + u] == v -> stuck = stuck & ~(1 << (at + u))
            :: else
            fi;
            pick = pick / 3
        }
        skip
    }
#else
    put_part(at, v)
#endif
}

/* Writes version @v to the slot at @at; sets ok. */
inline put(at, v, durable)
{
    atomic {
        if
        :: d_step {
               skip;
               ok = true;
               unstick(at);
               for (u : 0 .. 2) {
                   seen[at + u] = v;
                   if
                   :: durable -> kept[at + u] = v
                   :: else
                   fi
               };
               skip
           }
        :: fails < FAILS ->
            fails++;
            ok = false;
            printf("a write fails\n");
            fail_part(at, v)
        :: crashes < CRASHES ->
            printf("in a write:\n");
            unstick(at);
            put_part(at, v);
            goto killed
        :: crashes < CRASHES ->
            printf("in a write:\n");
            d_step {
                skip;
                unstick(at);
                for (u : 0 .. 2) {
                    seen[at + u] = v
                }
                skip
            }
            goto power_failed
        fi
    }
}

inline put_directory_part(copy)
{
    if
    :: true
    :: dir_seen[copy] = new_dir
    :: dir_seen[copy] = GARBLED
    fi
}

inline fail_directory(copy)
{
#ifdef PAGE_CACHE
    dir_seen[copy] = new_dir;
    if
    :: dir_stuck = dir_stuck | BIT(copy)
    :: dir_kept[copy] = new_dir
    :: dir_kept[copy] = GARBLED; dir_stuck = dir_stuck | BIT(copy)
    fi
#else
    put_directory_part(copy)
#endif
}

inline put_directory(copy)
{
    atomic {
        intact[copy] = false;
        pair_epoch[copy] = 0;
        unstick_directory(copy);
        if
        :: d_step {
               skip;
               ok = true;
               dir_seen[copy] = new_dir;
               dir_kept[copy] = new_dir;
               intact[copy] = true;
               pair_epoch[copy] = epoch;
               skip
           }
        :: fails < FAILS ->
            fails++;
            ok = false;
            printf("writing directory copy %d fails\n", copy);
            fail_directory(copy)
        :: crashes < CRASHES ->
            printf("in writing directory copy %d:\n", copy);
            put_directory_part(copy);
            goto killed
        :: crashes < CRASHES ->
            printf("in writing directory copy %d:\n", copy);
            dir_seen[copy] = new_dir;
            goto power_failed
        fi
    }
}

/* Any of what was to be flushed is on the medium; one unit is garbled. */
inline fail_flush()
{
#ifdef PAGE_CACHE
    one_left = true;
    unit = 0;
    do
    :: unit < UNITS && (seen[unit] == kept[unit] || IS_STUCK(unit)) -> unit++
    :: unit < UNITS && seen[unit] != kept[unit] && !IS_STUCK(unit) ->
        if
        :: kept[unit] = seen[unit]
        :: stuck = stuck | 1 << unit
        :: one_left ->
            stuck = stuck | 1 << unit;
            kept[unit] = GARBLED;
            one_left = false
        fi;
        unit++
    :: unit == UNITS -> break
    od;
    unit = 0;
    do
    :: unit < 2 && (dir_seen[unit] == dir_kept[unit] || IS_DIR_STUCK(unit)) ->
        unit++
    :: unit < 2 && dir_seen[unit] != dir_kept[unit] && !IS_DIR_STUCK(unit) ->
        if
        :: dir_kept[unit] = dir_seen[unit]
        :: dir_stuck = dir_stuck | BIT(unit)
        fi;
        unit++
    :: unit == 2 -> break
    od;
    unit = 0;
    one_left = false
#else
    skip
#endif
}

/* What can be read is what the medium has. */
inline drop_cache()
{
#ifdef PAGE_CACHE
    for (u : 0 .. UNITS - 1) {
        seen[u] = (IS_STUCK(u) -> kept[u] : seen[u]);
    }
    for (c : 0 .. 1) {
        dir_seen[c] = (IS_DIR_STUCK(c) -> dir_kept[c] : dir_seen[c]);
    }
    stuck = 0;
    dir_stuck = 0
#else
    skip
#endif
}

inline flush()
{
    atomic {
        if
        :: d_step {
               skip;
               ok = true;
               for (u : 0 .. UNITS - 1) {
                   kept[u] = (IS_STUCK(u) -> kept[u] : seen[u]);
               }
               for (c : 0 .. 1) {
                   dir_kept[c] = (IS_DIR_STUCK(c) -> dir_kept[c] :
                                  dir_seen[c]);
               }
               skip
           }
        :: fails < FAILS ->
            fails++;
            ok = false;
            printf("a flush fails\n");
            fail_flush()
        :: crashes < CRASHES ->
            printf("in a flush:\n");
            if
            :: goto killed
            :: goto power_failed
            fi
        fi
    }
}

/* Each unit that was not flushed is there or not; one is garbled. */
inline lose_power()
{
    d_step { skip; drop_cache(); skip }
    one_left = true;
    unit = 0;
    do
    :: unit < UNITS && seen[unit] == kept[unit] -> unit++
    :: unit < UNITS && seen[unit] != kept[unit] ->
        if
        :: kept[unit] = seen[unit]
        :: seen[unit] = kept[unit]
        :: one_left ->
            seen[unit] = GARBLED;
            kept[unit] = GARBLED;
            one_left = false
        fi;
        unit++
    :: unit == UNITS -> break
    od;
    unit = 0;
    do
    :: unit < 2 && dir_seen[unit] == dir_kept[unit] -> unit++
    :: unit < 2 && dir_seen[unit] != dir_kept[unit] ->
        if
        :: dir_kept[unit] = dir_seen[unit]
        :: dir_seen[unit] = dir_kept[unit]
        :: dir_seen[unit] = GARBLED; dir_kept[unit] = GARBLED
        fi;
        unit++
    :: unit == 2 -> break
    od;
    unit = 0;
    one_left = false
}

/* Damages the medium at rest, by number: one unit, a slot, a copy of the
 * directory, or, for R10, the directory, which is replaced by an older one. */
#define DAMAGE_KINDS    (UNITS + 2 * EXTENTS + 3)

inline damage()
{
    wanted = pick - UNITS;
    if
    :: pick < UNITS ->
        if
        :: IS_VERSION(seen[pick]) ->
            seen[pick] = GARBLED;
            kept[pick] = GARBLED;
            printf("extent %d, slot %d, unit %d is garbled\n", pick / 6,
                   pick / 3 % 2, pick % 3);
            note_hurt(pick / 6)
        :: else
        fi
    :: pick >= UNITS && wanted < 2 * EXTENTS ->
        /* No damage while a write was in flight: that would be two faults at
         * once. */
        if
        :: doubtful == 0 && (IS_VERSION(seen[wanted * 3]) ||
                             IS_VERSION(seen[wanted * 3 + 2])) ->
            for (u : 0 .. 2) {
                seen[wanted * 3 + u] = GARBLED;
                kept[wanted * 3 + u] = GARBLED;
            }
            printf("extent %d, slot %d is wiped\n", wanted / 2, wanted % 2);
            note_hurt(wanted / 2)
        :: else
        fi
    :: pick >= UNITS && wanted == 2 * EXTENTS -> roll_back()
    :: else ->
        c = wanted - 2 * EXTENTS - 1;
        if
        /* nor one copy while the other was being written */
        :: dir_seen[1 - c] != GARBLED && dir_seen[1 - c] == dir_kept[1 - c] ->
            dir_seen[c] = GARBLED;
            dir_kept[c] = GARBLED;
            printf("directory copy %d is garbled\n", c)
        :: else
        fi
    fi;
    pick = 0
}

/* If slots have been written in the current epoch, its record is replaced by
 * the one before.  With R10, the content of that record does not matter. */
inline roll_back()
{
    c = (dir_seen[0] != GARBLED -> dir_seen[0] : dir_seen[1]);
    rolled_back = false;
    for (n : 0 .. 1) {
        for (s : 0 .. 1) {
            for (u : 0 .. 2) {
                x = directory[c].entry[n].extent;
                v = (x == NOWHERE -> 0 : seen[UNIT(x % EXTENTS, s) + u]);
                if
                :: u != 1 && IS_VERSION(v) &&
                   version[v].id == directory[c].entry[n].id &&
                   version[v].epoch_id == directory[c].epoch_id ->
                    rolled_back = true
                :: else
                fi
            }
        }
    }
    if
    :: rolled_back ->
        v = 1;
        do
        :: v < DIRECTORIES && directory[v].epoch != 0 -> v++
        :: else -> break
        od;
        assert(v < DIRECTORIES);
        for (n : 0 .. 1) {
            copy_entry(directory[v].entry[n], directory[c].entry[n]);
            dir_seen[n] = v;
            dir_kept[n] = v;
        }
        directory[v].next_id = directory[c].next_id;
        directory[v].epoch = directory[c].epoch - 1;
        directory[v].epoch_id = 100;
        printf("the directory is replaced by an older one\n")
    :: else
    fi
}

inline note_hurt(at)
{
    for (c : 0 .. 1) {
        for (n : 0 .. 1) {
            if
            :: dir_seen[c] != GARBLED &&
               directory[dir_seen[c]].entry[n].extent == at ->
                hurt = hurt | BIT(n)
            :: else
            fi
        }
    }
}
