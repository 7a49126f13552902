# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/mutants/mutants.py finds the text of a mutant, and complains of faults."""

import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'mutants'))

import mutants  # noqa: E402

SOURCE = '''/* if (a && b) */
static bool is_it(int a, int b)
{
    if (a && /* first
                 * of all */
        b) {
        return another_b;
    }
    return b;
}
'''


class FitTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='mutants-')
        self.addCleanup(directory.cleanup)
        self.core = Path(directory.name)
        self.write('room/a.c', SOURCE)

    def write(self, name, text):
        path = self.core / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def found(self, text):
        return [path.read_text()[start:end] for path, start, end in mutants.find(text, self.core)]

    def test_line_breaks_and_comments_do_not_matter(self):
        self.assertEqual(len(self.found('if (a && /* the other */ b)')), 1)
        match, = self.found('if(a\n&& b){')
        self.assertTrue(match.startswith('if (a && ') and match.endswith(' b) {'), match)

    def test_words_match_wholly(self):
        self.assertEqual(self.found('return b;'), ['return b;'])
        self.assertEqual(self.found('other_b'), [])
        self.assertEqual(self.found('staticbool'), [])

    def test_what_belongs_to_qemu_is_not_looked_at(self):
        self.write('qemu/b.c', SOURCE)
        self.assertEqual(len(self.found('return b;')), 1)

    def faults(self, *change):
        with unittest.mock.patch.object(mutants, 'CORE', self.core), \
                unittest.mock.patch.object(mutants, 'RULES', {'R1'}), \
                unittest.mock.patch.object(mutants.find, '__defaults__', (self.core,)):
            return mutants.find_faults([change] if change else [])

    def test_only_a_mutant_with_one_place_fits(self):
        self.assertEqual(self.faults('R1', 'it', 'return b;', 'return a;'), [])
        self.assertIn('0 places match', *self.faults('R1', 'it', 'return c;', 'return a;'))
        self.write('b.c', SOURCE)
        self.assertIn('2 places match', *self.faults('R1', 'it', 'return b;', 'return a;'))

    def test_rule_without_a_mutant_is_named(self):
        self.assertEqual(self.faults(), ['R1 has no mutant'])

    def test_replacement_with_a_word_that_is_nowhere_is_named(self):
        self.assertIn('has no renamed', *self.faults('R1', 'it', 'return b;', 'return renamed;'))


if __name__ == '__main__':
    unittest.main()
