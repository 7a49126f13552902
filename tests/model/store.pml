/*
 * Blobstore: a model of the rules, for spin
 *
 * Two blobs on a medium with a volatile cache, one user, and the promise of
 * docs/design.md ("What must hold") as assertions.  The store does what
 * blobstore/ does, function by function; the rules are those of design.md.
 *
 *   here            in the C code                                rules
 *   recover()       open.c, recover.c                            R3 R6-R10 R14
 *   current()       content.c: blob_content_load()               R3 R7
 *   record()        epoch.c, slot.c: blob_pair_write()           R2 R12 R14
 *   place()         start.c: place_and_record()                  R12
 *   commit()        write.c: blob_store_write()                  R4-R6 R9 R11
 *   put() and below the medium: landing, failing, crashing
 *   check()         the promise
 *
 * The format of a blank medium (R13) is a model of its own: format.pml.
 *
 * What is small here: a slot is three units (header, payload, trailer) that
 * reach the medium one by one; a copy of the directory is one unit that is
 * old, new or invalid.  A version lies in a table, and a unit names its row:
 * equal rows mean equal bytes.  Epoch ids and contents are the smallest value
 * that nothing in sight bears, as random ones never repeat.  The census is
 * the tuple that its hash stands for.  All versions have one length, all
 * extents one size.  R1 and R15 are about numbers and bytes, not about order.
 *
 * A durable write reaches the medium but does not flush what was written
 * before: that is all that FUA does.
 *
 * -DOPS= -DFAILS= -DCRASHES= -DDAMAGES= -DEXTENTS= bound a history.
 * -DBREAK_* breaks one rule; the assertions must then fail.  See test_rules.py.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef OPS
#define OPS         2       /* calls of the user, beyond opening */
#endif
#ifndef FAILS
#define FAILS       1       /* writes and flushes that fail */
#endif
#ifndef CRASHES
#define CRASHES     2       /* of the process or of the power */
#endif
#ifndef DAMAGES
#define DAMAGES     0       /* sectors or slots garbled while at rest */
#endif
#ifndef EXTENTS
#define EXTENTS     3
#endif

#define UNITS       (EXTENTS * 6)
#define VERSIONS    14      /* rows; 0 is a blank unit */
#define DIRECTORIES 7
#define NOWHERE     7       /* entry.extent before it has space */
#define GARBLED     255
#define DAMAGED     254     /* a result of reading */

#define SEQ(epoch, counter)     ((epoch) * 16 + (counter))
#define EPOCH(seq)              ((seq) / 16)
#define UNIT(extent, slot)      (((extent) * 2 + (slot)) * 3)
#define MAX(a, b)               ((a) > (b) -> (a) : (b))

typedef Version {
    byte id;
    byte seq;
    byte previous;
    byte watermark;
    byte census[2];         /* sequence of each blob */
    byte partner;           /* sequence of the other member, or 0 */
    byte epoch_id;
    bool deleted;
    byte content
};

typedef Entry {
    byte id;                /* 0: none */
    byte seq;
    byte extent;
    bit slot;
    bool deleted
};

typedef Directory {
    byte epoch;
    byte epoch_id;
    bool clean;
    byte next_id;
    Entry entry[2]
};

/* The medium: what is read, and what is left when the power fails */
Version version[VERSIONS];
Directory directory[DIRECTORIES];
byte seen[UNITS];
byte kept[UNITS];
byte dir_seen[2];
byte dir_kept[2];

/* The store in memory: struct BlobStore */
Entry entry[2];
Entry before[2];            /* to take a change back */
bool registered[2];
bool damaged[2];
byte epoch;
byte counter;
byte epoch_id;
bool epoch_open;
bool clean;
byte acknowledged;
byte next_id;
byte taken;                 /* bit per extent */
byte pending;               /* bit per extent */
bool intact[2];             /* BlobPair of the directory */
byte pair_epoch[2];
bool started;

/* A call in progress */
byte members;               /* bit per blob */
byte deletes;               /* bit per blob */
byte grows;                 /* bit per blob */
byte moved;                 /* bit per blob */
byte row[2];                /* the versions to be written */
byte new_dir;               /* the directory to be written */
bit first;                  /* which copy is written first */
bool ok;
bool is_commit;             /* the record acknowledges a first version */

/* What was promised */
byte promised[2];           /* acknowledged content; 0: absent */
byte doubtful;              /* in flight, or failed since the last commit: */
byte maybe[2];              /*   bit per blob, and its content */
byte last;                  /* the last commit, if nothing confirms it: */
byte last_seq;              /*   bit per blob, */
bool last_is_first;         /*   which made a blob, */
byte earlier[2];            /*   and what was promised before it */
byte hurt;                  /* bit per blob: damage was done to its slots */
bool told[2];               /* reported as damaged, and recorded so */
bool rolled_back;           /* the directory is older than the slots */

byte ops;
byte fails;
byte crashes;
byte damages;

/* Every d_step begins and ends with skip: no jump may lead into or out of it. */

