#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw the figures of make bench as SVG.

usage: plot.py FIGURES.json PLOT.svg
"""

import json
import math
import sys
from html import escape

WIDTH, HEIGHT = 960, 440
TICKS = [digit * 10.0 ** power for power in range(-3, 9) for digit in (1, 2, 5)]
PANEL = {'top': 56, 'bottom': 380}
COMMITS = (('rename', 'fsync + rename', '#888888'), ('sqlite', 'SQLite, log growing', '#d08020'),
           ('sqlite_reused', 'SQLite, log reused', '#a0a030'),
           ('lmdb', 'LMDB', '#3070c0'), ('ours', 'blobstore', '#c02030'),
           ('sealed', 'blobstore, encrypted', '#802080'),
           ('limit', 'pwrite + fdatasync', '#202020'))
SCALE = (('open_crashed_ms', 'open after a crash', '#888888'),
         ('open_ms', 'open after a clean close', '#3070c0'),
         ('commit_ms', 'commit of 8 KiB', '#c02030'))


class Panel:
    """One plot with logarithmic axes."""

    def __init__(self, left, right, title, xs, ys):
        self.left, self.right = left, right
        self.xs = (min(xs), max(xs))
        self.ys = (max(tick for tick in TICKS if tick <= min(ys)),
                   min(tick for tick in TICKS if tick >= max(ys)))
        self.parts = [text(left, PANEL['top'] - 28, title, weight='bold')]

    def x(self, value):
        low, high = map(math.log, self.xs)
        return self.left + (self.right - self.left) * (math.log(value) - low) / (high - low)

    def y(self, value):
        low, high = map(math.log, self.ys)
        return PANEL['bottom'] - ((PANEL['bottom'] - PANEL['top'])
                                  * (math.log(value) - low) / (high - low))

    def axes(self, xticks, xlabel, yunit):
        for tick in TICKS:
            if self.ys[0] <= tick <= self.ys[1]:
                y = self.y(tick)
                self.parts.append(line([(self.left, y), (self.right, y)], '#dddddd', 1))
                self.parts.append(text(self.left - 6, y + 4, f'{tick:,g} {yunit}', anchor='end'))
        for value, label in xticks:
            self.parts.append(text(self.x(value), PANEL['bottom'] + 20, label, anchor='middle'))
        self.parts.append(text((self.left + self.right) / 2, PANEL['bottom'] + 42, xlabel,
                               anchor='middle'))

    def curves(self, curves):
        """Draw (label, colour, points); label each at its end, without overlaps."""
        for _, colour, points in curves:
            places = [(self.x(x), self.y(y)) for x, y in points]
            self.parts.append(line(places, colour, 2))
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                           for x, y in places]
        lowest = -math.inf
        for label, colour, points in sorted(curves, key=lambda curve: self.y(curve[2][-1][1])):
            lowest = max(self.y(points[-1][1]) + 4, lowest + 16)
            self.parts.append(text(self.right + 8, lowest, label, colour=colour))


def text(x, y, content, anchor='start', weight='normal', colour='#202020'):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="{colour}">{escape(content)}</text>')


def line(points, colour, width):
    path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def commit_panel(rows):
    curves = [(label, colour, [(row['bytes'], row[f'{key}_us']) for row in rows])
              for key, label, colour in COMMITS]
    panel = Panel(70, 330, 'Durable commit, median, by size of the content',
                  [row['bytes'] for row in rows], [y for curve in curves for _, y in curve[2]])
    panel.axes([(row['bytes'], f'{row["bytes"] // 1024}') for row in rows], 'KiB', 'µs')
    panel.curves(curves)
    return panel.parts


def scale_panel(rows):
    rows = [dict(row, commit_ms=row['commit_us'] / 1000) for row in rows]
    curves = [(label, colour, [(row['blobs'], row[key]) for row in rows])
              for key, label, colour in SCALE]
    panel = Panel(560, 790, 'By number of other blobs in the store',
                  [row['blobs'] for row in rows], [y for curve in curves for _, y in curve[2]])
    panel.axes([(row['blobs'], f'{row["blobs"]:,}') for row in rows], 'other blobs', 'ms')
    panel.curves(curves)
    return panel.parts


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding='utf-8') as source:
        figures = json.load(source)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             'font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    parts += commit_panel(figures['commit'])
    if len(figures['scale']) > 1:
        parts += scale_panel(figures['scale'])
    with open(sys.argv[2], 'w', encoding='utf-8') as plot:
        plot.write('\n'.join(parts + ['</svg>', '']))


if __name__ == '__main__':
    main()
