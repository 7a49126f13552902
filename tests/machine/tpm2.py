# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands of a TPM 2.0 (TCG Trusted Platform Module Library, part 3: Commands)."""

import struct

from frontend import Command

OWNER = 0x40000001
NULL = 0x40000007
SHA1 = 0x0004
SHA256 = 0x000b
ALG_NULL = 0x0010
RSASSA, RSAPSS = 0x0014, 0x0016
ST_HASHCHECK = 0x8024

CLEAR, STATE = 0, 1                 # TPM_SU, of startup and shutdown

RC_FAILURE, RC_NV_SPACE, RC_NV_DEFINED = 0x101, 0x14b, 0x14c

NV_OWNER_WRITE = 1 << 1
NV_COUNTER = 1 << 4
NV_OWNER_READ = 1 << 17
NV_BYTES = 8                        # of an index here, and of any counter

CC_NV_WRITE, CC_NV_WRITE_LOCK = 0x137, 0x138

POLICY_SESSION = 1


def sized(data):
    """A TPM2B of any kind."""
    return struct.pack(">H", len(data)) + data


EMPTY_PASSWORD = bytes.fromhex("00000009 40000009 0000 00 0000")
EMPTY_PASSWORD_ANSWER = bytes.fromhex("0000 01 0000")


def plain(code, parameters=b"", parse=lambda parameters: None):
    return Command(0x8001, code, parameters, parse)


def authorized(code, handles, parameters=b"", parse=lambda parameters: None):
    """A command that one empty password authorizes, and whose response has no handle."""
    return Command(0x8002, code, struct.pack(f">{len(handles)}I", *handles) + EMPTY_PASSWORD +
                   parameters, lambda response: parse(response[4:]))


def first_sized(parameters):
    size, = struct.unpack_from(">H", parameters)
    return parameters[2:2 + size]


def handle(parameters):
    return struct.unpack_from(">I", parameters)[0]


def startup(how=CLEAR):
    return plain(0x144, struct.pack(">H", how))


def shutdown(how=CLEAR):
    return plain(0x145, struct.pack(">H", how))


def get_random(size):
    return plain(0x17b, struct.pack(">H", size), first_sized)


def get_capability(capability, first, count, parse):
    return plain(0x17a, struct.pack(">III", capability, first, count), parse)


def pcr_extend(pcr, digest):
    """Extend a PCR with a SHA-256 digest."""
    return authorized(0x182, [pcr], struct.pack(">IH", 1, SHA256) + digest)


def pcr_read(pcr):
    """Read the SHA-256 value of a PCR."""
    bits = (1 << pcr).to_bytes(3, "little")
    return plain(0x17e, struct.pack(">IHB", 1, SHA256, len(bits)) + bits,
                 lambda response: first_sized(response[18:]))


def nv_define(index, attributes=0, size=NV_BYTES, password=b""):
    public = struct.pack(">IHIHH", index, SHA256, NV_OWNER_READ | NV_OWNER_WRITE | attributes, 0,
                         size)
    return authorized(0x12a, [OWNER], sized(password) + sized(public))


def nv_write(index, data, offset=0):
    return authorized(CC_NV_WRITE, [OWNER, index], sized(data) + struct.pack(">H", offset))


def nv_increment(index):
    return authorized(0x134, [OWNER, index])


def nv_read(index):
    return authorized(0x14e, [OWNER, index], struct.pack(">HH", NV_BYTES, 0), first_sized)


def nv_counter(index):
    """Read the value of a counter."""
    return authorized(0x14e, [OWNER, index], struct.pack(">HH", NV_BYTES, 0),
                      lambda response: int.from_bytes(first_sized(response), "big"))


def create_primary(public, unique):
    sensitive = sized(b"") + sized(b"")
    return Command(0x8002, 0x131, struct.pack(">I", OWNER) + EMPTY_PASSWORD + sized(sensitive) +
                   sized(public + unique) + sized(b"") + struct.pack(">I", 0), handle)


def create_ecc_key():
    """Make a storage key: ECC P-256, AES-128-CFB. The value is its handle."""
    return create_primary(bytes.fromhex("0023 000b 00030072 0000 0006 0080 0043 0010 0003 0010"),
                          sized(b"") + sized(b""))


def create_rsa_key(number):
    """The same with RSA 2048, which takes long; each number gives another key."""
    return create_primary(bytes.fromhex("0001 000b 00030072 0000 0006 0080 0043 0010 0800"
                                        "00000000"), sized(struct.pack(">I", number)))


def evict_control(transient, persistent):
    return authorized(0x120, [OWNER, transient], struct.pack(">I", persistent))


def flush_context(any_handle):
    return plain(0x165, struct.pack(">I", any_handle))


def read_public(key):
    """Read the public area of a key."""
    return plain(0x173, struct.pack(">I", key), first_sized)


def start_policy_session():
    """Start a policy session; the value is its handle."""
    return plain(0x176, struct.pack(">II", NULL, NULL) + sized(bytes(16)) + sized(b"") +
                 struct.pack(">BHH", POLICY_SESSION, ALG_NULL, SHA256), handle)


def policy_command_code(session, code):
    """Extend the policy digest of a session."""
    return plain(0x16c, struct.pack(">II", session, code))


def policy_restart(session):
    return plain(0x180, struct.pack(">I", session))


def policy_digest(session):
    return plain(0x189, struct.pack(">I", session), first_sized)


def self_test():
    """Test everything, now."""
    return plain(0x143, b"\1")


def hash_sha1(data):
    return plain(0x17d, sized(data) + struct.pack(">HI", SHA1, NULL), first_sized)


def create_signing_key():
    """Make an RSA 2048 key that signs with any scheme, and is not subject to the lockout."""
    return create_primary(bytes.fromhex("0001 000b 00040472 0000 0010 0010 0800 00000000"),
                          sized(b""))


def sign(key, scheme, algorithm, digest):
    """Sign a digest; the value is the signature."""
    no_ticket = struct.pack(">HI", ST_HASHCHECK, NULL) + sized(b"")
    return authorized(0x15d, [key], sized(digest) + struct.pack(">HH", scheme, algorithm) +
                      no_ticket, lambda response: response[:-len(EMPTY_PASSWORD_ANSWER)])


def verify_signature(key, digest, signature):
    return plain(0x177, struct.pack(">I", key) + sized(digest) + signature)
