/*
 * Blobstore: a model of two owners of one store (R17), for spin
 *
 * Two processes open a store on a medium that keeps nobody away, start, write,
 * close, are killed, also between the two copies of a record, and stand still
 * for any time.  There is one blob, with a slot pair.  Whoever has started
 * last can write, and what it was told is durable is what the next one finds;
 * a process that has lost the store fails, and writes nothing.
 *
 * To compare and to write is one step here, and so is a record, unless its
 * process is killed between the two copies.  Whoever stands still between
 * these can do harm, which the rule does not keep out; nor is there the look
 * behind a record, for which two of them must be written at a time.  The
 * number of an epoch may be given twice, as in the code; its id may not.
 *
 * -DOPS= bounds a history.  -DBREAK_R17 writes without looking;
 * -DBREAK_R17_START starts without looking for what has been committed since
 * the opening; -DBREAK_R17_CLOSE closes without looking.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef OPS
#define OPS         8
#endif
#define NOBODY      2
#define COPIES      2

typedef Copy {
    byte epoch;
    byte id;
    byte seq;               /* on record */
    byte content
};

typedef Slot {
    byte seq;
    byte id;
    byte content
};

typedef Process {
    bool open;
    bool started;
    bool lost;              /* it has seen that another one owns the store */
    bit first;              /* the copy with which its next record begins */
    byte epoch;
    byte id;
    byte seq;
    bit slot;
    byte content;
    byte known[COPIES]      /* ids of the copies as it knows them */
};

Copy copy[COPIES];
Slot slot[2];
Process process[2];
byte owner = NOBODY;        /* who has started last, and lives */
byte promised;              /* acknowledged content */
byte next_id = 1;
byte next_content = 1;
byte ops;

hidden byte newest;
hidden byte s;

#define ME          process[me]
#define IS_TAKEN    (copy[ME.first].id != ME.known[ME.first])

/* What the medium says: open.c and recover.c, R3 and R7 */
inline recover()
{
    newest = copy[1].epoch > copy[0].epoch;
    ME.epoch = copy[newest].epoch;
    ME.id = copy[newest].id;
    ME.seq = copy[newest].seq;
    ME.content = copy[newest].content;
    ME.slot = slot[1].seq == ME.seq && slot[1].content == ME.content;
    for (s : 0 .. 1) {
        if
        :: slot[s].id == ME.id && slot[s].seq > ME.seq ->
            ME.seq = slot[s].seq;
            ME.content = slot[s].content;
            ME.slot = s
        :: else
        fi
    }
    ME.known[0] = copy[0].id;
    ME.known[1] = copy[1].id;
    /* R2 and R16: the older one, or else the one that was written last */
    ME.first = (copy[0].id == copy[1].id -> 1 : 1 - newest)
}

/* Whether a slot is not as it was when the store was opened */
inline find_commits(found)
{
    found = false;
    for (s : 0 .. 1) {
        found = found || slot[s].id == ME.id && slot[s].seq > ME.seq
    }
}

inline write_copy(c)
{
    copy[c].epoch = ME.epoch;
    copy[c].id = ME.id;
    copy[c].seq = ME.seq;
    copy[c].content = ME.content;
    ME.known[c] = ME.id
}

proctype user(bit me)
{
    bool found;

    do
    :: atomic { ops < OPS && !ME.open ->
        ops++;
        d_step { skip; recover(); skip }
        printf("%d opens at epoch %d: %d\n", me, ME.epoch, ME.content);
        assert(ME.content == promised);
        ME.open = true
       }
    :: atomic { ops < OPS && ME.open && !ME.started && !ME.lost ->
        ops++;
        d_step { skip; find_commits(found); skip }
#ifdef BREAK_R17_START
        found = false;
#endif
        if
        :: IS_TAKEN || found -> printf("%d may not start\n", me); ME.lost = true
        :: else ->
            printf("%d starts\n", me);
            ME.epoch++;
            ME.id = next_id;
            next_id++;
            d_step { skip; write_copy(ME.first); skip }
            owner = me;
            if
            :: d_step {
                   skip;
                   write_copy(1 - ME.first);
                   ME.first = 1;
                   skip
               }
               ME.started = true
            :: printf("%d is killed in that\n", me);
               ME.open = false;
               owner = NOBODY
            fi
        fi;
        found = false
       }
    :: atomic { ops < OPS && ME.started && !ME.lost ->
        ops++;
#ifdef BREAK_R17
        if
        :: true ->
#else
        if
        :: IS_TAKEN ->
            assert(owner != me);
            printf("%d has lost the store\n", me);
            ME.lost = true
        :: else ->
            assert(owner == me || owner == NOBODY);
#endif
            ME.slot = 1 - ME.slot;
            ME.seq++;
            ME.content = next_content;
            next_content++;
            slot[ME.slot].seq = ME.seq;
            slot[ME.slot].id = ME.id;
            slot[ME.slot].content = ME.content;
            promised = ME.content;
            printf("%d writes %d\n", me, ME.content)
        fi
       }
    :: atomic { ops < OPS && ME.started && !ME.lost ->
        ops++;
#ifndef BREAK_R17_CLOSE
        if
        :: IS_TAKEN -> printf("%d has lost the store\n", me); ME.lost = true
        :: else ->
#endif
            printf("%d closes\n", me);
            ME.epoch++;
            ME.id = next_id;
            next_id++;
            d_step {
                skip;
                write_copy(ME.first);
                write_copy(1 - ME.first);
                skip
            }
            ME.started = false;
            ME.open = false;
            if
            :: owner == me -> owner = NOBODY
            :: else
            fi
#ifndef BREAK_R17_CLOSE
        fi
#endif
       }
    :: atomic { ops < OPS && ME.open ->
        ops++;
        printf("%d is killed\n", me);
        ME.open = false;
        ME.started = false;
        ME.lost = false;
        if
        :: owner == me -> owner = NOBODY
        :: else
        fi
       }
    :: ops == OPS -> break
    od
}

init {
    atomic {
        run user(0);
        run user(1)
    }
}
