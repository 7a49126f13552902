#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of rooms in CONTRIBUTING.md, and the files that break it.

Run alone it prints what breaks the table and counts it, for this repository or for the one that
its argument names.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PUBLIC = Path('include')            # every room finds headers below it
GENERAL = {'glib'}                  # a library that every room may use

ROW = re.compile(r'^\|(?P<cells>.*)\|\s*$')
QUOTED = re.compile(r'`([^`]+)`')
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)
LIBRARIES = {'glib', 'gcrypt', 'zlib', 'p11-kit', 'libtpms', 'openssl', 'lmdb', 'sqlite3'}

# Nothing in a comment, a string or a character is code, whatever it looks like.
NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
DIRECTIVE = re.compile(r'^[ \t]*#(?:[^\n\\]|\\.|\\\n)*', re.M)
WORD = re.compile(r'\b[A-Za-z_]\w*\b')
TRACE = re.compile(r'\btrace_\w+(?=\s*\()')
FUNCTION = re.compile(r'(\w+)\s*\(')
# The text is a declaration outside functions, up to its '=' or '{'.
VARIABLE = re.compile(r'(\w+)\s*(?:\[[^\]]*\]\s*)*$')
HIDDEN = {'static', 'typedef', 'extern', 'enum'}


@dataclass
class Room:
    """One row of the table."""
    path: Path
    may: list               # paths of the rooms whose headers it may include
    libraries: set
    knows_qemu: bool

    def owns(self, file):
        return self.path == file or self.path in file.parents


def read_rooms(text):
    """The rooms that CONTRIBUTING.md lists: room, may include, libraries, QEMU, comment."""
    rooms = []
    for line in text.splitlines():
        row = ROW.match(line)
        cells = [cell.strip() for cell in row['cells'].split('|')] if row else []
        if len(cells) != 5 or not cells[0].startswith('`'):
            continue
        rooms.append(Room(path=Path(QUOTED.findall(cells[0])[0]),
                          may=[Path(path) for path in QUOTED.findall(cells[1])],
                          libraries=set(QUOTED.findall(cells[2])),
                          knows_qemu={'yes': True, 'no': False}[cells[3]]))
    return rooms


def blank_out(match):
    """As many line breaks, and nothing else."""
    return '\n' * match[0].count('\n') or ' '


def code_of(text):
    """The code without comments, strings and preprocessor lines."""
    return DIRECTIVE.sub(blank_out, NO_CODE.sub(blank_out, text))


def declarations(code):
    """The text outside all braces, each piece with the '{' or ';' that ends it."""
    depth, start = 0, 0
    for place in re.finditer(r'[{};]', code):
        if place[0] == '{':
            if depth == 0:
                yield code[start:place.start()].strip(), '{'
            depth += 1
        elif place[0] == '}':
            depth -= 1
        if depth == 0:
            if place[0] == ';':
                yield code[start:place.start()].strip(), ';'
            start = place.end()


def defined_name(declaration, end):
    """The function or variable that a declaration outside functions defines; or None."""
    head, equals, _ = declaration.partition('=')
    head = head.strip()
    if equals:
        found = VARIABLE.search(head)
    elif end == '{' and head.endswith(')'):
        found = FUNCTION.search(head)
    else:
        found = None
    return found and found[1]


def definitions(code):
    """The names that a file defines: those that others can use, and private ones."""
    shared, own = set(), set()
    for declaration, end in declarations(code):
        name = defined_name(declaration, end)
        if name:
            hidden = HIDDEN & set(WORD.findall(declaration.partition('=')[0]))
            (own if hidden else shared).add(name)
    return shared, own


