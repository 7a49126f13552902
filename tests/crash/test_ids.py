# SPDX-License-Identifier: GPL-2.0-or-later
"""The crash explorer replays the id that it prints, and refuses other text.

meson.build sets EXPLORE to the path of the program.
"""

import os
import subprocess
import unittest


def explore(*arguments):
    return subprocess.run([os.environ['EXPLORE'], *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


class Ids(unittest.TestCase):
    def test_states_of_histories_and_walks_are_replayed(self):
        for name in ('w', 'wv', 'f', '2Gf/3/p1', 'w/0/s1', 'w/0/g1.8', 'mr/1/r5a3f', 'a/1/c3f',
                     'a/1/m2.1', 'w/0/s1/3/p2', 'w/0/p1/9/g0.4', 'w1.0', 'w1.5', 'w1.5/0/p0',
                     'w1.5/1/r7/2/p0', 'S', 'Sd/0/s1', 'x/9/g1.8', 'S2NGyr', 'Sk/0/s1/3/p2'):
            with self.subTest(id=name):
                done = explore(name)
                self.assertEqual(done.stdout, f'{name}: keeps its promise\n')
                self.assertEqual(done.returncode, 0)

    def test_what_is_no_id_is_refused(self):
        for name in ('', '/', 'o', 'wS', 'SS', 'wo', 'w/0', 'w//s1', 'w/0/', 'w/x/s1', 'w/99/s1',
                     'w/0/s', 'w/0/x1', 'w/0/s1000', 'w/0/sffffffffff', 'w/0/S1', 'w/0/s01',
                     'w/0/p99', 'w/0/g1', 'w/0/g1.9', 'w/0/g99.0', 'w/0/m1.2', 'w/0/s1/3',
                     'w/0/s1/999/p1', 'w/0/s1/3/p99', 'w/0/s1/3/p1/4/p1', 'w/-1/s1', 'w1.',
                     'w1.5/999/p0', 'w' * 99):
            with self.subTest(id=name):
                done = explore(name)
                self.assertEqual(done.stdout, f'{name}: no such state\n')
                self.assertEqual(done.returncode, 2)
