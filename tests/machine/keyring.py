# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys in the Linux kernel's keyrings; see add_key(2) and keyctl(2)."""

import ctypes

SYS_ADD_KEY, SYS_KEYCTL = 248, 250      # x86-64
SESSION_KEYRING = -3
KEYCTL_REVOKE = 3

libc = ctypes.CDLL(None, use_errno=True)


def add(description, payload):
    """Add a key of type user for this session; returns its serial number, or None if that fails."""
    serial = libc.syscall(SYS_ADD_KEY, b"user", description.encode(), payload, len(payload),
                          SESSION_KEYRING)
    return serial if serial > 0 else None


def revoke(serial):
    libc.syscall(SYS_KEYCTL, KEYCTL_REVOKE, serial)
