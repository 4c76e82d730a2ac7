# SPDX-License-Identifier: BSL-1.0
"""Samples mutants by operators and shows them to the test programs of the tree."""

import collections
import concurrent.futures
import difflib
import hashlib
import itertools
import json
import pathlib
import re
import shutil
import threading
from dataclasses import dataclass

from joined import Joined
from operators import OPERATORS, enums_of, mutants_of
from programs import PARTS, Trouble, text_of

LIBRARIES = tuple(PARTS)
README = "tests/README.md"
SURVIVORS = ("<!-- survivors: argued by hand -->", "<!-- end of survivors -->")
# A mutant that is argued to be equivalent meets so many test files.
FEW = 3
# A mutant that needs builds of its own meets so many test files.
APART = 2
TABLE = ("<!-- sampled: written by tests/mutation/run --write-table -->", "<!-- end of sampled -->")


def library_of(file):
    """The library of a header below include/."""
    folders = pathlib.PurePath(file).parts[1:-1]
    return folders[0] if folders and folders[0] in LIBRARIES else "core"


def library_mutants(root, library, only):
    """The library's mutants whose 'file: name' contains this, of each operator."""
    include = root / "include"
    texts = {str(path.relative_to(include)): path.read_text()
             for path in sorted(include.rglob("*.hpp"))}
    enums = enums_of(texts.values())
    of_operator = {operator: [] for operator in OPERATORS}
    for file, text in texts.items():
        if library_of(file) == library:
            for mutant in mutants_of(file, text, enums):
                if only in f"{file}: {mutant.name}":
                    of_operator[mutant.operator].append(mutant)
    return of_operator


def in_turn(of_operator, seed):
    """The mutants in the order in which a seed tries them: the operators take turns.

    A mutant's rank is a hash of what it is called. A change of a header replaces the mutants of the lines
    that it changes, and leaves the others of a sample where they are.
    """
    def rank(mutant):
        return hashlib.sha256(f"{seed} {mutant.file}: {mutant.name}".encode()).digest()

    queues = [collections.deque(sorted(mutants, key=rank)) for mutants in of_operator.values()]
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

    def __init__(self, workshop, library, mutants, arguments, report):
        """Builds the test programs with these mutants."""
        self.workshop = workshop
        self.most = arguments.most
        self.lock = threading.Lock()
        binaries = workshop.binaries(library, {mutant.file for mutant in mutants}, arguments.tests or [""])
        if not binaries:
            raise Trouble(f"no test file of {library}'s parts has one of {arguments.tests} in its path")
        if any("gtest/gtest.h" in text_of(source) for binary in binaries for source in binary.sources):
            workshop.precompile()
        report(f"building {len(binaries)} test programs with {len(mutants)} mutants")
        self.joined = Joined(workshop, enumerate(mutants, 1))
        self.programs = self.joined.build(binaries, arguments.jobs)
        report(f"  {len(self.joined.discarded)} mutants do not compile; {len(self.programs)} test files take "
               f"{sum(program.cpu_s for program in self.programs):.0f} s")
        self.numbers = {key_of(mutant): number for number, mutant in enumerate(mutants, 1)}

    def candidates(self, mutant):
        """The programs that can notice the change, the likeliest first."""
        including = [p for p in self.programs if "include/" + mutant.file in p.binary.files]
        probe = f"{mutant.file}:{mutant.probe}"
        header = pathlib.PurePath(mutant.file)
        stem = header.stem
        own_tests = (f"{stem}_test", f"{header.parent.name}_{stem}_test")

        # The test of a statement spends more of its time on it than others do.
        def likelihood(program):
            name = program.name.rpartition("/")[2]
            return (probe not in program.reached, not name.startswith(own_tests), program.cpu_s > 10,
                    -program.reached.get(probe, 0), -program.kills)

        with self.lock:
            including.sort(key=likelihood)
        reaching = [program for program in including if probe in program.reached]
        # What is only computed at compile time reaches no probe.
        if mutant.constant:
            related = [program for program in including if stem in program.name]
            reaching += [p for p in related or including[:0 if reaching else APART]
                         if p not in reaching]
        return reaching[:self.most]

    def attempt(self, mutant, is_argued):
        number = self.numbers.get(key_of(mutant))
        place = self.workshop.folder / f"mutant{threading.get_ident()}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            if number in self.joined.discarded:
                return Result(mutant, "discarded")
            programs = self.candidates(mutant)
            if number is not None and number not in self.joined.left_out:
                for program in programs[:FEW] if is_argued else programs:
                    done = self.workshop.execute(program, place, place / "log", BLKOWN_MUTANT=str(number))
                    if not done.passed:
                        return self._caught(mutant, program, done.why)
                # It may take effect at compile time only.
                if not mutant.constant or is_argued:
                    return survival(mutant, programs)
            stem = pathlib.PurePath(mutant.file).stem
            return self._attempt_apart(place, mutant,
                                       [program for program in programs if stem in program.name][:APART]
                                       or programs[:APART])
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _attempt_apart(self, place, mutant, programs):
        """The result in builds that contain no other mutant."""
        overlay = place / "include"
        changed = overlay / mutant.file
        changed.parent.mkdir(parents=True)
        changed.write_text(mutant.text)
        if not programs and not self.workshop.compile(
                changed, ("-std=c++23", "-x", "c++"), [overlay], "/dev/null", place / "log",
                more=["-fsyntax-only"]):
            return Result(mutant, "discarded")
        for program in programs:
            why = self._meets(program, place, overlay, place / "log")
            if why == "does not compile":
                return Result(mutant, "discarded")
            if why is not None:
                return self._caught(mutant, program, why)
        return survival(mutant, programs)

    def _caught(self, mutant, program, why):
        with self.lock:
            program.kills += 1
        return Result(mutant, "caught", f"{program.name} ({why})")

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
        if not self.workshop.link(objects, program.binary.libraries, place / "program", log):
            return "does not compile"
        done = self.workshop.execute(program, place, log, place / "program")
        return None if done.passed else done.why


