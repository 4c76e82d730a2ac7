#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Usage: prefetch.py OBJDUMP OBJECT

Fails if the object's function claim_batch has no instruction that prefetches. Neither a count of
instructions nor a test of results sees that a compiler has removed the prefetches of claim_each.
"""

import re
import subprocess
import sys

PREFETCH = re.compile(r"\b(prefetch\w*|prfu?m|pldw?)\b")  # x86, aarch64, arm


def main(objdump, path):
    run = subprocess.run([objdump, "-d", "--no-show-raw-insn", path], capture_output=True,
                         text=True, check=True)
    function = re.search(r"<claim_batch>:\n(.*?)(\n\n|\Z)", run.stdout, re.DOTALL)
    if function is None:
        sys.exit(f"{path}: no function claim_batch")
    found = PREFETCH.findall(function[1])
    print(f"{len(found)} prefetches in {len(function[1].splitlines())} instructions")
    if not found:
        sys.exit("failed: claim_each prefetches nothing")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
