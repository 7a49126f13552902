# SPDX-License-Identifier: GPL-2.0-or-later
"""When a VM does not start, QEMU says what docs/usage.md quotes, word for word."""

import errno
import hashlib
import hmac
import os
import struct
import subprocess
import unittest
from pathlib import Path

import profiles
import state
import test_swtpm   # which provokes some of the messages, too
import test_tool    # the same
import tpm2
from case import NOBODY, TPM12, TPM2, drive
from encryption import PLAIN, EncryptionTest, min_sequence, new_key, opens_with, store
from messages import PageTest, Saying, provokes
from policy import IGNORE_CONFIGURATION, Policies
from proxy import FLUSH, Proxy
from stalling import StallingStorage
from vm import VMError, program

USAGE = "usage.md"

ENCRYPTED = store()
OTHER_KEY = store(key=opens_with("sec1"))
OTHER_UUID = "11111111-1111-4111-8111-111111111111"
TWO_TPMS = [*TPM2, "-device", "tpm-crb,blobstore=nvram"]
IN_JSON = [word for model in ("tpm-tis", "tpm-crb") for word in
           ("-device", f'{{"driver":"{model}","blobstore":"nvram"}}')]

# Numbers of the format: docs/format.md, sections 3 and 5
HEADER, CHECKED, COPY, DIRECTORY, BLOCK = 1280, 1248, 16384, 32768, 4096
DIRECTORY_BYTES = 72        # of a slot, in the superblock
SUPERBLOCK_BYTES, SUPERBLOCK_IMAGE = 8704, 12288
SEED = 88                   # of checks, in the superblock
HEAD = 480                  # the bytes that the head digest covers
EPOCHS_ON_RECORD = 64
LINK_BYTES = 12             # of the head digest, in the directory
KEY_SLOTS, KEY_SLOT_BYTES = 512, 1024


def sign(image, change):
    """Apply @change to both copies of the superblock, and make every check right again.

    The directory of a plain store then names the changed superblock.
    """
    old = image[HEADER + HEAD:HEADER + HEAD + LINK_BYTES]
    for copy in 0, COPY:
        header = bytearray(image[copy:copy + HEADER])
        payload = bytearray(image[copy + HEADER:copy + HEADER + SUPERBLOCK_BYTES])
        change(payload)
        payload[HEAD:HEAD + 32] = hashlib.sha256(payload[:HEAD]).digest()
        header[112:144] = hashlib.sha256(payload).digest()
        header[1248:] = hmac.digest(bytes(32), header[:1248], "sha256")
        image[copy:copy + HEADER + SUPERBLOCK_BYTES] = header + payload
        image[copy + SUPERBLOCK_IMAGE - HEADER:copy + SUPERBLOCK_IMAGE] = header
    new = image[HEADER + HEAD:HEADER + HEAD + LINK_BYTES]
    size, = struct.unpack_from("<Q", image, HEADER + DIRECTORY_BYTES)
    for copy in DIRECTORY, DIRECTORY + size:
        if old in image[copy:copy + size]:
            change_slot(image, copy, lambda payload: replace(payload, old, new))


