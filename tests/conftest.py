# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of pytest for all our tests."""

import os
import re
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parents[1] / 'build'
ROUNDS = re.compile(r'# .*\b\d+ (rounds|states)\b')     # a loop's report


def pytest_addoption(parser):
    parser.addoption('--changed', action='store_true',
                     help='style: only files that differ from the branch that this one left')


def pytest_configure(config):
    config.addinivalue_line('markers', 'drawn: a loop by chance, which make night runs in full')
    config.addinivalue_line('markers', 'scaled: is drawn by chance, or longer with EFFORT=')
    os.environ.setdefault('FORMAT_PROGRAMS', str(BUILD / 'core/tests/format'))
    os.environ.setdefault('EXPLORE', str(BUILD / 'core/tests/crash/explore'))
    config.pluginmanager.register(Loops(config))


def pytest_collection_modifyitems(items):
    """The longest tests begin first."""
    items.sort(key=lambda item: not item.get_closest_marker('drawn'))


class Loops:
    """Shows what a loop has done, even if the test passes."""

    def __init__(self, config):
        self.config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        terminal = self.config.pluginmanager.get_plugin('terminalreporter')
        if report.when == 'call' and terminal and not hasattr(self.config, 'workerinput'):
            for line in report.capstdout.splitlines():
                if ROUNDS.match(line):
                    terminal.write_line(line)
