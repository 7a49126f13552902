# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys of a sealed store, and the key slots that hold its data key: sections 9.1 and 9.3."""

import functools
import hmac
import struct
from dataclasses import dataclass

import aead

KEY_SLOT = struct.Struct('<IIII32s12s16sIII32s8s384s512s')
ASSOCIATED_DATA = struct.Struct('<16sQ1024s')
assert (KEY_SLOT.size, ASSOCIATED_DATA.size) == (1024, 1048)

KEY_SLOTS = 8
UNUSED, PASSPHRASE, RAW, TOKEN = range(4)
TYPES = {UNUSED: 'unused', PASSPHRASE: 'passphrase', RAW: 'raw', TOKEN: 'token'}
SHA1, SHA256 = 1, 2
RSA_OAEP, AES_KEY_WRAP = 1, 2
HASHES = {RSA_OAEP: (SHA1, SHA256), AES_KEY_WRAP: (0,)}     # by mechanism
KEY_BYTES = 32
RAW_SECRET_BYTES = 32


def derive(key, label, uuid):
    """A key derived from the data key, for one use."""
    return hmac.new(key, label.encode().ljust(16, b'\0') + uuid, 'sha256').digest()


@dataclass
class Credential:
    """The secret of a user who opens a store: the data key itself, or a secret for the slots."""
    key: bytes | None = None
    secret: bytes | None = None


@dataclass
class KeySlot:
    type: int
    memory: int
    iterations: int
    parallelism: int
    salt: bytes
    nonce: bytes
    tag: bytes
    wrapped_bytes: int
    mechanism: int
    hash: int
    commitment: bytes
    reserved: bytes
    uri: bytes
    wrapped: bytes

    @property
    def makes_sense(self):
        return not any(map(bool, self.unused())) and self.is_sane()

    def unused(self):
        """Values that must be zero: fields as numbers, or whether other bytes have a value."""
        yield any(self.reserved)
        yield any(self.wrapped[self.wrapped_bytes:])
        if self.type != PASSPHRASE:
            yield from (self.memory, self.iterations, self.parallelism)
        if self.type == TOKEN:
            yield from map(any, (self.salt, self.nonce, self.tag, self.commitment))
        else:
            yield from (self.mechanism, self.hash, any(self.uri))

    def is_sane(self):
        if self.type == PASSPHRASE:
            return self.is_passphrase()
        if self.type == TOKEN:
            return self.is_token()
        return self.type == RAW and self.wrapped_bytes == KEY_BYTES

    def is_passphrase(self):
        return (8 * self.parallelism <= self.memory <= 1 << 17 and 1 <= self.iterations <= 64
                and 1 <= self.parallelism <= 16 and self.memory * self.iterations <= 1 << 22
                and self.wrapped_bytes == KEY_BYTES)

    def is_token(self):
        uri = self.uri.rstrip(b"\0")
        return (56 <= self.wrapped_bytes <= 512 and 1 <= len(uri) < len(self.uri)
                and all(0x21 <= byte <= 0x7e for byte in uri)
                and self.hash in HASHES.get(self.mechanism, ()))


def take_apart(raw):
    """Returns a slot that can be used, or is not in use; or None if it opens nothing."""
    slot = KeySlot(*KEY_SLOT.unpack(raw))
    return slot if slot.makes_sense or not any(raw) else None


@functools.lru_cache(maxsize=64)
def argon2id(passphrase, salt, iterations, memory, parallelism):
    from argon2.low_level import Type, hash_secret_raw
    return hash_secret_raw(passphrase, salt, iterations, memory, parallelism, KEY_BYTES, Type.ID,
                           version=0x13)


def wrapping_key(slot, secret):
    if slot.type == PASSPHRASE:
        return argon2id(secret, slot.salt, slot.iterations, slot.memory, slot.parallelism)
    return hmac.new(secret, b'blobstore raw secret\0' + slot.salt, 'sha256').digest()


def associated_data(raw, number, uuid):
    """The data that wrapping is bound to: the slot without the parts made by it, or reserved."""
    bound = bytearray(raw)
    for start, end in ((48, 76), (120, 128), (512, 1024)):
        bound[start:end] = bytes(end - start)
    return ASSOCIATED_DATA.pack(uuid, number, bytes(bound))


def unlock(key_slots, uuid, secret):
    """Returns the data key from the first slot that opens, or None; tokens are not asked."""
    for kind in (RAW, PASSPHRASE):
        for number, raw in key_slots.items():
            slot = take_apart(raw)
            if (slot is None or slot.type != kind
                    or kind == RAW and len(secret) != RAW_SECRET_BYTES):
                continue
            wrapping = wrapping_key(slot, secret)
            if derive(wrapping, 'commitment', uuid) != slot.commitment:
                continue
            key = aead.unseal(wrapping, slot.nonce, slot.tag,
                              slot.wrapped[:KEY_BYTES], associated_data(raw, number, uuid))
            if key is not None:
                return key
    return None
