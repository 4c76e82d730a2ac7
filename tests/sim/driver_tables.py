#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Compares the drivers of programs with the tables of a README: driver_tables.py README PROGRAM...

Each table has a row for each broken driver of its program, and no other row.
"""

import pathlib
import re
import subprocess
import sys

# The first cell of a table's head.
HEAD_OF = {
    "adversary": "driver",
    "mq_adversary": "driver of the block layer",
    "message_adversary": "driver of the message device",
    "zoned_adversary": "driver of a zoned disk",
}
# These drivers are right.
RIGHT = {"reference", "full_rings"}


def drivers_of(program):
    """The names that a program prints when it is asked for a driver that it does not have."""
    done = subprocess.run([program, "--driver", ""], capture_output=True, text=True)
    return done.stderr.partition("the drivers are")[2].split()


def rows_of(text, head):
    """The first cells of the table whose head begins so."""
    table = re.search(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)*)", text, re.MULTILINE)
    return re.findall(r"^\| (\S+) \|", table[1], re.MULTILINE) if table else []


def main():
    readme, *programs = sys.argv[1:]
    text = pathlib.Path(readme).read_text()
    for program in programs:
        drivers = [driver for driver in drivers_of(program) if driver not in RIGHT]
        rows = rows_of(text, HEAD_OF[pathlib.Path(program).name])
        if not drivers or sorted(drivers) != sorted(rows):
            sys.exit(f"{program} has the drivers\n  {' '.join(drivers)}\n"
                     f"and the table in {readme} has\n  {' '.join(rows)}\n"
                     f"one has not: {' '.join(sorted(set(drivers) ^ set(rows)))}")


if __name__ == "__main__":
    main()
