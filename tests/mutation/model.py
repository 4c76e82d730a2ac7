# SPDX-License-Identifier: BSL-1.0
"""Runs the mutants written by hand against the model tests.

A scan of the files of ORDER_FILES finds each memory order other than relaxed and weakens it: acq_rel
to each of its halves, any other to relaxed. Each patch of model_mutants.py is another mutant. One
build of all scenarios has every mutant in it, and a number in the environment chooses one (joined.py). A
mutant's scenarios are run until one of them fails. A mutant that cannot be chosen so, or that passes, gets a
build of its own.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from joined import ROUNDS, Headers, every_error
from model_mutants import all_mutants
from source import functions, without_comments

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/model"
ORDER_FILES = ("detail/ref_word.hpp", "detail/tag_bitmap.hpp", "mq/detail/request_stack.hpp",
               "mq/detail/call_gate.hpp", "mq/detail/countdown.hpp",
               "mq/detail/publication_watch.hpp", "dma/detail/mapping_state.hpp")
ORDER = re.compile(r"std::memory_order_(acquire|release|acq_rel|seq_cst|consume)\b")
WEAKER = {"acq_rel": ("acquire", "release")}
OPERATION = re.compile(r"\.(load|store|exchange|fetch_\w+|compare_exchange_\w+)\(")
# The scenarios of one mutant take seconds. A mutant that takes longer than this hangs.
RUN_LIMIT_S = 300


class BadMutant(Exception):
    """A patch does not fit the sources, or a mutant gives no result."""


@dataclass(frozen=True)
class Change:
    """A mutant: the text of a file below include/."""
    name: str
    file: str
    line: int
    text: str
    options: tuple


def weakened_orders():
    """(name, file, line, new text) for each way to weaken an order in the files."""
    for file in ORDER_FILES:
        text = (ROOT / "include/blkown" / file).read_text()
        code = without_comments(text)
        bodies = functions(code)
        seen = {}
        for match in ORDER.finditer(code):
            inside = [(name, begin) for name, begin, end in bodies if begin <= match.start() < end]
            if not inside:
                raise BadMutant(f"{file}: an order outside every function")
            function, begin = inside[-1]
            line = code.count("\n", 0, match.start()) + 1
            operations = OPERATION.findall(code, begin, match.start())
            name = f"{function}: {operations[-1] + ', ' if operations else ''}{match[1]}"
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                name += f" ({seen[name]})"
            for weaker in WEAKER.get(match[1], ("relaxed",)):
                new = text[:match.start()] + "std::memory_order_" + weaker + text[match.end():]
                yield f"{name} -> {weaker}", file, line, new


def patched(mutant):
    """The line of the mutant's change, and the changed text of the file."""
    text = (ROOT / "include/blkown" / mutant.file).read_text()
    line, changed = replaced(mutant, text, mutant.function, mutant.old, mutant.new)
    if mutant.also is not None:
        changed = replaced(mutant, changed, *mutant.also)[1]
    return line, changed


def replaced(mutant, text, function, old, new):
    # The pattern is searched in the text without comments.
    code = without_comments(text)
    pattern = re.compile(r"\s*".join(re.escape(word) for word in tokens(old)))
    spans = [(0, len(code))]
    if function is not None:
        spans = [(begin, end) for name, begin, end in functions(code) if name == function]
        if not spans:
            raise BadMutant(f"'{mutant.name}': no function {function} in {mutant.file}")
    matches = [match for begin, end in spans for match in pattern.finditer(code, begin, end)]
    if len(matches) != 1:
        raise BadMutant(f"'{mutant.name}': the pattern matches {len(matches)} times in "
                        f"{mutant.file}, not once")
    match = matches[0]
    return code.count("\n", 0, match.start()) + 1, text[:match.start()] + new + text[match.end():]


def tokens(text):
    return re.findall(r"\w+|[^\w\s]", text)


def all_changes():
    """Every mutant."""
    for name, file, line, text in weakened_orders():
        # Without the check on plain stores: an order must be needed for the data.
        yield Change(name, f"blkown/{file}", line, text, ("--no-store-check",))
    for mutant in all_mutants():
        line, text = patched(mutant)
        yield Change(mutant.name, f"blkown/{mutant.file}", line, text,
                     ("--no-store-check",) if mutant.order else ())


