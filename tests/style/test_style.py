# SPDX-License-Identifier: GPL-2.0-or-later
"""Run QEMU's checkpatch.pl on every C file of ours, or with --changed on some."""

import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
CHECKPATCH = REPO / 'build/qemu/src/scripts/checkpatch.pl'


def c_files():
    folders = [path for path in REPO.iterdir() if path.is_dir() and path.name != 'build']
    return sorted(str(path.relative_to(REPO))
                  for folder in folders for path in folder.rglob('*.[ch]'))


def git(*arguments):
    """The lines that git prints; none if git does not know this folder."""
    done = subprocess.run(['git', *arguments], cwd=REPO, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else None


def changed_files():
    """Files that are new or have changed since this branch left the main one; all without git."""
    left = git('merge-base', 'HEAD', '@{upstream}') or git('merge-base', 'HEAD', 'origin/main')
    changed = git('diff', '--name-only', *(left or ['HEAD']))
    added = git('ls-files', '--others', '--exclude-standard')
    if changed is None or added is None:
        return c_files()
    return sorted(set(c_files()) & set(changed + added))


def pytest_generate_tests(metafunc):
    files = changed_files() if metafunc.config.getoption('--changed') else c_files()
    metafunc.parametrize('file', files)


def test_checkpatch_finds_nothing_in(file):
    done = subprocess.run(['perl', str(CHECKPATCH), '--no-signoff', '--no-tree', '-q', '-f', file],
                          cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)
    if done.returncode:
        pytest.fail(done.stdout, pytrace=False)
