# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/install.sh installs these files and no others.

The script runs in a copy, beside a build/ of the test's own with an empty file for each that QEMU's
build makes. tests/package has the real ones.
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILT = ('qemu-system-x86_64', 'qemu-img', 'qemu-io', 'qemu-nbd', 'qemu-pr-helper',
         'qemu-vmsr-helper', 'qemu-bridge-helper', 'qemu-edid',
         'storage-daemon/qemu-storage-daemon',
         'tools/blobstore/qemu-blobstore', 'tools/blobstore/qemu-blobstore.1',
         'tools/blobstore/qemu-blobstore.bash',
         *(f'docs/{page}' for page in (
             'qemu.1', 'qemu-img.1', 'qemu-storage-daemon.1', 'qemu-ga.8', 'qemu-block-drivers.7',
             'qemu-cpu-models.7', 'qemu-qmp-ref.7', 'qemu-storage-daemon-qmp-ref.7',
             'qemu-nbd.8', 'qemu-pr-helper.8')))
INSTALLED = '''
bin/qemu-blobstore -> ../lib/qemu-blobstore/bin/qemu-blobstore
lib/qemu-blobstore/bin/qemu-blobstore 755
lib/qemu-blobstore/bin/qemu-img 755
lib/qemu-blobstore/bin/qemu-io 755
lib/qemu-blobstore/bin/qemu-nbd 755
lib/qemu-blobstore/bin/qemu-pr-helper 755
lib/qemu-blobstore/bin/qemu-storage-daemon 755
lib/qemu-blobstore/bin/qemu-system-x86_64 755
lib/qemu-blobstore/bin/qemu-vmsr-helper 755
lib/qemu-blobstore/libexec/qemu-bridge-helper 755
lib/qemu-blobstore/share/man/man1/qemu-img.1 644
lib/qemu-blobstore/share/man/man1/qemu-storage-daemon.1 644
lib/qemu-blobstore/share/man/man1/qemu-system-x86_64.1 -> qemu.1
lib/qemu-blobstore/share/man/man1/qemu.1 644
lib/qemu-blobstore/share/man/man7/qemu-block-drivers.7 644
lib/qemu-blobstore/share/man/man7/qemu-cpu-models.7 644
lib/qemu-blobstore/share/man/man7/qemu-qmp-ref.7 644
lib/qemu-blobstore/share/man/man7/qemu-storage-daemon-qmp-ref.7 644
lib/qemu-blobstore/share/man/man8/qemu-nbd.8 644
lib/qemu-blobstore/share/man/man8/qemu-pr-helper.8 644
share/bash-completion/completions/qemu-blobstore 644
share/doc/qemu-blobstore/README.md 644
share/doc/qemu-blobstore/docs/one.md 644
share/man/man1/qemu-blobstore.1 644
'''.split('\n')[1:-1]


class InstallTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='install-')
        self.addCleanup(directory.cleanup)
        self.top = Path(directory.name).resolve() / 'top'
        shutil.copytree(REPO / 'scripts', self.top / 'scripts')
        for path in ('README.md', 'docs/one.md', *(f'build/qemu/full/{path}' for path in BUILT)):
            (self.top / path).parent.mkdir(parents=True, exist_ok=True)
            (self.top / path).write_text(path)
        self.destination = self.top.parent / 'a place'

    def install(self, **environment):
        return subprocess.run([self.top / 'scripts/install.sh'], text=True, capture_output=True,
                              umask=0o077, timeout=60, check=False,
                              env={**os.environ, 'PREFIX': '', 'DESTDIR': str(self.destination),
                                   **environment})

    def found(self, prefix):
        """The files below @prefix with where they point, or their mode."""
        top = Path(f'{self.destination}{prefix}')
        return sorted(f'{path.relative_to(top)} ' +
                      (f'-> {os.readlink(path)}' if path.is_symlink() else
                       f'{path.stat().st_mode & 0o777:o}')
                      for path in top.rglob('*') if path.is_symlink() or path.is_file())

    def test_these_files_and_no_others_are_installed(self):
        for prefix in '/usr/local', '/opt/of mine':
            with self.subTest(prefix):
                result = self.install(PREFIX=prefix if prefix != '/usr/local' else '')
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(self.found(prefix), INSTALLED)
                for folder in Path(f'{self.destination}{prefix}').rglob('*/'):
                    self.assertEqual(folder.stat().st_mode & 0o777, 0o755, folder)
                shutil.rmtree(self.destination)

    def test_second_installation_is_like_the_first(self):
        self.install()
        once = self.found('/usr/local')
        (self.top / 'build/qemu/full/qemu-img').write_text('newer')
        result = self.install()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.found('/usr/local'), once)
        self.assertEqual((self.destination / 'usr/local/lib/qemu-blobstore/bin/qemu-img')
                         .read_text(), 'newer')

    def test_prefix_that_is_no_whole_path_is_refused(self):
        result = self.install(PREFIX='usr')
        self.assertEqual(result.returncode, 1)
        self.assertIn('PREFIX=usr must begin with /', result.stderr)
        self.assertFalse(self.destination.exists())


if __name__ == '__main__':
    unittest.main()
