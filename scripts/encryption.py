#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Show an encrypted TPM on a raw image: what it gives away, and how its keys change.

A Linux guest stores a sentence in its TPM. The image does not tell it. The
passphrase is changed while the guest runs; afterwards the old one is refused
and the new one finds everything. Then the key moves into a PKCS#11 token of
SoftHSM. Run it with: make demo-encryption
"""

import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS / "functional"), str(TESTS / "machine")]

from guest import MARKER, TIMEOUT_SECONDS, Guest, boot_args  # noqa: E402
from softhsm import PIN, SoftHSM  # noqa: E402
from vm import BUILD, VMError  # noqa: E402

LOGS = BUILD / "demo-encryption"
SENTENCE = "The guest keeps this sentence in NV index 0x1500001."
SAMPLE_BYTES = 1300
STAY_SECONDS = 5    # for which a guest uses its TPM while keys change
SECRET = "secret,id={id},file={file}"


def say(text=""):
    print(text, flush=True)


def heading(text):
    say(f"\n## {text}\n")


def shown(text):
    """Show a line that a user would see, for docs that quote it."""
    say(f"    {text}".rstrip())


class Demo:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.boots = 0

    def path(self, name):
        return self.directory / name

    def write(self, name, text):
        shown(f"$ printf %s {shlex.quote(text)} > {name}")
        self.path(name).write_text(text)

    def run(self, command):
        """Run a command as in a shell, and show its output."""
        shown(f"$ {command}")
        done = subprocess.run(command, shell=True, cwd=self.directory, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in done.stdout.splitlines():
            shown(line)

    def start(self, image, tpm, job, **parameters):
        """Start a QEMU whose guest has not run yet."""
        words = ["-drive", f"if=none,id=nvram,file={image},format=raw", *tpm]
        shown(f"$ qemu-system-x86_64 ... {shlex.join(words)}")
        self.boots += 1
        guest = Guest(["-S", *words, *boot_args(job, **parameters)], self.directory,
                      LOGS / f"boot-{self.boots}")
        guest.start()
        return guest

    def boot(self, image, tpm, job, **parameters):
        """Run a guest from start to power-off; returns its facts."""
        guest = self.start(image, tpm, job, **parameters)
        try:
            guest.qmp("cont")
            return guest.finish(show_fact)
        finally:
            guest.stop()

    def refused(self, image, tpm):
        try:
            self.start(image, tpm, "verify").stop()
        except VMError:
            log = LOGS / f"boot-{self.boots}.qemu"
            for line in log.read_text().splitlines()[1:]:
                shown(line)
            return
        raise VMError(f"{image} was not refused")

    def entropy(self, image):
        """The current version of the blob that holds the sentence."""
        data = self.path(image).read_bytes()
        start = largest_payload(data)
        shown(f"{image}: {bits_per_byte(data[start:start + SAMPLE_BYTES]):.2f} bits per byte "
              f"at offset {start}")


def bits_per_byte(data):
    counts = Counter(data)
    return -sum(n / len(data) * math.log2(n / len(data)) for n in counts.values())


def largest_payload(data):
    """The start of the payload of the last blob slot in use."""
    starts = [at for at in range(98304, len(data), 4096) if data[at:at + 8] == b"QEMUBLOB"]
    return starts[-1] + 1280


def show_fact(name, value):
    shown(f"guest: {name} {value[:72]}".rstrip())


def wait_for_fact(guest, name):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while f"{MARKER}{name}" not in guest.serial_log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise guest.error(f"the guest does not say {name}")
        time.sleep(0.05)


def show_qmp(guest, command, **arguments):
    """Run a QMP command, and show it as QEMU's documentation does."""
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    show_json("->", {"execute": command, "arguments": named})
    show_json("<-", {"return": guest.qmp(command, **arguments)})


def show_json(arrow, message):
    text = json.dumps(message)
    lines = [text] if len(text) < 110 else json.dumps(message, indent=2).splitlines()
    for line, mark in zip(lines, [arrow] + ["  "] * len(lines)):
        shown(f"{mark} {line}")