class House:
    """The C files of a repository, and their knowledge of each other."""

    def __init__(self, root):
        self.root = root
        self.rooms = read_rooms((root / 'CONTRIBUTING.md').read_text())
        tops = sorted({room.path.parts[0] for room in self.rooms})
        self.files = sorted(path.relative_to(root) for top in tops
                            for path in (root / top).rglob('*.[ch]'))
        self.texts = {file: (root / file).read_text() for file in self.files}
        self.codes = {file: code_of(text) for file, text in self.texts.items()}

    def room(self, file):
        """The innermost room with this file; None if there is none."""
        rooms = [room for room in self.rooms if room.owns(file)]
        return max(rooms, key=lambda room: len(room.path.parts), default=None)

    def includes(self, file):
        """Pairs (name, whether it is in quotes)."""
        return [(name, mark == '"') for mark, name in INCLUDE.findall(self.texts[file])]

    def find(self, file, name):
        """Our header that @file includes by that name; None if the header is not ours."""
        room = self.room(file)
        for place in file.parent / name, Path(name), PUBLIC / name:
            if place in self.texts:
                return place
        if '/' not in name:
            same = [other for other in self.files
                    if other.name == name and self.room(other) is room]
            return same[0] if same else None
        if name.startswith('../'):
            place = (self.root / file.parent / name).resolve()
            return place.relative_to(self.root) if place.is_file() else None
        return None

    # Each of these lists, in sentences, what breaks the table.

    def homeless(self):
        return [f'{file} is in no room' for file in self.files if not self.room(file)]

    def upward(self):
        """Includes of a room that the table does not allow, and of libraries."""
        found = []
        for file in self.files:
            room = self.room(file)
            for name, quoted in self.includes(file):
                if quoted:
                    header = self.find(file, name)
                    other = header and self.room(header)
                    if other and other is not room and other.path not in room.may:
                        found.append(f'{file} includes {header}: {room.path} may not know '
                                     f'{other.path}')
                    continue
                library = re.split(r'[/.]', name)[0]
                library = 'glib' if library.startswith('glib') else library
                if library in LIBRARIES - GENERAL - room.libraries:
                    found.append(f'{file} includes <{name}>: {room.path} does not use {library}')
        return found

    def misspelt(self):
        """A header of the same room is included by its name, others by their whole path."""
        found = []
        for file in self.files:
            for name, quoted in self.includes(file):
                header = self.find(file, name) if quoted else None
                if not header or header.parts[0] == PUBLIC.name:
                    continue
                same = self.room(header) is self.room(file)
                wanted = header.name if same else str(header)
                if name != wanted:
                    found.append(f'{file} includes "{name}": write "{wanted}"')
        return found

    def qemu_in_the_core(self):
        found = []
        for file in self.files:
            if self.room(file).knows_qemu:
                continue
            found += [f'{file} includes "{name}", which is QEMU\'s'
                      for name, quoted in self.includes(file)
                      if quoted and not self.find(file, name)]
            found += [f'{file} calls {name}()' for name in sorted(
                set(TRACE.findall(self.codes[file])))]
        return found

    def edges(self):
        """For each file the files that it needs: included headers, and the homes of what it uses.
        """
        sources = [file for file in self.files if file.suffix == '.c']
        names = {file: definitions(self.codes[file]) for file in sources}
        homes = {}
        for file, (shared, _) in names.items():
            for name in shared - {'main'}:
                homes.setdefault(name, set()).add(file)
        edges = {file: {} for file in self.files}
        for file in self.files:
            for name, quoted in self.includes(file):
                header = self.find(file, name) if quoted else None
                if header:
                    edges[file].setdefault(header, set()).add(f'#include "{name}"')
        for file, (shared, own) in names.items():
            for name in (set(WORD.findall(self.codes[file])) & homes.keys()) - shared - own:
                for home in homes[name]:
                    if self.may_know(file, home):
                        edges[file].setdefault(home, set()).add(name)
        return edges

    def may_know(self, file, other):
        """A name that both rooms have would be two things."""
        room, home = self.room(file), self.room(other)
        return room is home or bool(room and home and home.path in room.may)

    def circles(self):
        """Groups of files, each of which in the end needs itself."""
        edges = self.edges()
        found = []
        for group in components(edges):
            if len(group) == 1 and group[0] not in edges[group[0]]:
                continue
            if group[0].parts[0] == 'tests':
                continue
            lines = [f'  {file} needs {other} for {", ".join(sorted(why))}'
                     for file in sorted(group) for other, why in sorted(edges[file].items())
                     if other in group]
            found.append('\n'.join(['a circle of ' + ', '.join(map(str, sorted(group))),
                                    *lines]))
        return found


def components(edges):
    """The strongly connected components of a graph (Tarjan's algorithm)."""
    order, lowest, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in edges[node]:
            if other not in order:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            at = stack.index(node)
            found.append(stack[at:])
            del stack[at:]

    for node in edges:
        if node not in order:
            visit(node)
    return found


def main():
    house = House(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else REPO)
    counts = {'files in no room': house.homeless(), 'includes that go up': house.upward(),
              'includes to be written otherwise': house.misspelt(),
              'places where the core knows QEMU': house.qemu_in_the_core(),
              'circles': house.circles()}
    for found in counts.values():
        for line in found:
            print(line)
    for what, found in counts.items():
        print(f'{len(found)} {what}')
    return any(counts.values())


if __name__ == '__main__':
    sys.exit(main())
