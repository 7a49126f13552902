#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest shell with a TPM whose state persists in build/run/nvram.qcow2.

Run it with: make run
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/functional"))

from guest import boot_args, tpm_args  # noqa: E402
from vm import BUILD, VMError, create_image, machine_args  # noqa: E402

DIRECTORY = BUILD / "run"
IMAGE = "nvram.qcow2"


def main():
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    os.chdir(DIRECTORY)
    try:
        command = [*machine_args(), *tpm_args(IMAGE, "qcow2"), *boot_args("shell"),
                   "-serial", "mon:stdio"]
        if not Path(IMAGE).exists():
            create_image(DIRECTORY, "qcow2")
    except (VMError, subprocess.CalledProcessError) as error:
        sys.exit(f"make run failed: {error}")
    print(f"""In {DIRECTORY}:
  {shlex.join(command)}

The TPM's state stays in {IMAGE}; delete that file for a new TPM.
To leave: exit, or Ctrl-A X.  Ctrl-A C toggles the monitor: try "info blobstore".
""", flush=True)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
