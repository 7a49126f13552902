# SPDX-License-Identifier: GPL-2.0-or-later
"""The transcripts of these pages are what a shell shows, but for what is drawn by chance."""

import os
import re
import subprocess
import unittest
from pathlib import Path

from case import MachineTest
from test_tool_help import commands
from vm import ROOT, program

DRAWN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32,64}\b")
PIECE = re.compile(r"^    \$ (.*)\n((?:    (?!\$ ).*\n|\n(?=    (?!\$ )))*)", re.M)


def transcript(page):
    """The commands of docs/@page in order, each with what the page shows below it."""
    page = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [(command, re.sub("^    ", "", shown, flags=re.M))
            for command, shown in PIECE.findall(page)]


class DocsTest(MachineTest):
    def check(self, page):
        tools = {Path(program(name)).parent for name in ("QEMU_BLOBSTORE", "QEMU_IO")}
        environment = {**os.environ, "PATH": ":".join([*map(str, tools), os.environ["PATH"]])}
        for command, shown in transcript(page):
            with self.subTest(command=command):
                done = subprocess.run(["bash", "-c", command], cwd=self.directory, env=environment,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      stdin=subprocess.DEVNULL, text=True, check=False, timeout=60)
                self.assertEqual(DRAWN.sub("DRAWN", done.stdout), DRAWN.sub("DRAWN", shown))

    def test_tool_prints_what_the_page_shows(self):
        self.check("tool.md")

    def test_operations_are_what_the_page_shows(self):
        self.check("operations.md")

    def test_every_command_has_a_transcript(self):
        shown = " ".join(command for command, _ in transcript("tool.md"))
        for command in commands():
            self.assertIn(f"qemu-blobstore {command} ", shown)


if __name__ == "__main__":
    unittest.main()
