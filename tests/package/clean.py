# SPDX-License-Identifier: GPL-2.0-or-later
"""A clean Debian in a folder, made by debootstrap from this machine's own mirror."""

import os
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = REPO / 'build'
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
# These change with each package that comes and goes.
NOTES = ('var/lib/dpkg', 'var/lib/apt', 'var/cache', 'var/log', 'etc/ld.so.cache')


def codename():
    lines = Path('/etc/os-release').read_text().splitlines()
    return dict(line.split('=', 1) for line in lines if '=' in line)['VERSION_CODENAME']


class CleanDebian:
    """Its programs see the folders @shared of this machine under the same names."""

    def __init__(self, folder, shared):
        self.folder = Path(folder)
        self.mounted = set()
        mirrors = subprocess.run([REPO / 'scripts/mirrors.sh'], check=True, text=True,
                                 capture_output=True).stdout.split()
        cache = BUILD / 'package/cache'
        cache.mkdir(parents=True, exist_ok=True)
        with open(BUILD / 'package/debootstrap.log', 'w', encoding='utf-8') as log:
            subprocess.run(['debootstrap', '--variant=minbase', f'--keyring={KEYRING}',
                            f'--cache-dir={cache}', codename(), self.folder, mirrors[0]],
                           check=True, stdout=log, stderr=subprocess.STDOUT)
        self.mount('-t', 'proc', 'none', at='/proc')
        self.mount('--rbind', '/dev', at='/dev')
        for path in shared:
            (self.folder / str(path).lstrip('/')).mkdir(parents=True, exist_ok=True)
            self.mount('--bind', path, at=path)

    def mount(self, *arguments, at):
        place = Path(f'{self.folder}{at}')
        subprocess.run(['mount', *arguments, place], check=True)
        self.mounted.add(place)

    def run(self, *command, check=True):
        """What the command prints, or how it ends if @check is false."""
        environment = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C.UTF-8',
                       'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
        result = subprocess.run(['chroot', self.folder, *command], env=environment, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, check=False)
        if not check:
            return result
        if result.returncode:
            raise AssertionError(f'{command} ended with {result.returncode}:\n'
                                 f'{result.stdout[-4000:]}')
        return result.stdout

    def apt(self, *arguments):
        return self.run('apt-get', '-q', '-y', '-o', 'Acquire::Retries=5', *arguments)

    def files(self):
        """All files and folders, except what is mounted and what dpkg and apt note down."""
        skipped = self.mounted | {self.folder / note for note in NOTES}
        found = set()
        for folder, names, files in os.walk(self.folder):
            names[:] = [name for name in names if Path(folder, name) not in skipped]
            found |= {Path(folder, name) for name in (*names, *files)} - skipped
        return {f'/{path.relative_to(self.folder)}' for path in found}

    def wrapper(self, program, path):
        """Write to @path a script that calls @program of this Debian from outside."""
        path.write_text('#!/bin/sh\n'
                        f'exec chroot {self.folder} /usr/bin/env -C "$PWD" {program} "$@"\n')
        path.chmod(0o755)
        return path
