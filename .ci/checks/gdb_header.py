#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Checks that gdb_printers.hpp embeds gdb_printers.py, or with --write makes it so.

    gdb_header.py [--write]
"""

import pathlib
import sys

HEADER = '''// SPDX-License-Identifier: BSL-1.0
//
// Embeds gdb's pretty-printers for the library into the program, in the section that gdb reads
// scripts from. Include this header in one source file of a program, or in all: the linker keeps
// one copy. gdb loads the printers where its auto-load safe-path allows the program. The header
// changes no code. Generated from gdb_printers.py by .ci/checks/gdb_header.py --write: do not edit.
// Source: the GDB manual, "The .debug_gdb_scripts section".

#ifndef BLKOWN_GDB_PRINTERS_HPP
#define BLKOWN_GDB_PRINTERS_HPP

#if defined(__GNUC__) && defined(__ELF__)
// clang-format off
__asm__(
    ".pushsection \\".debug_gdb_scripts\\", \\"MS\\", %progbits, 1\\n"
    ".byte 4\\n"  // a Python script as text
    ".ascii \\"blkown\\\\n\\"\\n"
@LINES@    ".byte 0\\n"
    ".popsection\\n");
// clang-format on
#endif

#endif
'''


def quoted(line):
    """The line as a directive of the assembler, in a string literal of C++."""
    directive = line.replace('\\', '\\\\').replace('"', '\\"') + '\\n'
    literal = '.ascii "%s"' % directive
    return '    "%s\\n"\n' % literal.replace('\\', '\\\\').replace('"', '\\"')


def header_of(script):
    lines = [line for line in script.splitlines() if line]
    return HEADER.replace('@LINES@', ''.join(quoted(line) for line in lines))


def main():
    root = pathlib.Path(__file__).resolve().parents[2] / 'include' / 'blkown'
    header = root / 'gdb_printers.hpp'
    text = header_of((root / 'gdb_printers.py').read_text())
    if sys.argv[1:] == ['--write']:
        header.write_text(text)
    elif sys.argv[1:]:
        sys.exit('gdb_header.py: cannot use %s: the only option is --write' % sys.argv[1])
    elif not header.exists() or header.read_text() != text:
        print('include/blkown/gdb_printers.hpp is not what gdb_printers.py makes:'
              ' call .ci/checks/gdb_header.py --write')


main()
