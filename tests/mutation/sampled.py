# SPDX-License-Identifier: BSL-1.0
"""Samples mutants by operators and shows them to the test programs of the tree."""

import collections
import concurrent.futures
import difflib
import itertools
import pathlib
import random
import re
import shutil
import threading
from dataclasses import dataclass

from joined import Joined
from operators import OPERATORS, enums_of, mutants_of
from programs import PARTS, Probes, Records, Trouble, text_of

LIBRARIES = tuple(PARTS)
README = "tests/README.md"
SURVIVORS = ("<!-- survivors: argued by hand -->", "<!-- end of survivors -->")
TABLE = ("<!-- sampled: written by tests/mutate --write-table -->", "<!-- end of sampled -->")


def library_of(file):
    """The library of a header below include/."""
    folders = pathlib.PurePath(file).parts[1:-1]
    return folders[0] if folders and folders[0] in LIBRARIES else "core"


def sampled_mutants(root, library, seed, only):
    """The library's mutants in the order in which they are tried: the operators take turns."""
    include = root / "include"
    texts = {str(path.relative_to(include)): path.read_text()
             for path in sorted(include.rglob("*.hpp"))}
    enums = enums_of(texts.values())
    of_operator = {operator: [] for operator in OPERATORS}
    for file, text in texts.items():
        if library_of(file) == library and only in file:
            for mutant in mutants_of(file, text, enums):
                of_operator[mutant.operator].append(mutant)
    chance = random.Random(f"{library} {seed}")
    queues = []
    for mutants in of_operator.values():
        chance.shuffle(mutants)
        queues.append(collections.deque(mutants))
    order = []
    while any(queues):
        order += [queue.popleft() for queue in queues if queue]
    return order


def rows_of(text, marks):
    """The cells of the rows of a table between two comments."""
    if marks[0] not in text:
        return []
    lines = text.split(marks[0])[1].split(marks[1])[0].strip().splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in lines]


def argued_survivors(root):
    """(header, name) of the mutants that the README argues to be equivalent."""
    path = root / README
    if not path.exists():
        return set()
    return {(row[0].strip("`"), row[1].strip("`"))
            for row in rows_of(path.read_text(), SURVIVORS)}


@dataclass
class Result:
    mutant: object
    outcome: str       # caught, survived, discarded
    by: str = ""


