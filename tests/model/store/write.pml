/*
 * Commits: write.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

inline number_versions()
{
    collect();
    find_content();
    c = fresh;
    for (n : 0 .. 1) {
        if
        :: HAS(members, n) ->
            counter++;
            assert(counter < 16);
            find_version_row(row[n]);
            version[v].id = entry[n].id;
            version[v].seq = SEQ(epoch, counter);
            version[v].previous = entry[n].seq;
            version[v].watermark = acknowledged;
            version[v].census[0] = entry[0].seq;
            version[v].census[1] = entry[1].seq;
            version[v].epoch_id = epoch_id;
            version[v].deleted = HAS(deletes, n);
            version[v].content = (HAS(deletes, n) -> 0 : c);
            copy_entry(before[n], entry[n]);
            doubtful = doubtful | BIT(n);
            maybe[n] = version[v].content
        :: else
        fi
    }
    if
    :: members == 3 ->
        version[row[0]].partner = version[row[1]].seq;
        version[row[1]].partner = version[row[0]].seq
    :: else
    fi
}

#define TARGET(n)   UNIT(entry[n].extent, \
                         (entry[n].seq != 0 -> 1 - entry[n].slot : 0))

inline adopt_versions()
{
    for (n : 0 .. 1) {
        if
        :: HAS(members, n) ->
            entry[n].slot = (entry[n].seq != 0 -> 1 - entry[n].slot : 0);
            entry[n].seq = version[row[n]].seq;
            entry[n].deleted = version[row[n]].deleted
        :: else
        fi
    }
    is_commit = HAS(members, 0) && before[0].seq == 0 ||
                HAS(members, 1) && before[1].seq == 0
}

inline acknowledge()
{
    acknowledged = MAX(acknowledged, SEQ(epoch, counter));
    last = members;
    last_seq = acknowledged;
    last_is_first = is_commit;
    for (n : 0 .. 1) {
        earlier[n] = (HAS(members, n) -> promised[n] : 0);
        promised[n] = NEW(n);
    }
    doubt_nothing()
}

inline end_call()
{
    for (n : 0 .. 1) {
        row[n] = 0;
        clear_entry(before[n])
    }
    members = 0;
    deletes = 0;
    is_commit = false;
    ok = false;
    collect()
}

/* blob_store_write() of the blobs in members */
inline commit()
{
    ok = true;
    d_step {
        skip;
        /* Deleting an absent blob takes no commit. */
        for (n : 0 .. 1) {
            if
            :: HAS(deletes, n) && (entry[n].seq == 0 || entry[n].deleted) ->
                members = members & ~BIT(n)
            :: else
            fi
        };
        skip
    }
    if
    :: !epoch_open && !(members == 0 && clean) -> record(false)
    :: else
    fi;
    if
    :: ok && members != 0 ->
        d_step { skip; number_versions(); skip }
        if
        :: HAS(members, 0) -> put(TARGET(0), row[0], members != 3)
        :: else
        fi;
        if
        :: ok && HAS(members, 1) -> put(TARGET(1), row[1], members != 3)
        :: else
        fi;
        if
        :: ok && members == 3 -> flush()
        :: else
        fi;
#ifdef BREAK_R5
        /* somebody registers a blob meanwhile */
        if
        :: ok ->
            record(false);
            d_step {
                skip;
                doubtful = members;
                for (n : 0 .. 1) {
                    maybe[n] = version[row[n]].content;
                }
                skip
            }
        :: true
        fi;
#endif
        if
        :: !ok ->
#ifndef BREAK_R4
            epoch_open = false
#else
            true
#endif
        :: else ->
            d_step { skip; adopt_versions(); skip }
#ifndef BREAK_R11
            if
            :: is_commit ->
                record(false);
                d_step {
                    skip;
                    if
                    :: !ok ->
                        for (n : 0 .. 1) {
                            if
                            :: HAS(members, n) ->
                                copy_entry(entry[n], before[n])
                            :: else
                            fi
                        }
                    :: else
                    fi;
                    skip
                }
            :: else -> d_step { skip; acknowledge(); skip }
            fi
#else
            d_step { skip; acknowledge(); skip }
#endif
        fi
    :: else
    fi;
    d_step { skip; end_call(); skip }
}
