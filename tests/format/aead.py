# SPDX-License-Identifier: GPL-2.0-or-later
"""AEAD_AES_256_GCM_SIV of RFC 8452, on top of AES of python3-cryptography.

The cryptography of Debian 12 has no GCM-SIV. This is for tests: the time of a call depends on the
key. The package is imported only when a key is used, so that plain stores can be read without it.
"""

import functools
import struct

BLOCK = 16
KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
LOW_64 = (1 << 64) - 1


@functools.lru_cache(maxsize=256)
def aes(key):
    """Returns a function that encrypts whole blocks, each for itself."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update


@functools.lru_cache(maxsize=256)
def multiples(factor):
    """The products of a factor with each byte as a polynomial, not reduced."""
    products = [0]
    for bit in range(8):
        products += [product ^ factor << bit for product in products]
    return products


def reduce(product):
    """Divides by x^128, modulo x^128 + x^127 + x^126 + x^121 + 1."""
    for _ in range(2):
        low = product & LOW_64
        product = (product ^ low << 128 ^ low << 127 ^ low << 126 ^ low << 121) >> 64
    return product


def polyval(key, data):
    """POLYVAL of RFC 8452, section 3, of whole blocks. Polynomials are integers, bit n for x^n."""
    products = multiples(int.from_bytes(key, 'little'))
    total = 0
    for at in range(0, len(data), BLOCK):
        total ^= int.from_bytes(data[at:at + BLOCK], 'little')
        product = 0
        for byte in total.to_bytes(BLOCK, 'big'):
            product = product << 8 ^ products[byte]
        total = reduce(product)
    return total.to_bytes(BLOCK, 'little')


def padded(data):
    return data + bytes(-len(data) % BLOCK)


@functools.lru_cache(maxsize=1024)
def message_keys(key, nonce):
    """Section 4: the keys for authentication and for encryption."""
    blocks = aes(key)(b''.join(struct.pack('<I', n) + nonce for n in range(6)))
    halves = b''.join(blocks[at:at + 8] for at in range(0, len(blocks), BLOCK))
    return halves[:16], halves[16:]


def make_tag(keys, nonce, plaintext, associated):
    lengths = struct.pack('<QQ', 8 * len(associated), 8 * len(plaintext))
    sums = bytearray(polyval(keys[0], padded(associated) + padded(plaintext) + lengths))
    for n, byte in enumerate(nonce):
        sums[n] ^= byte
    sums[-1] &= 0x7f
    return aes(keys[1])(bytes(sums))


def crypt(key, tag, data):
    """Counter mode: only the first 32 bits count, and wrap around."""
    first, = struct.unpack_from('<I', tag)
    rest = tag[4:15] + bytes([tag[15] | 0x80])
    blocks = -(-len(data) // BLOCK)
    stream = aes(key)(b''.join(struct.pack('<I', (first + n) % (1 << 32)) + rest
                               for n in range(blocks)))
    mixed = int.from_bytes(data, 'little') ^ int.from_bytes(stream[:len(data)], 'little')
    return mixed.to_bytes(len(data), 'little')


def seal(key, nonce, plaintext, associated):
    """Returns tag and ciphertext, which is as long as the plaintext."""
    keys = message_keys(key, nonce)
    tag = make_tag(keys, nonce, plaintext, associated)
    return tag, crypt(keys[1], tag, plaintext)


# Images of one store have much content in common.
@functools.lru_cache(maxsize=4096)
def unseal(key, nonce, tag, ciphertext, associated):
    """Returns the plaintext, or None if it was not sealed under this key."""
    keys = message_keys(key, nonce)
    plaintext = crypt(keys[1], tag, ciphertext)
    return plaintext if make_tag(keys, nonce, plaintext, associated) == tag else None