class Trial:
    """Tries mutants. Several threads may use it."""

    def __init__(self, workshop, programs, arguments):
        self.workshop = workshop
        self.patience_s = arguments.patience
        self.most = arguments.most
        self.programs = programs
        self.joined = None
        self.lock = threading.Lock()

    def join(self, mutants, jobs, report):
        """Compiles these mutants together."""
        report(f"building {len(self.programs)} test programs with {len(mutants)} mutants")
        self.joined = Joined(self.workshop, enumerate(mutants))
        self.joined.build(self.programs, jobs, report)

    def candidates(self, mutant):
        """The programs that can notice the change, the likeliest first."""
        including = [p for p in self.programs if "include/" + mutant.file in p.files]
        probe = f"{mutant.file}:{mutant.probe}"
        reaching = [program for program in including if probe in program.reached]
        stem = pathlib.PurePath(mutant.file).stem
        # What is only computed at compile time reaches no probe.
        if mutant.constant:
            related = [program for program in including if stem in program.name]
            reaching += [p for p in related or including[:0 if reaching else None] if p not in reaching]

        # The test of a statement spends more of its time on it than others do.
        def likelihood(program):
            name = program.name.rpartition("/")[2]
            return (not name.startswith(stem + "_test"), program.run_s > 30,
                    -program.reached.get(probe, 0), -program.kills)
        with self.lock:
            return sorted(reaching, key=likelihood)[:self.most]

    def attempt(self, number, mutant):
        place = self.workshop.folder / f"mutant{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            result = self._attempt_joined(number, place, mutant)
            return result or self._attempt_apart(place, mutant)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _attempt_joined(self, number, place, mutant):
        """The result in the programs that contain all mutants. None: the mutant needs a build of its own."""
        if self.joined is None:
            return None
        if number in self.joined.discarded:
            return Result(mutant, "discarded")
        programs = self.candidates(mutant)
        if (number not in self.joined.mutants
                or any(program.name not in self.joined.binaries for program in programs)):
            return None
        for program in programs:
            why = self._runs(program, self.joined.binaries[program.name], place / "log",
                             BLKOWN_MUTANT=str(number))
            if why is not None:
                return self._caught(mutant, program, why)
        # It may take effect at compile time only.
        if mutant.constant:
            return None
        return Result(mutant, "survived", f"{len(programs)} test files pass")

    def _attempt_apart(self, place, mutant):
        overlay = place / "include"
        changed = overlay / mutant.file
        changed.parent.mkdir(parents=True)
        changed.write_text(mutant.text)
        return self._attempt(place, overlay, changed, mutant)

    def _caught(self, mutant, program, why):
        with self.lock:
            program.kills += 1
        return Result(mutant, "caught", f"{program.name} ({why})")

    def _attempt(self, place, overlay, changed, mutant):
        log = place / "log"
        programs = self.candidates(mutant)
        if not programs:
            # Otherwise its first test file decides whether it compiles, which costs no more.
            is_code = self.workshop.compile(changed, ("-std=c++23", "-x", "c++"), [overlay], "/dev/null",
                                            log, more=["-fsyntax-only"])
            return Result(mutant, "survived" if is_code else "discarded", "no test reaches it")
        for program in programs:
            why = self._meets(program, place, overlay, log)
            if why is None:
                continue
            if why == "does not compile":
                return Result(mutant, "discarded")
            return self._caught(mutant, program, why)
        return Result(mutant, "survived", f"{len(programs)} test files pass")

    def _meets(self, program, place, overlay, log):
        """How the program fails, or None if it passes."""
        objects = []
        for number, (source, options) in enumerate(program.sources.items()):
            output = place / f"{number}.o"
            if not self.workshop.compile(source, options, [overlay], output, log):
                # The library's own static_asserts are no test.
                errors = re.findall(r"^(\S+?):\d+:\d+: error: (.*)$", text_of(log), re.MULTILINE)
                if any("/tests/" in file and ("static assertion" in error or "constant expr" in error)
                       for file, error in errors):
                    return "static assertion"
                return "does not compile"
            objects.append(output)
        binary = place / "program"
        if not self.workshop.link(objects, program.libraries, binary, log):
            return "does not compile"
        return self._runs(program, binary, log)

    def _runs(self, program, binary, log, **environment):
        """How a run of the program fails, or None if it passes."""
        limit_s = self.patience_s + 10 * program.run_s
        status = self.workshop.execute(binary, program.arguments, limit_s, log, program.libraries,
                                       **environment)
        if status is None:
            return "hangs"
        if status == 0:
            return None
        failed = re.search(r"^\[  FAILED  \] (\w[\w/]*\.[\w/]+)", text_of(log), re.MULTILINE)
        return failed[1] if failed else f"exit status {status}"


