#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Looks for memory that one context writes and another touches, in a trace of lackey.

The program acts for its contexts in turn, on one thread. Each has a hardware queue of its own, so the
path of an I/O has nothing that two contexts need. The program stores to the marker of a context before
it acts for that context, and to the last marker after it. Of all accesses in between, plain and atomic,
fails if a pair of cache lines, which a processor may fetch together, is written in the part of one
context and touched in that of another. The program's stack and thread-local memory do not count,
because each thread has its own.
"""

import argparse
import collections
import sys

from lines import trace_of

PAIR_BYTES = 128
STACK_BYTES = 64 * 1024  # below and above the address that the program prints
THREAD_BYTES = 4096


class Objects:
    """What the program has printed: "NAME ADDRESS SIZE" on each line."""

    def __init__(self, output):
        self.markers = {}
        self.ignored = []
        self.named = []
        for text in output.splitlines():
            name, address, size = text.split()
            begin = int(address, 16)
            if name == "stack":
                self.ignored.append(range(begin - STACK_BYTES, begin + STACK_BYTES))
            elif name == "thread":
                self.ignored.append(range(begin - THREAD_BYTES, begin + THREAD_BYTES))
            elif name.startswith("marker"):
                self.markers[begin] = int(name.removeprefix("marker"))
            else:
                self.named.append((begin, int(size), name))

    def is_ignored(self, address):
        return any(address in own for own in self.ignored)

    def name_of(self, address):
        for begin, size, name in self.named:
            if begin <= address < begin + size:
                return f"{name} + {address - begin}"
        begin, _, name = min(self.named, key=lambda named: abs(named[0] - address))
        return f"{name} {address - begin:+}, outside of it"


def uses_of(trace, objects):
    """Returns, for each pair of lines and each context, the address of the last write, or of an
    access if there was no write, and whether there was."""
    end = max(objects.markers.values())
    uses = collections.defaultdict(dict)
    context = end
    for kind, begin, last in trace:
        if begin in objects.markers:
            context = objects.markers[begin]
        elif context != end and not objects.is_ignored(begin):
            is_write = kind != "L"
            for byte in {begin, last}:
                of_pair = uses[byte // PAIR_BYTES]
                _, was_written = of_pair.get(context, (byte, False))
                if is_write or not was_written:
                    of_pair[context] = byte, is_write
    return uses


def shared(uses, objects):
    """Returns a line of text for each write of one context into what another touches."""
    found = set()
    for of_pair in uses.values():
        for writer, (address, is_written) in of_pair.items():
            for other, (its_address, _) in of_pair.items():
                if is_written and other != writer:
                    found.add(f"{objects.name_of(address)} is written by context {writer}, and "
                              f"{objects.name_of(its_address)} used by context {other}")
    return sorted(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--valgrind", required=True)
    parser.add_argument("--program", required=True)
    its = parser.parse_args()
    output, trace = trace_of(its.valgrind, its.program, "contexts")
    objects = Objects(output)
    uses = uses_of(trace, objects)
    contexts = {context for of_pair in uses.values() for context in of_pair}
    print(f"{len(uses)} pairs of lines, {len(contexts)} contexts")
    found = shared(uses, objects)
    for text in found:
        print(text)
    if found or len(contexts) < 2:
        sys.exit("failed")


if __name__ == "__main__":
    main()
