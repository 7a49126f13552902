# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules for every file of this repository."""

import re
import subprocess
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
QEMU = REPO / 'build/qemu/src'
LARGEST_BYTES = 512 * 1024
CORPUS = REPO / 'tests/fuzz/corpus'      # the corpus's README.md names the licence of all its files
LARGEST_INPUT_BYTES = 4096
LARGEST_CORPUS_BYTES = 300 * 1024
COPIED_LINES = 6        # so many lines in a row that are also in QEMU are a copy

# Lines that any two C files may share.
COMMON_LINES = ('#include', '#define', '#endif', '#ifndef', '/*', '*', '//', 'return')


def files(*patterns):
    """Our files, without build output or git's own files."""
    tops = [path for path in REPO.iterdir() if path.name not in ('build', '.git')]
    paths = [path for top in tops for path in (top, *top.rglob('*')) if path.is_file()]
    return sorted(path for path in paths
                  if '__pycache__' not in path.parts
                  and any(path.match(pattern) for pattern in patterns or ('*',)))


def fuzz_inputs():
    return [path for path in files() if path.parent.parent == CORPUS]


def texts():
    """All files except the inputs of the fuzz targets, which may have any bytes."""
    return [path for path in files() if path.parent.parent != CORPUS]


def telling_lines(path):
    """The lines of @path that have content, without their indentation."""
    lines = (line.strip() for line in path.read_text(errors='replace').splitlines())
    return [line for line in lines if len(line) > 8 and not line.startswith(COMMON_LINES)]


def runs(path):
    lines = telling_lines(path)
    return {tuple(lines[at:at + COPIED_LINES])
            for at in range(len(lines) - COPIED_LINES + 1)}


class RepositoryTest(unittest.TestCase):
    def test_every_file_names_its_licence(self):
        exempt = ('LICENSE', '.gitignore')
        for path in texts():
            if path.name not in exempt and path.suffix not in ('.svg', '.png'):
                with self.subTest(path=path.relative_to(REPO)):
                    self.assertIn('SPDX-License-Identifier: GPL-2.0-or-later', path.read_text())

    def test_no_file_is_large(self):
        for path in files():
            with self.subTest(path=path.relative_to(REPO)):
                self.assertLess(path.stat().st_size, LARGEST_BYTES)

    def test_fuzz_inputs_are_small_and_in_their_folders(self):
        sizes = [path.stat().st_size for path in fuzz_inputs()]
        self.assertLess(max(sizes), LARGEST_INPUT_BYTES)
        self.assertLess(sum(sizes), LARGEST_CORPUS_BYTES)
        self.assertEqual({path.parent.name for path in fuzz_inputs()}, {'open', 'ops', 'swtpm'})

    def test_no_place_of_the_machine_it_was_made_on(self):
        for path in texts():
            with self.subTest(path=path.relative_to(REPO)):
                self.assertNotIn(str(REPO), path.read_text())

    def test_documented_states_are_those_that_the_unit_test_walks(self):
        design = (REPO / 'docs/design.md').read_text()
        source = (REPO / 'tests/unit/test-blobstore-state.c').read_text()
        for table, columns, least in (('trust_table', 6, 15), ('ram_table', 9, 15),
                                      ('owner_table', 3, 3)):
            walked = re.search(table + r'\[\].*?\n};', source, re.DOTALL).group()
            rows = [re.findall(r'"([^"]+)"', row) for row in re.findall(r'{[^{}]*"[^{}]*}', walked)]
            self.assertGreater(len(rows), least)
            for row in rows:
                self.assertEqual(len(row), columns)
                self.assertIn('| ' + ' | '.join(row) + ' |', design)

    def test_shell_scripts_parse(self):
        for path in files('*.sh'):
            subprocess.run(['bash', '-n', path], check=True)

    def test_python_files_compile(self):
        for path in files('*.py'):
            compile(path.read_text(), str(path), 'exec')

    def test_no_c_file_copies_from_qemu(self):
        theirs = set()
        for folder in ('backends/tpm', 'block', 'hw/tpm', 'hw/uefi', 'hw/nvram', 'include/block',
                       'include/system', 'system', 'tests/unit', 'tests/qtest'):
            for path in (QEMU / folder).rglob('*.[ch]'):
                if not path.is_symlink():
                    theirs |= runs(path)
        self.assertGreater(len(theirs), 100000)
        for path in files('*.[ch]'):
            with self.subTest(path=path.relative_to(REPO)):
                self.assertEqual(runs(path) & theirs, set())


if __name__ == '__main__':
    unittest.main()
