# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands of a TPM 1.2 (TCG TPM Main, part 3: Commands)."""

import struct

from frontend import Command

CLEAR, STATE = 1, 2                 # TPM_ST, of startup

ANY_PCR = bytes.fromhex("0003 000000 1f") + bytes(20)
NV_BYTES = 8                        # of an area here


def command(ordinal, parameters=b"", parse=lambda parameters: None):
    return Command(0x00c1, ordinal, parameters, parse)


def startup(how=CLEAR):
    return command(0x99, struct.pack(">H", how))


def save_state():
    return command(0x98)


def self_test():
    return command(0x50)


def get_ticks():
    return command(0xf1)


def extend(pcr, digest):
    """Extend a PCR with a SHA-1 digest."""
    return command(0x14, struct.pack(">I", pcr) + digest)


def pcr_read(pcr):
    return command(0x15, struct.pack(">I", pcr), bytes)


def make_endorsement_key():
    """An RSA key of 2048 bits, which takes a while and is stored then."""
    rsa = struct.pack(">III", 2048, 2, 0)
    return command(0x78, bytes(20) + struct.pack(">IHHI", 1, 3, 1, len(rsa)) + rsa)


def nv_define(index):
    """Define an area in a new TPM, which allows that to anybody."""
    public = (struct.pack(">HI", 0x18, index) + ANY_PCR * 2 +
              struct.pack(">HI3BI", 0x17, 1, 0, 0, 0, NV_BYTES))
    return command(0xcc, public + bytes(20))


def nv_write(index, data):
    return command(0xcd, struct.pack(">III", index, 0, len(data)) + data)


def nv_read(index):
    return command(0xcf, struct.pack(">III", index, 0, NV_BYTES), lambda response: response[4:])
