# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest sends the TPM any bytes: QEMU goes on, and so does the TPM.

make night runs this with a QEMU that was built with ASan and UBSan.
"""

import os
import re
import unittest
from collections import Counter
from unittest import mock

import pytest

import tpm2
from case import BUILD, LOGS, TPM2, TPM2_CRB, MachineTest, drive, rounds, say_rounds
from frontend import TPMError
from lockout import RC_RETRY
from rawcommands import KEYS, NV_INDEX, SEEDS, Mutator, seed
from test_commands import RC_COMMAND_CODE, RC_INITIALIZE, list_commands

ROUNDS = rounds(2, 300)         # each with a TPM of its own
BATCHES, COMMANDS = 10, 60      # the VM is reset before each batch
BATCH_SECONDS = 300

SANITIZED = BUILD / "qemu/asan/qemu-system-x86_64"
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
REPORT = re.compile(r"AddressSanitizer|runtime error:")

# A TPM has room for three objects at a time. A digest that is being made takes one.
CASTS = ((), ("key",), ("key", "sign"), ("sign",), ("mac",), ("key", "sign", "sequence"),
         ("key", "rsa", "mac"), ("cipher", "mac", "sign"))

# What says that a command does not have the form that it should have
RC_COMMAND_SIZE, RC_AUTHSIZE, RC_AUTH_MISSING, RC_AUTH_CONTEXT = 0x142, 0x144, 0x125, 0x145
RC_FORMAT, RC_INSUFFICIENT, RC_SELECTOR, RC_RESERVED_BITS = 0x80, 0x1a, 0x18, 0x21
OF_FORMAT = 0xbf


def names_in(code):
    handles, _, parameters = SEEDS[code]
    return {name for name in [*handles, parameters] if name in (*KEYS, "sequence")}


class RawCommandsTest(MachineTest):
    tpm_args = TPM2

    def begin(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *self.tpm_args)
        return machine, tpm

    def make_objects(self, tpm, cast):
        """The handles of what a batch is about; without those that cannot be made any more."""
        makers = {name: tpm2.create_primary(public[:-2], public[-2:])
                  for name, public in KEYS.items()}
        makers.update(session=tpm2.start_policy_session(),
                      sequence=tpm2.plain(0x186, SEEDS[0x186][2], tpm2.handle))
        tpm.result(tpm2.nv_define(NV_INDEX))
        objects = {"nv": NV_INDEX}
        for name in (*cast, "session"):
            try:
                objects[name] = tpm.run(makers[name])
            except TPMError:
                pass
        return objects

    def exchange(self, tpm, data):
        result = tpm.exchange(data)
        return tpm.exchange(data) if result == RC_RETRY else result

    def test_seeds_are_well_formed(self):
        """None has too few or too many bytes, and there is one for each code of the TPM."""
        machine, tpm = self.begin()
        tpm.run(tpm2.startup())
        self.assertEqual(sorted(tpm.run(list_commands(0, 1000))[1]), sorted(SEEDS))
        for code in SEEDS:
            machine.qmp("system_reset")
            tpm.run(tpm2.startup())
            cast = next(cast for cast in CASTS if names_in(code) <= set(cast))
            objects = self.make_objects(tpm, cast)
            self.assertEqual(len(objects), len(cast) + 2, f"{code:#x}: {objects}")
            result = self.exchange(tpm, seed(code, objects))
            self.assertNotIn(result, (RC_COMMAND_SIZE, RC_AUTHSIZE, RC_AUTH_MISSING,
                                      RC_AUTH_CONTEXT, RC_COMMAND_CODE), f"{code:#x}: {result:#x}")
            if result & RC_FORMAT:
                self.assertNotIn(result & OF_FORMAT & ~RC_FORMAT,
                                 (RC_INSUFFICIENT, RC_SELECTOR, RC_RESERVED_BITS),
                                 f"{code:#x}: {result:#x}")

    def run_batch(self, tpm, mutator, sent, results):
        cast = self.random.choice(CASTS)
        objects = self.make_objects(tpm, cast)
        codes = [code for code in SEEDS if names_in(code) <= set(cast)]
        for _ in range(COMMANDS):
            sent.append(mutator.mutated(seed(self.random.choice(codes), objects)))
            results[self.exchange(tpm, sent[-1])] += 1

    def check_goes_on(self, machine, tpm, results):
        code = tpm.result(tpm2.get_random(8))
        self.assertIn(code, (0, tpm2.RC_FAILURE, RC_INITIALIZE))
        results["in failure mode"] += code == tpm2.RC_FAILURE
        self.assertEqual(machine.status, "running")
        self.assertNotRegex(machine.qemu_log.read_text(encoding="utf-8"), REPORT)

    def run_round(self, number, results):
        machine, tpm = self.begin()
        mutator = Mutator(self.random)
        for batch in range(BATCHES):
            self.set_alarm(BATCH_SECONDS)
            sent = []
            try:
                machine.qmp("system_reset")
                tpm.result(tpm2.startup())
                self.run_batch(tpm, mutator, sent, results)
                self.check_goes_on(machine, tpm, results)
            except Exception as error:
                log = LOGS / f"{self.id()}.commands"
                log.write_text("\n".join(data.hex() for data in sent), encoding="utf-8")
                raise AssertionError(self.again(
                    f"round {number}, batch {batch}; its commands: {log}; {error}")) from error
        machine.quit()

    @pytest.mark.drawn
    def test_any_bytes(self):
        if os.environ.get("LENGTH") == "night":
            patch = mock.patch.dict(os.environ, SANITIZERS, QEMU=str(SANITIZED))
            patch.start()
            self.addCleanup(patch.stop)
        results = Counter()
        for number in range(ROUNDS):
            self.run_round(number, results)
        commands = ROUNDS * BATCHES * COMMANDS
        say_rounds(f"{type(self).__name__}", ROUNDS,
                   f"{commands} commands: {results[0]} carried out, "
                   f"{results[None]} never complete, {len(results)} kinds of response, "
                   f"{results['in failure mode']} times in failure mode")


class RawCommandsCRBTest(RawCommandsTest):
    tpm_args = TPM2_CRB


if __name__ == "__main__":
    unittest.main()
