# SPDX-License-Identifier: GPL-2.0-or-later
"""SoftHSM: PKCS#11 tokens in a directory, for programs that run in its environment."""

import os
import subprocess
from pathlib import Path

PIN = "1234-user"


class SoftHSM:
    """Debian's package registers SoftHSM with p11-kit; a variable says where the tokens are."""

    def __init__(self, directory):
        self._directory = Path(directory)
        (self._directory / "tokens").mkdir()
        configuration = self._directory / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {self._directory}/tokens\n"
                                 "log.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)

    def close(self):
        del os.environ["SOFTHSM2_CONF"]

    def add_token(self, label):
        self._run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin",
                  "so-pin-12", "--pin", PIN)

    def add_rsa_key(self, token, label):
        """Add a key; returns its URI."""
        key = self._directory / "key.pem"
        self._run("openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt",
                  "rsa_keygen_bits:2048", "-out", str(key))
        return self._add(token, label, key)

    def add_aes_key(self, token, label):
        key = self._directory / "key.aes"
        # softhsm2-util reads a line of text and cuts at these bytes.
        key.write_bytes(bytes(byte or 1 for byte in os.urandom(32)).replace(b"\n", b"\r"))
        return self._add(token, label, key, "--aes")

    def _add(self, token, label, key, *options):
        self._run("softhsm2-util", "--import", str(key), *options, "--token", token, "--label",
                  label, "--id", label.encode().hex(), "--pin", PIN)
        key.unlink()
        return f"pkcs11:token={token};object={label}"

    def _run(self, *command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def tokens(test):
    """A SoftHSM with the token "vms", until the test ends."""
    hsm = SoftHSM(test.directory)
    test.addCleanup(hsm.close)
    hsm.add_token("vms")
    return hsm
