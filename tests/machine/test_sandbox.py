# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM in a QEMU that has given away what it does not need: -sandbox on."""

import re
import unittest
from pathlib import Path

import keyring
import state
from case import NOBODY, TPM12, TPM2, TPM2_CRB, drive
from encryption import (PINS, PLAIN, EncryptedMigrationTest, EncryptionTest, new_key,
                        opens_with, store, with_token)
from softhsm import tokens
from vm import VMError
from working import Working

SANDBOX = ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
FILTER = "2"                # of seccomp: proc_pid_status(5)


class SandboxTest(Working, EncryptionTest):
    def setUp(self):
        super().setUp()
        self.drive = [*SANDBOX, *self.drive]

    def check_persists(self, *args):
        machine, _, expected = self.make(*args)
        machine.quit()
        machine, _ = self.check_holds(expected, *args)
        return machine, expected


class StoreTest(SandboxTest):
    """Each kind of store, made and opened again."""

    def test_sandbox_is_there(self):
        """All threads are in it, and no process can be made."""
        machine, _ = self.start(*TPM2)
        tasks = list(Path(f"/proc/{machine.pid}/task").iterdir())
        self.assertGreater(len(tasks), 1)
        for task in tasks:
            found = re.search(r"^Seccomp:\t(\d)", (task / "status").read_text(), re.M)
            self.assertEqual(found[1], FILTER)
        with self.assertRaisesRegex(VMError, "Operation not permitted|Failed to fork"):
            machine.qmp("migrate", uri="exec:true")

    def test_plain_store(self):
        self.check_tpm2_works(*self.drive, *TPM2)

    def test_plain_store_behind_a_crb(self):
        self.check_tpm2_works(*self.drive, *TPM2_CRB)

    def test_plain_store_of_a_tpm12(self):
        self.check_tpm12_works(*self.drive, *TPM12)

    def test_passphrase(self):
        self.check_tpm2_works(*self.drive, *store())

    def test_raw_secret(self):
        self.check_tpm2_works(*self.drive, *store(key=opens_with("raw")))

    def test_secret_in_a_keyring(self):
        serial = keyring.add("blobstore-test", b"sesame")
        if serial is None:
            self.skipTest("this kernel keeps no keys")
        self.addCleanup(keyring.revoke, serial)
        self.check_tpm2_works(*self.drive, "-object",
                              f"secret_keyring,id=kernel,serial={serial}",
                              *store(key=opens_with("kernel", "iter-time=1")))

    def test_rsa_key_in_a_token(self):
        self.check_tpm2_works(*self.drive, *with_token(tokens(self).add_rsa_key("vms", "vm1")))

    def test_aes_key_in_a_token(self):
        self.check_tpm2_works(*self.drive, *with_token(tokens(self).add_aes_key("vms", "vm1")))


class KeysTest(SandboxTest):
    """Keys change while the VM runs."""

    def test_conversions(self):
        machine, expected = self.check_persists(*PLAIN)
        self.run_command(machine, "blobstore-encrypt", id="bs", **new_key("sec0"))
        self.run_command(machine, "blobstore-rekey", id="bs", **new_key("sec1"))
        machine.quit()
        machine, _ = self.check_holds(expected, *store(key=opens_with("sec1")))
        self.run_command(machine, "blobstore-decrypt", id="bs")
        machine.quit()
        self.check_holds(expected, *PLAIN)

    def test_key_in_a_token_is_added(self):
        uri = tokens(self).add_rsa_key("vms", "vm1")
        machine, expected = self.check_persists(*PINS, *store())
        machine.qmp("blobstore-key-add", id="bs", type="token", key_uri=uri, pin_secret="pin0")
        machine.quit()
        self.check_holds(expected, *with_token())


class ProgramTest(SandboxTest):
    """A module of p11-kit that is a program. As root p11-kit has no configuration of the user."""

    def setUp(self):
        super().setUp()
        self.uri = tokens(self).add_rsa_key("vms", "vm1")
        self.modules = Path(self.path("config/pkcs11/modules"))
        self.modules.mkdir(parents=True)
        for path in Path(self.directory), *Path(self.directory).rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o666)

    def configure(self, options=""):
        (self.modules / "program.module").write_text(
            f"remote: |touch {self.path('started')}\n{options}", encoding="utf-8")

    def said_to_nobody(self, *args):
        """What a QEMU of another user says that does not start."""
        before = self.content()
        said = self.start_and_fail(
            *args, *with_token("pkcs11:token=none"),
            before=["env", f"XDG_CONFIG_HOME={self.path('config')}", *NOBODY])
        self.assertEqual(self.content(), before)
        return said

    def has_started(self):
        return Path(self.path("started")).exists()

    def test_its_tokens_are_not_there(self):
        self.configure()
        self.assertRegex(self.said_to_nobody(*self.drive),
                         "none of the 1 tokens of 1 PKCS#11 modules is the one")
        self.assertFalse(self.has_started())
        # Without the sandbox p11-kit tries it.
        self.said_to_nobody(*drive(self.image_name))
        self.assertTrue(self.has_started())

    def test_message_says_so_if_it_is_critical(self):
        self.configure("critical: yes\n")
        self.assertRegex(self.said_to_nobody(*self.drive),
                         "PKCS#11 modules of the host's p11-kit configuration cannot be loaded: ")
        self.assertFalse(self.has_started())


class SnapshotTest(SandboxTest):
    image_format = "qcow2"

    def check_snapshot(self, *args):
        machine, tpm, expected = self.make(*args)
        machine.savevm("before")
        state.change_permanent(tpm, 1)
        self.assertNotEqual(state.permanent(tpm), expected)
        self.assertEqual(machine.hmp("loadvm before"), "")
        self.assertEqual(state.permanent(tpm), expected)

    def test_plain_store(self):
        self.check_snapshot(*TPM2)

    def test_encrypted_store(self):
        self.check_snapshot(*store(key=opens_with("raw")))


class MoveTest(EncryptedMigrationTest):
    def test_encrypted_store(self):
        args = [*SANDBOX, *self.drive, *store()]
        source, tpm = self.power_on(*args)
        session = state.make(tpm)
        expected = state.all(tpm, session)
        destination, moved = self.incoming(*args)
        self.migrate(source, destination)
        self.assertEqual(state.all(moved, session), expected)
        state.change_permanent(moved, 1)


if __name__ == "__main__":
    unittest.main()
