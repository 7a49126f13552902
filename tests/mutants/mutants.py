#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Deliberate breaks of the core, for each rule and promise of docs/design.md.

usage: mutants.py       list them, and fail unless each has its one place

Each is (rule, what is broken, text, replacement). The text occurs in exactly one place of all the
core's .c files; only its tokens count, so that comments and line breaks may change.
"""

import re
import sys
from pathlib import Path

from glue import GLUE_MUTANTS

REPO = Path(__file__).resolve().parents[2]
CORE = REPO / "blobstore"
GLUE = CORE / "qemu", REPO / "hw/tpm/libtpms", REPO / "hw/tpm/libtpms/engine"
RULES = {*(f"R{n}" for n in range(1, 18)), *(f"S{n}" for n in range(1, 12)), "promise"}

MUTANTS = [
    ("R1", "a full counter does not begin a new epoch",
     "versions->len > UINT32_MAX - store->epoch.counter", "false"),
    ("R1", "the last epoch is followed by the first",
     "return last == UINT32_MAX ? 0 : UINT32_MAX;", "return last == UINT32_MAX ? 1 : UINT32_MAX;"),
    ("R1", "only the counters of sequences are compared",
     "header->sequence > recovery->newest->sequence",
     "(uint32_t)header->sequence < (uint32_t)recovery->newest->sequence"),
    ("R1", "the last generation of a superblock is followed by others",
     "    if (store->generation >= BLOB_GENERATION_MAX) {", "    if (false) {"),
    ("R1", "a conversion begins without generations to spare",
     "    if (store->generation > BLOB_GENERATION_MAX - BLOB_GENERATION_RESERVE) {",
     "    if (false) {"),
    ("R1", "a medium may name any generation",
     "           super->generation <= BLOB_GENERATION_MAX &&\n", ""),
    ("R1", "a medium may name any number of sealings",
     "           directory->sealings <= BLOB_SEALINGS_LIMIT &&\n", ""),
    ("R1", "a copy begins with the first epoch again",
     "    target->last_epoch = MAX(source->epoch.number, source->last_epoch);\n", ""),
    ("R2", "one copy of the directory is enough",
     "           pair_write_slot(medium, guard, pair, !first, header, payload,\n"
     "                           error);",
     "           true;"),
    ("R2", "the newest copy of a pair is overwritten first",
     "return current == 0 || (current < 0 && pair->partly[0]);",
     "return !(current == 0 || (current < 0 && pair->partly[0]));"),
    ("R2", "opening for writing does not begin an epoch",
     "if (!changes->len && store->epoch.open) {",
     "store->epoch.open = true;\n    if (!changes->len) {"),
    ("R2", "a read error in one copy of two fails the opening",
     "if (current < 0 && !blob_pair_fail_unreadable(pair, error)) {",
     "if (!blob_pair_fail_unreadable(pair, error)) {"),
    ("R2", "a copy that cannot be read is taken for damaged beside a damaged one",
     "if (current < 0 && !blob_pair_fail_unreadable(pair, error)) {", "if (false) {"),
    ("R2", "a copy that could not be read is not written again",
     "if (unreadable[n]) {", "if (false) {"),
    ("R3", "slots of every epoch count",
     "return judge->any ||", "return true ||"),
    ("R3", "a version of another branch counts as the recorded one",
     "        return is_as_recorded(&finding->blob->entry, header);",
     "        return is_as_recorded(&finding->blob->entry, header) || true;"),
    ("R3", "the digest of a new version is not recorded",
     "        memcpy(plan->entry.digest, header->version_digest,\n"
     "               sizeof(plan->entry.digest));\n", ""),
    ("R3", "the digest of a recovered version is not recorded",
     "            memcpy(entry->digest, header->version_digest,\n"
     "                   sizeof(entry->digest));\n", ""),
    ("R4", "a failed commit does not end the epoch",
     "versions, error);\n    blob_commit_end(store);\n"
     "    if (!ok) {\n        store->epoch.open = false;",
     "versions, error);\n    blob_commit_end(store);\n    if (!ok) {"),
    ("R4", "deleting an absent blob lets a failed write live",
     "if (!versions->len) {\n        return store->epoch.open || store->epoch.clean ||",
     "if (!versions->len) {\n        return true ||"),
    ("R4", "a failed write may land on what follows",
     "if (store->medium.unsettled &&\n"
     "        !blob_medium_flush(&store->medium, error)) {\n"
     "        return false;\n    }\n    store->epoch", "store->epoch"),
    ("R5", "a commit begins while another is in flight",
     "if (store->committing) {\n        g_set_error(", "if (false) {\n        g_set_error("),
    ("R6", "half of a multi-blob write counts",
     "if (!member_is_valid(recovery, &header->members[i])) {",
     "if (false) {"),
    ("R6", "members are looked at below the watermark too",
     "header->sequence <= recovery->watermark) {\n        return true;",
     "false) {\n        return true;"),
    ("R6", "headers carry no watermark",
     "header->watermark = store->epoch.acknowledged;",
     "header->watermark = 0;"),
    ("R7", "the older of two counting slots is current",
     "            evidence->newest.sequence > best) {",
     "            (!best || evidence->newest.sequence < best)) {"),
    ("R7", "trailers are no evidence",
     "return scan_trailers(medium, guard, slot, judge, evidence, error);",
     "return true;"),
    ("R7", "a trailer counts anywhere",
     "blob_layout_image_bytes(header.stored_bytes) == at + end) {", "true) {"),
    ("R8", "damage below the watermark is taken for a torn write",
     "             sequence <= recovery->watermark)) {",
     "             false)) {"),
    ("R8", "a torn write is taken for damage",
     "             sequence <= recovery->watermark)) {",
     "             true)) {"),
    ("R9", "the census is ignored",
     "if (!recovery->newest) {\n        return true;",
     "if (true) {\n        return true;"),
    ("R9", "the census of a sealed store is there for all to see",
     "    if (!guard->mask) {\n        return;\n", "    if (true) {\n        return;\n"),
    ("R9", "a blob has one mask for all its censuses",
     "    memcpy(input.epoch_id, disk->epoch_id, sizeof(input.epoch_id));\n"
     "    memcpy(input.digest, disk->digest, sizeof(input.digest));\n",
     "    input.sequence = 0;\n"),
    ("R9", "a copy shows a census of the guard before",
     "    if (guard != store->guard) {", "    if (false) {"),
    ("R9", "a copy shows the census of its source",
     "    memset(header.census, 0, sizeof(header.census));\n    target->sealings++;",
     "    target->sealings++;"),
    ("R9", "a commit does not change the census",
     "memcpy(header->census, store->epoch.census, sizeof(header->census));",
     ""),
    ("R10", "a stale directory is believed",
     "if (blob_sequence_epoch(highest) > store->epoch.number) {",
     "if (false) {"),
    ("R11", "a first version is acknowledged unrecorded",
     "bool is_first = has_first_version(versions);",
     "bool is_first = false && has_first_version(versions);"),
    ("R11", "recorded but absent is not damage",
     "if (entry->sequence > best && !finding->lost) {", "if (false) {"),
    ("R12", "extents are free before the directory says so",
     "        if (wants_extent(blob)) {\n            g_array_append_val(changes, change);",
     "        if (wants_extent(blob)) {\n            g_array_append_val(changes, change);\n"
     "            if (change.bytes) {\n"
     "                blob_space_release(space, change.offset, change.bytes);\n            }"),
    ("R12", "a start that failed leaves no trace",
     "    if ((!blob_pair_is_whole(&store->directory_pair) ||\n"
     "         (!store->epoch.open && will_copy(store))) &&\n"
     "        !blob_epoch_record(store, false, error)) {", "    if (false) {"),
    ("R12", "a copy goes to where a directory that failed before may land",
     "         (!store->epoch.open && will_copy(store))) &&", "         false) &&"),
    ("R4", "a copy that failed may land on another blob's",
     "    if ((!store->epoch.open || store->medium.unsettled) &&", "    if (!store->epoch.open &&"),
    ("R12", "deleting writes nothing",
     "if (!changes[i].content && !blob_is_present(changes[i].blob) &&\n"
     "            !(changes[i].delete_again && "
     "changes[i].blob->entry.sequence)) {",
     "if (!changes[i].content) {"),
    ("R13", "a creation begins without its marker",
     "    if (!store->marked) {", "    if (false) {"),
    ("R13", "the store is ready before its directory is there",
     "if (!store->epoch.own && !blob_epoch_record(store, false, error)) {\n"
     "        return false;\n"
     "    }\n"
     "    store->super.generation = 2;",
     "store->super.generation = 2;\n"
     "    if (!blob_superblock_write(store, error) ||\n"
     "        !blob_epoch_record(store, false, error)) {\n"
     "        return false;\n"
     "    }"),
    ("R13", "a store that landed late is written over",
     "if (super.state != BLOB_STATE_CREATING) {", "if (false) {"),
    ("R13", "a copy has its directory before its versions",
     "        !blob_medium_flush(&target->medium, error) ||\n"
     "        !check_unchanged(source, error) ||",
     "        !check_unchanged(source, error) ||"),
    ("R13", "a copy is a store before its directory is there",
     "        !blob_superblock_write(target, error) ||\n"
     "        !blob_epoch_record(target, true, error)) {",
     "        !blob_epoch_record(target, true, error) ||\n"
     "        !blob_superblock_write(target, error)) {"),
    ("R13", "a copy goes on what a creation has left",
     "    if (target->marked || target->space) {", "    if (false) {"),
    ("R13", "a copy may have versions of two times",
     "        !has_same_blobs(source, again) || !has_same_blobs(again, source)) {",
     "        false) {"),
    ("R14", "a clean close is not believed",
     "if (!store->epoch.clean && !blob_recover_store(store, error)) {",
     "if (!blob_recover_store(store, error)) {"),
    ("R14", "every epoch record claims a clean close",
     "        .clean = next->clean,", "        .clean = true,"),
    ("R15", "holes are searched", "sparse->at += blob_sparse_hole(sparse->medium, sparse->at, sparse->end);", ""),
    ("R15", "what is read runs on through holes",
     "bytes += MIN(bytes, STEP_BYTES);", "bytes = most;"),
    ("R15", "slots that are holes are read",
     "if (blob_sparse_is_hole(medium, slot->offset, slot->bytes)) {", "if (false) {"),
    ("R15", "content in holes has no limit", "medium->hollow += known;", "medium->hollow += 0;"),
    ("R15", "each key slot has a limit of work of its own",
     "attempt->work += blob_key_slot_work(&slot);", "attempt->work += 0;"),
    ("R15", "what a start requires is not computed again after a record",
     "required = blob_store_required_bytes(store);\n    }", "required = 0;\n    }"),
    ("R15", "a medium is as large as it was when it was measured",
     "if (length < store->super.data_offset) {", "if (false) {"),
    ("R15", "the length of a payload is trusted",
     "    if (raw_bytes > slot_bytes - 2 * BLOB_HEADER_BYTES ||", "    if ("),
    ("R15", "the number of members is trusted",
     "           header->member_count <= BLOB_MEMBERS_MAX &&\n", ""),
    ("R15", "extents may overlap",
     "if (entry->offset < end) {", "if (false) {"),
    ("R15", "two blobs may have one name",
     "if (!by_name(&sorted->pdata[i - 1], &sorted->pdata[i])) {", "if (false) {"),
    ("R16", "a version in a cache only is adopted",
     "(!store->read_only && !is_at_rest(store, &directory) &&\n"
     "         !distrust_cache(store, &directory, error))", "false"),
    ("R16", "a superblock in a cache only is adopted",
     "if (store->read_only || blob_pair_is_whole(pair) ||", "if (true ||"),
    ("R16", "a superblock that is not on record may be in a cache only",
     "directory->superblock_generation == store->super.generation && directory->clean &&",
     "directory->clean &&"),
    ("R16", "one clean copy of the directory is enough for a store at rest",
     "directory->clean && blob_pair_is_whole(&store->directory_pair);", "directory->clean;"),
    ("R16", "what was read before the cache was dropped still counts",
     "    unload_directory(store, directory);\n"
     "    return load_directory(store, directory, error);", "    return true;"),
    ("R16", "the copy that was written last is written last again",
     "return pair->last;", "return !pair->last;"),
    ("R16", "the epoch does not say which copy was written last",
     "return last + 1 + ((last + 1) % 2 != is_odd);", "return last + 1;"),
    ("R17", "a write does not look for another owner",
     "!prepare_versions(store, changes, count, versions, error) ||\n"
     "        !blob_store_check_owner(store, error)) {",
     "!prepare_versions(store, changes, count, versions, error)) {"),
    ("R17", "a start does not look for another owner",
     "return blob_store_check_owner(store, error) &&\n"
     "           (!store->options.fence ||",
     "return (!store->options.fence ||"),
    ("R17", "a clean close does not look for another owner",
     "return blob_store_check_owner(store, error) && blob_wipe_pending(store, error) &&",
     "return blob_wipe_pending(store, error) &&"),
    ("R17", "a start does not look for what an owner has committed since",
     "(!store->options.fence || !is_recovered ||\n"
     "            blob_recover_check_unchanged(store, error));", "true;"),
    ("R17", "an epoch that another owner begins while the store is opened is damage",
     "if (!blob_store_check_owner(store, error)) {\n"
     "            return false;\n"
     "        }\n"
     "        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,",
     "g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,"),
    ("R17", "a slot that was being written when it was read is forgotten",
     "if (evidence.highest != seen->highest ||\n"
     "            evidence.complete != seen->complete) {",
     "if (evidence.highest != seen->highest) {"),
    ("R17", "nobody looks whether another process began the same epoch",
     "&store->directory_pair, &header, payload, error) ||\n"
     "        !blob_owner_check_copies(store, error)) {",
     "&store->directory_pair, &header, payload, error)) {"),
    ("R17", "two directories of one epoch are as good as one",
     "if (begun_twice(&store->directory_pair)) {", "if (false) {"),
    ("R17", "the copy with which a record does not begin is enough",
     "unsigned n = i ? !pair->last : pair->last;",
     "unsigned n = i ? pair->last : !pair->last;"),
    ("S1", "an unsealed slot counts in a sealed store",
     "return blob_flags_are_sealed(header->flags) == (guard->seal != NULL) &&",
     "return"),
    ("S1", "a directory lists unsealed versions of a sealed store",
     "return blob_flags_are_sealed(entry->flags) == sealed &&", "return"),
    ("S2", "the tag of what was sealed is not checked",
     "    return !err;", "    return true;"),
    ("S2", "the keyed check of a header is not compared",
     "if (!blob_digest_equal(disk.check, check, sizeof(check))) {",
     "if (false) {"),
    ("S2", "the keyed check of the superblock is not compared",
     "    if (!blob_layout_superblock_is_authentic(",
     "    if (false && !blob_layout_superblock_is_authentic("),
    ("S3", "a payload is not bound to the kind of its blob",
     "{ .kind = GUINT64_TO_LE(entry ? entry->kind : 0) };", "{ 0 };"),
    ("S3", "a payload is not bound to the name of its blob",
     "memcpy(aad.name, entry->name, sizeof(aad.name));", ""),
    ("S3", "a payload is not bound to the owner of its blob",
     "memcpy(aad.owner, entry->owner, sizeof(aad.owner));", ""),
    ("S3", "a payload is not bound to its header",
     "memcpy(aad.header, &disk, sizeof(aad.header));", ""),
    ("S4", "a key slot is not bound to its number",
     "aad->number = GUINT64_TO_LE(n);", ""),
    ("S4", "a key slot is not bound to its store",
     "memcpy(aad->uuid, uuid, sizeof(aad->uuid));", ""),
    ("S4", "a key slot is not bound to what it says of itself",
     "blob_key_slot_encode(&bare, aad->slot);", ""),
    ("S4", "what a token unwraps may be of another key slot",
     "    if (!blob_digest_equal(data->data + BLOB_KEY_BYTES,",
     "    if (false && !blob_digest_equal(data->data + BLOB_KEY_BYTES,"),
    ("S4", "a key slot may demand any amount of memory",
     "           slot->kdf_memory_kib <= KDF_MAX_MEMORY_KIB &&\n", ""),
    ("S4", "a key slot may demand any amount of work",
     "blob_key_slot_work(slot) <= BLOB_KEY_WORK_MAX_KIB;", "true;"),
    ("S4", "the length of a wrapped key is trusted",
     "return slot->wrapped_bytes <= BLOB_KEY_WRAPPED_MAX_BYTES &&", "return"),
    ("S4", "a damaged key slot is believed",
     "            !blob_key_slot_is_intact(disk->key_slots[n],\n"
     "                                     disk->key_slot_digests[n]);",
     "            false;"),
    ("S4", "a damaged key slot costs the store",
     "    return salvage(medium, zero_guard, pair, header, payload, error);",
     "    return true;"),
    ("S4", "a key slot opens with many secrets",
     "    if (!seal ||\n        !blob_digest_equal(commitment, slot->commitment, "
     "sizeof(commitment))) {", "    if (!seal) {"),
    ("S4", "a short time makes weak key slots",
     "slot->kdf_iterations = BLOB_KEY_KDF_MIN_ITERATIONS;",
     "slot->kdf_iterations = 1;"),
    ("S4", "a key slot may have bytes that mean nothing",
     "type_is_sane(slot) && unused_is_zero(&disk, slot);",
     "type_is_sane(slot) && (unused_is_zero(&disk, slot) || true);"),
    ("S4", "the last key slot can be removed",
     "if (!has_other_use(slots, n)) {", "if (false) {"),
    ("S4", "all that a token has written goes into a key slot",
     "memcpy(slot->wrapped, written->wrapped, written->wrapped_bytes);",
     "memcpy(slot->wrapped, written->wrapped, sizeof(slot->wrapped));"),
    ("S4", "a key slot that cannot be read back is made",
     "if (!blob_key_slot_decode(bytes, &read_back)) {", "if (false) {"),
    ("S5", "an older superblock is believed",
     "if (directory->superblock_generation > store->super.generation) {",
     "if (false) {"),
    ("S5", "a change of key slots is not put on record",
     "super.key_slots = *slots;\n"
     "    return blob_epoch_settle(store, error) &&\n"
     "           blob_superblock_change(store, &super, store->key, error) &&\n"
     "           blob_epoch_record(store, false, error);",
     "super.key_slots = *slots;\n"
     "    return blob_epoch_settle(store, error) &&\n"
     "           blob_superblock_change(store, &super, store->key, error);"),
    ("S5", "a directory takes any superblock of its generation",
     "? !memcmp(directory->superblock_digest, super->digest,",
     "? !memcmp(super->digest, super->digest,"),
    ("S5", "a superblock that is not on record may be of any epoch",
     ": !memcmp(directory->epoch_id, super->epoch_id,",
     ": !memcmp(super->epoch_id, super->epoch_id,"),
    ("S5", "a superblock names an epoch that has gone on",
     "if (store->epoch.own && !store->epoch.counter &&", "if (store->epoch.own &&"),
    ("S5", "a superblock names a record of another process",
     "if (store->epoch.own && !store->epoch.counter &&", "if (!store->epoch.counter &&"),
    ("S5", "a record does not wait for a superblock in doubt",
     "!blob_store_check_owner(store, error) ||\n"
     "        !blob_superblock_settle(store, error)) {\n"
     "        return false;\n"
     "    }\n"
     "    if (store->medium.unsettled",
     "!blob_store_check_owner(store, error)) {\n"
     "        return false;\n"
     "    }\n"
     "    if (store->medium.unsettled"),
    ("S5", "two superblocks have the same generation",
     "super.generation = ++store->generation;",
     "super.generation = store->super.generation + 1;"),
    ("S6", "a plain store is taken for the one that a key is for",
     "if (!blob_superblock_is_sealed(&store->super)) {\n"
     "        if (store->key || store->options.sealed_only) {",
     "if (!blob_superblock_is_sealed(&store->super)) {\n        if (false) {"),
    ("S6", "the key commitment is not compared",
     "    if (store->guard->seal &&\n        !blob_digest_equal(",
     "    if (false &&\n        !blob_digest_equal("),
    ("S6", "a key commitment that was asked for is not compared",
     "if (blob_digest_equal(commitment, wanted, sizeof(commitment))) {",
     "if (true) {"),
    ("S7", "a conversion that was cut short is left so",
     "    if (store->super.state != BLOB_STATE_CONVERTING &&\n"
     "        store->super.state != BLOB_STATE_WIPING) {",
     "    if (true) {"),
    ("S7", "the directory names copies that were not made",
     "    if (!blob_version_copy(store, blob, store->target, &slot, digest, error)) {\n"
     "        return false;\n    }",
     "    (void)slot;\n    memcpy(digest, blob->entry.digest, sizeof(digest));"),
    ("S7", "the former key is forgotten while a copy of the directory needs it",
     "return blob_epoch_settle(store, error) && forget_old_guard(store, error);",
     "return forget_old_guard(store, error);"),
    ("S7", "a copy is made anew while a directory names the one before",
     "    if (store->target && !blob_epoch_record(store, true, error)) {",
     "    if (false) {"),
    ("S7", "the former data key stays in the superblock",
     "memset(&super.previous_key, 0, sizeof(super.previous_key));", ""),
    ("S7", "the check seed of the plain store stays in the superblock",
     "        memset(super.seed, 0, sizeof(super.seed));\n", ""),
    ("S7", "what was there before a conversion is not zeroed",
     "if (!blob_store_check_owner(store, error) ||\n"
     "        !blob_wipe_next(store, bytes, done, error)) {",
     "*done = true;\n    if (false) {"),
    ("S7", "what was there is not zeroed if a conversion is cut short",
     "           blob_wipe_next(store, UINT64_MAX, &done, error) && ", "           "),
    ("S7", "zeroing after a conversion waits for no record",
     "!blob_epoch_record(store, false, error)) ||\n"
     "        !blob_epoch_record_all(store, error) ||\n        !blob_commit_begin(",
     "!blob_epoch_record(store, false, error)) ||\n        !blob_commit_begin("),
    ("S7", "what a torn write leaves between payload and trailer stays",
     "if (!renew(store, true, error) ||", "if ("),
    ("S7", "what is written again goes to where a directory that failed may point",
     "    if (!blob_epoch_record(store, false, error) ||\n"
     "        !blob_commit_begin(store, error)) {\n        return false;\n    }\n"
     "    ok = copy_current(",
     "    if (!blob_commit_begin(store, error)) {\n        return false;\n    }\n"
     "    ok = copy_current("),
    ("S7", "a piece that could not be zeroed is left out",
     "    uint64_t at = store->started ? store->wiped : 0;\n"
     "    uint64_t end = 0;\n    bool ok;\n",
     "    uint64_t at = store->started ? store->wiped : 0;\n"
     "    uint64_t end = 0;\n    bool ok;\n\n    store->wiped += bytes;\n"),
    ("S7", "a start that is repeated believes that the pass is through",
     "store->started ? store->wiped : 0;", "store->wiped;"),
    ("S7", "zeros that failed may land on a later commit",
     "        store->epoch.open = false;      /* R4 */\n        return false;\n    }\n"
     "    store->wiped = at;",
     "        return false;\n    }\n    store->wiped = at;"),
    ("S7", "the end of the medium is not zeroed after a conversion",
     "            *at = MAX(*at, offset);", "            *at = MAX(*at, offset);\n"
     "            if (end == store->capacity) {\n                break;\n            }"),
    ("S7", "a conversion ends before its zeros are durable",
     "    *at = medium_end;\n    return blob_medium_flush(&store->medium, error) &&",
     "    *at = medium_end;\n    return"),
    ("S11", "what is given back is not free",
     "blob_space_nth(store->space, n, &offset, &bytes); n++) {\n"
     "        if (!blob_medium_give_back(&store->medium, offset, bytes, error)) {",
     "blob_space_nth(store->space, n, &offset, &bytes); n++) {\n"
     "        if (!blob_medium_give_back(&store->medium, 0, offset + bytes, error)) {"),
    ("S7", "a directory under the new guard counts as another user's",
     "(store->target && blob_layout_decode_header(block, store->target,",
     "(false && blob_layout_decode_header(block, store->target,"),
    ("S7", "what lies above the capacity is left by a conversion",
     "*end = MAX(*end / SECTOR_BYTES * SECTOR_BYTES, store->capacity);",
     "*end = store->capacity;"),
    ("S8", "what was deleted is not zeroed",
     "            blob_wipe_later(store, version->blob);", ""),
    ("S8", "what was deleted is not zeroed by the next start",
     "            blob_wipe_later(store, finding->blob);", ""),
    ("S8", "zeroing what was deleted waits for no record",
     "    if (!renew(store, false, error) ||\n"
     "        !blob_epoch_record_all(store, error) ||\n        !blob_commit_begin(",
     "    if (!renew(store, false, error) ||\n        !blob_commit_begin("),
    ("S8", "what a torn tombstone leaves of the version before stays",
     "if (!renew(store, false, error) ||", "if ("),
    ("S8", "zeroing that has failed is forgotten",
     "        store->epoch.open = false;      /* R4 */\n        return false;\n    }\n"
     "    for (",
     "        store->epoch.open = false;\n    }\n    for ("),
    ("S8", "a conversion forgets what was to be zeroed",
     "    if (!blob_wipe_pending(store, error) || !verify_versions(",
     "    if (!verify_versions("),
    ("S9", "each nonce is the same",
     "    if (!blob_digest_random(nonce, BLOB_NONCE_BYTES, error)) {",
     "    memset(nonce, 0, BLOB_NONCE_BYTES);\n    if (false) {"),
    ("S9", "a nonce need not be random",
     "    if (!blob_digest_random(nonce, BLOB_NONCE_BYTES, error)) {",
     "    blob_digest_random(nonce, BLOB_NONCE_BYTES, NULL);\n    if (false) {"),
    ("S9", "a key seals without end",
     "    if (!check_sealings(store, versions->len, error) ||\n        !blob_commit_begin(",
     "    if (!blob_commit_begin("),
    ("S9", "epoch records are not counted as sealings",
     "store->sealings += 2;", ""),
    ("S9", "sealings are forgotten in a crash",
     "store->sealings += (uint32_t)store->epoch.acknowledged + BLOB_MEMBERS_MAX;", ""),
    ("S10", "a directory that nobody vouches for is converted",
     "    if (store->voucher &&\n        (!directory->clean ||",
     "    if (false &&\n        (!directory->clean ||"),
    ("S10", "content need not be what its digest says",
     "    if (*payload && !is_as_recorded(blob, header, *payload)) {",
     "    if (*payload && !is_as_recorded(blob, header, *payload) && false) {"),
    ("S10", "a copy has the digest of what it was made from",
     "    entry = &blob_plan(blob)->entry;\n"
     "    memcpy(entry->digest, digest, sizeof(entry->digest));",
     "    entry = &blob_plan(blob)->entry;"),
    ("S10", "what is converted is not vouched for",
     "    if (!vouch(store, keys, error)) {", "    if (false) {"),
    ("S10", "a store is written to while it is converted",
     "    if (store->voucher && !next->clean) {", "    if (false) {"),
    ("S10", "a conversion that failed to begin may begin later",
     "if (!check_convertible(store, key, slots, error) ||\n"
     "        !blob_store_check_owner(store, error) || !blob_superblock_settle(store, error)) {",
     "g_clear_pointer(&store->voucher, blob_digest_free);\n"
     "    if (!check_convertible(store, key, slots, error)) {"),
    ("S11", "what holds nothing is zeroed as well",
     "        size_t run = run_bytes(buf + at, bytes - at, false);",
     "        size_t run = bytes - at;"),
    ("S11", "zeros that are read after a failed write are believed",
     "    if (!medium->write_errors &&\n        blob_medium_read(medium, offset, buf,",
     "    if (blob_medium_read(medium, offset, buf,"),
    ("S11", "what cannot be read is not zeroed",
     "               blob_sparse_is_hole(medium, offset + at, n) ? 0 : 0xff, n);",
     "               0, n);"),
    ("S11", "holes are zeroed after a failed write",
     "               blob_sparse_is_hole(medium, offset + at, n) ? 0 : 0xff, n);",
     "               0xff, n);"),
    ("promise", "a store becomes smaller than what it holds",
     "    if (bytes < required) {\n        return blob_store_fail_too_small(required, bytes, error);",
     "    if (false) {\n        return blob_store_fail_too_small(required, bytes, error);"),
    ("promise", "falling back trusts what may be written over",
     "if (!blob_medium_flush(&store->medium, error) ||\n"
     "        !find_older(store, blob, &older, &found, error)) {",
     "if (!find_older(store, blob, &older, &found, error)) {"),
    ("promise", "a query sees a version that is not on record yet",
     "info->slot[n].current = entry->sequence && entry->slot == n;",
     "info->slot[n].current = entry->sequence &&\n"
     "            (blob->plan ? blob->plan->entry.slot : entry->slot) == n;"),
    ("promise", "a commit is not durable",
     "                                     bytes, durable, error)) {",
     "                                     bytes, false, error)) {"),
    ("promise", "a write of several blobs is not flushed",
     "return single || blob_medium_flush(&store->medium, error);",
     "return true;"),
    ("promise", "the current slot is overwritten",
     "return entry->sequence ? !entry->slot : 0;",
     "return entry->slot;"),
    ("promise", "what was read is built on without a flush",
     "    if ((!store->epoch.open || store->medium.unsettled) &&",
     "    if (store->medium.unsettled &&"),
    ("promise", "the digest is not verified",
     "return !memcmp(digest, header->digest, sizeof(digest));",
     "return true;"),
    ("promise", "only the first megabyte must be blank",
     "blob_blank_find_data(&store->medium, 0, end, &data, error)",
     "blob_blank_find_data(&store->medium, 0, MIN(end, 1 << 20), &data,\n"
     "                              error)"),
    ("promise", "a blank medium that is too large becomes a store",
     "if (data == end && end < length) {", "if (false) {"),
    ("promise", "what is left of a creation that was cut is refused",
     "if (data == length || is_cut) {", "if (data == length) {"),
    ("promise", "new space of a grown medium is not looked at",
     "    if (data < length) {", "    if (false) {"),
    ("promise", "a damaged blob is written to",
     "= change->blob;\n    if (blob->damage && !store->options.replace_damaged) {",
     "= change->blob;\n    if (false) {"),
    ("promise", "inflation is not bounded by the raw length",
     "out_bytes != raw_bytes ||", ""),
]

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
TOKEN = re.compile(r"\w+|\S")


def c_files(place):
    """The C files of the core, which run without QEMU; or those of several folders."""
    if isinstance(place, tuple):
        return sorted(path for folder in place for path in folder.glob("*.c"))
    return sorted(path for path in place.rglob("*.c") if "qemu" not in path.parts[-2:])


def pattern(text):
    """A regular expression for the tokens of text, with any space between them."""
    regex = ""
    for token in TOKEN.findall(without_comments(text)):
        is_word = token[-1].isalnum() or token[-1] == "_"
        between = r"\s+" if regex.endswith(r"\b") and is_word else r"\s*"
        regex += (between if regex else "")
        regex += rf"\b{token}\b" if is_word else re.escape(token)
    return re.compile(regex)


def without_comments(source):
    """The source without comments, of the same length, so that places stay."""
    return COMMENT.sub(lambda comment: " " * len(comment[0]), source)


def find(text, place=CORE):
    """The places that match: (path, start, end)."""
    regex = pattern(text)
    return [(path, *match.span()) for path in c_files(place)
            for match in regex.finditer(without_comments(path.read_text()))]


def find_misfits(mutants, place):
    """Sentences about what cannot be put in place."""
    faults = []
    known = {word for path in c_files(place) for word in TOKEN.findall(path.read_text())}
    for rule, what, text, replacement in mutants:
        unknown = sorted(set(TOKEN.findall(replacement)) - known)
        if unknown:
            faults.append(f"{rule}: {what}: the code has no {', '.join(unknown)}")
        places = find(text, place)
        if len(places) != 1:
            names = ", ".join(path.name for path, *_ in places)
            faults.append(f"{rule}: {what}: {len(places)} places match, not one ({names}):\n{text}")
    return faults


def find_faults(mutants):
    """The faults of the list, in sentences."""
    faults = [f"{rule} has no mutant" for rule in sorted(RULES - {mutant[0] for mutant in mutants})]
    return faults + find_misfits(mutants, CORE)


def find_glue_faults(mutants):
    return find_misfits(mutants, GLUE)


def show(mutants, place):
    for rule, what, text, _ in mutants:
        places = [str(path.relative_to(REPO)) for path, *_ in find(text, place)]
        print(f"{rule + ':':9}{what} [{', '.join(places) or 'nowhere'}]")


def main():
    show(MUTANTS, CORE)
    show([("glue", *mutant[1:]) for mutant in GLUE_MUTANTS], GLUE)
    faults = find_faults(MUTANTS) + find_glue_faults(GLUE_MUTANTS)
    for fault in faults:
        print(f"mutants: {fault}", file=sys.stderr)
    print(f"{len(MUTANTS)} mutants of the core, {len(GLUE_MUTANTS)} of the glue, "
          f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
