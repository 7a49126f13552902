# SPDX-License-Identifier: GPL-2.0-or-later
"""Section 7 of docs/format.md: the choice of the current version."""

import hashlib
import struct
from dataclasses import dataclass

from heads import Entry
from slots import Slot
from values import CENSUS_TRIALS, DELETED, Refused, SEALED, demand, epoch_of


class BlobSlot(Slot):
    """A slot of a blob in a store that was not closed cleanly."""

    def __init__(self, medium, guard, entry, number, epoch_id):
        super().__init__(medium, guard, entry.place, entry.id,
                         entry.offset + number * entry.slot_bytes, entry.slot_bytes)
        self.epoch_id = epoch_id
        self.recorded = entry.sequence if number == entry.slot else 0
        # The digest of a version of an earlier epoch is verified when the blob is read.
        self.is_valid = self.complete and self.matters(self.header) and (
            self.valid or self.header.epoch_id != epoch_id)
        self.evidence = [self.header] if self.header else []
        if not self.is_valid:
            self.evidence += self.trailers()
        mattering = [header for header in self.evidence if self.matters(header)]
        self.held = max(mattering, key=lambda header: header.sequence, default=None)

    def matters(self, header):
        return header.epoch_id == self.epoch_id or header.sequence == self.recorded != 0

    @property
    def sequence(self):
        return self.held.sequence if self.held else 0


@dataclass
class Blob:
    entry: Entry
    slots: list
    current: Slot | None = None
    sequence: int = 0       # of the current version, or of the one that is lost
    damaged: bool = False


def decide_clean(medium, guard, entries):
    """Step 3."""
    blobs = []
    for entry in entries:
        slot = Slot(medium, guard, entry.place, entry.id,
                    entry.offset + entry.slot * entry.slot_bytes, entry.slot_bytes)
        blob = Blob(entry, [slot], sequence=entry.sequence)
        if entry.sequence and not entry.flags & DELETED:
            blob.damaged = not (slot.valid and is_as_recorded(entry, slot.header))
            blob.current = slot
        blobs.append(blob)
    return blobs


def looks_recorded(slot, entry):
    """Step 5: a sealed payload is looked at when it is read."""
    header = slot.held
    return (is_as_recorded(entry, header)
            and (header.flags & SEALED and header.stored_bytes
                 or slot.guard.accepts(slot, entry.digest)))


def is_as_recorded(entry, header):
    return ((header.sequence, header.flags, header.raw_bytes, header.stored_bytes,
             header.metadata_bytes) ==
            (entry.sequence, entry.flags, entry.raw_bytes, entry.stored_bytes,
             entry.metadata_bytes))


def decide_by_evidence(medium, guard, head, entries):
    """Steps 4 to 7."""
    blobs = [Blob(entry, [BlobSlot(medium, guard, entry, n, head.epoch_id)
                          for n in range(2)]) for entry in entries]
    slots = [slot for blob in blobs for slot in blob.slots]
    demand(all(epoch_of(header.sequence) <= head.epoch
               for slot in slots for header in slot.evidence), 'a version newer than the directory')
    present = [slot for slot in slots if slot.held and slot.held.epoch_id == head.epoch_id]
    watermark = max([head.epoch << 32] + [slot.held.watermark for slot in present])
    written = {(slot.id, slot.sequence) for slot in present if slot.is_valid}
    for blob in blobs:
        decide_blob(blob, watermark, written)
    if present:
        last = max(present, key=lambda slot: slot.sequence).held
        check_census(blobs, guard, last, head.epoch << 32, watermark)
    return blobs


def decide_blob(blob, watermark, written):
    """Steps 5 and 6."""
    recorded = blob.entry.sequence

    def is_acknowledged(sequence):
        return sequence == recorded or sequence <= watermark

    counting = [slot for slot in blob.slots if slot.is_valid and slot.sequence and
                (is_acknowledged(slot.sequence) or written.issuperset(slot.held.members)) and
                (slot.sequence != recorded or looks_recorded(slot, blob.entry))]
    blob.current = max(counting, key=lambda slot: slot.sequence, default=None)
    current = blob.current.sequence if blob.current else 0
    acknowledged = [slot.sequence for slot in blob.slots
                    if not slot.is_valid and is_acknowledged(slot.sequence)] + [recorded]
    blob.sequence = max(current, *acknowledged)
    blob.damaged = blob.sequence > current


def census_part(seed, blob_id, sequence):
    """Section 6: the hash as an integer, which is easy to XOR."""
    if not sequence:
        return 0
    digest = hashlib.sha256(seed + struct.pack('<QQ', blob_id, sequence)).digest()
    return int.from_bytes(digest[:16], 'little')


def check_census(blobs, guard, last, base, watermark):
    """Step 7."""
    seed = guard.seed
    commit = set(last.members or [(last.id, last.sequence)])
    missing = int.from_bytes(guard.census(last), 'little')
    suspects = []
    for blob in blobs:
        before = blob.sequence
        if not blob.damaged and (blob.entry.id, before) in commit:
            before = blob.current.header.previous
        if before == blob.sequence:
            suspects.append(blob)
        missing ^= census_part(seed, blob.entry.id, before)
    if missing:
        name_missing(suspects, seed, missing, base, watermark)


def name_missing(suspects, seed, missing, base, watermark):
    trials = 0
    for blob in suspects:
        rest = missing ^ census_part(seed, blob.entry.id, blob.sequence)
        for sequence in range(max(base, blob.sequence) + 1, watermark + 1):
            trials += 1
            demand(trials <= CENSUS_TRIALS, 'blobs lost acknowledged versions without evidence')
            if census_part(seed, blob.entry.id, sequence) == rest:
                blob.sequence, blob.damaged = sequence, True
                return
    raise Refused('more than one blob lost an acknowledged version without evidence')
