# SPDX-License-Identifier: BSL-1.0
"""Mutants that are compiled together: a sample costs one build of the test programs instead of hundreds.

The body of each changed function stands in the headers once unchanged and once for each of its mutants,
and a number in the environment chooses at run time. A mutant whose copy does not compile is left out, and
so is one that takes effect at compile time only: those have builds of their own.
"""

import concurrent.futures
import re
import shutil

from programs import text_of
from source import code_of, functions

CHOICE = """\
#pragma once
#include <stdlib.h>
inline const unsigned long blkown_mutant_number = [] {
  const char* const text = getenv("BLKOWN_MUTANT");
  return text == nullptr ? 0 : strtoul(text, nullptr, 10);
}();
constexpr bool blkown_is_mutant(unsigned long number) noexcept {
  return !__builtin_is_constant_evaluated() && blkown_mutant_number == number;
}
"""
ROUNDS = 8


def outer_bodies(text):
    """(begin, end) of the outermost function bodies, without their braces."""
    found = []
    for _, begin, end in functions(code_of(text)):
        if not found or begin >= found[-1][1]:
            found.append((begin, code_of(text).rindex("}", begin, end)))
    return found


def returns_closure(text, body):
    """Whether two copies of the body would return two types: the function is `auto` and returns a lambda."""
    head = re.split(r"[;{}]\s*\n", text[:body[0] - 1])[-1]
    return bool(re.search(r"\bauto \w+\(", head) and re.search(r"\breturn \[", text[slice(*body)]))


class Headers:
    """Copies of the headers, each with the bodies of its mutants."""

    def __init__(self, root, folder, mutants):
        """`mutants` maps a number to a mutant. `left_out` are those in no body, or in one that cannot have
        copies."""
        self.folder = folder
        self.left_out = set()
        self.lines = {}    # file -> [(first line, last line, number)]
        shutil.rmtree(folder, ignore_errors=True)
        of_file = {}
        for number, mutant in mutants.items():
            of_file.setdefault(mutant.file, {})[number] = mutant
        for file, its_mutants in of_file.items():
            copy = folder / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(self._joined(file, (root / "include" / file).read_text(), its_mutants))
        self.choice = folder / "choice.h"
        folder.mkdir(parents=True, exist_ok=True)
        self.choice.write_text(CHOICE)

    def _joined(self, file, text, mutants):
        pieces, last = [], 0
        bodies = outer_bodies(text)
        of_body = {}
        for number, mutant in mutants.items():
            at = next((i for i, (old, new) in enumerate(zip(text, mutant.text)) if old != new), len(text))
            body = next((body for body in bodies if body[0] <= at < body[1]), None)
            if body is None or returns_closure(text, body):
                self.left_out.add(number)
            else:
                of_body.setdefault(body, []).append((number, mutant.text))
        for (begin, end), changed in sorted(of_body.items()):
            pieces.append(text[last:begin])
            for number, new in changed:
                pieces.append(f"\nif (::blkown_is_mutant({number})) {{")
                first = 1 + sum(piece.count("\n") for piece in pieces)
                pieces.append(new[begin:end + len(new) - len(text)] + "\n} else")
                self.lines.setdefault(file, []).append(
                    (first, first + pieces[-1].count("\n"), number))
            pieces.append(" {" + text[begin:end] + "\n}")
            last = end
        return "".join(pieces) + text[last:]

    def named_by(self, log):
        """Two sets of mutants: those at whose copies an error is, and for the other errors those at which a
        note is."""
        wrong, doubtful = set(), set()
        for error in re.split(r"(?m)^(?=\S+:\d+:\d+: (?:fatal )?error: )", log)[1:]:
            places = re.findall(r"(?m)^(\S+?):(\d+):\d+: ", error)
            at = self._numbers_at(places[:1])
            wrong |= at
            if not at:
                doubtful |= self._numbers_at(places[1:])
        return wrong, doubtful - wrong

    def _numbers_at(self, places):
        found = set()
        for file, line in places:
            for first, last, number in self.lines.get(file.removeprefix(f"{self.folder}/"), ()):
                if file.startswith(f"{self.folder}/") and first <= int(line) <= last:
                    found.add(number)
        return found


class Joined:
    """The test programs with all mutants of a sample."""

    def __init__(self, workshop, mutants):
        self.workshop = workshop
        self.folder = workshop.folder / "joined"
        self.mutants = dict(mutants)
        self.binaries = {}
        self.discarded = set()

    def build(self, programs, jobs, report):
        """Builds the programs. Afterwards `mutants` holds what can be tried, and `discarded` what does not
        compile."""
        missing = list(programs)
        for turn in range(ROUNDS):
            headers = Headers(self.workshop.root, self.folder / f"include{turn}", self.mutants)
            self._leave_out(headers.left_out)
            with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
                logs = list(pool.map(lambda program: self._make(program, headers), missing))
            missing = [program for program, log in zip(missing, logs) if log is not None]
            if not missing:
                return
            wrong, doubtful = set(), set()
            for log in logs:
                if log is not None:
                    found = headers.named_by(log)
                    wrong |= found[0]
                    doubtful |= found[1]
            report(f"  {len(wrong)} mutants do not compile, and {len(doubtful - wrong)} may not")
            if not wrong | doubtful:
                break
            self.discarded |= wrong
            self._leave_out(wrong | doubtful)
        # Their mutants have builds of their own.
        for program in missing:
            report(f"  {program.name} does not compile with the mutants")

    def _leave_out(self, numbers):
        for number in numbers:
            self.mutants.pop(number, None)

    def _make(self, program, headers):
        """The compiler's output, or None if the program is built."""
        place = self.folder / re.sub(r"\W", "_", program.name)
        place.mkdir(parents=True, exist_ok=True)
        log = place / "log"
        objects = []
        for number, (source, options) in enumerate(program.sources.items()):
            output = place / f"{number}.o"
            if not self.workshop.compile(source, options, [headers.folder], output, log,
                                         more=["-include", headers.choice, "-ferror-limit=0"
                                               if self.workshop.is_clang else "-fmax-errors=0"]):
                return text_of(log)
            objects.append(output)
        if not self.workshop.link(objects, program.libraries, place / "program", log):
            return text_of(log)
        self.binaries[program.name] = place / "program"
        for output in objects:
            output.unlink()
        return None
