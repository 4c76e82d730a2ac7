#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Counts the cache lines of bios and requests that an I/O touches, in a trace of lackey.

The program prints "marker ADDRESS SIZE", and such a line for each bio and each request. The trace
counts between its two stores to the marker. Fails if an I/O touches more lines than --most.
"""

import argparse
import collections
import subprocess
import sys

LINE_BYTES = 64


def trace_of(valgrind, program, *arguments):
    """Returns the program's output, and its accesses to data: the kind (L, S or M), and the addresses
    of the first and the last byte. lackey prints lines such as " S 1ffefff,8"."""
    run = subprocess.run([valgrind, "--tool=lackey", "--trace-mem=yes", "--basic-counts=no",
                          program, *arguments], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{program}: exit status {run.returncode}\n{run.stderr[-2000:]}")
    accesses = []
    for line in run.stderr.splitlines():
        if line[:3] in (" L ", " S ", " M "):
            address, _, size = line[3:].partition(",")
            begin = int(address, 16)
            accesses.append((line[1], begin, begin + int(size) - 1))
    return run.stdout, accesses


def objects_of(output):
    """Returns the marker's address, and the kind and the address of the object of each line."""
    marker = None
    owner = {}
    counts = collections.Counter()
    for text in output.splitlines():
        kind, address, size = text.split()
        begin = int(address, 16)
        if kind == "marker":
            marker = begin
            continue
        counts[kind] += 1
        for line in range(begin // LINE_BYTES, (begin + int(size) - 1) // LINE_BYTES + 1):
            owner[line] = kind, begin
    return marker, owner, counts


def touched(trace, marker, owner):
    """Returns the lines that are touched between the two stores to the marker, with their objects,
    and the offsets in the objects' lines."""
    lines = collections.defaultdict(set)
    is_counted = False
    for kind_of_access, begin, last in trace:
        if begin == marker:
            if kind_of_access != "L":
                is_counted = not is_counted
        elif is_counted:
            for byte in (begin, last):
                if byte // LINE_BYTES in owner:
                    kind, base = owner[byte // LINE_BYTES]
                    lines[kind, byte // LINE_BYTES].add(byte - base)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--valgrind", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--argument", action="append", default=[], help="of the program")
    parser.add_argument("--most", type=float, required=True)
    parser.add_argument("--offsets", action="store_true", help="print what is touched of each kind")
    its = parser.parse_args()
    output, trace = trace_of(its.valgrind, its.program, *its.argument)
    marker, owner, counts = objects_of(output)
    lines = touched(trace, marker, owner)
    total = 0.0
    for kind, count in counts.items():
        per_io = sum(1 for its_kind, _ in lines if its_kind == kind) / count
        total += per_io
        print(f"{kind}: {per_io:.2f} lines of an I/O")
        if its.offsets:
            print(" ", *sorted({at for (name, _), found in lines.items() if name == kind
                                for at in found}))
    print(f"together: {total:.2f}, at most {its.most:g}")
    if not counts or total == 0 or total > its.most:
        sys.exit("failed")


if __name__ == "__main__":
    main()
