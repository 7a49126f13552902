# SPDX-License-Identifier: GPL-2.0-or-later
"""The images that seals.c makes, and the keys that open them."""

from compare import Images
from keyslots import Credential

# The data keys, and the secrets that they are behind
KEYS = {n: Credential(key=bytes([n]) * 32) for n in (1, 2)}
RAW_SECRET = Credential(secret=bytes([3]) * 32)
SESAME = Credential(secret=b'sesame')
SIMSIM = Credential(secret='simşim'.encode())


def sealed_images():
    # Some of those images need a passphrase, which takes time to try.
    return Images('seals', RAW_SECRET, apart='-slots-')
