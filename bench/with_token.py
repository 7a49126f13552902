#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a command with a PKCS#11 token: the one that BENCH_KEY_URI and BENCH_PIN name, or a
new one of SoftHSM, with an RSA key of 2048 bits."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/machine"))

from softhsm import PIN, SoftHSM  # noqa: E402


def main():
    if "BENCH_KEY_URI" in os.environ:
        return subprocess.run(sys.argv[1:], check=False).returncode
    with tempfile.TemporaryDirectory(prefix="blobstore-bench-") as directory:
        hsm = SoftHSM(directory)
        hsm.add_token("bench")
        os.environ.update(BENCH_KEY_URI=hsm.add_rsa_key("bench", "rsa"), BENCH_PIN=PIN)
        return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
