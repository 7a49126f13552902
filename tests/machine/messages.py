# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages that the tables of docs/usage.md and docs/migration.md list.

A message is a cell, or a line of a cell, that is nothing but text between backticks; words such as
NAME stand for parts that differ. A test names a message by a fragment, and @provokes() compares
the program's output with the whole message. So a message that changes has to be changed on the
page, and in the test only if the fragment has gone.
"""

import functools
import re
from pathlib import Path

from vm import ROOT, VMError

PLACEHOLDERS = {"NAME": r"[^'\n]+", "UUID": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                "BYTES": r"[0-9]+", "NUMBER": r"(?:0x[0-9a-f]+|[0-9]+)", "TEXT": r"[^\n]+"}
PLACEHOLDER = re.compile(r"\b(?:%s)\b" % "|".join(PLACEHOLDERS))

FIRST_CELL = re.compile(r"^\| *(.*?) *\|")
MESSAGES = re.compile(r"`[^`]+`(?:<br>`[^`]+`)*")

CLAIMED = {}                # fragments of messages that tests provoke, by page


def messages_of(page):
    """The messages of docs/PAGE, in order."""
    found = []
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        cell = FIRST_CELL.match(line)
        if cell and MESSAGES.fullmatch(cell[1]):
            found += [text for text in re.findall(r"`([^`]+)`", cell[1]) if " " in text]
    return found


def find(page, fragment):
    """The only message of a page that contains a fragment."""
    found = [message for message in messages_of(page) if fragment in message]
    if len(found) != 1:
        raise AssertionError(f"docs/{page}: {fragment!r} is in {len(found)} messages, not 1")
    return found[0]


def pattern_of(message):
    """The messages in a program's output: each begins a line or follows a colon."""
    parts, at = [], 0
    for place in PLACEHOLDER.finditer(message):
        parts += [re.escape(message[at:place.start()]), PLACEHOLDERS[place[0]]]
        at = place.end()
    text = "".join([*parts, re.escape(message[at:])])
    return re.compile(rf"(?:^|: ){text}$", re.M)


def provokes(page, *fragments):
    """Mark a test that returns the program's output: it must be these messages of the page."""
    CLAIMED.setdefault(page, []).extend(fragments)

    def decorate(test):
        @functools.wraps(test)
        def run(self):
            said = test(self)
            for fragment in fragments:
                message = find(page, fragment)
                self.assertRegex(said, pattern_of(message), f"docs/{page}: {message}")
        return run
    return decorate


class PageTest:
    """For a TestCase that has the page"""

    def test_each_message_is_provoked(self):
        claimed = [find(self.page, fragment) for fragment in CLAIMED[self.page]]
        self.assertEqual(sorted(claimed), sorted(messages_of(self.page)))


class Saying:
    """Helpers for tests of messages."""

    def said_by(self, machine):
        """All output of a machine, without its command line."""
        return machine.qemu_log.read_text(encoding="utf-8").partition("\n")[2]

    def refused(self, *args, writes=False):
        """The output of a machine that does not start, and writes nothing unless it may."""
        path = Path(self.path(self.image_name))
        before = path.exists() and path.read_bytes()
        machine = self.machine(*args)
        with self.assertRaises(VMError):
            machine.start()
        self.assertEqual(machine.exit_status, 1)
        if not writes:
            self.assertEqual(path.exists() and path.read_bytes(), before)
        return self.said_by(machine)

    def change_image(self, change, name=None):
        path = Path(self.path(name or self.image_name))
        image = bytearray(path.read_bytes())
        change(image)
        path.write_bytes(image)

    def flip(self, *places, name=None):
        def change(image):
            for place in places:
                image[place] ^= 1
        self.change_image(change, name)
