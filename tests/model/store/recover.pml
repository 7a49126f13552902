/*
 * Opening a store: open.c, recover.c, content.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* The result of blob_store_read() of blob @n */
inline current(n, out)
{
    if
    :: damaged[n] -> out = DAMAGED
    :: !damaged[n] && (entry[n].seq == 0 || entry[n].deleted) -> out = 0
    :: else ->
        h = seen[UNIT(entry[n].extent, entry[n].slot)];
        p = seen[UNIT(entry[n].extent, entry[n].slot) + 1];
        t = seen[UNIT(entry[n].extent, entry[n].slot) + 2];
        if
        :: HOLDS(n, h) && version[h].seq == entry[n].seq && t == h &&
           p == h && !version[h].deleted ->
            out = version[h].content
        :: else ->
            out = DAMAGED
        fi
    fi
}

inline weigh(k, v)
{
    /* R10 */
#ifndef BREAK_R10
    refused = refused || EPOCH(version[v].seq) > epoch;
#endif
#ifdef BREAK_R3
    matches = true;
#else
    matches = version[v].epoch_id == epoch_id ||
              (s == entry[n].slot && entry[n].seq != 0 &&
               version[v].seq == entry[n].seq);
#endif
    if
    :: matches && (!found[k] || version[v].seq > version[evidence[k]].seq) ->
        found[k] = true;
        evidence[k] = v
    :: else
    fi
}

inline probe_slot()
{
    i = n * 2 + s;
    found[i] = false;
    valid[i] = false;
    evidence[i] = 0;
    complete = false;
    if
    :: entry[n].id != 0 ->
        h = seen[UNIT(entry[n].extent, s)];
        p = seen[UNIT(entry[n].extent, s) + 1];
        t = seen[UNIT(entry[n].extent, s) + 2];
        if
        :: HOLDS(n, h) ->
            weigh(i, h);
            complete = matches && t == h
        :: else
        fi;
#ifndef BREAK_R9_DIGEST
        if
        :: complete && version[h].epoch_id == epoch_id -> complete = p == h
        :: else
        fi;
#endif
#ifndef BREAK_R7_TRAILER
        if
        :: !complete && HOLDS(n, t) -> weigh(i, t)
        :: else
        fi;
#endif
        valid[i] = complete
    :: else
    fi
}

/* Whether the slot of evidence @k is of the current epoch */
#define OF_EPOCH(k)     (version[evidence[k]].epoch_id == epoch_id)

#define IS_MEMBER(k, q) (valid[k] && OF_EPOCH(k) && \
                         version[evidence[k]].seq == (q))

#ifdef BREAK_R6
#define ALL_MEMBERS(k, other)   true
#else
#define ALL_MEMBERS(k, other) \
    (version[evidence[k]].partner == 0 || \
     IS_MEMBER((other) * 2, version[evidence[k]].partner) || \
     IS_MEMBER((other) * 2 + 1, version[evidence[k]].partner))
#endif

inline find_newest()
{
    watermark = SEQ(epoch, 0);
    newest = 0;
    for (i : 0 .. 3) {
        if
        :: found[i] && OF_EPOCH(i) ->
            watermark = MAX(watermark, version[evidence[i]].watermark);
            if
            :: newest == 0 ||
               version[evidence[i]].seq > version[newest].seq ->
                newest = evidence[i]
            :: else
            fi
        :: else
        fi
    }
}