/* A choice, and what a step hands to the next */
byte pick;
byte unit;
bool one_left;
bool refused;
bool room;

/* Scratch of one d_step, no part of the state: never used across steps */
hidden byte i;
hidden byte n;
hidden byte s;
hidden byte u;
hidden byte v;
hidden byte h;
hidden byte p;
hidden byte t;
hidden byte x;
hidden byte c;
hidden byte best;
hidden byte watermark;
hidden byte newest;
hidden byte missing;
hidden byte fresh;
hidden byte used;
hidden byte confirmed;
hidden byte chosen;
hidden byte matches;
hidden byte found[4];
hidden byte valid[4];
hidden byte complete;
hidden byte evidence[4];    /* newest version that matters, by slot */
hidden byte holder[2];         /* slot, or 2 */
hidden byte lost[2];
hidden byte decided[2];
hidden byte prior[2];
hidden byte reads[2];
hidden byte free_extents;
hidden byte wanted;

#define HAS(mask, n)    (((mask) >> (n)) & 1)
#define BIT(n)          (1 << (n))
#define IS_VERSION(v)   ((v) != 0 && (v) != GARBLED)
#define HOLDS(n, v)     (IS_VERSION(v) && version[v].id == entry[n].id)

/* Macros: spin takes no structure as a parameter of an inline */
#define clear_entry(e) \
    e.id = 0; e.seq = 0; e.extent = NOWHERE; e.slot = 0; e.deleted = false

#define copy_entry(to, from) \
    to.id = from.id; to.seq = from.seq; to.extent = from.extent; \
    to.slot = from.slot; to.deleted = from.deleted

/* ---- tables: rows nobody names are cleared, so that equal states are equal */

inline collect()
{
    for (v : 1 .. VERSIONS - 1) {
        used = row[0] == v || row[1] == v;
        for (u : 0 .. UNITS - 1) {
            used = used || seen[u] == v || kept[u] == v;
        }
        if
        :: !used ->
            version[v].id = 0; version[v].seq = 0; version[v].previous = 0;
            version[v].watermark = 0; version[v].census[0] = 0;
            version[v].census[1] = 0; version[v].partner = 0;
            version[v].epoch_id = 0; version[v].deleted = false;
            version[v].content = 0
        :: else
        fi
    }
    for (v : 1 .. DIRECTORIES - 1) {
        used = new_dir == v || dir_seen[0] == v || dir_seen[1] == v ||
               dir_kept[0] == v || dir_kept[1] == v;
        if
        :: !used ->
            directory[v].epoch = 0; directory[v].epoch_id = 0;
            directory[v].clean = false; directory[v].next_id = 0;
            for (n : 0 .. 1) {
                clear_entry(directory[v].entry[n])
            }
        :: else
        fi
    }
}

inline find_version_row(out)
{
    v = 1;
    do
    :: v < VERSIONS && version[v].id != 0 -> v++
    :: else -> break
    od;
    assert(v < VERSIONS);       /* of the model, not of the store */
    out = v
}

inline find_epoch_id()
{
    fresh = 1;
    do
    :: used = fresh == epoch_id;
       for (v : 1 .. VERSIONS - 1) {
           used = used || version[v].epoch_id == fresh;
       }
       for (v : 1 .. DIRECTORIES - 1) {
           used = used || directory[v].epoch_id == fresh;
       }
       if
       :: used -> fresh++
       :: else -> break
       fi
    od
}

inline find_content()
{
    fresh = 1;
    do
    :: used = promised[0] == fresh || promised[1] == fresh ||
              maybe[0] == fresh || maybe[1] == fresh ||
              earlier[0] == fresh || earlier[1] == fresh;
       for (v : 1 .. VERSIONS - 1) {
           used = used || version[v].content == fresh;
       }
       if
       :: used -> fresh++
       :: else -> break
       fi
    od
}

/* ---- the medium */

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

/* Writes version @v to the slot at @at; sets ok. */
inline put(at, v, durable)
{
    atomic {
        if
        :: d_step {
               skip;
               ok = true;
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
            put_part(at, v)
        :: crashes < CRASHES ->
            printf("in a write:\n");
            put_part(at, v);
            goto killed
        :: crashes < CRASHES ->
            printf("in a write:\n");
            d_step {
                skip;
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

inline put_directory(copy)
{
    atomic {
        intact[copy] = false;
        pair_epoch[copy] = 0;
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
            put_directory_part(copy)
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

inline flush()
{
    atomic {
        if
        :: d_step {
               skip;
               ok = true;
               for (u : 0 .. UNITS - 1) {
                   kept[u] = seen[u];
               }
               dir_kept[0] = dir_seen[0];
               dir_kept[1] = dir_seen[1];
               skip
           }
        :: fails < FAILS ->
            fails++;
            ok = false;
            printf("a flush fails\n")
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

/* ---- opening */

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

/* ---- the promise */

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

/* ---- epoch records */

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
    first = intact[0] && !(intact[1] && pair_epoch[1] > pair_epoch[0])
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

/* ---- start */

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

/* ---- commits */

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

/* ---- histories */

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
