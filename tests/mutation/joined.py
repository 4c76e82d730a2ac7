# SPDX-License-Identifier: BSL-1.0
"""Mutants that are compiled together: a list or a sample costs one build of the test programs instead of
hundreds.

The body of each changed function stands in the headers once unchanged and once for each of its mutants,
and a number in the environment chooses at run time. The unchanged copy has a probe before each of its
statements: it counts, in a mapped file, what a run of the unchanged code reaches, also before an abort. A
mutant whose copy does not compile is left out. A mutant whose only effect is at compile time needs a build
of its own.
"""

import concurrent.futures
import re
import shutil
import threading

from operators import probes_of
from programs import Trouble, text_of
from source import code_of, functions

CHOICE = """\
#pragma once
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
inline const unsigned long blkown_mutant_number = [] {
  const char* const text = getenv("BLKOWN_MUTANT");
  return text == nullptr ? 0 : strtoul(text, nullptr, 10);
}();
inline unsigned* const blkown_probes = [] {
  const char* const file = getenv("BLKOWN_PROBES");
  return file == nullptr ? nullptr : static_cast<unsigned*>(mmap(
      nullptr, %d, PROT_READ | PROT_WRITE, MAP_SHARED, open(file, O_RDWR), 0));
}();
constexpr bool blkown_is_mutant(unsigned long number) noexcept {
  return !__builtin_is_constant_evaluated() && blkown_mutant_number == number;
}
constexpr void blkown_probe(unsigned number) noexcept {
  if (!__builtin_is_constant_evaluated() && blkown_probes != nullptr) ++blkown_probes[number];
}
"""
ROUNDS = 10


def every_error(is_clang):
    """The options with which the compiler prints every error, and all that one follows from."""
    return ["-ferror-limit=0" if is_clang else "-fmax-errors=0", "-ftemplate-backtrace-limit=0"]


def outer_bodies(code):
    """(begin, end) of the outermost function bodies, without their braces."""
    found = []
    for _, begin, end in functions(code):
        if not found or begin >= found[-1][1]:
            found.append((begin, code.rindex("}", begin, end)))
    return found


def returns_closure(text, body):
    """Whether two copies of the body would return two types: the function is `auto` and returns a lambda."""
    head = re.split(r"[;{}]\s*\n", text[:body[0] - 1])[-1]
    return bool(re.search(r"\bauto \w+\(", head) and re.search(r"\breturn \[", text[slice(*body)]))


