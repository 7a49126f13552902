# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM that is tried in all that it asks of its host: cryptography, random numbers, storage."""

import hashlib

import state
import tpm12
import tpm2

DIGESTS = {tpm2.SHA1: "sha1", tpm2.SHA256: "sha256"}
SCHEMES = tpm2.RSASSA, tpm2.RSAPSS

AREA, PCR = 0x1000, 3               # of a TPM 1.2
CONTENT = b"12345678"


class Working:
    """For a MachineTest. The arguments are those of a machine with a new TPM in a blank image."""

    def check_signatures(self, tpm):
        key = tpm.run(tpm2.create_signing_key())
        for scheme in SCHEMES:
            for algorithm, name in DIGESTS.items():
                digest = hashlib.new(name, b"signed").digest()
                signature = tpm.run(tpm2.sign(key, scheme, algorithm, digest))
                tpm.run(tpm2.verify_signature(key, digest, signature))
        tpm.run(tpm2.flush_context(key))

    def check_computes(self, tpm):
        tpm.run(tpm2.self_test())
        self.assertNotEqual(tpm.run(tpm2.get_random(16)), tpm.run(tpm2.get_random(16)))
        self.assertEqual(tpm.run(tpm2.hash_sha1(b"hashed")), hashlib.sha1(b"hashed").digest())
        for create in tpm2.create_ecc_key(), tpm2.create_rsa_key(1):
            tpm.run(tpm2.flush_context(tpm.run(create)))
        self.check_signatures(tpm)

    def check_tpm2_works(self, *args):
        """A TPM 2.0 computes, and holds its state, before and after a restart."""
        machine, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        self.check_computes(tpm)
        expected = state.permanent(tpm)
        machine.quit()
        machine, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        self.check_computes(tpm)
        self.assertEqual(state.permanent(tpm), expected)
        machine.quit()

    def check_tpm12_works(self, *args):
        machine, tpm = self.power_on(*args)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.self_test())
        tpm.run(tpm12.make_endorsement_key())
        digest = hashlib.sha1(b"measured").digest()
        tpm.run(tpm12.extend(PCR, digest))
        self.assertEqual(tpm.run(tpm12.pcr_read(PCR)), hashlib.sha1(bytes(20) + digest).digest())
        tpm.run(tpm12.nv_define(AREA))
        tpm.run(tpm12.nv_write(AREA, CONTENT))
        machine.quit()
        machine, tpm = self.power_on(*args)
        tpm.run(tpm12.startup())
        self.assertEqual(tpm.run(tpm12.nv_read(AREA)), CONTENT)
        machine.quit()
