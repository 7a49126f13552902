#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Graft this repository onto a QEMU 10.0 source tree, or undo that.

Our files become symlinks at their places in the tree, and the hook lines of
hooks.py go into QEMU's files. Everything is worked out before anything is
changed: an anchor that does not match exactly once, or a file of QEMU's where
one of ours belongs, stops the graft with the tree as it was.

The directory .graft in the tree keeps the originals of the files that got
hooks and a list of what was laid. Grafting again brings the tree up to date
and touches nothing that is.
"""

import argparse
import difflib
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import hooks

REPO = Path(__file__).resolve().parent.parent
STATE = '.graft'


class GraftError(Exception):
    pass


def our_files(repo):
    """Our files that belong in the tree, as paths relative to @repo."""
    roots = sorted({pattern.split('/')[0] for pattern in hooks.GRAFTED})
    paths = [path.relative_to(repo).as_posix()
             for root in roots
             for path in (repo / root).rglob('*')
             if path.is_file() and not is_leftover(path.name)]
    return hooks.grafted(paths)


def is_leftover(name):
    """Whether @name is that of a file that some editor left behind."""
    return name.startswith(('.', '#')) or name.endswith(('~', '.orig', '.rej'))


def digest(content):
    return hashlib.sha256(content).hexdigest()


def insert(file, content, hook):
    """@content of @file with the text of @hook at its anchor."""
    anchor = hook.before or hook.after
    count = content.count(anchor)
    if count != 1:
        raise GraftError(f'{file}: anchor {anchor!r} matches {count} times, '
                         'must match exactly once')
    at = content.index(anchor)
    if hook.after:
        at += len(anchor)
    if hook.text.endswith('\n'):
        if hook.before:
            at = content.rfind('\n', 0, at) + 1
        else:
            end = content.find('\n', at)
            if end < 0:
                raise GraftError(f'{file}: no line end after anchor {anchor!r}')
            at = end + 1
    return content[:at] + hook.text + content[at:]


def check_version(tree):
    try:
        version = (tree / 'VERSION').read_text().strip()
    except FileNotFoundError:
        raise GraftError(f'{tree} is not a QEMU source tree') from None
    if not version.startswith('10.0.'):
        raise GraftError(f'{tree} is QEMU {version}; this needs QEMU 10.0')


class Graft:
    def __init__(self, repo, tree):
        self.repo = repo
        self.tree = tree
        self.state = tree / STATE
        self.manifest_file = self.state / 'manifest.json'
        try:
            manifest = json.loads(self.manifest_file.read_text())
        except FileNotFoundError:
            manifest = {}
        # QEMU's file -> digests of what we put there
        self.hooked = manifest.get('hooked', {})
        self.links = set(manifest.get('links', []))
        self.directories = set(manifest.get('directories', []))

    def original(self, file):
        """The content of QEMU's @file without our hooks."""
        path = self.state / 'original' / file if file in self.hooked \
            else self.tree / file
        try:
            return path.read_bytes().decode()
        except FileNotFoundError:
            raise GraftError(f'{path}: no such file; '
                             f'is {self.tree} a QEMU 10.0 tree?') from None

    def plan(self):
        """The content of the grafted tree: links, and hooked files with their text."""
        files = our_files(self.repo)
        table = hooks.hooks(files)
        for file in (*files, *(hook.file for hook in table)):
            self.refuse_symlinked_folders(file)
        for file in files:
            path = self.tree / file
            ours = file in self.links and path.is_symlink()
            if os.path.lexists(path) and not ours:
                raise GraftError(f'{path}: in the way of our file; '
                                 'it is not ours to replace')
        content = {}
        for hook in table:
            if hook.file not in content:
                content[hook.file] = self.original(hook.file)
                self.refuse_unknown_hooks(hook.file, content[hook.file], table)
            content[hook.file] = insert(hook.file, content[hook.file], hook)
        return files, {file: text.encode() for file, text in content.items()}

    def refuse_symlinked_folders(self, file):
        """Refuse to write to where a folder of the tree points."""
        for parent in Path(file).parents:
            if (self.tree / parent).is_symlink() and parent != Path('.'):
                raise GraftError(f'{self.tree / parent}: is a symbolic link; '
                                 'what is grafted must stay in the tree')

    def refuse_unknown_hooks(self, file, content, table):
        """Refuse to add our lines to a file that has them, though no record says so."""
        if file in self.hooked:
            return
        for hook in table:
            if hook.file == file and hook.text.strip() and hook.text in content:
                raise GraftError(f'{self.tree / file}: has our lines already, but there is no '
                                 f'record of that in {STATE}: was that removed? '
                                 'Unpack QEMU again, and graft onto that')

    def content_of(self, file):
        """The present content of a file with hooks."""
        path = self.tree / file
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise GraftError(f'{path}: is gone since it was grafted; restore it from '
                             f'{STATE}/original') from None

    def refuse_edited_files(self):
        """Refuse to lose changes that somebody made by hand in a file with hooks."""
        for file, digests in self.hooked.items():
            path = self.tree / file
            content = self.content_of(file)
            if digest(content) not in digests and \
               content != (self.state / 'original' / file).read_bytes():
                raise GraftError(f'{path}: edited by hand since it was grafted; '
                                 f'move the change to scripts/hooks.py and '
                                 f'restore the file from {STATE}/original')

    def link_target(self, file):
        path = self.tree / file
        return os.path.relpath(self.repo / file, path.parent)

    def is_current_link(self, file):
        path = self.tree / file
        return path.is_symlink() and os.readlink(path) == self.link_target(file)

    def is_current_file(self, file, content):
        return self.content_of(file) == content

    def differences(self):
        """The changes that a graft would make, as a list of lines."""
        files, content = self.plan()
        lines = [f'missing: {file}' for file in files
                 if not self.is_current_link(file)]
        lines += [f'stale: {file}' for file in sorted(self.links - set(files))]
        lines += [f'hooks: {file}' for file in sorted(content)
                  if not self.is_current_file(file, content[file])]
        lines += [f'hooks: {file}'
                  for file in sorted(self.hooked.keys() - content.keys())]
        return lines

    def apply(self):
        """Graft; returns how many files were changed."""
        files, content = self.plan()
        self.refuse_edited_files()
        changes = 0

        # The record goes first: an interrupted graft can be repeated or undone.
        gone = self.links - set(files)
        self.links |= set(files)
        for file in files:
            self.directories |= self.missing_directories(file)
        unhooked = self.hooked.keys() - content.keys()
        for file, text in content.items():
            self.keep_original(file)
            if digest(text) not in self.hooked.setdefault(file, []):
                self.hooked[file].append(digest(text))
        self.write_manifest()

        for file in gone:
            self.remove_link(file)
            changes += 1
        for file in files:
            if not self.is_current_link(file):
                self.make_link(file)
                changes += 1
        for file in unhooked:
            self.restore(file)
            changes += 1
        for file, text in content.items():
            if not self.is_current_file(file, text):
                (self.tree / file).write_bytes(text)
                changes += 1

        self.links -= gone
        self.hooked = {file: [digest(text)] for file, text in content.items()}
        self.remove_empty_directories()
        self.write_manifest()
        for file in unhooked:
            (self.state / 'original' / file).unlink()
        return changes

    def undo(self):
        """Remove everything of ours from the tree again."""
        self.refuse_edited_files()
        for file in sorted(self.links):
            self.remove_link(file)
        for file in sorted(self.hooked):
            self.restore(file)
        self.remove_empty_directories()
        self.manifest_file.unlink(missing_ok=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def detach(self):
        """Put copies in the place of links and forget the originals: a tree to package."""
        for file in self.links:
            path = self.tree / file
            path.unlink()
            shutil.copy(self.repo / file, path)
        shutil.rmtree(self.state)

    def patch(self):
        """What the hooks change, as a unified diff."""
        _, content = self.plan()
        lines = []
        for file in sorted(content):
            lines += difflib.unified_diff(self.original(file).splitlines(True),
                                          content[file].decode().splitlines(True),
                                          f'a/{file}', f'b/{file}')
        return ''.join(lines)

    def keep_original(self, file):
        if file in self.hooked:
            return
        copy = self.state / 'original' / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((self.tree / file).read_bytes())

    def restore(self, file):
        copy = self.state / 'original' / file
        (self.tree / file).write_bytes(copy.read_bytes())

    def missing_directories(self, file):
        parents = [parent.as_posix() for parent in Path(file).parents]
        return {parent for parent in parents
                if not (self.tree / parent).exists()}

    def make_link(self, file):
        path = self.tree / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.symlink_to(self.link_target(file))

    def remove_link(self, file):
        path = self.tree / file
        if path.is_symlink():
            path.unlink()

    def remove_empty_directories(self):
        for directory in sorted(self.directories, reverse=True):
            path = self.tree / directory
            try:
                path.rmdir()
            except FileNotFoundError:
                pass
            except OSError:     # still in use
                continue
            self.directories.remove(directory)

    def write_manifest(self):
        manifest = {
            'hooked': self.hooked,
            'links': sorted(self.links),
            'directories': sorted(self.directories),
        }
        text = json.dumps(manifest, indent=1, sort_keys=True) + '\n'
        if self.manifest_file.exists() and self.manifest_file.read_text() == text:
            return
        self.state.mkdir(exist_ok=True)
        new = self.manifest_file.with_suffix('.new')
        new.write_text(text)
        new.replace(self.manifest_file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n', 1)[0])
    parser.add_argument('tree', type=Path, help='QEMU source tree')
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--check', action='store_true',
                        help='change nothing; fail if the tree is not grafted '
                             'or not up to date')
    action.add_argument('--undo', action='store_true',
                        help='give the tree back as it was')
    action.add_argument('--copy', action='store_true',
                        help='lay copies, not links, and keep no record: the tree is '
                             'complete without this repository, and nothing undoes it')
    action.add_argument('--patch', action='store_true',
                        help='change nothing; print what the hooks change in QEMU\'s files')
    arguments = parser.parse_args()

    tree = arguments.tree.resolve()
    try:
        check_version(tree)
        graft = Graft(REPO, tree)
        if arguments.undo:
            graft.undo()
        elif arguments.check:
            differences = graft.differences()
            if differences:
                print(*differences, sep='\n')
                return 1
        elif arguments.patch:
            sys.stdout.write(graft.patch())
        else:
            changes = graft.apply()
            if changes:
                print(f'graft: {changes} files brought up to date '
                      f'({len(graft.links)} of ours, '
                      f'hooks in {len(graft.hooked)} of QEMU\'s)')
            if arguments.copy:
                graft.detach()
    except GraftError as error:
        print(f'graft: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
