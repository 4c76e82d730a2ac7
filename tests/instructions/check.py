#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Counts the instructions of each row of a program with callgrind, and compares them with limits.

The program ends each row with CALLGRIND_DUMP_STATS_AT("NAME BIOS"). The limits apply to the
compiler that the first line of their file names, and to no other: for others the counts are
printed, and the exit status is 77, a skipped test. A count above its limit fails. A count that is 2 or more below asks for a lower limit.
Limits are never raised.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile


def counts_of(valgrind, program):
    """Returns the instructions per bio of each row, in the order of the rows."""
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run([valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/out",
                              program], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"{program}: exit status {run.returncode}\n{run.stderr}")
        dumps = pathlib.Path(folder).glob("out.*")
        for dump in sorted(dumps, key=lambda path: int(path.suffix[1:])):
            text = dump.read_text(errors="replace")
            row = re.search(r"^desc: Trigger: Client Request: (\S+) (\d+)$", text, re.MULTILINE)
            total = re.search(r"^summary: (\d+)", text, re.MULTILINE)
            if row and total:
                counts[row[1]] = int(total[1]) // int(row[2])
    return counts


def limits_of(path):
    """Returns the compiler of the limits, and the limit of each row."""
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    lines = [line for line in lines if line]
    compiler = lines[0].removeprefix("compiler ")
    return compiler, {row: int(limit) for row, limit in (line.split() for line in lines[1:])}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("valgrind", "program", "compiler", "limits"):
        parser.add_argument(f"--{name}", required=True)
    its = parser.parse_args()
    compiler, limits = limits_of(pathlib.Path(its.limits))
    counts = counts_of(its.valgrind, its.program)
    applies = its.compiler == compiler
    print(f"{its.compiler}; the limits are those of {compiler}")
    wrong = []
    for row, count in counts.items():
        limit = limits.get(row)
        note = ""
        if applies and (limit is None or count > limit):
            note = "TOO MANY" if limit is not None else "NO LIMIT"
            wrong.append(row)
        elif applies and count <= limit - 2:
            note = "lower the limit"
        print(f"{row:40} {count:6} {limit if applies else '':>6} {note}")
    wrong += [row for row in limits if row not in counts]
    if wrong or not counts:
        sys.exit("failed: " + ", ".join(wrong))
    if not applies:
        sys.exit(77)


if __name__ == "__main__":
    main()
