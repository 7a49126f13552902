# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/graft.py works on the files of a real QEMU tree that get hooks.

Each test has a tree of its own, with the originals of every hooked file from build/qemu/src, and a
repository of its own, with one small file for everything that a hook needs.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
QEMU = REPO / 'build/qemu/src'
sys.path.insert(0, str(REPO / 'scripts'))

import graft    # noqa: E402
import hooks    # noqa: E402

OUR_FILES = sorted({hook.needs
                    for hook in hooks.BUILD + hooks.QAPI + hooks.TPM + hooks.START +
                    hooks.MONITOR} |
                   {'blobstore/store.c',
                    'include/blobstore/blobstore.h',
                    'tests/unit/test-blobstore-block.c',
                    'tests/unit/test-blobstore-tpm.c',
                    'tests/qtest/blobstore-tis.c',
                    'tests/qtest/blobstore-tis.h',
                    'tests/qtest/tpm-blobstore-test.c'})
TABLE = hooks.hooks(OUR_FILES)


def original(file):
    kept = QEMU / graft.STATE / 'original' / file
    return kept if kept.exists() else QEMU / file


def snapshot(tree):
    """Everything in @tree: path -> content, link target or None (directory)."""
    def value(path):
        if path.is_symlink():
            return path.readlink()
        return path.read_bytes() if path.is_file() else None
    return {path.relative_to(tree).as_posix(): value(path)
            for path in tree.rglob('*')}


