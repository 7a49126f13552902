# SPDX-License-Identifier: GPL-2.0-or-later
"""Crypto policies of a host, as OpenSSL, libgcrypt and Linux distributions know them."""

import os
import subprocess
from pathlib import Path
from unittest import mock

FIPS_WITHOUT_PROVIDER = """
openssl_conf = policy
[policy]
alg_section = algorithms
[algorithms]
default_properties = fips=yes
"""

# The legacy provider has neither SHA-1 nor SHA-2, neither AES nor RSA.
NO_SHA1 = """
openssl_conf = policy
[policy]
providers = providers
alg_section = algorithms
[providers]
legacy = legacy
default = default
[legacy]
activate = 1
[default]
activate = 1
[algorithms]
default_properties = provider=legacy
"""

NO_ALGORITHMS = """
openssl_conf = policy
[policy]
providers = providers
[providers]
base = base
[base]
activate = 1
"""

# OpenSSL takes the mistake as fatal.
MISTAKE = """
config_diagnostics = 1
openssl_conf = policy
[policy]
alg_section = algorithms
[algorithms]
no_such_option = yes
"""

IGNORE_CONFIGURATION = "-DIGNORE_CONFIGURATION"


class Policies:
    """For a MachineTest: what a host can say to the programs that start on it."""

    def environment(self, **variables):
        """Set variables of the environment for the rest of the test; None takes one away."""
        patch = mock.patch.dict(os.environ)
        patch.start()
        self.addCleanup(patch.stop)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def openssl_policy(self, text):
        path = Path(self.path("openssl.cnf"))
        path.write_text(text, encoding="utf-8")
        self.environment(OPENSSL_CONF=str(path))

    def gcrypt_fips(self):
        self.environment(LIBGCRYPT_FORCE_FIPS_MODE="1")

    def forbid_sha1_signatures(self, *flags):
        """Let OpenSSL do so, like that of RHEL 9; no_sha1.c explains the flags."""
        library = self.path("no_sha1.so")
        source = Path(__file__).with_name("no_sha1.c")
        subprocess.run(["cc", *flags, "-shared", "-fPIC", "-o", library, str(source), "-lcrypto"],
                       check=True)
        self.environment(LD_PRELOAD=library)