class Workshop:
    """Builds and runs in a temporary folder."""

    def __init__(self, folder, arguments, changes):
        self.folder = folder
        self.arguments = arguments
        sources = sorted((MODEL / "scenarios").glob("*.cpp")) + [MODEL / "run_scenarios.cpp"]
        # One translation unit, so that the headers are parsed once.
        self.unit = folder / "all.cpp"
        self.unit.write_text("".join(f'#include "{source}"\n' for source in sources))
        self.headers = Headers(ROOT, dict(enumerate(changes, 1)), has_probes=False)
        self.apart = self.headers.left_out    # the numbers of the mutants that are no part of the program
        self.program = folder / "scenarios"

    def compile(self, include, program, *more):
        """The compiler's errors, or None. The headers in `include` stand before those of the tree."""
        # Unoptimised, the scenarios of the unchanged library take longer than the optimisation.
        done = subprocess.run(
            [self.arguments.cxx, "-std=c++23", "-O1", "-w", "-U_FORTIFY_SOURCE",
             f"-DBLKOWN_WORD_BITS={self.arguments.word_bits}", f"-I{include}", f"-I{ROOT / 'include'}",
             *more, str(self.unit), "-o", str(program)],
            capture_output=True, text=True)
        return None if done.returncode == 0 else done.stderr

    def build(self):
        """Builds the program of all mutants. Those that do not compile in it are left to be built apart."""
        for turn in range(ROUNDS):
            copies = self.headers.write(self.folder / f"include{turn}", self.apart)
            errors = self.compile(copies.folder, self.program, "-include", str(copies.choice),
                                  *every_error("clang" in self.arguments.cxx))
            if errors is None:
                return
            wrong = copies.named_by(errors)
            if not wrong:
                break
            self.apart = self.apart | wrong
        raise BadMutant(f"the scenarios do not build:\n{errors[:4000]}")

    def run(self, program, options, number=0):
        """None if every scenario passes, else the first failure as (scenario, message)."""
        try:
            done = subprocess.run([str(program), "--first-failure", *options], capture_output=True, text=True,
                                  timeout=RUN_LIMIT_S, env={**os.environ, "BLKOWN_MUTANT": str(number)})
        except subprocess.TimeoutExpired:
            raise BadMutant(f"no answer within {RUN_LIMIT_S} s") from None
        failed = re.search(r"^FAILED (.*)$", done.stdout, re.MULTILINE)
        if failed:
            scenario, _, message = failed[1].partition(": ")
            return scenario, message
        if done.returncode != 0:
            raise BadMutant(f"exit status {done.returncode}, and no scenario said why:\n"
                            f"{done.stderr[:2000]}")
        return None

    def try_mutant(self, number, change):
        if number not in self.apart:
            caught = self.run(self.program, change.options, number)
            if caught is not None:
                return caught
        # Also one that passes: it may take effect at compile time only.
        include = self.folder / f"mutant{number}"
        header = include / change.file
        header.parent.mkdir(parents=True)
        header.write_text(change.text)
        program = include / "scenarios"
        try:
            errors = self.compile(include, program)
            if errors is not None:
                raise BadMutant(f"'{change.name}' does not build:\n{errors[:4000]}")
            return self.run(program, change.options)
        finally:
            shutil.rmtree(include)


def write_tables(scenarios, mutants):
    """Writes the tables of README.md, each between its two comments."""
    path = MODEL / "README.md"
    text = path.read_text()
    for what, head, rows in (
            ("scenarios", ("scenario", "executions", "cut"), scenarios),
            ("mutants", ("mutant", "in", "caught by", "with"), mutants)):
        begin = f"<!-- {what}: written by tests/mutation/run --write-table -->"
        end = f"<!-- end of {what} -->"
        lines = [head, ("---",) * len(head), *rows]
        table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        before, rest = text.split(begin)
        text = before + begin + "\n\n" + table + "\n" + end + rest.split(end)[1]
    path.write_text(text)


def counted(program):
    """(scenario, executions, cut) of each scenario, read from the output of the program."""
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    return re.findall(r"^(\w.*?\S) +(\d+) +(\d+) +\d+ +[\d.]+$", done.stdout, re.MULTILINE)


def short(message):
    """The failure without places and numbers, for a table."""
    if message.startswith("data race"):
        return "data race"
    return re.sub(r" \([^()]*:\d+\)$", "", message)


def file_of(change):
    return change.file.removeprefix("blkown/")


def place_of(change):
    return f"{file_of(change)}:{change.line}: {change.name}"


def run_list(arguments):
    """Prints a line for each mutant, then "N of N mutants caught". Exits with 0 only if all are."""
    try:
        changes = [change for change in all_changes() if arguments.only in f"{file_of(change)}: {change.name}"]
    except BadMutant as bad:
        sys.exit(f"mutation/run: {bad}")
    names = [change.name for change in changes]
    if not names:
        sys.exit(f"mutation/run: no mutant's 'file: name' contains '{arguments.only}'; see --list")
    if len(set(names)) != len(names):
        sys.exit("mutation/run: two mutants have the same name: "
                 + ", ".join(sorted({name for name in names if names.count(name) > 1})))
    if arguments.list:
        for change in changes:
            print(place_of(change))
        return
    start = time.monotonic()
    rows, uncaught = [], 0
    with tempfile.TemporaryDirectory(prefix="blkown-mutate-") as folder:
        workshop = Workshop(pathlib.Path(folder), arguments, changes)
        try:
            workshop.build()
            # With no mutant chosen, and each set of options: else a mutant could count as caught for what
            # the unchanged library does, too.
            for options in sorted({change.options for change in changes} | {()}):
                failure = workshop.run(workshop.program, options)
                if failure is not None:
                    sys.exit(f"mutation/run: the unchanged library fails with the options {list(options)}: "
                             f"{': '.join(failure)}")
        except BadMutant as bad:
            sys.exit(f"mutation/run: {bad}")
        pool = concurrent.futures.ThreadPoolExecutor(arguments.jobs)
        try:
            results = [pool.submit(workshop.try_mutant, number, change)
                       for number, change in enumerate(changes, 1)]
            for change, result in zip(changes, results):
                try:
                    caught = result.result()
                except BadMutant as bad:
                    uncaught += 1
                    print(f"{place_of(change)}: NO RESULT: {bad}", flush=True)
                    continue
                if caught is None:
                    uncaught += 1
                    print(f"{place_of(change)}: NOT CAUGHT", flush=True)
                else:
                    scenario, message = caught
                    rows.append((change.name, file_of(change), scenario, short(message)))
                    print(f"{place_of(change)}: caught by {scenario} ({short(message)})", flush=True)
        finally:
            # After an interrupt only the running mutants are finished.
            pool.shutdown(cancel_futures=True)
        if arguments.write_table and uncaught == 0 and not arguments.only:
            write_tables(counted(workshop.program), rows)
    print(f"{len(rows)} of {len(changes)} mutants caught, in {time.monotonic() - start:.0f} s")
    sys.exit(0 if uncaught == 0 else 1)
