#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a TPM whose state lives in a disk image: write, power off, read back.

A Linux guest defines and writes an NV index and persists a key; after it has
powered off, a new QEMU process on the same image must give both back.  Once
on qcow2 and once on raw.  Run it with: make demo
"""

import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/functional"))

from guest import Guest, boot_args, tpm_args  # noqa: E402
from vm import BUILD, VMError, create_image  # noqa: E402

LOGS = BUILD / "demo"
NV_BYTES = 64


def show_fact(name, value):
    if len(value) > 80 and " " not in value:
        value = f"{value[:64]}... ({len(value) // 2} bytes)"
    print(f"    guest: {name} {value}".rstrip(), flush=True)


def show_table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        print("      " + "  ".join(cells).rstrip())


def show_slot(slot):
    mark = "*" if slot["current"] else " "
    return f"{mark}{slot['offset']:#x}+{slot['length']:#x}"


def show_store(store):
    print(f"    store {store['id']} on {store['drive']}, {store['state']},"
          f" format {store['format-version']}, uuid {store['uuid']}")
    print(f"      capacity {store['capacity']}, required {store['required']},"
          f" free {store['free']}, block {store['block-size']}, sequence {store['sequence']}")
    stats = store["stats"]
    print(f"      since start: {stats['commits']} commits, {stats['bytes-written']} bytes written,"
          f" {stats['write-errors']} write errors")
    rows = [("blob", "kind", "size", "stored", "maximum", "sequence", "slots (*current)")]
    for blob in store["blobs"]:
        sizes = [blob["size"], blob["stored-size"]] if blob["present"] else ["absent", "-"]
        slots = " ".join(show_slot(slot) for slot in blob["slots"])
        rows.append(tuple(str(cell) for cell in (
            f"{blob['owner']}/{blob['name']}", blob["kind"], *sizes,
            blob["max-size"], blob["sequence"], slots or "none")))
    show_table(rows)


def boot(job, image_format, directory, image, before=None, **parameters):
    """Run one QEMU process from start to power-off; returns the guest's facts."""
    tpm = tpm_args(image, image_format)
    print(f"  qemu-system-x86_64 ... {shlex.join(tpm)}", flush=True)
    started = time.monotonic()
    args = ["-S", *tpm, *boot_args(job, **parameters)]
    with Guest(args, directory, LOGS / f"{image_format}-{job}") as guest:
        if before:
            before(guest)
        guest.qmp("cont")
        facts = guest.finish(show_fact)
    print(f"    powered off after {time.monotonic() - started:.1f} s", flush=True)
    return facts


def ask_store(guest):
    """Show what is on the medium before the guest has run an instruction."""
    print("    asked over QMP before the guest runs: blobstore-info")
    stores = guest.qmp("blobstore-info")
    for store in stores:
        show_store(store)
    blobs = {blob["name"]: blob for store in stores for blob in store["blobs"]}
    if not blobs.get("permanent", {}).get("present"):
        raise guest.error("blobstore-info does not show the TPM's permanent blob")


def compare(what, before, after):
    if before != after:
        raise VMError(f"{what} differs\n  written: {before}\n  read:    {after}\n  logs: {LOGS}")
    print(f"  {what}: the same before and after")


def prove(image_format):
    secret = secrets.token_hex(NV_BYTES)
    print(f"\n{image_format}: first boot, on a blank image")
    with tempfile.TemporaryDirectory(prefix="blobstore-demo-") as directory:
        image = create_image(directory, image_format)
        written = boot("write", image_format, directory, image, nv=secret)
        print(f"\n{image_format}: second boot, a new QEMU process on the same image")
        read = boot("verify", image_format, directory, image, before=ask_store,
                    nv=secret, key=written["key-name"])
    compare("NV content", secret, read["nv-content"])
    compare("key name", written["key-name"], read["key-name"])


def main():
    print(__doc__.splitlines()[0])
    try:
        for image_format in "qcow2", "raw":
            prove(image_format)
    except (VMError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"\nmake demo failed: {error}")
    print(f"""
Proved on qcow2 and on raw, each with two QEMU processes that share only the image:
  - QEMU made a TPM 2.0 on a blank image, and Linux used it with tpm2-tools
  - {NV_BYTES} random bytes written to an NV index came back unchanged; the guest compared
  - the key persisted at 0x81000001 came back under the same name
There was no TPM daemon, socket or state directory.  Logs: {LOGS}""")


if __name__ == "__main__":
    main()