def key_of(mutant):
    return mutant.file, mutant.name


def survival(mutant, programs):
    return Result(mutant, "survived", f"{len(programs)} test files pass" if programs else "no test reaches it")


def difference(root, mutant):
    """The change, as a diff without its head."""
    old = (root / "include" / mutant.file).read_text().splitlines()
    lines = difflib.unified_diff(old, mutant.text.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def results_of(trial, mutants, argued, jobs):
    """The results in the order of the mutants. A slow one lets a few dozen others go on."""
    source = iter(mutants)
    pool = concurrent.futures.ThreadPoolExecutor(jobs)

    def submitted(count):
        return [pool.submit(trial.attempt, mutant, entry_of(mutant) in argued)
                for mutant in itertools.islice(source, count)]

    try:
        waiting = collections.deque(submitted(20 * jobs))
        while waiting:
            yield waiting.popleft().result()
            waiting += submitted(1)
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


class Earlier:
    """Results that a file keeps from run to run: of the mutants that were caught or do not compile."""

    def __init__(self, path, mutants):
        self.path = path and pathlib.Path(path)
        self.known = {}    # key of a mutant -> its result
        if self.path is None or not self.path.exists():
            return
        of_key = {key_of(mutant): mutant for mutant in mutants}
        for line in self.path.read_text().splitlines():
            file, name, outcome, by = json.loads(line)
            if (file, name) in of_key:
                self.known[file, name] = Result(of_key[file, name], outcome, by)

    def add(self, result):
        key = key_of(result.mutant)
        if self.path is not None and result.outcome != "survived" and key not in self.known:
            with self.path.open("a") as file:
                file.write(json.dumps([*key, result.outcome, result.by]) + "\n")
        self.known[key] = result


def entry_of(mutant):
    """As a row of the README names it."""
    return mutant.file.removeprefix("blkown/"), mutant.name


class Tally:
    """Counts the results of a seed, and prints those that no other seed has printed."""

    def __init__(self, root, argued, earlier, report):
        self.root = root
        self.argued = argued
        self.earlier = earlier
        self.report = report
        self.counts = collections.Counter()
        self.sampled = 0
        self.survivors = []

    def add(self, result):
        mutant = result.mutant
        place = f"include/{mutant.file}:{mutant.line}: {mutant.name}"
        outcome = result.outcome
        if outcome == "survived" and entry_of(mutant) in self.argued:
            outcome = "argued"
        self.counts[outcome] += 1
        is_new = key_of(mutant) not in self.earlier.known
        self.earlier.add(result)
        if outcome == "discarded":
            return
        self.sampled += 1
        if outcome == "survived":
            self.survivors.append(place)
        if not is_new:
            return
        if outcome == "caught":
            self.report(f"{place}: caught by {result.by}")
        elif outcome == "argued":
            self.report(f"{place}: survives, argued in {README}")
        else:
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
    """Returns the number of mutants sampled and the number neither caught nor argued, of all seeds."""
    library = arguments.library
    of_operator = library_mutants(workshop.root, library, arguments.only)
    orders = {seed: in_turn(of_operator, seed) for seed in arguments.seed}
    if not any(of_operator.values()):
        raise Trouble(f"no mutant's 'file: name' contains '{arguments.only}' in {library}")
    if arguments.list:
        for seed, order in orders.items():
            for mutant in order:
                report(f"include/{mutant.file}:{mutant.line}: {mutant.name}")
        return None
    earlier = Earlier(arguments.results, [mutant for mutants in of_operator.values() for mutant in mutants])
    joined = {}
    for order in orders.values():
        # Some mutants do not compile, and have to be replaced.
        left = arguments.sample * 4 // 3 + 4
        for mutant in order:
            before = earlier.known.get(key_of(mutant))
            if before is None:
                joined[key_of(mutant)] = mutant
            left -= before is None or before.outcome != "discarded"
            if left == 0:
                break
    trial = Trial(workshop, library, list(joined.values()), arguments, report) if joined else None
    argued = argued_survivors(workshop.root)
    total = survived = 0
    for seed, order in orders.items():
        tally = Tally(workshop.root, argued, earlier, report)
        mutants = [mutant for mutant in order if key_of(mutant) not in earlier.known]
        results = results_of(trial, mutants, argued, arguments.jobs)
        try:
            for mutant in order:
                tally.add(earlier.known.get(key_of(mutant)) or next(results))
                if tally.sampled == arguments.sample:
                    break
        finally:
            # After an interrupt, too.
            results.close()
            tally.sum_up(library, seed)
        counts = tally.counts
        if arguments.write_table:
            write_row(workshop.root, [library, str(seed), str(tally.sampled), str(counts["caught"]),
                                      str(counts["argued"]), str(counts["survived"])])
        total += tally.sampled
        survived += counts["survived"]
    return total, survived
