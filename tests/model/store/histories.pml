/*
 * Histories: calls of the user, and crashes between and in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* Makes a store with an empty directory, or with blobs that an epoch record
 * names. */
inline make_store()
{
    for (n : 0 .. 1) {
        clear_entry(entry[n]);
        clear_entry(before[n])
    }
    for (v : 0 .. DIRECTORIES - 1) {
        for (n : 0 .. 1) {
            clear_entry(directory[v].entry[n])
        }
    }
    next_id = 1;
    for (n : 0 .. 1) {
        registered[n] = true;
        entry[n].extent = n;
        entry[n].id = next_id;
        next_id++;
        taken = taken | BIT(n);
        if
        :: HAS(members, n) ->
            entry[n].seq = SEQ(1, n + 1);
            version[n + 1].id = entry[n].id;
            version[n + 1].seq = entry[n].seq;
            version[n + 1].watermark = SEQ(1, 0);
            version[n + 1].epoch_id = 1;
            entry[n].deleted = HAS(deletes, n);
            version[n + 1].deleted = HAS(deletes, n);
            version[n + 1].content = (HAS(deletes, n) -> 0 : n + 1);
            promised[n] = version[n + 1].content;
            for (u : 0 .. 2) {
                seen[UNIT(n, 0) + u] = n + 1;
                kept[UNIT(n, 0) + u] = n + 1;
            }
        :: else
        fi
    }
    epoch = 2;
    epoch_id = 2;
    epoch_open = true;
    started = true;
    acknowledged = SEQ(2, 0);
    directory[1].epoch = 2;
    directory[1].epoch_id = 2;
    directory[1].next_id = next_id;
    for (n : 0 .. 1) {
        copy_entry(directory[1].entry[n], entry[n]);
        dir_seen[n] = 1;
        dir_kept[n] = 1;
        intact[n] = true;
        pair_epoch[n] = 2;
    }
    members = 0;
    deletes = 0
}

inline forget_memory()
{
    for (n : 0 .. 1) {
        clear_entry(entry[n]);
        clear_entry(before[n]);
        registered[n] = false;
        damaged[n] = false;
        intact[n] = false;
        pair_epoch[n] = 0;
        row[n] = 0;
    }
    epoch = 0; counter = 0; epoch_id = 0; epoch_open = false; clean = false;
    acknowledged = 0; next_id = 0; taken = 0; pending = 0; started = false;
    members = 0; deletes = 0; grows = 0; moved = 0; new_dir = 0; first = 0;
    ok = false; is_commit = false;
    collect()
}

inline start_if_room()
{
    d_step {
        skip;
        count_extents();
#ifdef BREAK_R12
        /* The extent that the first blob leaves is room for the second. */
        wanted = wanted - (wanted == 2);
#endif
        room = wanted <= free_extents;
        skip
    }
    if
    :: room -> room = false; start()
    :: else ->
        registered[0] = registered[0] && (entry[0].extent != NOWHERE);
        grows = 0
    fi
}

#define AT_REST \
    (dir_seen[0] == dir_seen[1] && dir_seen[0] != GARBLED && \
     directory[dir_seen[0]].clean)

#define ABSENT(n)       (entry[n].seq == 0 || entry[n].deleted)
#define MAY_WRITE(n)    (registered[n] && !damaged[n] && \
                         entry[n].extent != NOWHERE)

active proctype user()
{
    atomic {
        if
        :: members = 0
        :: members = 1
        :: members = 3
        :: members = 3; deletes = 1
        fi;
        printf("blobs recorded at first: %d, deleted: %d\n", members, deletes);
        d_step { skip; make_store(); skip }
    }

idle:
    atomic {
        skip;
        d_step { skip; check_session(); skip }
        if
        :: ops < OPS && (MAY_WRITE(0) || MAY_WRITE(1)) ->
            ops++;
            if
            :: MAY_WRITE(0) -> members = 1
            :: MAY_WRITE(1) -> members = 2
            :: MAY_WRITE(0) && MAY_WRITE(1) -> members = 3
            fi;
            if
            :: true
            :: HAS(members, 0) -> deletes = 1
            fi;
            printf("write %d, deleting %d\n", members, deletes);
            commit()
        :: ops < OPS && (MAY_WRITE(0) || MAY_WRITE(1)) ->
            ops++;
            if
            :: MAY_WRITE(0) -> grows = 1
            :: MAY_WRITE(1) -> grows = 2
            :: MAY_WRITE(0) && MAY_WRITE(1) -> grows = 3
            fi;
            printf("register %d larger\n", grows);
            start_if_room()
        :: ops < OPS && registered[0] && ABSENT(0) && !damaged[0] ->
            ops++;
            printf("unregister 0\n");
            registered[0] = false
        :: ops < OPS && !registered[0] && !damaged[0] ->
            ops++;
            printf("register 0\n");
            registered[0] = true;
            start_if_room()
        :: ops < OPS && !clean ->
            ops++;
            printf("close\n");
            record(true)
        :: clean ->
            goto at_rest
        :: crashes < CRASHES ->
            goto killed
        :: crashes < CRASHES ->
            goto power_failed
        :: else ->
            goto done
        fi;
        ok = false;
        goto idle
    }

power_failed:
    atomic {
        crashes++;
        printf("the power fails\n");
        d_step { skip; forget_memory(); skip }
        goto losing
    }

losing:
    atomic {
        lose_power();
        goto at_rest
    }

killed:
    atomic {
        crashes++;
        printf("the process is killed\n");
        goto at_rest
    }

at_rest:
    atomic {
        skip;
        d_step { skip; forget_memory(); skip }
        goto distrusting
    }

    /* R16: unless the store is at rest, the cache is dropped.  An opening that
     * fails is repeated. */
distrusting:
    atomic {
#if defined(PAGE_CACHE) && !defined(BREAK_R16)
        if
        :: AT_REST -> ok = true
        :: !AT_REST ->
            flush();
            if
            :: ok -> d_step { skip; drop_cache(); collect(); skip }
            :: else
            fi
        fi;
        if
        :: ok -> ok = false
        :: else -> goto distrusting
        fi;
#endif
        goto opening
    }

opening:
    atomic {
        if
        :: true
        :: damages < DAMAGES ->
            damages++;
            select (pick : 0 .. DAMAGE_KINDS - 1);
            skip;
            d_step { skip; damage(); skip }
        fi;
        d_step {
            skip;
            recover();
            check();
            printf("opened at epoch %d: blobs read as %d, %d\n", epoch,
                   reads[0], reads[1]);
            skip
        }
        if
        :: refused -> goto done
        :: else
        fi;
        d_step {
            skip;
            for (n : 0 .. 1) {
                registered[n] = !damaged[n];
            }
            collect();
            skip
        }
        if
        :: true
        :: ABSENT(0) && !damaged[0] -> registered[0] = false
        fi;
        goto reopened
    }

reopened:
    /* A start that fails is repeated. */
    atomic {
        if
        :: start()
        :: crashes < CRASHES -> goto killed
        :: crashes < CRASHES -> goto power_failed
        fi;
        ok = false;
        if
        :: started -> goto idle
        :: else -> goto reopened
        fi
    }

done:
    skip
}