inline judge_blob()
{
    best = 0;
    holder[n] = 2;
    lost[n] = 0;
    for (s : 0 .. 1) {
        i = n * 2 + s;
        v = version[evidence[i]].seq;
        if
        :: valid[i] &&
           (v == entry[n].seq || v <= watermark || ALL_MEMBERS(i, 1 - n)) &&
#ifdef BREAK_R7
           (best == 0 || v < best) ->
#else
           v > best ->
#endif
            best = v;
            holder[n] = s
        :: else
        fi
    }
#ifdef BREAK_R7
    /* the older one is taken for the superseded one */
    for (s : 0 .. 1) {
        i = n * 2 + s;
        if
        :: valid[i] -> evidence[i] = evidence[n * 2 + holder[n] % 2]
        :: else
        fi
    }
#endif
    for (s : 0 .. 1) {
        i = n * 2 + s;
        v = version[evidence[i]].seq;
        if
        :: found[i] && !valid[i] && v > best && v > lost[n] &&
#ifdef BREAK_R8
           true ->
#else
           (v == entry[n].seq || v <= watermark) ->
#endif
            lost[n] = v
        :: else
        fi
    }
    /* R11 */
    if
    :: entry[n].seq > best && lost[n] == 0 -> lost[n] = entry[n].seq
    :: else
    fi
}

/* decided_sequence() and sequence_before() of recover.c */
inline fold()
{
    decided[n] = (lost[n] != 0 -> lost[n] :
                  (holder[n] == 2 -> 0 : version[evidence[n * 2 + holder[n] % 2]].seq));
    prior[n] = decided[n];
    if
    :: decided[n] != 0 && lost[n] == 0 &&
       (decided[n] == version[newest].seq &&
        version[newest].id == entry[n].id ||
        decided[n] == version[newest].partner) ->
        prior[n] = version[evidence[n * 2 + holder[n] % 2]].previous
    :: else
    fi
}

/* R9 */
inline check_census()
{
    missing = 2;
    for (n : 0 .. 1) {
        fold()
    }
    if
    :: prior[0] != version[newest].census[0] &&
       prior[1] != version[newest].census[1] -> refused = true
    :: prior[0] != version[newest].census[0] &&
       prior[1] == version[newest].census[1] -> missing = 0
    :: prior[0] == version[newest].census[0] &&
       prior[1] != version[newest].census[1] -> missing = 1
    :: else
    fi;
    if
    :: missing < 2 ->
        v = version[newest].census[missing];
        if
        :: decided[missing] == prior[missing] && v <= watermark &&
           v > MAX(SEQ(epoch, 0), decided[missing]) ->
            lost[missing] = v
        :: else -> refused = true
        fi
    :: else
    fi
}

inline adopt()
{
    if
    :: lost[n] != 0 ->
        damaged[n] = true;
#ifndef BREAK_LOST
        entry[n].deleted = false;
#endif
        entry[n].seq = lost[n]
    :: lost[n] == 0 && holder[n] < 2 ->
        v = evidence[n * 2 + holder[n]];
        entry[n].seq = version[v].seq;
        entry[n].deleted = version[v].deleted;
        entry[n].slot = holder[n]
    :: else
    fi;
    acknowledged = MAX(acknowledged, entry[n].seq)
}

inline recover()
{
    refused = false;
    for (c : 0 .. 1) {
        intact[c] = dir_seen[c] != GARBLED;
        pair_epoch[c] = (intact[c] -> directory[dir_seen[c]].epoch : 0);
    }
    refused = !intact[0] && !intact[1];
    c = (intact[1] && (!intact[0] || pair_epoch[1] > pair_epoch[0]) ->
         dir_seen[1] : dir_seen[0]);
    if
    :: !refused ->
        chosen = c;
        epoch = directory[c].epoch;
        epoch_id = directory[c].epoch_id;
        clean = directory[c].clean;
        next_id = directory[c].next_id;
        acknowledged = SEQ(epoch, 0);
        for (n : 0 .. 1) {
            copy_entry(entry[n], directory[c].entry[n]);
            if
            :: entry[n].id != 0 -> taken = taken | BIT(entry[n].extent)
            :: else
            fi
        }
        if
        :: !clean ->
            for (n : 0 .. 1) {
                for (s : 0 .. 1) {
                    probe_slot()
                }
            }
            find_newest();
            for (n : 0 .. 1) {
                judge_blob()
            }
#ifndef BREAK_R9
            if
            :: newest != 0 -> check_census()
            :: else
            fi;
#endif
            for (n : 0 .. 1) {
                adopt()
            }
        :: else
        fi
    :: else
    fi
}
