# SPDX-License-Identifier: GPL-2.0-or-later
"""What the metadata of a TPM's permanent state say of libtpms and profiles."""

import subprocess


def libtpms_version():
    """That QEMU was built with."""
    return subprocess.run(["pkg-config", "--modversion", "libtpms"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def has_profiles():
    return [int(part) for part in libtpms_version().split(".")[:2]] >= [0, 10]


def notes(size, profile=None, level=None):
    """Metadata of so many bytes, which a newer libtpms might have written."""
    text = b""
    if profile:
        text += f"profile={profile}\0".encode()
    if level:
        text += f"state-format-level={level}\0".encode()
    return text + b"_=".ljust(size - len(text) - 1, b"_") + b"\0"


def backend(profile, version="2.0"):
    """Options for a TPM that is made with this profile."""
    return ("-tpmdev", f"libtpms,id=dev,blobstore=nvram,version={version},profile={profile}",
            "-device", "tpm-tis,tpmdev=dev")