class GraftTest(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix='graft-'))
        self.addCleanup(shutil.rmtree, self.directory)
        self.tree = self.directory / 'qemu'
        self.repo = self.directory / 'repo'
        for file in {hook.file for hook in TABLE}:
            target = self.tree / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original(file), target)
        for file in OUR_FILES:
            self.write_ours(file)
        self.pristine = snapshot(self.tree)

    def write_ours(self, file):
        path = self.repo / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'ours: {file}\n')

    def graft(self):
        """A fresh object each time, as each run of the script has."""
        return graft.Graft(self.repo, self.tree)

    def assert_refused(self, *words):
        before = snapshot(self.tree)
        with self.assertRaises(graft.GraftError) as caught:
            self.graft().apply()
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertEqual(snapshot(self.tree), before)

    def test_graft_lays_our_files_and_inserts_every_hook(self):
        self.graft().apply()
        for file in OUR_FILES:
            path = self.tree / file
            self.assertTrue(path.is_symlink())
            self.assertEqual(path.read_text(), f'ours: {file}\n')
        for hook in TABLE:
            with self.subTest(file=hook.file, text=hook.text):
                self.assertNotIn(hook.text.encode(), self.pristine[hook.file])
                self.assertIn(hook.text, (self.tree / hook.file).read_text())

    def test_hook_lines_stand_whole_beside_their_anchor(self):
        self.graft().apply()
        for hook in TABLE:
            if not hook.text.endswith('\n'):
                continue
            with self.subTest(file=hook.file, text=hook.text):
                content = (self.tree / hook.file).read_text()
                self.assertIn('\n' + hook.text, '\n' + content)

    def test_hooks_only_add_to_the_files_of_qemu(self):
        self.graft().apply()
        for file in {hook.file for hook in TABLE}:
            rest = (self.tree / file).read_text()
            for hook in TABLE:
                if hook.file == file:
                    self.assertEqual(rest.count(hook.text), 1, hook)
                    rest = rest.replace(hook.text, '')
            self.assertEqual(rest.encode(), self.pristine[file], file)

    def test_second_graft_changes_nothing(self):
        self.graft().apply()
        once = snapshot(self.tree)
        times = {path: path.lstat().st_mtime_ns for path in self.tree.rglob('*')}
        self.assertEqual(self.graft().apply(), 0)
        self.assertEqual(snapshot(self.tree), once)
        self.assertEqual({path: path.lstat().st_mtime_ns
                          for path in self.tree.rglob('*')}, times)

    def test_undo_gives_a_byte_identical_tree(self):
        self.graft().apply()
        self.assertNotEqual(snapshot(self.tree), self.pristine)
        self.graft().undo()
        self.assertEqual(snapshot(self.tree), self.pristine)

    def test_undo_of_a_pristine_tree_changes_nothing(self):
        self.graft().undo()
        self.assertEqual(snapshot(self.tree), self.pristine)

    def test_every_anchor_removed_fails_naming_file_and_anchor(self):
        for hook in TABLE:
            anchor = hook.before or hook.after
            with self.subTest(file=hook.file, anchor=anchor):
                path = self.tree / hook.file
                content = path.read_text()
                path.write_text(content.replace(anchor, ''))
                self.assert_refused(hook.file, repr(anchor), '0 times')
                path.write_text(content)

    def test_every_anchor_doubled_fails_naming_file_and_anchor(self):
        for hook in TABLE:
            anchor = hook.before or hook.after
            with self.subTest(file=hook.file, anchor=anchor):
                path = self.tree / hook.file
                content = path.read_text()
                path.write_text(content + anchor + '\n')
                self.assert_refused(hook.file, repr(anchor), '2 times')
                path.write_text(content)

    def test_hooks_in_c_are_nothing_without_their_symbol(self):
        """Hooks are right where no build for x86 looks, too. Headers of ours may be included."""
        for hook in TABLE:
            if hook.file.endswith('.c') or hook.file == 'hw/tpm/tpm_tis.h':
                rest = re.sub(r'^#ifdef CONFIG_(BLOBSTORE|LIBTPMS)\n.*?^#endif\n', '', hook.text,
                              flags=re.MULTILINE | re.DOTALL)
                rest = re.sub(r'^#include "blobstore/.*"\n', '', rest)
                self.assertEqual(rest.strip(), '', hook)

    def test_every_anchor_is_one_line(self):
        for hook in TABLE:
            self.assertNotIn('\n', hook.before or hook.after)
            self.assertNotEqual(bool(hook.before), bool(hook.after), hook)

    def test_missing_hooked_file_fails_naming_it(self):
        (self.tree / 'hw/tpm/tpm_prop.h').unlink()
        self.assert_refused('hw/tpm/tpm_prop.h', 'QEMU 10.0')

    def test_file_of_qemu_in_the_way_is_refused(self):
        path = self.tree / 'blobstore/store.c'
        path.parent.mkdir()
        path.write_text('of QEMU\n')
        self.assert_refused('blobstore/store.c', 'in the way')

    def test_link_replaced_by_a_file_is_refused(self):
        self.graft().apply()
        path = self.tree / 'blobstore/store.c'
        path.unlink()
        path.write_text('edited in the wrong place\n')
        self.assert_refused('blobstore/store.c', 'in the way')

    def test_hand_edit_of_a_hooked_file_is_refused(self):
        self.graft().apply()
        path = self.tree / 'hw/tpm/tpm_prop.h'
        path.write_text(path.read_text() + '/* work */\n')
        self.assert_refused('hw/tpm/tpm_prop.h', 'edited by hand')
        with self.assertRaises(graft.GraftError):
            self.graft().undo()
        self.assertIn('/* work */', path.read_text())

    def test_tree_that_has_lost_its_record_is_refused(self):
        """As after `git clean`: the hooks would be there twice."""
        self.graft().apply()
        shutil.rmtree(self.tree / graft.STATE)
        for file in OUR_FILES:
            (self.tree / file).unlink()
        self.assert_refused('has our lines already', 'Unpack QEMU again')

    def test_hooked_file_that_is_gone_is_named(self):
        self.graft().apply()
        (self.tree / TABLE[0].file).unlink()
        self.assert_refused(TABLE[0].file, 'is gone since it was grafted', 'original')
        with self.assertRaises(graft.GraftError):
            self.graft().undo()
        with self.assertRaises(graft.GraftError):
            self.graft().differences()

    def test_symbolic_link_out_of_the_tree_is_not_followed(self):
        outside = self.directory / 'outside'
        outside.mkdir()
        (self.tree / 'blobstore').symlink_to(outside)
        self.assert_refused('blobstore', 'is a symbolic link')
        self.assertEqual(list(outside.iterdir()), [])

    def test_link_of_a_file_we_no_longer_have_is_removed(self):
        self.write_ours('blobstore/gone/gone.c')
        self.graft().apply()
        link = self.tree / 'blobstore/gone/gone.c'
        self.assertTrue(link.is_symlink())
        (self.repo / 'blobstore/gone/gone.c').unlink()
        self.graft().apply()
        self.assertFalse(link.is_symlink())
        self.assertFalse(link.parent.exists())
        self.assertTrue((self.tree / 'blobstore/store.c').is_symlink())

    def test_hook_goes_with_the_file_it_needs(self):
        self.graft().apply()
        (self.repo / 'qapi/blobstore.json').unlink()
        self.graft().apply()
        info = (self.tree / 'hmp-commands-info.hx').read_bytes()
        self.assertEqual(info, self.pristine['hmp-commands-info.hx'])
        self.graft().undo()
        self.assertEqual(snapshot(self.tree), self.pristine)

    def test_new_file_is_laid_and_hooked_by_the_next_graft(self):
        self.graft().apply()
        self.write_ours('tests/unit/test-blobstore-new.c')
        self.graft().apply()
        self.assertTrue((self.tree / 'tests/unit/test-blobstore-new.c').is_symlink())
        self.assertIn("'test-blobstore-new'",
                      (self.tree / 'tests/unit/meson.build').read_text())

    def test_files_of_editors_and_of_our_own_build_stay_out(self):
        for file in ('blobstore/.store.c.swp', 'blobstore/store.c~',
                     'tests/unit/test-store.c', 'tests/unit/meson.build',
                     'docs/format.md', 'meson.build'):
            self.write_ours(file)
        self.assertEqual(graft.our_files(self.repo), OUR_FILES)

    def test_interrupted_graft_can_be_repeated_and_undone(self):
        whole = self.graft()
        whole.apply()
        grafted = snapshot(self.tree)
        for undone in ('blobstore/store.c', 'meson.build'):
            with self.subTest(undone=undone):
                path = self.tree / undone
                path.unlink()
                if undone in self.pristine:
                    path.write_bytes(self.pristine[undone])
                self.assertNotEqual(self.graft().differences(), [])
                self.graft().apply()
                self.assertEqual(snapshot(self.tree), grafted)

    def test_check_tells_what_differs_and_changes_nothing(self):
        graft_ = self.graft()
        self.assertEqual(len(graft_.differences()),
                         len(OUR_FILES) + len({hook.file for hook in TABLE}))
        self.assertEqual(snapshot(self.tree), self.pristine)
        graft_.apply()
        self.assertEqual(self.graft().differences(), [])

    def test_copied_tree_is_complete_and_takes_no_second_graft(self):
        self.graft().apply()
        linked = {file: (self.tree / file).read_bytes() for file in self.everything()}
        self.graft().detach()
        shutil.rmtree(self.repo)
        self.assertEqual(linked, {file: (self.tree / file).read_bytes()
                                  for file in self.everything()})
        self.assertFalse(any(path.is_symlink() for path in self.tree.rglob('*')))
        self.assertFalse((self.tree / graft.STATE).exists())
        for file in OUR_FILES:
            self.write_ours(file)
        self.assert_refused('in the way')

    def everything(self):
        return {*OUR_FILES, *(hook.file for hook in TABLE)}

    def test_patch_makes_of_a_pristine_tree_what_the_graft_makes(self):
        patch = self.graft().patch()
        self.assertEqual(snapshot(self.tree), self.pristine)
        self.graft().apply()
        self.assertEqual(self.graft().patch(), patch)
        grafted = snapshot(self.tree)
        self.graft().undo()
        subprocess.run(['patch', '--quiet', '-p1', '--fuzz=0', '-d', self.tree], input=patch,
                       text=True, check=True)
        for file in {hook.file for hook in TABLE}:
            self.assertEqual((self.tree / file).read_bytes(), grafted[file], file)


class ScriptTest(unittest.TestCase):
    def run_script(self, *arguments):
        return subprocess.run([sys.executable, REPO / 'scripts/graft.py', *arguments],
                              capture_output=True, text=True, timeout=60)

    def test_check_passes_on_the_tree_that_is_built(self):
        result = self.run_script('--check', QEMU)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_something_else_than_qemu_10_0_is_refused(self):
        with tempfile.TemporaryDirectory(prefix='graft-') as directory:
            for version, complaint in ((None, 'not a QEMU source tree'),
                                       ('9.2.1\n', 'needs QEMU 10.0')):
                file = Path(directory) / 'VERSION'
                if version:
                    file.write_text(version)
                files = list(Path(directory).iterdir())
                result = self.run_script(directory)
                self.assertEqual(result.returncode, 1)
                self.assertIn(complaint, result.stderr)
                self.assertEqual(list(Path(directory).iterdir()), files)


if __name__ == '__main__':
    unittest.main()
