#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Counts the instructions of each row of a program with callgrind, and compares them with limits.

The program ends each row with CALLGRIND_DUMP_STATS_AT("NAME BIOS"). The limits apply to the
compiler that the first line of their file names, and to no other: for others the counts are
printed, and without ratios the exit status is 77, a skipped test. A count above its limit fails.
A count that is 2 or more below asks for a lower limit. A limit rises only with a commit that says
why.

A line "ratio ROW OTHER MOST" of the file bounds the count of a row in units of another's, for every
compiler.

With --json FILE in place of limits the counts are written to the file.
"""

import argparse
import json
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
    """Returns the compiler of the limits, the limit of each row, and the ratios."""
    lines = [line.split("#")[0].split() for line in path.read_text().splitlines()]
    lines = [line for line in lines if line]
    compiler = " ".join(lines[0][1:])
    limits = {line[0]: int(line[1]) for line in lines[1:] if line[0] != "ratio"}
    ratios = [(line[1], line[2], float(line[3])) for line in lines[1:] if line[0] == "ratio"]
    return compiler, limits, ratios


def check_ratios(counts, ratios):
    """Prints the ratios. Returns the rows that are too large, or missing."""
    wrong = []
    for row, other, most in ratios:
        if row not in counts or other not in counts:
            wrong.append(f"{row} / {other}")
            continue
        ratio = counts[row] / counts[other]
        note = ""
        if ratio > most:
            note = "TOO MUCH"
            wrong.append(f"{row} / {other}")
        print(f"{row + ' / ' + other:48} {ratio:6.3f} {most:6g} {note}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("valgrind", "program"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("compiler", "limits", "json"):
        parser.add_argument(f"--{name}")
    its = parser.parse_args()
    if its.json is not None:
        counts = counts_of(its.valgrind, its.program)
        pathlib.Path(its.json).write_text(json.dumps(counts, indent=1), encoding="utf-8")
        return
    if its.compiler is None or its.limits is None:
        parser.error("give --compiler and --limits, or --json")
    compiler, limits, ratios = limits_of(pathlib.Path(its.limits))
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
    wrong += check_ratios(counts, ratios)
    if wrong or not counts:
        sys.exit("failed: " + ", ".join(wrong))
    if not applies and not ratios:
        sys.exit(77)


if __name__ == "__main__":
    main()
