# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-blobstore makes, shows and changes the TPM of an image that no VM uses."""

import json
import unittest

import lockout
import state
import tpm2
from encryption import EncryptionTest, opens_with, store
from test_banks import get_banks
from test_swtpm import describe, fill
from test_tool import KEY, NO_STORE, QUICK, USAGE, Tool

STORE = ["-object", "blobstore,id=bs,drive=nvram", "-device", "tpm-tis,blobstore=bs"]
LOCKOUT = 0x4000000a


def change_auth(hierarchy, password):
    return tpm2.authorized(0x129, [hierarchy], tpm2.sized(password))


class TpmTest(Tool, EncryptionTest):
    def info(self, *options):
        return json.loads(self.tool("tpm info", "--output=json", *options))

    def use(self, *steps):
        """Run functions with the TPM in a machine; returns their values."""
        machine, tpm = self.start(*STORE)
        values = [step(tpm) for step in steps]
        tpm.run(tpm2.shutdown())
        machine.quit()
        return values


class CreateTest(TpmTest):
    def test_banks_are_chosen(self):
        self.tool("tpm create", "--pcr-banks=sha256:sha384")
        self.assertEqual(self.info()["pcr-banks"], ["sha256", "sha384"])
        banks, = self.use(lambda tpm: tpm.run(get_banks()))
        self.assertEqual(banks, {"sha256", "sha384"})
        self.tool_fails("tpm create", says="a TPM in the store already")

    def test_store_is_encrypted(self):
        self.tool("tpm create", "--new-key-secret=sec0", QUICK)
        self.tool_fails("tpm info", says="no key", status=KEY)
        before = self.info("--key-secret=sec0")
        machine, tpm = self.start(*store(key=opens_with("sec0")))
        state.make_permanent(tpm)
        tpm.run(tpm2.shutdown())
        machine.quit()
        self.assertEqual(self.info("--key-secret=sec0")["resets"], before["resets"] + 1)

    def test_tpm_1_2(self):
        self.tool("tpm create", "--tpm-version=1.2")
        self.assertEqual(self.info()["version"], "1.2")
        self.tool_fails("tpm clear", says="for TPMs 2.0")
        self.check_refused(*STORE, says="holds the state of a TPM 1.2")

    def test_bad_requests(self):
        for options, says, status in (
                (["--pcr-banks=md5"], "no PCR bank 'md5'", USAGE),
                (["--profile=custom"], "profile", USAGE),
                (["--tpm-version=3"], "makes no sense", USAGE),
                (["--tpm-version=1.2", "--pcr-banks=sha1"], "no choice of PCR banks", USAGE)):
            with self.subTest(options=options):
                self.tool_fails("tpm create", *options, says=says, status=status)
        self.assertEqual(set(self.content()), {0})


class ShowTest(TpmTest):
    def test_info_is_what_the_tpm_says(self):
        self.use(fill, lambda tpm: tpm.run(change_auth(LOCKOUT, b"locked")))
        before = self.content()
        info = self.info()
        self.assertEqual(self.content(), before)
        self.assertEqual({index["index"]: index["size"] for index in info["nv"]},
                         {"0x01000001": 8, "0x01000002": 8})
        self.assertEqual(info["persistent"], ["0x81000001", "0x81000010"])
        self.assertEqual([info[f"{name}-password"] for name in
                          ("owner", "endorsement", "lockout")], [False, False, True])
        self.assertEqual((info["locked-out"], info["failed-tries"]), (False, 0))
        self.assertEqual(set(info["pcr-banks"]), {"sha1", "sha256", "sha384", "sha512"})
        text = self.tool("tpm info")
        self.assertRegex(text, r"persistent +0x81000001 0x81000010\n")
        self.assertRegex(text, r"nv +0x01000001 \(8 bytes\) 0x01000002 \(8 bytes\)\n")
        self.assertRegex(text, r"lockout-password +yes\n")

    def test_image_without_a_tpm(self):
        for command, *options in ["tpm info"], ["tpm clear"], ["tpm export", "--to=x"]:
            with self.subTest(command=command):
                self.tool_fails(command, *options, says="blank", status=NO_STORE)


class ChangeTest(TpmTest):
    def test_clear_keeps_the_endorsement_key(self):
        (_, before), _ = self.use(fill, lambda tpm: tpm.run(change_auth(LOCKOUT, b"locked")))
        self.tool("tpm clear")
        info = self.info()
        self.assertEqual((info["nv"], info["persistent"], info["lockout-password"]),
                         ([], [], False))
        _, after = self.use(fill, describe)
        self.assertEqual(after["endorsement"], before["endorsement"])
        self.assertNotEqual(after["key"], before["key"])

    def test_new_identity(self):
        (_, before), = self.use(fill)
        self.tool_fails("tpm new-identity", says="all keys of the TPM are lost", status=USAGE)
        self.tool("tpm new-identity", "--force")
        _, after = self.use(fill, describe)
        self.assertNotEqual(after["endorsement"], before["endorsement"])
        self.assertNotEqual(after["key"], before["key"])

    def lock(self, tpm):
        lockout.make(tpm)
        for _ in range(100):
            if lockout.use(tpm, b"wrong") == lockout.RC_LOCKOUT:
                return
        self.fail("the TPM allows any number of tries")

    def test_lockout_is_reset(self):
        self.use(self.lock)
        self.assertTrue(self.info()["locked-out"])
        self.tool("tpm reset-lockout")
        info = self.info()
        self.assertEqual((info["locked-out"], info["failed-tries"]), (False, 0))

    def test_lockout_takes_the_password(self):
        self.use(lambda tpm: tpm.run(change_auth(LOCKOUT, b"simsim")), self.lock)
        self.tool_fails("tpm reset-lockout", says="lockout password is missing or wrong")
        self.tool_fails("tpm reset-lockout", "--lockout-secret=sec0", says="missing or wrong")
        self.tool("tpm reset-lockout", "--lockout-secret=sec1")
        self.assertFalse(self.info()["locked-out"])


if __name__ == "__main__":
    unittest.main()
