# SPDX-License-Identifier: GPL-2.0-or-later
"""make dist has all files of this repository, none of QEMU's, and a patch that makes the graft.

scripts/dist.sh runs in a clone of the last commit, beside the QEMU tree in build/qemu/src.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
QEMU = REPO / 'build/qemu/src'
sys.path.insert(0, str(REPO / 'scripts'))

import graft    # noqa: E402


@unittest.skipUnless((REPO / '.git').exists(), 'only a git repository has commits to pack')
class DistTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='dist-')
        self.addCleanup(directory.cleanup)
        self.top = Path(directory.name) / 'clone'
        subprocess.run(['git', 'clone', '-q', '--shared', REPO, self.top], check=True)
        self.src = self.top / 'build/qemu/src'
        self.make_pristine_tree()

    def make_pristine_tree(self):
        """What QEMU has of the files that get hooks, and its version."""
        self.hooked = list(graft.Graft(REPO, QEMU).hooked)
        self.assertGreater(len(self.hooked), 10)
        for file in self.hooked:
            (self.src / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(QEMU / graft.STATE / 'original' / file, self.src / file)
        shutil.copy(QEMU / 'VERSION', self.src)

    def dist(self):
        return subprocess.run([self.top / 'scripts/dist.sh'], text=True, capture_output=True,
                              timeout=60, check=False)

    def test_tarball_has_our_files_alone_and_grafts_what_the_patch_patches(self):
        result = self.dist()
        self.assertEqual(result.returncode, 0, result.stderr)
        archive, = (self.top / 'build/dist').glob('*.tar.xz')
        patch, = (self.top / 'build/dist').glob('*.patch')
        ours = subprocess.run(['git', 'ls-files'], cwd=self.top, check=True, text=True,
                              stdout=subprocess.PIPE).stdout.splitlines()
        unpacked = self.top.parent / archive.name.removesuffix('.tar.xz')
        with tarfile.open(archive) as tar:
            self.assertEqual({member.name for member in tar if not member.isdir()},
                             {f'{unpacked.name}/{file}' for file in ours})
        subprocess.run(['tar', '-xf', archive, '-C', unpacked.parent], check=True)

        patched = self.top.parent / 'patched'
        shutil.copytree(self.src, patched)
        subprocess.run(['patch', '--quiet', '-p1', '--fuzz=0', '-d', patched, '-i', patch],
                       check=True)
        subprocess.run([unpacked / 'scripts/graft.py', '--copy', self.src], check=True,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(unpacked)
        for file in self.hooked:
            self.assertEqual((self.src / file).read_bytes(), (patched / file).read_bytes(), file)
        for file in graft.our_files(self.top):
            self.assertEqual((self.src / file).read_bytes(), (self.top / file).read_bytes())

    def test_changes_that_are_not_committed_are_refused(self):
        (self.top / 'README.md').write_text('changed\n')
        result = self.dist()
        self.assertEqual(result.returncode, 1)
        self.assertIn('changes that are not committed', result.stderr)
        self.assertFalse((self.top / 'build/dist').exists())

    def test_folder_without_commits_is_refused(self):
        shutil.rmtree(self.top / '.git')
        result = self.dist()
        self.assertEqual(result.returncode, 1)
        self.assertIn('is no git repository', result.stderr)


if __name__ == '__main__':
    unittest.main()
