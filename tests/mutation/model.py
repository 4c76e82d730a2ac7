# SPDX-License-Identifier: BSL-1.0
"""Runs the mutants written by hand against the model tests.

A scan of the files of ORDER_FILES finds each memory order other than relaxed and weakens it: acq_rel
to each of its halves, any other to relaxed. Each patch of model_mutants.py is another mutant. A mutant is
a copy of include/ with one change. It is built with all scenarios and run until a scenario fails.
"""

import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from model_mutants import all_mutants
from programs import COMMON_HEADERS
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
    """(name, file, line, new text, options) of every mutant."""
    for name, file, line, text in weakened_orders():
        # Without the check on plain stores: an order must be needed for the data.
        yield name, file, line, text, ["--no-store-check"]
    for mutant in all_mutants():
        line, text = patched(mutant)
        yield mutant.name, mutant.file, line, text, ["--no-store-check"] if mutant.order else []


class Workshop:
    """Copies, builds and runs in a temporary folder."""

    def __init__(self, folder, arguments):
        self.folder = folder
        self.arguments = arguments
        sources = sorted((MODEL / "scenarios").glob("*.cpp")) + [MODEL / "run_scenarios.cpp"]
        # One translation unit, so that the headers are parsed once.
        self.unit = folder / "all.cpp"
        self.unit.write_text("".join(f'#include "{source}"\n' for source in sources))
        self.precompiled = []

    def command(self, optimise):
        return [self.arguments.cxx, "-std=c++23", optimise, "-w", "-U_FORTIFY_SOURCE",
                f"-DBLKOWN_WORD_BITS={self.arguments.word_bits}"]

    def precompile(self):
        """Compiles the standard headers once for all mutants, with a compiler that gains by it."""
        if "clang" not in self.arguments.cxx:
            return
        headers, compiled = self.folder / "standard.hpp", self.folder / "standard.pch"
        headers.write_text("".join(f"#include <{header}>\n" for header in COMMON_HEADERS
                                   if not header.startswith("gtest/")))
        done = subprocess.run([*self.command("-O0"), "-x", "c++-header", str(headers), "-o", str(compiled)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise BadMutant(f"the standard headers do not compile:\n{done.stderr[:4000]}")
        self.precompiled = ["-include-pch", str(compiled)]

    def build(self, name, optimise, file=None, text=None):
        place = self.folder / name
        shutil.copytree(ROOT / "include", place / "include")
        if file is not None:
            (place / "include/blkown" / file).write_text(text)
        program = place / "scenarios"
        done = subprocess.run(
            [*self.command(optimise), *(self.precompiled if optimise == "-O0" else []),
             f"-I{place / 'include'}", str(self.unit), "-o", str(program)],
            capture_output=True, text=True)
        if done.returncode != 0:
            raise BadMutant(f"'{name}' does not build:\n{done.stderr[:4000]}")
        return program

    def run(self, program, options):
        """None if every scenario passes, else the first failure as (scenario, message)."""
        try:
            done = subprocess.run([str(program), "--first-failure", *options],
                                  capture_output=True, text=True, timeout=RUN_LIMIT_S)
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

    def try_mutant(self, index, change):
        name, file, _, text, options = change
        # Most mutants fail in the first second: the build takes most of the time.
        program = self.build(f"mutant{index}", "-O0", file, text)
        try:
            return self.run(program, options)
        finally:
            shutil.rmtree(program.parent)


def write_tables(scenarios, mutants):
    """Writes the tables of README.md, each between its two comments."""
    path = MODEL / "README.md"
    text = path.read_text()
    for what, head, rows in (
            ("scenarios", ("scenario", "executions", "cut"), scenarios),
            ("mutants", ("mutant", "in", "caught by", "with"), mutants)):
        begin = f"<!-- {what}: written by tests/mutate --write-table -->"
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


def run_list(arguments):
    """Prints a line for each mutant, then "N of N mutants caught". Exits with 0 only if all are."""
    try:
        changes = [change for change in all_changes()
                   if arguments.only in f"{change[1]}: {change[0]}"]
    except BadMutant as bad:
        sys.exit(f"mutate: {bad}")
    names = [change[0] for change in changes]
    if not names:
        sys.exit(f"mutate: no mutant's 'file: name' contains '{arguments.only}'; see --list")
    if len(set(names)) != len(names):
        sys.exit("mutate: two mutants have the same name: "
                 + ", ".join(sorted({name for name in names if names.count(name) > 1})))
    if arguments.list:
        for name, file, line, _, _ in changes:
            print(f"{file}:{line}: {name}")
        return
    start = time.monotonic()
    rows, uncaught = [], 0
    with tempfile.TemporaryDirectory(prefix="blkown-mutate-") as folder:
        workshop = Workshop(pathlib.Path(folder), arguments)
        try:
            unchanged = workshop.build("unchanged", "-O1")
            passing = workshop.run(unchanged, [])
            # As each mutant is built: else one that cannot run would count as caught.
            workshop.precompile()
            if passing is None:
                passing = workshop.run(workshop.build("unchanged_O0", "-O0"), [])
        except BadMutant as bad:
            sys.exit(f"mutate: {bad}")
        if passing is not None:
            sys.exit(f"mutate: the unchanged core fails: {': '.join(passing)}")
        pool = concurrent.futures.ThreadPoolExecutor(arguments.jobs)
        try:
            results = [pool.submit(workshop.try_mutant, index, change)
                       for index, change in enumerate(changes)]
            for (name, file, line, _, _), result in zip(changes, results):
                try:
                    caught = result.result()
                except BadMutant as bad:
                    uncaught += 1
                    print(f"{file}:{line}: {name}: NO RESULT: {bad}", flush=True)
                    continue
                if caught is None:
                    uncaught += 1
                    print(f"{file}:{line}: {name}: NOT CAUGHT", flush=True)
                else:
                    scenario, message = caught
                    rows.append((name, file, scenario, short(message)))
                    print(f"{file}:{line}: {name}: caught by {scenario} ({short(message)})",
                          flush=True)
        finally:
            # After an interrupt only the running mutants are finished.
            pool.shutdown(cancel_futures=True)
        if arguments.write_table and uncaught == 0 and not arguments.only:
            write_tables(counted(unchanged), rows)
    print(f"{len(rows)} of {len(changes)} mutants caught, in {time.monotonic() - start:.0f} s")
    sys.exit(0 if uncaught == 0 else 1)
