/*
 * Fault injection: the operations whose calls fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "faults.h"

#define BEGIN "open register:abcd start"
#define FILL BEGIN " write:abc write:ab "
#define CLEAN FILL "close"
#define CRASHED FILL "write:a broken:0,write:b"
#define HALF FILL "write:a broken:1,write:abc"
#define RUNNING CLEAN "|" BEGIN
#define SEALED "sealed "
#define PACKED "pack " RUNNING
#define TIGHT "open register:abcd exact start write:abc write:ab "

const FaultCase fault_cases[] = {
    { "open-blank", "|open" },
    { "format", "|open register:abcd start" },
    { "format-exact", "|open register:abcd exact start" },
    { "format-cut-marker", "open register:a broken:0,start|" BEGIN },
    { "format-cut-directory", "open register:a broken:2,start|" BEGIN },
    { "format-cut-superblock", "open register:a broken:3,start|" BEGIN },
    { "format-cut-late", "open register:a broken:4,start|" BEGIN },
    { "open-cut-format", "open register:a broken:0,start|open" },

    { "open-clean", CLEAN "|open" },
    { "open-crashed", CRASHED "|open" },
    { "open-half-commit", HALF "|open" },
    { "open-readonly", CRASHED "|readonly open" },
    { "open-superblock-0-damaged", CLEAN " damage:2000|open" },
    { "open-directory-1-damaged", CRASHED " damage:42000|open" },
    { "open-blob-damaged", FILL "damage:a write:b|open" },

    { "start-clean", RUNNING },
    { "start-crashed", CRASHED "|" BEGIN },
    { "start-half-commit", HALF "|" BEGIN },
    { "start-again", RUNNING " start" },
    { "start-cut-record", CLEAN " open register:a broken:0,start|" BEGIN },
    { "start-cut-record-late", CLEAN " open register:a broken:1,start|" BEGIN },
    { "heal-superblock-0", FILL "damage:2000|" BEGIN },
    { "heal-superblock-1", FILL "damage:18000|" BEGIN },
    { "heal-directory-0", FILL "damage:34000|" BEGIN },
    { "heal-directory-1", FILL "damage:42000|" BEGIN },

    { "new-blob", RUNNING " register:e start" },
    { "new-blob-exact", TIGHT "close|" BEGIN " register:e exact start" },
    { "new-blob-at-open", CLEAN "|open register:abcde start" },
    { "new-blob-at-open-exact", TIGHT "close|open register:abcde exact start" },
    { "grow", RUNNING " larger:b start" },
    { "grow-exact", TIGHT "close|" BEGIN " larger:b exact start" },
    { "grow-crashed", CRASHED "|open register:acd larger:b start" },
    { "grow-crashed-exact", TIGHT "write:a|open register:acd larger:b exact "
      "start" },
    { "grow-two", RUNNING " larger:b larger:a register:e start" },
    { "grow-two-exact", TIGHT "close|" BEGIN " larger:b larger:a register:e "
      "exact start" },
    { "grow-within-slots", RUNNING " roomier:a start" },
    { "grow-absent", RUNNING " larger:d start" },
    { "drop-deleted", RUNNING " write:C unregister:c register:e start" },
    { "delete-and-register", RUNNING " write:C unregister:c close crash open "
      "register:abcd start" },
    { "free-leak", FILL "write:C close|open register:abd start" },

    { "write", RUNNING " write:a" },
    { "write-first", RUNNING " write:d" },
    { "write-first-of-two", RUNNING " write:ad" },
    { "write-packed", PACKED " write:b" },
    { "write-many", RUNNING " write:abc" },
    { "write-many-packed", PACKED " write:abc" },
    { "write-after-close", RUNNING " close write:a" },
    { "write-after-failure", RUNNING " write:a broken:0,write:a write:a" },
    { "write-after-half-commit", RUNNING " write:a broken:1,write:ab write:b" },
    { "write-grown", RUNNING " larger:b start write:b" },
    { "delete", RUNNING " write:B" },
    { "delete-and-write", RUNNING " write:aB" },
    { "delete-again", RUNNING " write:C again:C" },
    { "delete-absent-after-failure", RUNNING " broken:0,write:d write:D" },
    { "write-deleted", RUNNING " write:C write:c" },

    { "read", RUNNING " read:a" },
    { "read-packed", PACKED " read:b" },
    { "read-absent", RUNNING " read:d" },
    { "read-unstarted", CRASHED "|open read:b" },
    { "close", RUNNING " write:a close" },
    { "close-again", RUNNING " close close" },
    { "close-after-failure", RUNNING " broken:0,write:a close" },
    { "unchanged", RUNNING " write:a unchanged" },
    { "check", RUNNING " check" },
    { "check-unstarted", CRASHED "|open check" },
    { "check-copies-damaged", FILL "damage:18000 damage:34000|open check" },
    { "check-blank", "|open check" },
    { "fall-back", FILL "damage:a close|open check fallback:a" },
    { "fall-back-crashed", FILL "damage:a write:c|open fallback:a" },
    { "fall-back-healing", FILL "damage:a write:c damage:2000|"
      "open fallback:a" },

    { "give-up", FILL "damage:a close|open check giveup:a" },
    { "give-up-crashed", FILL "damage:a write:c|open giveup:a" },
    { "shrink", RUNNING " shrink" },
    { "shrink-after-failure", RUNNING " broken:0,shrink shrink" },

    { "sealed-open-blank", "sealed|open" },
    { "sealed-format", "sealed|open register:abcd start" },
    { "sealed-format-cut", "sealed open register:a broken:3,start|" BEGIN },
    { "sealed-open-clean", SEALED CLEAN "|open" },
    { "sealed-open-crashed", SEALED CRASHED "|open" },
    { "sealed-start-crashed", SEALED CRASHED "|" BEGIN },
    { "sealed-start-half-commit", SEALED HALF "|" BEGIN },
    { "sealed-heal-superblock", SEALED FILL "damage:2000|" BEGIN },
    { "sealed-heal-key-slot", SEALED BEGIN " slots damage:3000 damage:19384|"
      BEGIN },
    { "sealed-new-blob", SEALED RUNNING " register:e start" },
    { "sealed-grow", SEALED RUNNING " larger:b start" },
    { "sealed-grow-absent", SEALED RUNNING " write:B larger:b start" },
    { "sealed-write", SEALED RUNNING " write:a" },
    { "sealed-write-first-of-two", SEALED RUNNING " write:ad" },
    { "sealed-write-packed", SEALED PACKED " write:b" },
    { "sealed-write-after-failure", SEALED RUNNING
      " write:a broken:0,write:a write:a" },
    { "sealed-delete", SEALED RUNNING " write:B" },
    { "sealed-delete-and-write", SEALED RUNNING " write:aB" },
    { "sealed-drop-deleted", SEALED RUNNING
      " write:C unregister:c register:e start" },
    { "sealed-write-unwiped", SEALED RUNNING " shaky:3,write:C write:a" },
    { "sealed-close-unwiped", SEALED RUNNING " shaky:3,write:C close" },
    { "sealed-start-unwiped", SEALED FILL "shaky:1,write:C|" BEGIN },
    { "sealed-start-unwiped-unregistered", SEALED FILL
      "shaky:3,write:C|open register:ab start" },
    { "sealed-read", SEALED RUNNING " read:a" },
    { "sealed-close", SEALED RUNNING " write:a close" },
    { "sealed-check", SEALED RUNNING " check" },
    { "sealed-fall-back", SEALED FILL "damage:a close|open check fallback:a" },
    { "slots-add", SEALED RUNNING " slots" },
    { "slots-remove", SEALED RUNNING " slots slots" },
    { "slots-after-failure", SEALED RUNNING " broken:0,slots slots" },
    { "slots-half-done", SEALED RUNNING " broken:1,slots start" },
    { "slots-cut", SEALED FILL "broken:1,slots|" BEGIN },
    { "slots-cut-late", SEALED FILL "broken:2,slots|" BEGIN },

    { "seal", RUNNING " write:C convert:1" },
    { "rekey", SEALED RUNNING " slots convert:2" },
    { "unseal", SEALED RUNNING " write:C convert:0" },
    { "seal-after-failure", RUNNING " broken:1,write:ab convert:1" },
    { "seal-cut", CLEAN " " BEGIN " broken:0,convert:1|" BEGIN },
    { "seal-cut-record", CLEAN " " BEGIN " broken:7,convert:1|" BEGIN },
    { "rekey-cut", SEALED FILL "broken:5,convert:2|" BEGIN },
    { "rekey-cut-record", SEALED FILL "broken:8,convert:2|" BEGIN },
    { "unseal-cut-late", SEALED FILL "broken:11,convert:0|" BEGIN },
    { "unseal-cut-wiping", SEALED FILL "write:a broken:14,convert:0 write:b|"
      BEGIN },
    { "open-converting", SEALED FILL "broken:6,convert:2|open" },
    { "start-converting", SEALED RUNNING " broken:6,convert:2 start" },
    { "write-wiping", SEALED RUNNING " broken:14,convert:0 write:a" },

    { "register", RUNNING " register:e" },
    { "unregister", RUNNING " unregister:b" },
    { "info", RUNNING " info" },
};

const size_t fault_case_count = G_N_ELEMENTS(fault_cases);