def difference(root, mutant):
    """The change, as a diff without its head."""
    old = (root / "include" / mutant.file).read_text().splitlines()
    lines = difflib.unified_diff(old, mutant.text.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def prepare(workshop, library, jobs, report):
    """The programs of the tree that include headers of the library, each with its record."""
    programs = workshop.programs(library)
    if any("gtest/gtest.h" in text_of(source) for p in programs for source in p.sources):
        workshop.precompile()
    records = Records(workshop)
    missing = [program for program in programs if not records.recall(program)]
    if missing:
        report(f"building {len(missing)} of {len(programs)} test programs of the unchanged tree")
        records.probes = Probes(workshop)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(records.make, missing):
                pass
    return [program for program in programs
            if any(file.startswith("include/") and library_of(file[8:]) == library
                   for file in program.files)]


def results_of(trial, mutants, jobs):
    """The results in the order of the mutants. A slow one lets a few dozen others go on."""
    source = enumerate(mutants)
    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        waiting = collections.deque(pool.submit(trial.attempt, *item)
                                    for item in itertools.islice(source, 20 * jobs))
        while waiting:
            yield waiting.popleft().result()
            waiting += [pool.submit(trial.attempt, *item) for item in itertools.islice(source, 1)]
    finally:
        pool.shutdown(cancel_futures=True)


def write_row(root, row):
    """Puts the row of this library and seed into the README's table."""
    path = root / README
    text = path.read_text()
    rows = [old for old in rows_of(text, TABLE) if old[:2] != row[:2]] + [row]
    rows.sort(key=lambda r: (LIBRARIES.index(r[0]), int(r[1])))
    lines = [["library", "seed", "sampled", "caught", "argued", "survived"], ["---"] * 6, *rows]
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    before, rest = text.split(TABLE[0])
    path.write_text(before + TABLE[0] + "\n\n" + table + "\n" + TABLE[1] + rest.split(TABLE[1])[1])


class Tally:
    """Prints and counts results."""

    def __init__(self, root, argued, report):
        self.root = root
        self.argued = argued
        self.report = report
        self.counts = collections.Counter()
        self.sampled = 0
        self.survivors = []

    def add(self, result):
        mutant = result.mutant
        place = f"include/{mutant.file}:{mutant.line}: {mutant.name}"
        outcome = result.outcome
        if outcome == "survived" and (mutant.file.removeprefix("blkown/"), mutant.name) in self.argued:
            outcome = "argued"
        self.counts[outcome] += 1
        if outcome == "discarded":
            return
        self.sampled += 1
        if outcome == "caught":
            self.report(f"{place}: caught by {result.by}")
        elif outcome == "argued":
            self.report(f"{place}: survives, argued in {README}")
        else:
            self.survivors.append(place)
            self.report("\n".join([f"{place}: SURVIVED ({result.by})",
                                   *("    " + line for line in difference(self.root, mutant))]))

    def sum_up(self, library, seed):
        for place in self.survivors:
            self.report(f"survived: {place}")
        counts = self.counts
        self.report(f"{library}, seed {seed}: {counts['caught']} of {self.sampled} mutants caught, "
                    f"{counts['argued']} argued, {counts['survived']} survived; "
                    f"{counts['discarded']} did not compile")


def run_sample(workshop, arguments, report=lambda line: print(line, flush=True)):
    """Returns the number of mutants sampled and the number neither caught nor argued."""
    library = arguments.library
    mutants = sampled_mutants(workshop.root, library, arguments.seed, arguments.only)
    if not mutants:
        raise Trouble(f"no header of {library} contains '{arguments.only}' in its path and has a mutant")
    if arguments.list:
        for mutant in mutants:
            report(f"include/{mutant.file}:{mutant.line}: {mutant.name}")
        return None
    trial = Trial(workshop, prepare(workshop, library, arguments.jobs, report), arguments)
    # Some mutants do not compile, and have to be replaced.
    first = mutants[:arguments.sample * 4 // 3 + 4]
    # A mutant of its own build needs about three programs.
    if 3 * len(first) >= len(trial.programs):
        trial.join(first, arguments.jobs, report)
    tally = Tally(workshop.root, argued_survivors(workshop.root), report)
    try:
        for result in results_of(trial, mutants, arguments.jobs):
            tally.add(result)
            if tally.sampled == arguments.sample:
                break
    finally:
        # After an interrupt, too.
        tally.sum_up(library, arguments.seed)
    counts, sampled = tally.counts, tally.sampled
    if arguments.write_table:
        write_row(workshop.root, [library, str(arguments.seed), str(sampled), str(counts["caught"]),
                                  str(counts["argued"]), str(counts["survived"])])
    return sampled, counts["survived"]
