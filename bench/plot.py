#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw the figures of make bench as SVG, with Debian's matplotlib.

usage: plot.py FIGURES.json PLOT.svg
"""

import json
import sys

import matplotlib
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

matplotlib.use('svg')

from matplotlib import pyplot   # noqa: E402

# Text stays text, and the same figures give the same file.
matplotlib.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'blobstore',
                            'font.family': 'sans-serif', 'font.size': 9})

COMMITS = (('rename', 'fsync + rename', '#888888'), ('sqlite', 'SQLite, log growing', '#d08020'),
           ('sqlite_reused', 'SQLite, log reused', '#a0a030'),
           ('lmdb', 'LMDB', '#3070c0'), ('ours', 'blobstore', '#c02030'),
           ('sealed', 'blobstore, encrypted', '#802080'),
           ('limit', 'pwrite + fdatasync', '#202020'))
SCALE = (('open_crashed_ms', 'open after a crash', '#888888'),
         ('open_ms', 'open after a clean close', '#3070c0'),
         ('commit_ms', 'commit of 8 KiB', '#c02030'))


def draw(panel, title, curves, rows, places, xlabel, ylabel):
    """Curves of (key, label, colour) over rows, whose places on the x axis have labels."""
    for key, label, colour in curves:
        panel.plot(list(places), [row[key] for row in rows], marker='o', markersize=3,
                   color=colour, label=label)
    panel.set_xscale('log')
    panel.set_yscale('log')
    panel.set_xticks(list(places), places.values())
    panel.minorticks_off()
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:,g}'))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(axis='y', color='#dddddd')
    panel.set(title=title, xlabel=xlabel, ylabel=ylabel)
    panel.legend(frameon=False, fontsize='small')


def draw_commits(panel, rows):
    known = [(f'{key}_us', label, colour) for key, label, colour in COMMITS
             if f'{key}_us' in rows[0]]
    draw(panel, 'Durable commit, median, by size of the content', known, rows,
         {row['bytes']: f'{row["bytes"] // 1024}' for row in rows}, 'KiB', 'µs')


def draw_scale(panel, rows):
    rows = [dict(row, commit_ms=row['commit_us'] / 1000) for row in rows]
    draw(panel, 'By number of other blobs in the store', SCALE, rows,
         {row['blobs']: f'{row["blobs"]:,}' for row in rows}, 'other blobs', 'ms')


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding='utf-8') as source:
        figures = json.load(source)
    has_scale = len(figures['scale']) > 1
    figure, panels = pyplot.subplots(1, 2 if has_scale else 1, squeeze=False, figsize=(11, 4.6),
                                     layout='constrained')
    draw_commits(panels[0][0], figures['commit'])
    if has_scale:
        draw_scale(panels[0][1], figures['scale'])
    figure.savefig(sys.argv[2], metadata={'Date': None, 'Creator': None})


if __name__ == '__main__':
    main()
