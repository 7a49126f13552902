/*
 * Blobstore: a model of the format of a blank medium (R13), for spin
 *
 * A medium that reads as zero is formatted, with failing writes and crashes
 * of process and power at every step; each opening does what open.c, blank.c
 * and format.c do.  A unit is blank, garbled, or holds the write that its
 * number stands for.
 *
 * A copy of the superblock is three units: header, payload, trailer.  The
 * marker's bytes are the same each time; what follows bears the seed of its
 * attempt, so a directory of one attempt does not belong to the superblock of
 * another.  Once a format has succeeded, the store must open for ever.
 *
 * -DFAILS= -DCRASHES= bound a history.  -DBREAK_R13 writes the superblock
 * without a marker and without waiting for the directory;
 * -DBREAK_R13_ORDER has the marker, but makes the store ready too early;
 * -DBREAK_R13_RETRY takes a new seed when a failed format is repeated.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAILS
#define FAILS       2
#endif
#ifndef CRASHES
#define CRASHES     3
#endif

#define BLANK       0
#define GARBLED     255
#define MARKER      1
#define UNITS       8       /* superblock 0: 0-2, 1: 3-5; directory: 6, 7 */
#define SUPER(copy)     ((copy) * 3)
#define DIRECTORY(copy) (6 + (copy))

byte seen[UNITS];
byte kept[UNITS];
byte attempt = MARKER;      /* of the last format; its seed */
byte super[2];              /* BlobPair: what each copy holds, or 0 */
bool marked;
bool tried;                 /* this process has a seed */
bool ready;                 /* a format has succeeded */
bool ok;
bool foreign;
bool lost;
byte fails;
byte crashes;
byte unit;
byte garbled;               /* unit that one crash has garbled, plus 1 */

#define COPY(c) (seen[SUPER(c)] == seen[SUPER(c) + 1] && \
                 seen[SUPER(c)] == seen[SUPER(c) + 2] && \
                 seen[SUPER(c)] != GARBLED -> seen[SUPER(c)] : 0)

/* Puts any of the units of a write that failed or was cut. */
inline put_part(at, count, value)
{
    unit = at;
    do
    :: unit < at + count -> seen[unit] = value; unit++
    :: unit < at + count -> unit++
    :: unit >= at + count -> break
    od;
    unit = 0
}

/* Writes @value to @count units from @at; sets ok. */
inline put(at, count, value)
{
    if
    :: unit = at;
       do
       :: unit < at + count ->
           seen[unit] = value;
           kept[unit] = value;
           unit++
       :: else -> break
       od;
       unit = 0;
       ok = true
    :: fails < FAILS ->
        printf("writing %d to %d fails\n", value, at);
        fails++;
        put_part(at, count, value);
        ok = false
    :: crashes < CRASHES ->
        printf("in writing %d to %d:\n", value, at);
        put_part(at, count, value);
        goto crashed
    fi
}

/* The power fails, or the process is killed and its writes stay. */
inline crash()
{
    crashes++;
    unit = 0;
    garbled = 0;
    if
    :: printf("the process is killed\n")
    :: printf("the power fails\n");
       do
       :: unit < UNITS ->
           if
           :: seen[unit] != kept[unit] -> kept[unit] = seen[unit]
           :: seen[unit] = kept[unit]
           :: seen[unit] != kept[unit] && garbled == 0 ->
               seen[unit] = GARBLED;
               kept[unit] = GARBLED;
               garbled = unit + 1
           fi;
           unit++
       :: else -> break
       od
    fi;
    unit = 0;
    garbled = 0
}

/* blob_blank_is_cut_marker(): zero or the marker's, except for one block */
#define ZERO_OR_MARKER(u)   (seen[u] == BLANK || seen[u] == MARKER)
#define REST_IS_BLANK \
    (seen[3] == BLANK && seen[4] == BLANK && seen[5] == BLANK && \
     seen[6] == BLANK && seen[7] == BLANK)
