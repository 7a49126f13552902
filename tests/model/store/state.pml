/*
 * The state of the model: the medium, the store in memory, the promise
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

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
    bit last;               /* the copy that is written last */
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
#ifdef PAGE_CACHE
int stuck;                  /* bit per unit: clean, and not on the medium */
byte dir_stuck;             /* bit per copy */
#endif

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
