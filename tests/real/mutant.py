#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Writes one header with a mistake into a folder, which a compiler searches before include/.

    mutant.py NAME FOLDER

NAME is that of a mutant of tests/mutation/model_mutants.py.
"""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "mutation"))
import model  # noqa: E402
from model_mutants import all_mutants  # noqa: E402


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    mutants = [mutant for mutant in all_mutants() if mutant.name == name]
    if len(mutants) != 1:
        sys.exit(f"{sys.argv[0]}: no mutant '{name}'")
    try:
        line, text = model.patched(mutants[0])
    except model.BadMutant as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    header = folder / "blkown" / mutants[0].file
    header.parent.mkdir(parents=True, exist_ok=True)
    header.write_text(text)
    print(f"{mutants[0].file}:{line}: {name}")


if __name__ == "__main__":
    main()
