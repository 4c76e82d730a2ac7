#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Names the cycles of headers in include/ that include each other.

check.hpp includes its default handlers, check_stdio.hpp, at its end: that is no cycle of two subjects.
"""
import pathlib
import re

INCLUDE = re.compile(r'^#include <(blkown/[^>]+)>', re.MULTILINE)

includes = {}
for path in sorted(pathlib.Path('include').rglob('*.hpp')):
    includes[str(path.relative_to('include'))] = INCLUDE.findall(path.read_text(encoding='utf-8'))
if sum(len(included) for included in includes.values()) < 50:
    print('include_cycles.py: this check does not see the headers')

includes['blkown/check.hpp'].remove('blkown/check_stdio.hpp')

done = set()


def visit(header, chain):
    """Visits the headers that this one includes; chain is how it was reached."""
    if header in chain:
        print(' -> '.join(chain[chain.index(header):] + [header]))
    elif header not in done:
        for included in includes.get(header, []):
            visit(included, chain + [header])
        done.add(header)


for header in includes:
    visit(header, [])