#define IS_CUT_MARKER \
    (REST_IS_BLANK && \
     ((seen[0] == MARKER || seen[1] == MARKER || seen[2] == MARKER) && \
      (ZERO_OR_MARKER(0) + ZERO_OR_MARKER(1) + ZERO_OR_MARKER(2) >= 2)))
#define IS_BLANK \
    (REST_IS_BLANK && seen[0] == BLANK && seen[1] == BLANK && \
     seen[2] == BLANK)
/* Documented: nobody can tell garbled sectors of a first write from other
 * data. */
#define IS_GARBLED_MARKER \
    (REST_IS_BLANK && (seen[0] == GARBLED || seen[1] == GARBLED || \
                       seen[2] == GARBLED))

inline flush()
{
    unit = 0;
    do
    :: unit < UNITS -> kept[unit] = seen[unit]; unit++
    :: else -> break
    od;
    unit = 0
}

active proctype user()
{
    byte newest;
    bit copy;

opening:
    atomic {
        ok = true;
        super[0] = COPY(0);
        super[1] = COPY(1);
        newest = (super[1] > super[0] -> super[1] : super[0]);
        marked = newest == MARKER;
        foreign = newest == 0 && !IS_BLANK && !IS_CUT_MARKER;
        /* Each superblock belongs to the directory with the same seed. */
        lost = newest > MARKER && seen[DIRECTORY(0)] != newest &&
               seen[DIRECTORY(1)] != newest;
        printf("opened: superblock %d\n", newest);
        assert(!ready || newest > MARKER);
        assert(!lost);
        assert(!foreign || IS_GARBLED_MARKER);
        if
        :: foreign -> goto done
        :: else
        fi
    }
    /* A start: a flush, then the format or what is left to heal. */
formatting:
    atomic {
        if
        :: flush()
        :: crashes < CRASHES -> goto crashed
        fi;
        if
        :: newest > MARKER -> goto healing
        :: else
        fi
    }
#ifndef BREAK_R13
    if
    :: !marked ->
        atomic { put(0, 3, MARKER) };
        if
        :: !ok -> goto formatting
        :: else -> marked = true; super[0] = MARKER
        fi
    :: else
    fi;
#endif
    /* A failed attempt may have left a ready superblock behind, so the next
     * attempt of the same process keeps its seed. */
#ifndef BREAK_R13_RETRY
    if
    :: !tried -> attempt++; tried = true
    :: else
    fi;
#else
    attempt++;
#endif
#ifdef BREAK_R13_ORDER
    atomic { put(SUPER(1), 3, attempt) };
    if
    :: ok -> super[1] = attempt
    :: else -> super[1] = 0; goto formatting
    fi;
#endif
#ifndef BREAK_R13
    atomic { put(DIRECTORY(0), 1, attempt) };
    if
    :: ok -> atomic { put(DIRECTORY(1), 1, attempt) }
    :: else
    fi;
    if
    :: !ok -> goto formatting
    :: else
    fi;
#endif
    copy = super[0] != 0 && super[0] >= super[1];
    atomic { put(SUPER(copy), 3, attempt) };
    if
    :: ok ->
        super[copy] = attempt;
        copy = 1 - copy;
        atomic { put(SUPER(copy), 3, attempt) }
    :: else
    fi;
    if
    :: ok -> super[copy] = attempt
    :: else -> super[copy] = 0; copy = 0; goto formatting
    fi;
#ifdef BREAK_R13
    atomic { put(DIRECTORY(0), 1, attempt) };
#endif
    newest = attempt;

healing:
    /* heal_superblock() */
    copy = 0;
    if
    :: super[0] != newest -> atomic { put(SUPER(0), 3, newest) }
    :: super[0] == newest && super[1] != newest ->
        atomic { put(SUPER(1), 3, newest) }
    :: else -> ok = true
    fi;
    if
    :: ok -> ready = true
    :: else -> super[0] = COPY(0); super[1] = COPY(1); goto formatting
    fi;
    if
    :: crashes < CRASHES -> goto crashed
    :: goto done
    fi;

crashed:
    atomic {
        crash();
        copy = 0;
        newest = 0;
        tried = false;
        goto opening
    }

done:
    skip
}
