# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a TPM 2.0: one item of each kind, to compare before and after."""

import hashlib

import tpm2

INDEX, COUNTER = 0x01000001, 0x01000002
KEY = 0x81000001                    # persistent
TRANSIENT = 0x80000000              # where the TPM puts the first one
PCRS = 7, 16


def digest(text):
    return hashlib.sha256(str(text).encode()).digest()


def make_permanent(tpm):
    """Make an NV index, a counter and a persistent key in a new TPM."""
    tpm.run(tpm2.nv_define(INDEX))
    tpm.run(tpm2.nv_define(COUNTER, tpm2.NV_COUNTER))
    key = tpm.run(tpm2.create_ecc_key())
    tpm.run(tpm2.evict_control(key, KEY))
    tpm.run(tpm2.flush_context(key))
    change_permanent(tpm, 0)


def change_permanent(tpm, number):
    tpm.run(tpm2.nv_write(INDEX, digest(number)[:tpm2.NV_BYTES]))
    tpm.run(tpm2.nv_increment(COUNTER))


def permanent(tpm):
    return {"index": tpm.run(tpm2.nv_read(INDEX)), "counter": tpm.run(tpm2.nv_counter(COUNTER)),
            "key": tpm.run(tpm2.read_public(KEY))}


def make_volatile(tpm):
    """Load a key and start a policy session; returns the session."""
    tpm.run(tpm2.create_ecc_key())
    session = tpm.run(tpm2.start_policy_session())
    change_volatile(tpm, session, 0)
    return session


def change_volatile(tpm, session, number):
    for pcr in PCRS:
        tpm.run(tpm2.pcr_extend(pcr, digest(number)))
    tpm.run(tpm2.policy_restart(session))
    tpm.run(tpm2.policy_command_code(session, tpm2.CC_NV_WRITE + number % 2))


def volatile(tpm, session):
    return {"pcrs": [tpm.run(tpm2.pcr_read(pcr)) for pcr in PCRS],
            "key": tpm.run(tpm2.read_public(TRANSIENT)),
            "session": tpm.run(tpm2.policy_digest(session))}


def make(tpm):
    """Make all kinds of state in a new TPM; returns the session."""
    tpm.run(tpm2.startup())
    make_permanent(tpm)
    return make_volatile(tpm)


def all(tpm, session):
    return {"permanent": permanent(tpm), "volatile": volatile(tpm, session)}