def same_length(one, other):
    """How many characters two texts have in common before they differ."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


class Headers:
    """What copies of the headers consist of. `mutants` maps a number to a mutant."""

    def __init__(self, root, mutants, has_probes=True):
        self.root = root
        self.has_probes = has_probes
        self.left_out = set()    # mutants in no body, in two, or in one that cannot have copies
        self.probes = {}         # "header:position" -> number
        self.files = {}          # file -> (text, {body: [(number, changed text)]}, [(position, addition)])
        of_file = {}
        for number, mutant in mutants.items():
            of_file.setdefault(mutant.file, {})[number] = mutant
        for file, its_mutants in sorted(of_file.items()):
            self._add(file, its_mutants)

    def _add(self, file, mutants):
        text = (self.root / "include" / file).read_text()
        code = code_of(text)
        bodies = outer_bodies(code)
        of_body = {}
        for number, mutant in mutants.items():
            at = same_length(text, mutant.text)
            body = next((body for body in bodies if body[0] <= at < body[1]), None)
            behind = len(text) - same_length(text[::-1], mutant.text[::-1])
            if body is None or behind > body[1] or returns_closure(text, body):
                self.left_out.add(number)
            if body is not None:
                of_body.setdefault(body, []).append((number, mutant.text))
        additions = []
        for place, end, is_braced in sorted({
                probe for _, begin, end in functions(code) for probe in probes_of(code, begin, end)
                if self.has_probes and any(first <= begin and begin < last for first, last in of_body)}):
            # A statement of a closure is found twice: the function around the closure gives it another end.
            if f"{file}:{place}" in self.probes:
                continue
            probe = f" ::blkown_probe({len(self.probes)}u); "
            self.probes[f"{file}:{place}"] = len(self.probes)
            additions.append((place, "{" + probe if is_braced else probe))
            if is_braced:
                additions.append((end, " }"))
        self.files[file] = (text, of_body, sorted(additions, key=lambda a: a[0]))

    def size_bytes(self):
        return 4 * max(1, len(self.probes))

    def write(self, folder, without):
        """Writes the copies, without some of the mutants."""
        folder.mkdir(parents=True)
        choice = folder / "choice.h"
        choice.write_text(CHOICE % self.size_bytes())
        lines = {}    # file -> [(first line, last line, number)]
        for file in self.files:
            copy = folder / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(self._joined(file, without | self.left_out, lines.setdefault(file, [])))
        return Copies(folder, choice, lines)

    def _joined(self, file, without, lines):
        text, of_body, additions = self.files[file]
        pieces, last, line = [], 0, 1

        def add(piece):
            nonlocal line
            pieces.append(piece)
            line += piece.count("\n")

        for (begin, end), changed in sorted(of_body.items()):
            add(text[last:begin])
            chosen = [(number, new) for number, new in changed if number not in without]
            for number, new in chosen:
                add(f"\nif (::blkown_is_mutant({number})) {{")
                first = line
                add(new[begin:end + len(new) - len(text)] + "\n} else")
                lines.append((first, line, number))
            if chosen:
                add(" {")
            last = begin
            for place, addition in additions:
                if begin <= place <= end:
                    add(text[last:place] + addition)
                    last = place
            add(text[last:end] + ("\n}" if chosen else ""))
            last = end
        return "".join(pieces) + text[last:]


class Copies:
    """Headers in a folder, each with the bodies of its mutants."""

    def __init__(self, folder, choice, lines):
        self.folder = folder
        self.choice = choice
        self.lines = lines

    def named_by(self, log):
        """The mutants that the errors name."""
        errors = []
        for error in re.split(r"(?m)^(?=(?:In file included from|\S+:\d+:\d+: (?:fatal )?error: ))", log):
            places = re.findall(r"(?m)^(\S+?):(\d+):\d+: ", error)
            errors.append(list(dict.fromkeys(number for place in places for number in self._numbers_at(*place))))
        # A mutant that calls a template wrongly is named by the error in its unchanged body, and by those in
        # the bodies of the template's mutants, which may be right.
        alone = {named[0] for named in errors if len(named) == 1}
        return alone | {named[0] for named in errors if named and alone.isdisjoint(named)}

    def _numbers_at(self, file, line):
        if not file.startswith(f"{self.folder}/"):
            return []
        ranges = self.lines.get(file.removeprefix(f"{self.folder}/"), ())
        return [number for first, last, number in ranges if first <= int(line) <= last]


class Joined:
    """The test programs with all mutants of a sample."""

    def __init__(self, workshop, mutants):
        self.workshop = workshop
        self.folder = workshop.folder / "joined"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.headers = Headers(workshop.root, dict(mutants))
        self.left_out = self.headers.left_out
        self.discarded = set()    # they do not compile
        self.lock = threading.Lock()
        self.turns = 0

    def build(self, binaries, jobs):
        """Builds the programs and returns what they consist of: programs, each with what it reaches."""
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            return [program for programs in pool.map(self._make, binaries) for program in programs]

    def _make(self, binary):
        place = self.folder / re.sub(r"\W", "_", binary.name)
        place.mkdir(parents=True)
        log = place / "log"
        objects = []
        for number, (source, options) in enumerate(binary.units(place)):
            output = place / f"{number}.o"
            self._compile(binary, source, options, output, log)
            objects.append(output)
        binary.path = place / "program"
        if not self.workshop.link(objects, binary.libraries, binary.path, log):
            raise Trouble(f"{binary.name} does not link:\n{text_of(log)[:3000]}")
        for output in objects:
            output.unlink()
        programs = self.workshop.programs_of(binary, place)
        for program in programs:
            self._record(program, place)
        return programs

    def _compile(self, binary, source, options, output, log):
        depends = output.with_suffix(".d")
        for _ in range(ROUNDS):
            with self.lock:
                self.turns += 1
                copies = self.headers.write(self.folder / f"include{self.turns}", self.discarded)
            more = ["-include", copies.choice, "-MD", "-MF", depends]
            more += every_error(self.workshop.is_clang)
            is_done = self.workshop.compile(source, options, [copies.folder], output, log, more=more)
            if is_done:
                binary.note_depends(depends, copies.folder, self.workshop.root)
                return
            wrong = copies.named_by(text_of(log))
            if not wrong:
                break
            with self.lock:
                self.discarded |= wrong
        raise Trouble(f"{binary.name} does not compile:\n{text_of(log)[:3000]}")

    def _record(self, program, place):
        """Runs the unchanged code and counts what it reaches."""
        counted, log = place / "counts", place / "log"
        counted.write_bytes(bytes(self.headers.size_bytes()))
        done = self.workshop.execute(program, place, log, None, BLKOWN_PROBES=str(counted))
        if not done.passed:
            raise Trouble(f"{program.name} fails with the unchanged library ({done.why}):\n"
                          f"{text_of(log)[-3000:]}")
        counts = memoryview(counted.read_bytes()).cast("I")
        total = max(1, sum(counts))
        program.reached = {name: counts[number] / total
                           for name, number in self.headers.probes.items() if counts[number]}
        program.cpu_s, program.wall_s = done.cpu_s, done.wall_s
