# SPDX-License-Identifier: GPL-2.0-or-later
"""The dictionary-attack lockout of a TPM 2.0, and commands that make a TPM count towards it."""

import struct

import tpm2
from frontend import Command

PROTECTED = 0x01000010              # an NV index whose password dictionary attacks could find
PASSWORD = b"right"

RC_LOCKOUT, RC_RETRY = 0x921, 0x922
RC_AUTH_FAIL = 0x98e                # of the first session

CAP_TPM_PROPERTIES = 6
PT_LOCKOUT_COUNTER = 0x20e

NV_AUTH_READ = 1 << 18


def get_property(number):
    """The value of a property of the TPM."""
    return tpm2.get_capability(CAP_TPM_PROPERTIES, number, 1,
                               lambda response: struct.unpack_from(">I", response, 13)[0])


def define():
    return tpm2.nv_define(PROTECTED, NV_AUTH_READ, password=PASSWORD)


def read(password=PASSWORD):
    """Read the index by its own password."""
    session = struct.pack(">IHB", 0x40000009, 0, 0) + tpm2.sized(password)
    return Command(0x8002, 0x14e, struct.pack(">II", PROTECTED, PROTECTED) +
                   struct.pack(">I", len(session)) + session +
                   struct.pack(">HH", tpm2.NV_BYTES, 0))


def make(tpm):
    """Define a protected index in a TPM that has been started."""
    tpm.run(define())
    tpm.run(tpm2.nv_write(PROTECTED, bytes(tpm2.NV_BYTES)))


def use(tpm, password=PASSWORD):
    """Use a password. The TPM first notes that a password will be used, and says so."""
    result = tpm.result(read(password))
    return tpm.result(read(password)) if result == RC_RETRY else result


def counter(tpm):
    return tpm.run(get_property(PT_LOCKOUT_COUNTER))


def reset():
    """End the lockout; the lockout authorization of a new TPM is empty."""
    return tpm2.authorized(0x139, [0x4000000a])
