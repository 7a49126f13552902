# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM on a host whose crypto policy forbids what TPMs need: it works, or does not start."""

import unittest

import state
import tpm2
from case import TPM12, TPM2, TPM2_CRB, MachineTest, drive
from encryption import EncryptionTest, new_key, opens_with, store, with_token
from policy import (FIPS_WITHOUT_PROVIDER, IGNORE_CONFIGURATION, MISTAKE, NO_ALGORITHMS, NO_SHA1,
                    Policies)
from softhsm import tokens
from working import Working

DRIVE = drive("nvram.raw")


class PolicyTest(Policies, Working, MachineTest):
    def check_all_work(self):
        for args in TPM2, TPM2_CRB:
            self.image()
            self.check_tpm2_works(*DRIVE, *args)
        self.image()
        self.check_tpm12_works(*DRIVE, *TPM12)


class OpenSSLTest(PolicyTest):
    """The file that OPENSSL_CONF names."""

    def test_works_with_fips_but_without_its_provider(self):
        self.openssl_policy(FIPS_WITHOUT_PROVIDER)
        self.check_all_work()

    def test_works_without_sha1(self):
        self.openssl_policy(NO_SHA1)
        self.check_all_work()

    def test_works_without_any_algorithm(self):
        self.openssl_policy(NO_ALGORITHMS)
        self.check_all_work()

    def test_works_with_a_mistake_in_the_file(self):
        self.openssl_policy(MISTAKE)
        self.check_all_work()

    def test_works_without_the_file(self):
        self.environment(OPENSSL_CONF=self.path("no-such-file"))
        self.check_all_work()

    def test_works_with_a_file_that_cannot_be_read(self):
        self.environment(OPENSSL_CONF=self.directory)
        self.check_all_work()

    def test_all_but_the_tpm_stays_with_the_policy(self):
        """SoftHSM uses OpenSSL in QEMU's process, too."""
        self.image()
        args = [*DRIVE, *with_token(tokens(self).add_rsa_key("vms", "vm1"))]
        machine, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        machine.quit()
        self.openssl_policy(FIPS_WITHOUT_PROVIDER)
        self.check_machine_refused(*args, says="blobstore 'bs'.*pkcs11:token=vms")


class SHA1SignaturesTest(PolicyTest):
    def test_works_where_openssl_forbids_them_in_general(self):
        self.forbid_sha1_signatures()
        self.check_all_work()


class NoSHA1SignaturesTest(PolicyTest):
    """An OpenSSL that forbids them, whatever its configuration says."""

    def setUp(self):
        super().setUp()
        self.forbid_sha1_signatures(IGNORE_CONFIGURATION)

    def test_refuses_to_start_and_leaves_a_blank_image_blank(self):
        self.image()
        for args in TPM2, TPM2_CRB, TPM12:
            self.check_machine_refused(
                *DRIVE, *args, says="does not sign SHA-1 digests .invalid digest.*\n.*"
                "OPENSSL_ENABLE_SHA1_SIGNATURES=1 in its environment")
        self.assertFalse(any(self.content()))

    def test_refuses_to_start_and_leaves_a_tpm_as_it_is(self):
        self.image()
        self.environment(LD_PRELOAD=None)
        machine, tpm = self.power_on(*DRIVE, *TPM2)
        state.make(tpm)
        machine.quit()
        self.forbid_sha1_signatures(IGNORE_CONFIGURATION)
        self.check_machine_refused(*DRIVE, *TPM2, says="does not sign SHA-1 digests")

    def test_next_step_that_the_message_names_works(self):
        self.environment(OPENSSL_ENABLE_SHA1_SIGNATURES="1")
        self.check_all_work()


class GcryptTest(PolicyTest):
    def test_plain_store_works_with_fips(self):
        self.gcrypt_fips()
        self.check_all_work()


class EncryptedGcryptTest(Policies, EncryptionTest):
    """In FIPS mode libgcrypt has less secure memory."""

    def setUp(self):
        super().setUp()
        self.gcrypt_fips()

    def check_works(self, *args):
        machine, _, expected = self.make(*args)
        self.assertNotIn("memory", machine.qemu_log.read_text(encoding="utf-8"))
        machine.quit()
        machine, _ = self.check_holds(expected, *args)
        return machine, expected

    def test_passphrase(self):
        self.check_works(*store())

    def test_raw_secret(self):
        self.check_works(*store(key=opens_with("raw")))

    def test_token(self):
        self.check_works(*with_token(tokens(self).add_rsa_key("vms", "vm1")))

    def test_all_key_slots_and_each_conversion(self):
        machine, expected = self.check_works(*store())
        for _ in range(7):
            machine.qmp("blobstore-key-add", id="bs", **new_key("raw"))
        self.run_command(machine, "blobstore-rekey", id="bs", **new_key("sec1"))
        self.run_command(machine, "blobstore-decrypt", id="bs")
        self.run_command(machine, "blobstore-encrypt", id="bs", **new_key("raw"))
        machine.quit()
        self.check_holds(expected, *store(key=opens_with("raw")))

    def test_image_from_a_host_without_fips_opens(self):
        self.environment(LIBGCRYPT_FORCE_FIPS_MODE=None)
        machine, _, expected = self.make(*store())
        machine.quit()
        self.gcrypt_fips()
        self.check_holds(expected, *store())


if __name__ == "__main__":
    unittest.main()