def encrypted(key, pin=None):
    secrets = [("sec0", key)] if key else []
    secrets += [("pin0", pin)] if pin else []
    options = (["encrypt.type=passphrase", "encrypt.key-secret=sec0"] if key else
               ["encrypt.type=token", "encrypt.pin-secret=pin0"])
    return [*(word for name, file in secrets
              for word in ("-object", SECRET.format(id=name, file=file))),
            "-object", ",".join(["blobstore,id=bs,drive=nvram", *options]),
            "-device", "tpm-tis,blobstore=bs"]


def compare(written, read):
    for fact in "nv-content", "key-name":
        if read[fact] != written[fact]:
            raise VMError(f"{fact} differs: {written[fact]} and {read[fact]}")


def passphrases(demo):
    nv = SENTENCE.encode().hex()
    heading("A plain store, to compare with")
    demo.run("truncate -s 4M plain.img")
    demo.boot("plain.img", ["-device", "tpm-tis,blobstore=nvram"], "write", nv=nv)
    demo.run("strings -n 20 plain.img | sort -u")

    heading("An encrypted store on a raw image")
    demo.write("old.key", "open sesame")
    demo.run("truncate -s 4M nvram.img")
    written = demo.boot("nvram.img", encrypted("old.key"), "write", nv=nv)
    demo.run("strings -n 20 nvram.img | sort -u")
    demo.run("grep -c sentence nvram.img")
    demo.entropy("plain.img")
    demo.entropy("nvram.img")
    shown(f"{SAMPLE_BYTES} random bytes: {bits_per_byte(os.urandom(SAMPLE_BYTES)):.2f}")

    heading("The passphrase changes while the guest uses its TPM")
    demo.write("new.key", "open simsim")
    guest = demo.start("nvram.img", encrypted("old.key"), "verify", nv=nv,
                       key=written["key-name"], stay=STAY_SECONDS)
    try:
        guest.qmp("cont")
        wait_for_fact(guest, "job verify")
        show_qmp(guest, "object-add", qom_type="secret", id="new", file="new.key")
        show_qmp(guest, "blobstore-key-list", id="bs")
        show_qmp(guest, "blobstore-key-add", id="bs", type="passphrase", new_secret="new", keyslot=0,
                 force=True)
        compare(written, guest.finish(show_fact))
    finally:
        guest.stop()

    heading("The old passphrase is refused, the new one finds everything")
    demo.refused("nvram.img", encrypted("old.key"))
    compare(written, demo.boot("nvram.img", encrypted("new.key"), "verify", nv=nv,
                               key=written["key-name"]))
    return written


def tokens(demo, written):
    heading("The same with a key in a PKCS#11 token (SoftHSM)")
    hsm = SoftHSM(demo.directory)
    hsm.add_token("vms")
    uri = hsm.add_rsa_key("vms", "vm1")
    shown(f"A token 'vms' has an RSA key 'vm1': {uri}")
    demo.write("pin", PIN)
    nv = written["nv-content"]
    guest = demo.start("nvram.img", encrypted("new.key"), "verify", nv=nv,
                       key=written["key-name"], stay=STAY_SECONDS)
    try:
        guest.qmp("cont")
        wait_for_fact(guest, "job verify")
        show_qmp(guest, "object-add", qom_type="secret", id="pin", file="pin")
        show_qmp(guest, "blobstore-key-add", id="bs", type="token", key_uri=uri, pin_secret="pin")
        show_qmp(guest, "blobstore-key-remove", id="bs", keyslot=0)
        show_qmp(guest, "blobstore-key-list", id="bs")
        compare(written, guest.finish(show_fact))
    finally:
        guest.stop()
    demo.refused("nvram.img", encrypted("new.key"))
    demo.write("wrong-pin", "0000-user")
    demo.refused("nvram.img", encrypted(None, "wrong-pin"))
    compare(written, demo.boot("nvram.img", encrypted(None, "pin"), "verify", nv=nv,
                               key=written["key-name"]))
    demo.run("strings -n 20 nvram.img | sort -u")
    hsm.close()


def main():
    say(__doc__.splitlines()[0])
    try:
        with tempfile.TemporaryDirectory(prefix="blobstore-demo-") as directory:
            os.chdir(directory)
            demo = Demo(directory)
            tokens(demo, passphrases(demo))
    except (VMError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"\nmake demo-encryption failed: {error}")
    say("\nThe guest found its sentence and its key each time; the image never told them.")


if __name__ == "__main__":
    main()
