/*
 * Blobstore: a model of superblock and directory (S5), for spin
 *
 * A process commits, and changes its key slots, with writes of the superblock
 * that fail; it is killed at every step.  Somebody keeps copies of the image,
 * puts one back, and the store goes on from there.  In the end he mixes: the
 * superblock of one copy and the rest of another one.  What the store accepts
 * must have been together on a medium at some time; and what a process has
 * left is always accepted.
 *
 * A pair is one unit here: its copies are in the models of the store and of
 * its creation.  Numbers stand for random ids and for digests.
 *
 * -DOPS= -DFAILS= -DKILLS= bound a history.  -DBREAK_S5_NAMES compares
 * generations alone, -DBREAK_S5_BEFORE writes a superblock in an epoch that
 * goes on, -DBREAK_S5_AFTER puts none on record, and -DBREAK_S5_SETTLE does
 * not settle one whose writing has failed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef OPS
#define OPS         5
#endif
#ifndef FAILS
#define FAILS       1
#endif
#ifndef KILLS
#define KILLS       1
#endif
#define COPIES      2
#define EPOCHS      16
#define SUPERS      8

typedef Super {
    byte name;              /* digest */
    byte keys;              /* what it is there for */
    byte generation;
    byte epoch              /* in which it was written */
};

typedef Medium {
    byte content;           /* of the blobs */
    byte epoch;             /* of the directory, which names a superblock: */
    byte generation;
    byte name;
    byte keys;              /* of that */
    Super super
};

typedef Seen {
    byte contents[SUPERS]   /* a bit for each content, beside these keys */
};

Medium now;
Medium copy[COPIES];
byte copies;
byte promised = 1;          /* the superblock of the last acknowledged change */
Super late;                 /* a write that failed, and may land; 0: none */
Seen together[EPOCHS];

/* The process */
bool is_new;                /* nothing was committed since its record */
bool unknown;               /* the superblock on the medium */
Super known;
byte generation;            /* the last that was used */

byte next_epoch = 2;
byte next_super = 2;
byte next_content = 1;
byte ops;
byte fails;
byte kills;
bool ok;

#define copy_super(to, from) \
    to.name = from.name; to.keys = from.keys; \
    to.generation = from.generation; to.epoch = from.epoch

#define copy_medium(to, from) \
    to.content = from.content; to.epoch = from.epoch; \
    to.generation = from.generation; to.name = from.name; \
    to.keys = from.keys; copy_super(to.super, from.super)

/* names_each_other() of open.c */
#ifdef BREAK_S5_NAMES
#define ACCEPTS(s, m)   (m.generation <= s.super.generation)
#else
#define ACCEPTS(s, m) \
    (m.generation == s.super.generation -> m.name == s.super.name : \
     m.generation < s.super.generation && m.epoch == s.super.epoch)
#endif

#define WERE_TOGETHER(s, m) \
    ((together[m.epoch].contents[s.super.keys] >> m.content) & 1)

#define IS_GOOD(s, m)   (!ACCEPTS(s, m) || WERE_TOGETHER(s, m))

/* A write that failed may be on the medium from then on; and until a change is
 * acknowledged, the superblock before it is as good. */
inline note()
{
    if
    :: now.name == promised ->
        together[now.epoch].contents[now.keys] =
            together[now.epoch].contents[now.keys] | 1 << now.content
    :: else
    fi;
    if
    :: late.name != 0 ->
        together[now.epoch].contents[late.keys] =
            together[now.epoch].contents[late.keys] | 1 << now.content
    :: else
    fi;
    together[now.epoch].contents[now.super.keys] =
        together[now.epoch].contents[now.super.keys] | 1 << now.content;
    assert(ACCEPTS(now, now))
}

/* What has failed lands, or never will. */
inline flush()
{
    if
    :: late.name != 0 -> copy_super(now.super, late); note()
    :: true
    fi;
    late.name = 0
}

/* blob_superblock_change(); sets ok. */
inline change(super_name, new_keys)
{
    flush();
    generation++;
    if
    :: now.super.name = super_name;
       now.super.keys = new_keys;
       now.super.generation = generation;
       now.super.epoch = now.epoch;
       copy_super(known, now.super);
       unknown = false;
       ok = true;
       note()
    :: fails < FAILS ->
        fails++;
        printf("that fails\n");
        late.name = super_name;
        late.keys = new_keys;
        late.generation = generation;
        late.epoch = now.epoch;
        unknown = true;
        ok = false;
        note();
        if
        :: flush()
        :: true
        fi
    fi
}

/* blob_epoch_record(); sets ok. */
inline record()
{
    ok = true;
#ifndef BREAK_S5_SETTLE
    if
    :: unknown ->
        assert(next_super < SUPERS);
        change(next_super, known.keys);
        next_super++
    :: else
    fi;
#endif
    if
    :: ok ->
        flush();
        assert(next_epoch < EPOCHS);
        now.epoch = next_epoch;
        next_epoch++;
        now.generation = known.generation;
        now.name = known.name;
        now.keys = known.keys;
        promised = known.name;
        is_new = true;
        note()
    :: else
    fi
}

inline maybe_killed()
{
    if
    :: kills < KILLS -> kills++; printf("killed\n"); goto opening
    :: true
    fi
}

active proctype user()
{
    atomic {
        now.epoch = 1;
        now.generation = 1;
        now.name = 1;
        now.keys = 1;
        now.super.name = 1;
        now.super.keys = 1;
        now.super.generation = 1;
        note()
    }

opening:
    atomic {
        flush();
        copy_super(known, now.super);
        generation = known.generation;
        unknown = false;
        record();
        if
        :: !ok -> goto opening
        :: else
        fi
    }

idle:
    do
    :: atomic { ops < OPS && next_content < 8 ->
        ops++;
        printf("commits %d\n", next_content);
        now.content = next_content;
        next_content++;
        is_new = false;
        note()
       }
    :: atomic { ops < OPS ->
        ops++;
        printf("changes keys to %d\n", next_super);
        ok = true;
#ifndef BREAK_S5_BEFORE
        if
        :: !is_new -> record()
        :: else
        fi;
#endif
        if
        :: ok -> maybe_killed()
        :: else -> goto idle
        fi;
        assert(next_super < SUPERS);
        change(next_super, next_super);
        next_super++;
        if
        :: ok -> maybe_killed()
        :: else -> goto idle
        fi;
#ifndef BREAK_S5_AFTER
        record()
#else
        promised = known.name
#endif
       }
    :: atomic { ops < OPS -> ops++; record() }
    :: atomic { copies < COPIES ->
        printf("a copy of epoch %d, content %d, superblock %d\n", now.epoch,
               now.content, now.super.name);
        copy_medium(copy[copies], now);
        copies++
       }
    :: atomic { copies == 1 && ops < OPS ->
        /* The image as it is is kept, and the copy put back. */
        printf("the copy is put back\n");
        copy_medium(copy[1], now);
        copies++;
        copy_medium(now, copy[0]);
        late.name = 0;
        goto opening
       }
    :: atomic { kills < KILLS -> kills++; printf("killed\n"); goto opening }
    :: ops == OPS -> break
    od;
    assert(copies < 1 || IS_GOOD(copy[0], now) && IS_GOOD(now, copy[0]));
    assert(copies < 2 || IS_GOOD(copy[1], now) && IS_GOOD(now, copy[1]) &&
           IS_GOOD(copy[0], copy[1]) && IS_GOOD(copy[1], copy[0]))
}
