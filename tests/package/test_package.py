# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package works in a Debian that has only what the package depends on.

tests/package/apart.sh says in CLEAN where this Debian is made.
"""

import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from clean import BUILD, REPO, CleanDebian

HOME = '/usr/lib/qemu-blobstore'
QEMU = f'{HOME}/bin/qemu-system-x86_64'
# Debian's packages of QEMU, which live beside this one.
NEIGHBOURS = ('qemu-system-x86', 'qemu-system-common', 'qemu-system-data', 'qemu-system-gui',
              'qemu-utils', 'qemu-block-extra', 'qemu-guest-agent')
# What a user of Debian's QEMU expects: an option of a program, and words in what it prints.
FEATURES = (
    (QEMU, '-accel help', 'kvm tcg'),
    (QEMU, '-display help', 'curses dbus spice-app'),
    (QEMU, '-vnc help', 'password'),
    (QEMU, '-spice help', 'tls-port'),
    (QEMU, '-netdev help', 'user tap bridge vhost-user vhost-vdpa'),
    (QEMU, '-object help', 'blobstore secret tls-creds-x509 authz-pam memory-backend-memfd'),
    (QEMU, '-tpmdev help', 'libtpms emulator passthrough'),
    (QEMU, '-device help', 'tpm-crb tpm-tis usb-host usb-redir virtio-9p-pci vhost-vsock-pci '
                           'vhost-user-blk-pci vhost-scsi-pci vhost-vdpa-device-pci '
                           'virtio-vga qxl-vga ccid-card-passthru'),
    (f'{HOME}/bin/qemu-img', '--help', 'rbd iscsi nfs ssh https luks qcow2 vmdk vhdx vdi'),
    (f'{HOME}/bin/qemu-storage-daemon', '--help', 'vhost-user-blk fuse'),
)
MACHINES = ('-M pc', '-M q35 -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny',
            '-M pc -device virtio-vga -device e1000e -device virtio-net-pci',
            '-M q35 -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd')


def package():
    found, = (BUILD / 'deb').glob('*.deb')
    return found


def contents(path):
    """The files of a package."""
    listing = subprocess.run(['dpkg-deb', '--fsys-tarfile', path], check=True,
                             stdout=subprocess.PIPE).stdout
    names = subprocess.run(['tar', '-t'], input=listing, check=True,
                           stdout=subprocess.PIPE).stdout.decode().splitlines()
    return {name.removeprefix('.') for name in names if not name.endswith('/')}


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = BUILD / 'package/work'
        shutil.rmtree(cls.work, ignore_errors=True)
        for folder in cls.work, BUILD / 'demo':
            folder.mkdir(parents=True, exist_ok=True)
        cls.deb = shutil.copy(package(), cls.work)
        cls.debian = CleanDebian(os.environ['CLEAN'],
                                 [cls.work, BUILD / 'guest', BUILD / 'demo'])
        depends = subprocess.run(['dpkg-deb', '-f', cls.deb, 'Depends'], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
        cls.debian.apt('update')
        cls.debian.apt('satisfy', '--no-install-recommends', depends.strip())
        cls.before = cls.debian.files()
        cls.debian.run('dpkg', '-i', cls.deb)

    def test_removal_leaves_nothing(self):
        self.assertEqual(self.debian.files() - self.before,
                         {path for path in self.debian.run('dpkg', '-L', 'qemu-blobstore').split()
                          if path not in self.before and path != '/.'})
        self.debian.run('dpkg', '--purge', 'qemu-blobstore')
        self.assertEqual(self.debian.files(), self.before)
        self.debian.run('dpkg', '-i', self.deb)

    def test_lintian_has_no_errors(self):
        result = subprocess.run(['lintian', '--allow-root', '--fail-on', 'error', self.deb],
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                check=False)
        print(result.stdout)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_no_file_is_one_of_debians_qemu(self):
        folder = self.work / 'neighbours'
        folder.mkdir()
        self.debian.run('env', '-C', folder, 'apt-get', '-q', '-o', 'APT::Sandbox::User=root',
                        'download', *NEIGHBOURS)
        ours = contents(self.deb)
        for path in folder.glob('*.deb'):
            theirs = contents(path)
            self.assertGreater(len(theirs), 2, path)
            self.assertEqual(ours & theirs, set(), path)

    def test_no_file_names_the_folder_it_was_built_in(self):
        for name in contents(self.deb):
            path = self.debian.folder / name.lstrip('/')
            self.assertNotIn(bytes(REPO), path.read_bytes(), name)

    def test_version_names_qemu_and_us(self):
        said = self.debian.run(QEMU, '--version')
        theirs = (BUILD / 'qemu/src/VERSION').read_text().strip()
        self.assertRegex(said, rf'version {re.escape(theirs)} \(qemu-blobstore \d+\.\d+')
        self.assertIn(theirs, self.debian.run('dpkg-query', '-W', 'qemu-blobstore'))

    def test_features_of_debians_qemu_are_there(self):
        for program, option, words in FEATURES:
            said = self.debian.run(program, *option.split(), check=False).stdout
            for word in words.split():
                with self.subTest(program=program, option=option, word=word):
                    self.assertRegex(said, rf'(?<![\w-]){re.escape(word)}(?![\w-])')

    def test_machines_find_their_firmware(self):
        for machine in MACHINES:
            with self.subTest(machine):
                self.start_and_quit(QEMU, machine)

    def start_and_quit(self, qemu, machine):
        result = subprocess.run(
            ['chroot', self.debian.folder, 'timeout', '120', qemu, '-accel', 'tcg',
             '-display', 'none', '-monitor', 'stdio', *machine.split()],
            input='info roms\ninfo block\nquit\n', text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertNotIn('could not', result.stdout.lower())
        firmware = 'pflash0 .*OVMF_CODE' if 'pflash' in machine else 'name="bios-256k.bin"'
        self.assertRegex(result.stdout, firmware)

    def test_programs_find_their_files_below_another_prefix(self):
        subprocess.run([REPO / 'scripts/install.sh'], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, 'PREFIX': '/opt/moved',
                            'DESTDIR': str(self.debian.folder)})
        moved = '/opt/moved/lib/qemu-blobstore'
        try:
            self.assertIn(f'{moved}/bin/../share/qemu',
                          self.debian.run(f'{moved}/bin/qemu-system-x86_64', '-L', 'help'))
            self.start_and_quit(f'{moved}/bin/qemu-system-x86_64', MACHINES[2])
            self.debian.run('/opt/moved/bin/qemu-blobstore', '--version')
        finally:
            shutil.rmtree(self.debian.folder / 'opt/moved')

    def test_tool_is_in_the_path_with_its_manual_and_completion(self):
        self.assertIn('qemu-blobstore', self.debian.run('qemu-blobstore', '--version'))
        for name in ('/usr/share/man/man1/qemu-blobstore.1.gz',
                     '/usr/share/bash-completion/completions/qemu-blobstore',
                     f'{HOME}/share/man/man1/qemu-system-x86_64.1.gz',
                     '/usr/share/doc/qemu-blobstore/README.md',
                     '/usr/share/doc/qemu-blobstore/docs/usage.md'):
            path = self.debian.folder / name.lstrip('/')
            self.assertGreater(path.stat().st_size, 100, name)

    def test_guest_of_the_demo_keeps_its_tpm(self):
        programs = {'QEMU': QEMU, 'QEMU_IMG': f'{HOME}/bin/qemu-img'}
        wrappers = {variable: str(self.debian.wrapper(program, self.work / Path(program).name))
                    for variable, program in programs.items()}
        result = subprocess.run([sys.executable, REPO / 'scripts/demo.py'], text=True,
                                env={**os.environ, **wrappers, 'TMPDIR': str(self.work)},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        (BUILD / 'package/demo.log').write_text(result.stdout)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn('Proved on qcow2 and on raw', result.stdout)


if __name__ == '__main__':
    unittest.main()
