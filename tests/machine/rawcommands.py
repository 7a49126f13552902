# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands of a TPM 2.0 as a guest could send them that means harm.

SEEDS has a well-formed command for each that libtpms implements; mutated() makes ill-formed ones.
"""

import struct

import tpm2
from frontend import BUFFER_BYTES
from tpm2 import ALG_NULL, NULL, OWNER, SHA256, sized

LOCKOUT, ENDORSEMENT, PLATFORM, PASSWORD = 0x4000000a, 0x4000000b, 0x4000000c, 0x40000009
NV_INDEX, PCR = 0x01500001, 16
AES, CFB, ECC, RSA, KEYEDHASH, SYMCIPHER, ECDSA, HMAC = (0x6, 0x43, 0x23, 0x1, 0x8, 0x25, 0x18, 0x5)
P256 = 3

VERIFIED, CREATION, AUTH_SECRET = 0x8022, 0x8021, 0x8023


def words(*numbers):
    return struct.pack(f">{len(numbers)}I", *numbers)


def shorts(*numbers):
    return struct.pack(f">{len(numbers)}H", *numbers)


def ticket(tag):
    return struct.pack(">HI", tag, NULL) + sized(b"")


DIGEST = sized(bytes(range(32)))
EMPTY = sized(b"")
NO_SCHEME = shorts(ALG_NULL)
ECDSA_SCHEME = shorts(ECDSA, SHA256)
PCRS = words(1) + shorts(SHA256) + bytes.fromhex("03 010001")
NO_PCRS = words(0)
SENSITIVE = sized(EMPTY + EMPTY)
POINT = sized(sized(bytes.fromhex(          # the generator of P-256
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")) + sized(bytes.fromhex(
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")))
SIGNATURE = ECDSA_SCHEME + sized(b"\1" * 32) + sized(b"\2" * 32)
NV_PUBLIC = sized(struct.pack(">IHIHH", NV_INDEX + 1, SHA256, 0x00020002, 0, 8))
STORAGE = (shorts(ECC, SHA256) + words(0x00030072) + EMPTY +
           shorts(AES, 128, CFB, ALG_NULL, P256, ALG_NULL) + EMPTY * 2)
SIGNING = (shorts(ECC, SHA256) + words(0x00040072) + EMPTY +
           shorts(ALG_NULL, ALG_NULL, P256, ALG_NULL) + EMPTY * 2)
CIPHER = shorts(SYMCIPHER, SHA256) + words(0x00060072) + EMPTY + shorts(AES, 128, CFB) + EMPTY
MAC = shorts(KEYEDHASH, SHA256) + words(0x00040072) + EMPTY + shorts(HMAC, SHA256) + EMPTY
RSA_KEY = (shorts(RSA, SHA256) + words(0x00060072) + EMPTY +
           shorts(ALG_NULL, ALG_NULL, 1024) + words(0) + EMPTY)
RSA_PUBLIC = RSA_KEY[:-2] + sized(b"\xc5" + b"\x37" * 127)


def made_with(public):
    return SENSITIVE + sized(public) + EMPTY + NO_PCRS


# For each code: its handles, how many of them a password authorizes, and its parameters.
# Names of handles: those of class Objects, and numbers.
SEEDS = {
    0x11f: (["nv", PLATFORM], 2, b""),
    0x120: ([OWNER, "key"], 1, words(0x81000001)),
    0x121: ([PLATFORM], 1, words(OWNER) + b"\1"),
    0x122: ([OWNER, "nv"], 1, b""),
    0x124: ([PLATFORM], 1, b""),
    0x125: ([PLATFORM], 1, b""),
    0x126: ([LOCKOUT], 1, b""),
    0x127: ([PLATFORM], 1, b"\0"),
    0x128: ([OWNER], 1, struct.pack(">Q", 1 << 40)),
    0x129: ([ENDORSEMENT], 1, EMPTY),
    0x12a: ([OWNER], 1, EMPTY + NV_PUBLIC),
    0x12b: ([PLATFORM], 1, PCRS),
    0x12c: ([PLATFORM], 1, DIGEST + shorts(SHA256) + words(PCR)),
    0x12d: ([PLATFORM], 1, words(1, 0x12b) + words(1, 0x126)),
    0x12e: ([OWNER], 1, DIGEST + shorts(SHA256)),
    0x130: ([OWNER], 1, b"\1"),
    0x131: ([OWNER], 1, made_with(SIGNING)),
    0x132: ([OWNER], 1, b""),
    0x133: ([ENDORSEMENT, "sign"], 2, EMPTY + ECDSA_SCHEME),
    0x134: ([OWNER, "nv"], 1, b""),
    0x135: ([OWNER, "nv"], 1, struct.pack(">Q", 5)),
    0x136: ([OWNER, "nv"], 1, sized(b"data")),
    0x137: ([OWNER, "nv"], 1, sized(b"12345678") + shorts(0)),
    0x138: ([OWNER, "nv"], 1, b""),
    0x139: ([LOCKOUT], 1, b""),
    0x13a: ([LOCKOUT], 1, words(3, 1000, 1000)),
    0x13b: (["nv"], 1, sized(b"new")),
    0x13c: ([PCR], 1, sized(b"event")),
    0x13d: ([PCR], 1, b""),
    0x13e: (["sequence"], 1, sized(b"end") + words(OWNER)),
    0x13f: ([PLATFORM], 1, words(0)),
    0x140: ([OWNER], 1, shorts(ALG_NULL) + words(1, 0x17b) + words(0)),
    0x142: ([], 0, words(2) + shorts(SHA256, AES)),
    0x143: ([], 0, b"\0"),
    0x144: ([], 0, shorts(0)),
    0x145: ([], 0, shorts(1)),
    0x146: ([], 0, sized(b"noise")),
    0x147: (["key", "key"], 2, sized(DIGEST + bytes(16)) + sized(bytes(66))),
    0x148: (["key", "sign"], 2, EMPTY + ECDSA_SCHEME),
    0x149: ([OWNER, "nv", "session"], 1, sized(b"12345678") + shorts(0, 0)),
    0x14a: (["sign", "key"], 1, EMPTY + DIGEST + ECDSA_SCHEME + ticket(CREATION)),
    0x14b: (["key", NULL], 1, EMPTY + NO_SCHEME),
    0x14c: ([ENDORSEMENT, "sign"], 2, EMPTY + ECDSA_SCHEME),
    0x14d: ([ENDORSEMENT, "sign", "session"], 2, EMPTY + ECDSA_SCHEME),
    0x14e: ([OWNER, "nv"], 1, shorts(8, 0)),
    0x14f: ([OWNER, "nv"], 1, b""),
    0x150: (["key", "key"], 1, sized(b"new")),
    0x151: ([OWNER, "session"], 1, EMPTY * 3 + words(0)),
    0x152: (["key", NULL], 1, sized(bytes(80)) + sized(bytes(34)) + sized(bytes(66))),
    0x153: (["key"], 1, made_with(CIPHER)),
    0x154: (["key"], 1, POINT),
    0x155: (["sign"], 1, sized(b"data") + shorts(SHA256)),
    0x156: (["key"], 1, EMPTY + sized(MAC) + sized(bytes(80)) + sized(bytes(66)) + NO_SCHEME),
    0x157: (["key"], 1, sized(DIGEST + sized(bytes(16)) + bytes(40)) + sized(CIPHER)),
    0x158: (["sign"], 1, EMPTY + ECDSA_SCHEME + PCRS),
    0x159: (["rsa"], 1, sized(b"\1" * 128) + NO_SCHEME + EMPTY),
    0x15b: (["mac"], 1, EMPTY + shorts(SHA256)),
    0x15c: (["sequence"], 1, sized(b"more")),
    0x15d: (["sign"], 1, DIGEST + ECDSA_SCHEME + ticket(tpm2.ST_HASHCHECK)),
    0x15e: (["mac"], 1, b""),
    0x160: (["sign", "session"], 0, EMPTY * 3 + words(0) + SIGNATURE),
    0x161: ([], 0, struct.pack(">QII", 1, 0x80000000, OWNER) + sized(DIGEST + bytes(64))),
    0x162: (["key"], 0, b""),
    0x163: (["key"], 0, b""),
    0x164: (["cipher"], 1, b"\0" + shorts(CFB) + sized(bytes(16)) + sized(b"plain text")),
    0x165: ([], 0, "key"),
    0x167: ([], 0, EMPTY + sized(RSA_PUBLIC) + words(NULL)),
    0x168: (["key"], 0, sized(b"secret") + sized(bytes(34))),
    0x169: (["nv"], 0, b""),
    0x16a: (["session"], 0, DIGEST + EMPTY + sized(shorts(SHA256) + bytes(32)) + ticket(VERIFIED)),
    0x16b: (["session"], 0, b""),
    0x16c: (["session"], 0, words(0x15e)),
    0x16d: (["session"], 0, sized(bytes(8)) + shorts(0, 9)),
    0x16e: (["session"], 0, DIGEST),
    0x16f: (["session"], 0, b"\1"),
    0x170: (["session"], 0, DIGEST),
    0x171: (["session"], 0, words(2) + DIGEST * 2),
    0x172: (["session"], 0, EMPTY * 3 + sized(bytes(34)) + ticket(AUTH_SECRET)),
    0x173: (["key"], 0, b""),
    0x174: (["rsa"], 0, sized(b"secret") + NO_SCHEME + EMPTY),
    0x176: ([NULL, NULL], 0, sized(bytes(16)) + EMPTY + b"\0" + shorts(AES, 128, CFB, SHA256)),
    0x177: (["sign"], 0, DIGEST + SIGNATURE),
    0x178: ([], 0, shorts(P256)),
    0x17a: ([], 0, words(6, 0x100, 64)),
    0x17b: ([], 0, shorts(32)),
    0x17c: ([], 0, b""),
    0x17d: ([], 0, sized(b"data") + shorts(SHA256) + words(OWNER)),
    0x17e: ([], 0, PCRS),
    0x17f: (["session"], 0, EMPTY + PCRS),
    0x180: (["session"], 0, b""),
    0x181: ([], 0, b""),
    0x182: ([PCR], 1, words(1) + shorts(SHA256) + bytes(32)),
    0x183: ([20], 1, EMPTY),
    0x184: (["sign", OWNER, "nv"], 2, EMPTY + ECDSA_SCHEME + shorts(8, 0)),
    0x185: ([PCR, "sequence"], 2, sized(b"end")),
    0x186: ([], 0, EMPTY + shorts(ALG_NULL)),
    0x187: (["session"], 0, b""),
    0x188: (["session"], 0, DIGEST + DIGEST + b"\0"),
    0x189: (["session"], 0, b""),
    0x18a: ([], 0, shorts(ECC) + shorts(AES, 128, CFB, ALG_NULL, P256, ALG_NULL)),
    0x18b: (["sign"], 1, POINT + EMPTY * 2),
    0x18c: (["session"], 0, b""),
    0x18d: (["key"], 1, POINT * 2 + shorts(0x19, 0)),
    0x18e: ([], 0, shorts(P256)),
    0x18f: (["session"], 0, b"\1"),
    0x190: (["session"], 0, DIGEST),
    0x191: ([OWNER], 1, SENSITIVE + sized(MAC)),
    0x192: ([OWNER, "nv", "session"], 1, b""),
    0x193: (["cipher"], 1, sized(b"plain text") + b"\0" + shorts(CFB) + sized(bytes(16))),
}

# What the keys that commands are about are made with
KEYS = {"key": STORAGE, "sign": SIGNING, "cipher": CIPHER, "mac": MAC, "rsa": RSA_KEY}


def seed(code, objects):
    """A well-formed command as a TPM, its handles, and where its password is; see Objects."""
    names, passwords, parameters = SEEDS[code]
    handles = [objects.get(name, NULL) if isinstance(name, str) else name for name in names]
    if isinstance(parameters, str):
        parameters = words(objects.get(parameters, NULL))
    area = (words(9 * passwords) + tpm2.EMPTY_PASSWORD[4:] * passwords) if passwords else b""
    body = words(*handles) + area + parameters
    return struct.pack(">HII", 0x8002 if passwords else 0x8001, 10 + len(body), code) + body


NUMBERS = (0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
           0x80000000, 0xffffffff, BUFFER_BYTES - 10, BUFFER_BYTES, BUFFER_BYTES + 1)
HANDLES = (OWNER, NULL, LOCKOUT, ENDORSEMENT, PLATFORM, PASSWORD, NV_INDEX, 0x01ffffff, 0, PCR, 23,
           24, 0x02000000, 0x03000000, 0x02000040, 0x80000000, 0x80000003, 0x80ffffff, 0x81000001,
           0x40000006, 0x40000110, 0x90000000, 0xffffffff)
SESSIONS = (PASSWORD, 0x02000000, 0x03000000, 0x03000001, NULL, 0)


class Mutator:
    """Makes ill-formed commands of well-formed ones, by chance."""

    def __init__(self, random):
        self._random = random
        self._ways = (self._flip, self._number, self._handle, self._tag, self._code, self._cut,
                      self._lengthen, self._drop, self._repeat, self._sessions)

    def mutated(self, command):
        data = bytearray(command)
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 2, 3, 6))):
            self._random.choice(self._ways)(data)
        if self._random.random() < 0.9:
            data[2:6] = words(len(data))    # else the header lies about the length
        return bytes(data[:BUFFER_BYTES])

    def _place(self, data, size=1):
        """Of a field, after the header if there is one."""
        first = min(10, max(0, len(data) - size))
        return self._random.randint(first, max(first, len(data) - size))

    def _bytes(self, most):
        return self._random.randbytes(self._random.randint(1, most))

    def _flip(self, data):
        data[self._place(data)] ^= 1 << self._random.randrange(8)

    def _number(self, data):
        size = self._random.choice((1, 2, 2, 4, 8))
        number = self._random.choice(NUMBERS) % (1 << 8 * size)
        place = self._place(data, size)
        data[place:place + size] = number.to_bytes(size, "big")

    def _handle(self, data):
        place = 10 + 4 * self._random.randrange(3)
        data[place:place + 4] = words(self._random.choice(HANDLES))

    def _tag(self, data):
        data[0:2] = shorts(self._random.choice((0, 0x8001, 0x8002, 0x8003, 0xc1, 0xffff)))

    def _code(self, data):
        data[6:10] = words(self._random.choice((
            self._random.choice(list(SEEDS)), self._random.randrange(0x11f, 0x1a0),
            self._random.getrandbits(32), 0x20000000 | self._random.randrange(16))))

    def _cut(self, data):
        del data[self._random.randint(min(10, len(data)), len(data)):]

    def _lengthen(self, data):
        data += self._random.choice((self._bytes(16), self._bytes(BUFFER_BYTES), b"\0" * 1024))

    def _drop(self, data):
        place = self._place(data)
        del data[place:place + self._random.choice((1, 2, 4, 9, 32))]

    def _repeat(self, data):
        place = self._place(data)
        piece = data[place:place + self._random.choice((2, 4, 9, 32))]
        data[place:place] = piece * self._random.choice((1, 2, 30))

    def _sessions(self, data):
        """Another area of sessions, which may be of another size than it says."""
        handles = self._random.randrange(4)
        area = b"".join(
            words(self._random.choice(SESSIONS)) + sized(self._bytes(40)) +
            bytes([self._random.getrandbits(8)]) + sized(self._bytes(40))
            for _ in range(self._random.randint(1, 4)))
        size = self._random.choice((len(area), len(area), 0, 8, 9, len(area) + 1, 0x7fffffff,
                                    0xffffffff))
        place = 10 + 4 * handles
        data[0:2] = shorts(0x8002)
        data[place:place + 13] = words(size) + area