def change_slot(image, start, change):
    """Apply @change to the payload of a plain slot, and make every check right again."""
    header = image[start:start + HEADER]
    stored, = struct.unpack_from("<Q", header, 80)
    payload = image[start + HEADER:start + HEADER + stored]
    change(payload)
    header[112:144] = hashlib.sha256(payload).digest()
    header[1248:] = hmac.digest(image[HEADER + SEED:HEADER + SEED + 32], header[:1248], "sha256")
    blocks = max(2, -(-(2 * HEADER + stored) // BLOCK))
    end = start + blocks * BLOCK
    image[start:start + HEADER + stored] = header + payload
    image[end - HEADER:end] = header


def version_digest(image, start):
    """The digest by which the directory knows the version in a plain slot."""
    return hashlib.sha256(image[start:start + CHECKED]).digest()


def flip(payload, place):
    payload[place] ^= 0xff


def replace(payload, old, new):
    place = payload.index(old)
    payload[place:place + len(new)] = new


class UsageTest(PageTest, unittest.TestCase):
    page = USAGE


class DriveTest(Saying, EncryptionTest):
    """Mistakes about the drive, or in the options that name it."""

    @provokes(USAGE, "no blobstore object, drive or node")
    def test_no_such_store(self):
        return self.refused(*self.drive, "-device", "tpm-tis,blobstore=lost")

    @provokes(USAGE, "there is no drive or node")
    def test_no_such_drive(self):
        return self.refused("-object", "blobstore,id=bs,drive=lost", "-device",
                            "tpm-tis,blobstore=bs")

    @provokes(USAGE, "is read-only")
    def test_read_only(self):
        return self.refused(*drive(self.image_name, readonly="on"), *TPM2)

    @provokes(USAGE, "cannot be written: file")
    def test_no_permission(self):
        """test_access.py has the other reasons."""
        os.chmod(self.directory, 0o755)
        os.chmod(self.path(self.image_name), 0o444)
        return self.start_and_fail(*self.drive, *TPM2, before=NOBODY)

    @provokes(USAGE, "is empty")
    def test_empty(self):
        return self.refused("-drive", "if=none,id=nvram", *TPM2)

    @provokes(USAGE, "has no medium")
    def test_drive_of_discs_without_a_disc(self):
        """Linux answers for a loop device that it is no drive with a disc in it."""
        if os.geteuid():
            self.skipTest("loop devices want root")
        device = subprocess.run(["losetup", "-f", "--show", self.image_name], cwd=self.directory,
                                check=True, capture_output=True, text=True).stdout.strip()
        self.addCleanup(subprocess.run, ["losetup", "-d", device], check=True)
        return self.refused("-blockdev", f"driver=host_cdrom,node-name=nvram,filename={device}",
                            *TPM2)

    @provokes(USAGE, "can only be written in units of")
    def test_large_units(self):
        return self.refused("-blockdev", "driver=blkdebug,node-name=nvram,align=8192,"
                            f"image.driver=file,image.filename={self.image_name}", *TPM2)

    @provokes(USAGE, "needs the capability 'profile rbd'")
    def test_storage_that_denies_permission(self):
        """tests/servers has a Ceph that does."""
        words = {"driver": "blkdebug", "image.driver": "file",
                 "image.filename": self.image_name, "inject-error.0.event": "none",
                 "inject-error.0.iotype": "write", "inject-error.0.errno": errno.EACCES}
        return self.refused("-drive", ",".join(["if=none,id=nvram,driver=raw", *(
            f"file.{name}={value}" for name, value in words.items())]), *TPM2)

    def started(self, *options, **drive_options):
        machine, _ = self.power_on(*drive(self.image_name, **drive_options), *store(*options, key=""))
        machine.quit()
        return self.said_by(machine)

    @provokes(USAGE, "uses the page cache of this host")
    def test_fence_behind_a_page_cache(self):
        self.need()
        for said in (self.started(file_locking="off", cache="none"), self.started(),
                     self.started("fence=off", file_locking="off")):
            self.assertNotIn("page cache", said)
        said = self.started(file_locking="off")
        self.assertEqual(said.count("page cache"), 1)
        return said

    @provokes(USAGE, "medium is too small")
    def test_small_image(self):
        os.truncate(self.path(self.image_name), 1 << 16)
        return self.refused(*self.drive, *TPM2)

    @provokes(USAGE, "still reading the medium")
    def test_large_image_without_holes(self):
        Path(self.path(self.image_name)).write_bytes(bytes(24 << 20))
        machine = self.machine(
            "-object", "throttle-group,id=slow,x-bps-read=10000000", "-blockdev",
            "driver=throttle,node-name=nvram,throttle-group=slow,file.driver=file,"
            f"file.filename={self.image_name}", *TPM2)
        machine.start()
        machine.quit()
        said = self.said_by(machine)
        self.assertEqual(said.count("still reading the medium"), 1)
        return said

    @provokes(USAGE, "not a blobstore and not blank")
    def test_foreign_image(self):
        self.change_image(lambda image: image.__setitem__(slice(0, 4), b"text"))
        return self.refused(*self.drive, *TPM2)

    @provokes(USAGE, "reads as noise")
    def test_fresh_encrypted_image(self):
        subprocess.run([program("QEMU_IMG"), "create", "-q", "-f", "luks", "--object",
                        "secret,id=s,data=abc", "-o", "key-secret=s,iter-time=10",
                        self.image_name, "4M"], cwd=self.directory, check=True)
        return self.refused("-object", "secret,id=s,data=abc",
                            *drive(self.image_name, "luks", **{"key-secret": "s"}), *TPM2)

    @provokes(USAGE, "is in use by device")
    def test_disk_of_the_guest(self):
        return self.refused(*self.drive, "-device", "virtio-blk-pci,drive=nvram", *TPM2)

    @provokes(USAGE, "belongs to the blobstore object")
    def test_drive_of_an_object(self):
        return self.refused(*self.drive, "-object", "blobstore,id=bs,drive=nvram", *TPM2)

    @provokes(USAGE, "blobstore= and drive= say the same", "a TPM has no 'NAME'")
    def test_properties_that_do_not_fit(self):
        return "".join(self.refused(*self.drive, "-device", f"tpm-tis,blobstore=nvram,{other}")
                       for other in ("drive=nvram", "bootindex=1", "rerror=stop", "share-rw=on",
                                     "werror=stop", "write-cache=on"))

    @provokes(USAGE, "was asked for, but libtpms")
    def test_profile_for_a_libtpms_without(self):
        return self.refused(*self.drive, *profiles.backend("null"))

    @provokes(USAGE, "there is a TPM already", "so does blobstore=")
    def test_two_tpms(self):
        return (self.refused(*self.drive, *TWO_TPMS) + self.refused(*self.drive, *IN_JSON) +
                self.refused(*self.drive, "-tpmdev", "libtpms,id=dev,blobstore=nvram", *TPM2))

    @provokes(USAGE, "and no store may be created on it", "blank, but the store with uuid",
              "blank, but a store with key commitment", "blank, but a store that has reached")
    def test_blank_image_that_must_not_become_a_store(self):
        return "".join(self.refused(*self.drive, *store(option)) for option in (
            "create=never", f"uuid={OTHER_UUID}", f"key-commitment={'00' * 32}",
            min_sequence(1, "00" * 16)))


    @provokes(USAGE, "seems blank, but has more than")
    def test_large_blank_image(self):
        os.truncate(self.path(self.image_name), (1 << 30) + 4096)
        machine = self.machine(*self.drive, *TPM2)
        with self.assertRaises(VMError):
            machine.start()
        return self.said_by(machine)


class TwoUsersTest(Saying, EncryptionTest):
    """On a file without a lock; test_fence.py has the rest."""

    def both(self):
        return *drive(self.image_name, file_locking="off"), *TPM2

    @provokes(USAGE, "which has begun epoch")
    def test_second_owner(self):
        first, tpm = self.power_on(*self.both())
        tpm.run(tpm2.startup())
        self.power_on(*self.both())
        state.make_permanent(tpm)
        first.wait_event("STOP")
        return first.qemu_log.read_text()

    @provokes(USAGE, "was written to by another process since")
    def test_owner_that_writes_while_the_second_one_starts(self):
        """Whatever the second one is about to read, the medium is not to blame."""
        storage = StallingStorage(self, self.image_name, "raw")
        self.drive = storage.drive
        _, tpm, _ = self.make(*TPM2)
        reader = Proxy(self, "reader", storage.socket)
        self.refused(*reader.drive, *TPM2)
        *_, opened, started = (number for number, request in enumerate(reader.requests)
                               if request == FLUSH)
        said = []
        for chosen in range(opened + 1, started):
            def write(number, chosen=chosen):
                if number == chosen:
                    state.change_permanent(tpm, chosen)

            second = Proxy(self, f"second-{chosen}", storage.socket, write)
            said.append(self.refused(*second.drive, *TPM2, writes=True))
            self.assertNotIn("damaged", said[-1])
        return "".join(said)

    @provokes(USAGE, "repeat the command with --take-over")
    def test_tool_beside_a_vm(self):
        self.power_on(*self.both())[0].kill()
        return subprocess.run([program("QEMU_BLOBSTORE"), "encrypt", "--object=secret,id=s,data=abc",
                               "--new-key-secret=s", "-f", "raw", self.image_name],
                              cwd=self.directory, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True).stdout


class HostTest(Saying, Policies, EncryptionTest):
    """What is wrong with the host."""

    @provokes(USAGE, "does not sign SHA-1 digests")
    def test_crypto_policy(self):
        self.forbid_sha1_signatures(IGNORE_CONFIGURATION)
        return self.refused(*self.drive, *TPM2)


class LongAgoTest(Saying, test_tool.Tool, EncryptionTest):
    @provokes(USAGE, "is too far on to show")
    def test_sequence_of_more_epochs_ago_than_are_recorded(self):
        raw = store(key=opens_with("raw"))
        _, info = self.make_and_quit(*raw)
        for _ in range(EPOCHS_ON_RECORD):
            self.tool("key-add", "--key-secret=raw", "--new-key-secret=raw", "--new-key-type=raw",
                      "--slot=1", "--replace")
        return self.refused(*self.drive, *store(min_sequence(info["sequence"], info["epoch-id"]),
                                                key=opens_with("raw")))


class StoreTest(Saying, EncryptionTest):
    """Defects of a plain store."""

    def setUp(self):
        super().setUp()
        self.vm, self.tpm, _ = self.make(*PLAIN)
        self.tpm.run(tpm2.shutdown())       # Now the host has nothing more to store.

    def refused_now(self, *args):
        return self.refused(*self.drive, *(args or PLAIN))

    @provokes(USAGE, 'Failed to get "write" lock')
    def test_image_in_use(self):
        return self.refused_now()

    @provokes(USAGE, "cannot read the drive again")
    def test_drive_that_fails_after_an_unclean_end(self):
        """qcow2 reads its tables once, and after the flush not again."""
        self.vm.kill()
        subprocess.run([program("QEMU_IMG"), "convert", "-O", "qcow2", self.image_name, "copy"],
                       cwd=self.directory, check=True)
        rules = {"set-state.0": {"event": "flush_to_os", "state": 1, "new_state": 2},
                 "inject-error.0": {"event": "reftable_load", "state": 2}}
        words = [f"file.{rule}.{name}={value}" for rule, values in rules.items()
                 for name, value in values.items()]
        return self.refused("-drive", ",".join([
            "if=none,id=nvram,driver=qcow2,file.driver=blkdebug,file.image.driver=file",
            "file.image.filename=copy", *words]), *PLAIN)

    @provokes(USAGE, "holds the state of a TPM")
    def test_other_version_of_tpm(self):
        self.vm.quit()
        return self.refused(*self.drive, *TPM12)

    def refused_with(self, change):
        """The output for a permanent state with other bytes; all checks of the store are right.

        @change gets the metadata and the content, and how many of these are metadata.
        """
        slot, = [slot for slot in self.vm.blob("permanent")["slots"] if slot["current"]]
        self.vm.quit()

        def forge(image):
            start = slot["offset"]
            metadata_bytes, = struct.unpack_from("<I", image, start + 88)
            old = version_digest(image, start)
            change_slot(image, start, lambda payload: change(payload, metadata_bytes))
            new = version_digest(image, start)
            size, = struct.unpack_from("<Q", image, HEADER + DIRECTORY_BYTES)
            for copy in DIRECTORY, DIRECTORY + size:
                change_slot(image, copy, lambda payload: replace(payload, old, new))
        self.change_image(forge)
        return self.refused_now()

    @provokes(USAGE, "libtpms cannot use the TPM state")
    def test_state_that_libtpms_refuses(self):
        """It wants a newer one, says byte 7."""
        return self.refused_with(lambda payload, metadata: flip(payload, metadata + 7))

    def refused_with_notes(self, **notes):
        return self.refused_with(lambda payload, metadata: payload.__setitem__(
            slice(metadata), profiles.notes(metadata, **notes)))

    @provokes(USAGE, "has profile 'NAME' and was stored by")
    def test_state_of_a_profile(self):
        return self.refused_with_notes(profile="other")

    @provokes(USAGE, "has state format level")
    def test_state_of_a_level(self):
        return self.refused_with_notes(level=1000)

    @provokes(USAGE, "store needs BYTES bytes", "store needs at least")
    def test_shrunk_image(self):
        self.vm.quit()
        said = ""
        for size in 1 << 20, DIRECTORY + 4096:
            os.truncate(self.path(self.image_name), size)
            said += self.refused_now()
        return said

    @provokes(USAGE, "medium holds the store with uuid")
    def test_another_uuid(self):
        self.vm.quit()
        return self.refused_now(*store(f"uuid={OTHER_UUID}", key=""))

    @provokes(USAGE, "medium holds a store that is not encrypted")
    def test_key_for_a_plain_store(self):
        self.vm.quit()
        return self.refused_now(*ENCRYPTED)

    @provokes(USAGE, "store has format version", "store uses features (bits",
              "opened for reading only")
    def test_newer_store(self):
        self.vm.quit()
        self.change_image(lambda image: sign(image, lambda payload:
                                             payload.__setitem__(8, 0x80)))
        said = self.refused_now()
        self.change_image(lambda image: sign(image, lambda payload:
                                             payload.__setitem__(slice(8, 17), bytes(8) + b"\x80")))
        said += self.refused_now()
        self.change_image(lambda image: sign(image, lambda payload:
                                             payload.__setitem__(0, 2)))
        return said + self.refused_now()

    def started_now(self):
        machine, _ = self.start(*PLAIN)
        machine.quit()
        return self.said_by(machine)

    @provokes(USAGE, "superblock copy at offset", "directory copy at offset")
    def test_one_copy_is_damaged(self):
        self.vm.quit()
        self.flip(HEADER)
        said = self.started_now()
        self.flip(DIRECTORY + HEADER)
        said += self.started_now()
        self.assertEqual(self.started_now(), "")
        return said

    def directory_bytes(self):
        with open(self.path(self.image_name), "rb") as image:
            image.seek(HEADER + 72)
            return struct.unpack("<Q", image.read(8))[0]

    @provokes(USAGE, "both copies of the superblock", "both copies of the directory")
    def test_both_copies_are_damaged(self):
        self.vm.quit()
        second = DIRECTORY + self.directory_bytes()
        self.flip(DIRECTORY + HEADER, second + HEADER)
        said = self.refused_now()
        self.flip(HEADER, COPY + HEADER)
        for copy in 0, COPY:        # A valid head alone would be enough.
            self.flip(copy + HEADER + 40)
        return said + self.refused_now()

    @provokes(USAGE, "is damaged: TEXT")
    def test_damaged_blob(self):
        slot, = [slot for slot in self.vm.blob("permanent")["slots"] if slot["current"]]
        self.vm.quit()
        self.flip(slot["offset"] + 2000)
        return self.refused_now()

    @provokes(USAGE, "is older than the one that was asked for", "does not continue")
    def test_rolled_back_image(self):
        before = self.content()
        state.change_permanent(self.tpm, 1)
        info = self.vm.store()
        self.vm.kill()
        seen = store(min_sequence(info["sequence"], info["epoch-id"]), key="")
        Path(self.path(self.image_name)).write_bytes(before)
        said = self.refused_now(*seen)
        for _ in range(2):
            self.vm, self.tpm = self.start(*PLAIN)
            for number in range(3):
                state.change_permanent(self.tpm, number)
            self.vm.quit()
        return said + self.refused_now(*seen)

    @provokes(USAGE, "is older than the slot of blob")
    def test_directory_of_another_time(self):
        self.vm.kill()
        size = DIRECTORY + 2 * self.directory_bytes()
        before = self.content()[:size]
        self.vm, self.tpm = self.start(*PLAIN)
        state.change_permanent(self.tpm, 1)
        self.vm.kill()
        self.change_image(lambda image: image.__setitem__(slice(0, size), before))
        return self.refused_now()


class EncryptedStoreTest(Saying, EncryptionTest):
    def setUp(self):
        super().setUp()
        self.vm, _, _ = self.make(*ENCRYPTED)

    def refused_now(self, *args):
        self.vm.kill()
        return self.refused(*self.drive, *(args or ENCRYPTED))

    @provokes(USAGE, "and no key was given")
    def test_no_key(self):
        return self.refused_now(*PLAIN)

    @provokes(USAGE, "the key is wrong")
    def test_wrong_key(self):
        return self.refused_now(*OTHER_KEY)

    @provokes(USAGE, "no key slot can be tried")
    def test_key_that_no_slot_wants(self):
        return self.refused_now(*store(key="encrypt.type=token,encrypt.key-uri=pkcs11:token=none"))

    @provokes(USAGE, "key slot NUMBER is not in use")
    def test_empty_key_slot(self):
        return self.refused_now(*store(key=opens_with("sec0", "keyslot=3")))

    @provokes(USAGE, "store has another key commitment")
    def test_another_key_commitment(self):
        return self.refused_now(*store(f"key-commitment={'00' * 32}"))

    @provokes(USAGE, "superblock was not written with the key")
    def test_forged_superblock(self):
        self.vm.quit()
        self.change_image(lambda image: sign(image, lambda payload:
                                             payload.__setitem__(448, payload[448] ^ 1)))
        return self.refused_now()

    @provokes(USAGE, "does not belong to the directory")
    def test_superblock_of_another_copy(self):
        self.vm.quit()
        before = self.content()
        heads = []
        for _ in range(2):
            Path(self.path(self.image_name)).write_bytes(before)
            self.vm, self.tpm = self.start(*ENCRYPTED)
            self.vm.qmp("blobstore-key-add", id="bs", **new_key("sec1"))
            self.vm.quit()
            heads.append(self.content()[:DIRECTORY])
        self.change_image(lambda image: image.__setitem__(slice(0, DIRECTORY), heads[0]))
        return self.refused_now()

    @provokes(USAGE, "the others still open the store")
    def test_damaged_key_slot(self):
        self.vm.qmp("blobstore-key-add", id="bs", **new_key("sec1"))
        self.vm.quit()
        second = HEADER + KEY_SLOTS + KEY_SLOT_BYTES
        self.flip(second, COPY + second)
        machine, _ = self.start(*ENCRYPTED)
        return self.said_by(machine)

    @provokes(USAGE, "superblock (generation NUMBER) is older")
    def test_superblock_of_another_time(self):
        before = self.content()[:DIRECTORY]
        self.vm.qmp("blobstore-key-add", id="bs", **new_key("sec1"))
        self.vm.kill()
        self.change_image(lambda image: image.__setitem__(slice(0, DIRECTORY), before))
        return self.refused_now()


if __name__ == "__main__":
    unittest.main()
