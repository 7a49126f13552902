# SPDX-License-Identifier: GPL-2.0-or-later
"""Help, man page and completion of qemu-blobstore come from one table, and fit the program."""

import re
import shlex
import subprocess
import unittest
from pathlib import Path

import case  # noqa: F401  (where to find vm.py)
from vm import ROOT, program

TOOL = Path(program("QEMU_BLOBSTORE"))
COMPLETE = """
source {script}
compopt() {{ :; }}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_qemu_blobstore
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def run(*words):
    return subprocess.run([TOOL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, timeout=60)


def shown(*words):
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, ""), (words, done)
    return done.stdout


def commands():
    """The names of all commands, as the help lists them."""
    listed = shown("--help").partition("\n\n")[2].partition("\n\n")[0]
    return re.findall(r"^  (\S+(?: \S+)?)  ", listed, re.M)


def options(command):
    return re.findall(r"^  (?:-\w, )?(--[-a-z]+)", shown(*command.split(), "--help"), re.M)


def examples(command):
    return re.findall(r"^  qemu-blobstore (.*)$", shown(*command.split(), "--help"), re.M)


def completions(*words):
    script = COMPLETE.format(script=TOOL.with_suffix(".bash"),
                             words=shlex.join(["qemu-blobstore", *words]))
    return subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60).stdout.split()


class HelpTest(unittest.TestCase):
    def test_each_command_has_help_with_an_example_that_parses(self):
        self.assertIn("key-add", commands())
        for command in commands():
            with self.subTest(command=command):
                self.assertNotEqual(examples(command), [])
                for example in examples(command):
                    self.assertEqual(example.split()[:command.count(" ") + 1], command.split())
                    shown(*shlex.split(example), "--help")

    def test_wrong_command_lines_are_refused(self):
        for words in ([], ["magic"], ["-q"], ["info"], ["info", "a", "b"], ["info", "--magic", "a"],
                      ["info", "--output=xml", "a"], ["info", "--man", "a"],
                      ["info", "-f", "raw", "--image-opts", "driver=raw"]):
            with self.subTest(words=words):
                done = run(*words)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn("qemu-blobstore --help", done.stderr)

    def test_help_lines_are_short(self):
        for text in (shown("--help"), *(shown(*command.split(), "--help").partition("Examples")[0]
                                        for command in commands())):
            self.assertLessEqual(max(map(len, text.splitlines())), 78)


class ManPageTest(unittest.TestCase):
    def test_man_page_has_no_mistakes_and_names_everything(self):
        page = TOOL.with_suffix(".1")
        self.assertEqual(page.read_text(encoding="utf-8"), shown("--man"))
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", page],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        plain = page.read_text(encoding="utf-8").replace("\\-", "-")
        for command in commands():
            self.assertIn(f".SS {command}\n", plain)
            for option in options(command):
                self.assertIn(f"\\fB{option}\\fR", plain)


class CompletionTest(unittest.TestCase):
    def test_commands_and_options_are_completed(self):
        self.assertEqual(set(completions("")) - {"--help", "--version"},
                         {command.split()[0] for command in commands()})
        self.assertEqual(completions("key-r"), ["key-remove"])
        for command in commands():
            offered = [word.rstrip("=") for word in completions(*command.split(), "-")]
            self.assertEqual(sorted(offered), sorted(options(command)))
        self.assertEqual(completions("info", "--output", "=", "j"), ["json"])
        self.assertEqual(completions("map", "--output", "="), ["human", "json", "svg"])
        self.assertEqual(completions("info", "nv"), [])         # then bash completes files


class PageTest(unittest.TestCase):
    def test_page_has_every_command_and_exit_status(self):
        page = (ROOT / "docs/tool.md").read_text(encoding="utf-8")
        for command in commands():
            self.assertIn(f"`{command}`", page)
        meanings = dict(re.findall(r"^\| (\d) \| (.*) \|$", page, re.M))
        listed = " ".join(shown("--help").partition("Exit status:")[2].split())
        self.assertEqual(listed, " ".join(f"{status} {meaning}"
                                          for status, meaning in sorted(meanings.items())))


if __name__ == "__main__":
    unittest.main()
