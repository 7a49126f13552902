# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of rooms in CONTRIBUTING.md holds, and the test notices when it does not."""

import re
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rooms import REPO, House, components, definitions, code_of  # noqa: E402

NAMED_FILE = re.compile(r'`((?:[\w-]+/)+[\w-]+\.[a-z]+)`')

TABLE = '''
| room | may include | libraries | QEMU | comment |
| --- | --- | --- | --- | --- |
| `include/part` | | | no | the border |
| `part/low` | `include/part` | `zlib` | no | the bottom |
| `part` | `part/low`, `include/part` | | no | the core |
| `part/glue` | `part` | | yes | the top |
'''

GOOD = {
    'include/part/border.h': 'int border(void);\n',
    'part/low/low.h': '#include <zlib.h>\n#include "part/border.h"\nint low(int x);\n',
    'part/low/low.c': '#include "low.h"\nint low(int x)\n{\n    return x;\n}\n',
    'part/core.h': 'int core(void);\n',
    'part/core.c': '#include "core.h"\n#include "part/low/low.h"\n'
                   'int core(void)\n{\n    return low(1);\n}\n',
    'part/glue/glue.c': '#include "qemu/osdep.h"\n#include "part/core.h"\n'
                        'static int low;\n'
                        'int border(void)\n{\n    trace_border(low);\n    return core();\n}\n',
}


class RoomsTest(unittest.TestCase):
    """The rooms of this repository."""

    @classmethod
    def setUpClass(cls):
        cls.house = House(REPO)

    def assert_none(self, found):
        self.assertEqual(found, [], '\n'.join(['', *found]))

    def test_every_file_has_a_room(self):
        self.assertGreater(len(self.house.files), 150)
        self.assert_none(self.house.homeless())

    def test_every_room_has_files(self):
        owned = {self.house.room(file).path for file in self.house.files}
        self.assertEqual(owned, {room.path for room in self.house.rooms})

    def test_rooms_that_are_allowed_exist_and_form_no_circle(self):
        graph = {room.path: room.may for room in self.house.rooms}
        self.assertLessEqual({path for may in graph.values() for path in may}, graph.keys())
        self.assertEqual([group for group in components(graph) if len(group) > 1], [])

    def test_no_include_goes_up(self):
        self.assert_none(self.house.upward())

    def test_includes_are_plain_in_a_room_and_whole_across(self):
        self.assert_none(self.house.misspelt())

    def test_no_core_file_knows_qemu(self):
        self.assert_none(self.house.qemu_in_the_core())

    def test_files_form_no_circle(self):
        self.assert_none(self.house.circles())

    def test_files_that_contributing_names_exist(self):
        named = NAMED_FILE.findall((REPO / 'CONTRIBUTING.md').read_text())
        named = [name for name in named if not name.startswith('system/')]      # QEMU's
        self.assertGreater(len(named), 20)
        self.assert_none([name for name in named if not
                          any((REPO / top / name).is_file() for top in ('', 'include'))])


class CheckTest(unittest.TestCase):
    """A small house, in which each test then breaks one thing."""

    def house(self, **changes):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = Path(folder.name)
        for name, text in {**GOOD, 'CONTRIBUTING.md': TABLE, **changes}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return House(root)

    def added(self, name, text):
        return self.house(**{name: GOOD.get(name, '') + text})

    def test_good_house(self):
        house = self.house()
        self.assertEqual(len(house.files), len(GOOD))
        for check in (house.homeless, house.upward, house.misspelt, house.qemu_in_the_core,
                      house.circles):
            self.assertEqual(check(), [], check.__name__)

    def test_include_that_goes_up_is_seen(self):
        found = self.added('part/low/low.c', '#include "part/core.h"\n').upward()
        self.assertEqual(found, ['part/low/low.c includes part/core.h: part/low may not know part'])

    def test_library_of_another_room_is_seen(self):
        found = self.added('part/core.c', '#include <zlib.h>\n').upward()
        self.assertEqual(found, ['part/core.c includes <zlib.h>: part does not use zlib'])

    def test_include_that_is_spelt_otherwise_is_seen(self):
        for name, written, wanted in (
                ('part/core.c', 'low/low.h', 'part/low/low.h'),
                ('part/glue/glue.c', '../core.h', 'part/core.h'),
                ('part/core.c', 'part/core.h', 'core.h')):
            found = self.added(name, f'#include "{written}"\n').misspelt()
            self.assertEqual(found, [f'{name} includes "{written}": write "{wanted}"'])

    def test_header_of_qemu_in_the_core_is_seen(self):
        for header in ('qemu/osdep.h', 'qapi/error.h', 'block/block.h', 'hw/qdev-core.h',
                       'system/runstate.h', 'trace.h'):
            found = self.added('part/core.c', f'#include "{header}"\n').qemu_in_the_core()
            self.assertEqual(found, [f'part/core.c includes "{header}", which is QEMU\'s'])

    def test_trace_event_in_the_core_is_seen(self):
        found = self.added('part/core.c', 'void f(void)\n{\n    trace_core(1);\n}\n')
        self.assertEqual(found.qemu_in_the_core(), ['part/core.c calls trace_core()'])

    def test_file_without_a_room_is_seen(self):
        house = self.house(**{'CONTRIBUTING.md': TABLE.replace('| `part` |', '| `part/core.c` |')})
        self.assertEqual(house.homeless(), ['part/core.h is in no room'])

    def test_circle_of_calls_is_seen(self):
        found = self.house(**{
            'part/core.c': GOOD['part/core.c'] + 'int again(void)\n{\n    return other();\n}\n',
            'part/other.c': 'int other(void)\n{\n    return core();\n}\n'}).circles()
        self.assertEqual(len(found), 1)
        self.assertIn('part/core.c needs part/other.c for other', found[0])
        self.assertIn('part/other.c needs part/core.c for core', found[0])

    def test_circle_through_a_table_or_a_variable_is_seen(self):
        found = self.house(**{
            'part/core.c': GOOD['part/core.c'] + 'int f(void)\n{\n    return limits[0];\n}\n',
            'part/other.c': 'const int limits[] = { 1, 2 };\n'
                            'int (*calls[])(void) = { core };\n'}).circles()
        self.assertEqual(len(found), 1)

    def test_circle_of_includes_is_seen(self):
        found = self.house(**{'part/core.h': '#include "other.h"\n',
                              'part/other.h': '#include "core.h"\n'}).circles()
        self.assertEqual(len(found), 1)

    def test_names_in_comments_and_strings_are_no_calls(self):
        house = self.added('part/low/low.c',
                           '/* core() */\nconst char *said = "core()"; // core()\n')
        self.assertEqual(house.circles(), [])

    def test_definitions(self):
        shared, own = definitions(code_of('''
            #define NOT_ME(x) { x }
            typedef struct T { int member; } T;
            enum { NOR_ME };
            extern int elsewhere;
            int declared(void);
            static int hidden(void) { return 1; }
            static const int own_table[] = { 1 };
            const T *const *shared_table[2][3] = { { 0 } };
            struct T made = { .member = 1 };
            bool coroutine_fn
            function(int a, int (*f)(int)) { if (a) { return f(a); } return 0; }
            '''))
        self.assertEqual(shared, {'shared_table', 'made', 'function'})
        self.assertEqual(own, {'hidden', 'own_table'})


if __name__ == '__main__':
    unittest.main()
