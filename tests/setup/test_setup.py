#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The set-up scripts handle missing packages and QEMU_SRC.

The scripts run in a copy, beside a build/ of the test's own.
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'


class SetUpTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='set-up-')
        self.addCleanup(directory.cleanup)
        self.top = Path(directory.name).resolve()
        shutil.copytree(SCRIPTS, self.top / 'scripts')
        self.tools = self.top / 'bin'
        self.tools.mkdir()

    def run_script(self, name, *arguments, **environment):
        path = f'{self.tools}:{os.environ["PATH"]}'
        return subprocess.run([self.top / 'scripts' / name, *arguments], text=True,
                              capture_output=True, timeout=60, check=False,
                              env={**os.environ, 'PATH': path, **environment})

    def fake_tool(self, name, text):
        """A program that the script finds before the real one."""
        tool = self.tools / name
        tool.write_text(f'#!/bin/sh\n{text}\n')
        tool.chmod(0o755)


class PackagesTest(SetUpTest):
    def setUp(self):
        super().setUp()
        self.fake_tool('apt-get', f'echo "$@" >> {self.top}/apt-get.log')

    def installed(self, command):
        self.fake_tool('dpkg-query', command)

    def apt_calls(self):
        log = self.top / 'apt-get.log'
        return log.read_text() if log.exists() else ''

    def test_nothing_is_installed_when_nothing_is_missing(self):
        self.installed('shift 3; for p; do echo "installed $p"; done')
        result = self.run_script('packages.sh')
        self.assertEqual((result.returncode, result.stdout, self.apt_calls()), (0, '', ''))

    def test_user_is_told_exactly_what_is_missing(self):
        self.fake_tool('id', 'echo 1000')
        self.installed('shift 3; for p; do case $p in cpio|flex) ;; '
                       '*) echo "installed $p" ;; esac; done')
        result = self.run_script('packages.sh')
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.apt_calls(), '')
        line, = re.findall(r'apt-get install (.*)', result.stderr)
        self.assertEqual(set(line.split()) - {'flex'}, {'cpio'})

    def test_root_installs_what_is_missing_and_no_more(self):
        self.fake_tool('id', 'echo 0')
        self.installed('shift 3; for p; do [ $p = cpio ] || echo "installed $p"; done')
        self.assertEqual(self.run_script('packages.sh').returncode, 0)
        self.assertRegex(self.apt_calls(), r'install [^\n]*--no-install-recommends cpio\n$')


class QemuSrcTest(SetUpTest):
    """The tests need no network: everything else that the script would fetch exists already."""

    def setUp(self):
        super().setUp()
        text = (self.top / 'scripts/fetch-qemu.sh').read_text()
        extras, = re.findall(r'^extra_packages=\((.*)\)$', text, re.MULTILINE)
        (self.top / 'build/debian').mkdir(parents=True)
        (self.top / 'build/debian/packages').write_text(extras + '\n')
        self.src = self.top / 'build/qemu/src'
        self.src.mkdir(parents=True)
        (self.src / 'VERSION').write_text('10.0.0\n')
        (self.src / 'old').touch()
        self.given = self.make_tree('given', '10.0.9')

    def make_tree(self, name, version):
        tree = self.top / name
        (tree / 'build').mkdir(parents=True)
        (tree / 'configure').touch()
        (tree / 'VERSION').write_text(version + '\n')
        return tree

    def fetch(self, tree):
        return self.run_script('fetch-qemu.sh', QEMU_SRC=str(tree))

    def check_refused(self, tree, complaint):
        before = sorted(self.top.rglob('*'))
        result = self.fetch(tree)
        self.assertEqual(result.returncode, 1)
        self.assertIn(complaint, result.stderr)
        self.assertEqual(sorted(self.top.rglob('*')), before)

    def test_wrong_tree_is_refused_and_the_old_one_stays(self):
        self.check_refused(self.top / 'nowhere', 'is no directory')
        self.check_refused(self.tools, 'is not a QEMU source tree')
        self.check_refused(self.make_tree('other', '9.2.1'), 'is QEMU 9.2.1; this needs 10.0')
        self.check_refused(self.src, 'is in build/')

    def test_tree_is_copied_once_and_not_modified(self):
        before = sorted(self.given.rglob('*'))
        result = self.fetch(self.given)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual((self.src / 'VERSION').read_text(), '10.0.9\n')
        self.assertFalse((self.src / 'old').exists())
        self.assertFalse((self.src / 'build').exists())
        self.assertEqual(sorted(self.given.rglob('*')), before)
        (self.src / 'grafted').touch()
        result = self.fetch(self.given)
        self.assertEqual((result.returncode, result.stdout), (0, ''))
        self.assertTrue((self.src / 'grafted').exists())

    def test_copy_that_fails_leaves_the_old_tree(self):
        self.fake_tool('tar', 'exit 1')
        self.assertNotEqual(self.fetch(self.given).returncode, 0)
        self.assertTrue((self.src / 'old').exists())


if __name__ == '__main__':
    unittest.main()
