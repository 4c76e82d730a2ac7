# SPDX-License-Identifier: BSL-1.0
"""Usage: report.py BUILD COMPILER...

Reads the results of each compiler from BUILD/COMPILER/round_*/*.json and the machine from
BUILD/machine.txt, prints the machine and the table of ratios and targets, and writes the data of
the plots to BUILD/plots/*.tsv. A value of the table is the median over the rounds.
"""

import json
import pathlib
import re
import statistics
import sys


class Results:
    """The results of one compiler in some rounds: medians over the repetitions."""

    def __init__(self, folders, instructions, rmws):
        self.runs = {}
        self.errors = []
        self.instructions = instructions
        self.rmws = rmws
        self.fio = None
        self.beside_fio = None
        for path in (path for folder in folders for path in sorted(folder.glob("bench_*.json"))):
            # A program that counts takes longer than the one that it counts for.
            if path.name != "bench_counts.json":
                self.add(benchmarks_of(path))

    @classmethod
    def of_round(cls, folder, instructions, rmws):
        """The results of one round, with those beside fio."""
        made = cls([folder], instructions, rmws)
        if (folder / "fio.json").exists() and (folder / "beside_fio.json").exists():
            made.fio = fio_ns(folder / "fio.json")
            made.beside_fio = cls([], {}, {})
            made.beside_fio.add(benchmarks_of(folder / "beside_fio.json"))
            made.errors += made.beside_fio.errors
        return made

    def add(self, benchmarks):
        for run in benchmarks:
            if run.get("run_type") != "iteration":
                continue
            if run.get("error_occurred"):
                self.errors.append(f"{run['run_name']}: {run['error_message']}")
                continue
            self.runs.setdefault(run["run_name"], []).append(run)

    def values(self, name, field):
        return [run[field] for run in self.runs.get(name, []) if field in run]

    def median(self, name, field):
        values = self.values(name, field)
        return statistics.median(values) if values else None

    def time_ns(self, name):
        """Processor time of a benchmark with one pinned thread: other load disturbs it least."""
        return self.median(name, "cpu_time")

    def shared_ns(self, name, threads):
        """Wall-clock time per operation, whichever thread makes it: the inverse of the throughput of
        all threads."""
        return self.median(f"{name}/real_time/threads:{threads}",
                           "cpu_time" if threads == 1 else "real_time")

    def per_io_ns(self, name, depth):
        """Time per I/O: a round of the pipeline takes `depth` I/Os through the block layer."""
        round_ns = self.time_ns(f"{name}/{depth}")
        return None if round_ns is None else round_ns / depth

    def threads(self):
        """The numbers of threads of the runs."""
        found = (re.search(r"/threads:(\d+)$", name) for name in self.runs)
        return sorted({int(match[1]) for match in found if match})


class Rounds:
    """The results of one compiler: those of each round, and those of all."""

    def __init__(self, folder):
        instructions = {}
        for path in sorted(folder.glob("instructions_*.json")):
            instructions.update(json.loads(path.read_text(encoding="utf-8")))
        counted = Results([], {}, {})
        for path in sorted(folder.glob("round_*/bench_counts.json")):
            counted.add(benchmarks_of(path))
        rmws = {name: counted.median(name, "rmws") for name in counted.runs}
        folders = sorted(folder.glob("round_*"))
        self.each = [Results.of_round(folder, instructions, rmws) for folder in folders]
        self.all = Results(folders, instructions, rmws)
        # Each round repeats the errors of the one before.
        self.errors = list(dict.fromkeys(
            error for results in (counted, *self.each) for error in results.errors))


def benchmarks_of(path):
    with path.open(encoding="utf-8") as file:
        return json.load(file)["benchmarks"]


def ratio(one, other):
    return None if not one or not other else one / other


def product(one, other):
    return None if one is None or other is None else one * other


def difference(one, other):
    return None if one is None or other is None else one - other


class Row:
    """One line of the table: the text, the target, and the function that computes the number from
    the Results of a round. The value is the median over the rounds, with the least and the largest
    if they differ. Without a target the line is a figure without a verdict. `beside`: the function
    that returns a text to print behind the number from the Results of all rounds, or None.
    `of_extremes`: the number is the slowest by the fastest of several, which the noise of a single
    round only raises. It is computed from the medians over all rounds. `of_worst`: the number is a
    count, of which the largest of any round is the value."""

    def __init__(self, what, target, measure, at_least=False, beside=None, digits=2,
                 of_extremes=False, of_worst=False):
        self.what = what
        self.target = target
        self.measure = measure
        self.at_least = at_least
        self.beside = beside
        self.digits = digits
        self.of_extremes = of_extremes
        self.of_worst = of_worst

    def verdict(self, values):
        if any(value is None for value in values):
            return "not run"
        if self.target is None:
            return ""
        met = (value >= self.target if self.at_least else value <= self.target for value in values)
        return "pass" if all(met) else "short"

    def values(self, rounds):
        results = [rounds.all] if self.of_extremes else rounds.each
        measured = [self.measure(result) for result in results]
        return [value for value in measured if value is not None]

    def value(self, values):
        if not values:
            return None
        return max(values) if self.of_worst else statistics.median(values)

    def cell(self, rounds, values):
        if not values:
            return "-"
        shown = [f"{value:.{self.digits}f}"
                 for value in (self.value(values), min(values), max(values))]
        spread = "" if shown[1] == shown[2] else f" [{shown[1]} {shown[2]}]"
        beside = None if self.beside is None else self.beside(rounds.all)
        measured = sum(self.measure(result) is not None for result in rounds.each)
        missing = "" if measured == len(rounds.each) else f" {measured} of {len(rounds.each)} rounds"
        return shown[0] + spread + (f" ({beside})" if beside else "") + missing

    def cells(self, results):
        values = [self.values(rounds) for rounds in results]
        judged = [self.value(of_one) for of_one in values]
        limit = "" if self.target is None else f"{'>=' if self.at_least else '<='} {self.target:g}"
        cells = [self.cell(rounds, of_one) for rounds, of_one in zip(results, values)]
        return [self.what, limit, *cells, self.verdict(judged)]


def cycle_row(cycle, baseline, target):
    def instructions(results):
        counts = [results.instructions.get(f"{cycle}/{who}") for who in ("library", baseline)]
        return None if None in counts else f"{counts[0]}/{counts[1]} instructions"

    return Row(f"{cycle} / {baseline.replace('_', ' ')}", target,
               lambda r: ratio(r.time_ns(f"{cycle}/library"), r.time_ns(f"{cycle}/{baseline}")),
               beside=instructions)


def threads_of(n):
    return f"{n} thread" if n == 1 else f"{n} threads"


def contention_rows(threads):
    table = [Row(f"hot clone + drop / add + sub, {threads_of(n)}", 1.10,
                 lambda r, n=n: ratio(r.shared_ns("hot/clone_drop", n),
                                      r.shared_ns("hot/add_sub", n))) for n in threads]
    table += [Row(f"distinct requests: throughput at {n} / {n} x one", 0.9,
                  lambda r, n=n: ratio(r.shared_ns("distinct/library", 1),
                                       n * (r.shared_ns("distinct/library", n) or 0)),
                  at_least=True) for n in threads if n > 1]
    table += [Row(f"times faster than mutex + map + shared_ptr, {threads_of(n)}",
                  2 if n == 1 else 8,
                  lambda r, n=n: ratio(r.shared_ns("distinct/mutex_map_shared_ptr", n),
                                       r.shared_ns("distinct/library", n)),
                  at_least=True) for n in threads]
    return table


def uring_rows(batch):
    name = f"uring_nop/{batch}/iterations:256"

    def nanoseconds(results):
        times = [results.median(name, f"{form}_ns") for form in ("library", "bare")]
        return None if None in times else f"{times[0]:.0f}/{times[1]:.0f} ns"

    return [Row(f"io_uring NOP, batch {batch}: library / bare", 1.05,
                lambda r: r.median(name, "library_per_bare"), beside=nanoseconds),
            Row(f"io_uring NOP, batch {batch}: bare / raw", None,
                lambda r: r.median(name, "bare_per_raw"))]


def rows(threads):
    table = [cycle_row("simple", "bare", 1.10), cycle_row("simple", "kernel_scheme", 1.05),
             cycle_row("seed", "bare", 1.10), cycle_row("seed", "kernel_scheme", 0.95),
             cycle_row("pinned", "bare", 1.10), cycle_row("pinned", "kernel_scheme", 0.73)]
    table += contention_rows(threads)
    table.append(Row("cold batch: time saved by claim_each / by prefetching by hand", 0.8,
                     lambda r: r.median("batch/cold", "gain"), at_least=True))
    for way in ("claim", "claim_each", "bare", "prefetched"):
        table.append(Row(f"cold batch: {way}, nanoseconds", None,
                         lambda r, way=way: r.median("batch/cold", f"{way}_ns"), digits=1))
    table += uring_rows(32) + uring_rows(128)
    for cycle, most in (("simple", 1), ("seed", 5), ("pinned", 3)):
        table.append(Row(f"{cycle}: read-modify-writes per I/O", most,
                         lambda r, cycle=cycle: rmws(r, f"{cycle}/library")))
    return table


def fio_ns(path):
    """Processor time per I/O of fio's null engine."""
    with path.open(encoding="utf-8") as file:
        job = json.load(file)["jobs"][0]
    busy = (job["usr_cpu"] + job["sys_cpu"]) / 100
    return job["job_runtime"] * 1e6 * busy / job["read"]["total_ios"]


DEPTHS = (1, 8, 32, 256, 1024)
PIPELINES = (("ends_at_once", "ends at once"), ("completes_later", "completes later"),
             ("completes_elsewhere", "handed over"))


def instruction_rows():
    """The instructions of a bio. The targets are those of both compilers."""
    def count(name, depth):
        return lambda r: r.instructions.get(f"{name}/{depth}")

    def more(name, than, depth):
        return lambda r: difference(count(name, depth)(r), count(than, depth)(r))

    def flatness(name):
        def measure(results):
            counts = [count(name, depth)(results) for depth in DEPTHS[1:]]
            return None if None in counts else max(counts) / min(counts)
        return measure

    targets = (("ends_at_once", {32: 320}), ("completes_later", {1: 550, 32: 380, 1024: 440}))
    names = dict(PIPELINES)
    table = [Row(f"mq, {names[name]}, depth {depth}: instructions", target, count(name, depth),
                 digits=0)
             for name, at in targets for depth, target in at.items()]
    table += [Row(f"mq, handed over, depth {depth}: instructions more than completes later", 60,
                  more("completes_elsewhere", "completes_later", depth), digits=0)
              for depth in (1, 32, 1024)]
    table += [Row(f"mq, {label}: most / fewest instructions, depth 8 to 1024", 1.15, flatness(name))
              for name, label in PIPELINES]
    return table


def short_tags_rows():
    """64 bios with 4 tags beside 64 bios with 64, on contexts that share them."""
    def instructions(contexts):
        return lambda r: ratio(r.instructions.get(f"enough/{contexts}"),
                               r.instructions.get(f"short/{contexts}"))

    def throughput(contexts):
        return lambda r: ratio(r.time_ns(f"pipeline/tags_enough/{contexts}"),
                               r.time_ns(f"pipeline/tags_short/{contexts}"))

    table = []
    for contexts, text in ((1, "1 context"), (2, "2 contexts"), (16, "16 contexts")):
        table += [Row(f"mq, 4 tags for 64 bios, {text}: throughput / that with 64 tags", 0.5,
                      throughput(contexts), at_least=True),
                  Row(f"mq, 4 tags for 64 bios, {text}: instructions with 64 tags / with 4", 0.5,
                      instructions(contexts), at_least=True)]
    return table


def linear_rows(threads):
    """N contexts of one disk beside N processes with a disk each. In brackets the processes'
    throughput in units of N times that of one alone."""
    def beside(n):
        def text(results):
            processes = results.median(f"linear/{n}/iterations:1", "processes_per_alone")
            return None if processes is None else f"{processes:.2f}"
        return text

    return [Row(f"mq: {n} contexts on {n} queues / {n} processes of one each", 0.97,
                lambda r, n=n: r.median(f"linear/{n}/iterations:1", "threads_per_processes"),
                at_least=True, beside=beside(n)) for n in threads if n > 1]


def pipeline_rows(threads):
    def times_fio(name):
        return lambda r: None if r.beside_fio is None else ratio(
            r.fio, r.beside_fio.per_io_ns(f"pipeline/{name}", 32))

    def flatness(name, depths):
        def measure(results):
            times = [results.per_io_ns(f"pipeline/{name}", depth) for depth in depths]
            return None if None in times else max(times) / min(times)
        return measure

    def beside_32(name, depth):
        return lambda r: ratio(r.per_io_ns(f"pipeline/{name}", depth),
                               r.per_io_ns(f"pipeline/{name}", 32))

    def most_allocations(*names):
        def measure(results):
            counts = [results.values(f"pipeline/{name}/{depth}", "allocs_per_io")
                      for name in names for depth in DEPTHS]
            return max(map(max, counts)) if all(counts) else None
        return measure

    def scaling(name, n):
        return lambda r: ratio(r.shared_ns(f"queues/{name}", 1),
                               n * (r.shared_ns(f"queues/{name}", n) or 0))

    table = [Row(f"mq, {label}: times fio's null engine", target, times_fio(name), at_least=True,
                 beside=nanoseconds_at_32(name))
             for (name, label), target in zip(PIPELINES, (3, 2, None))]
    table += [Row(f"mq, {label}: slowest / fastest depth, 8 to 1024", 1.20,
                  flatness(name, DEPTHS[1:]), of_extremes=True) for name, label in PIPELINES]
    table += [Row(f"mq, {label}: depth 1 / depth 32", target, beside_32(name, 1))
              for (name, label), target in zip(PIPELINES, (1.53, 1.53, 2))]
    table += [Row(f"mq, {label}: 65,536 in flight / depth 32", 1.5, beside_32(name, 65536))
              for name, label in PIPELINES[1:]]
    table += instruction_rows()
    table += [Row("mq: allocations per I/O, any depth", 0,
                  most_allocations(*(name for name, _ in PIPELINES)), of_worst=True),
              Row("mq: bytes of a request without driver's data", None,
                  lambda r: r.median("pipeline/completes_later/32", "request_bytes"), digits=0),
              Row("mq: bytes of a disk, one queue and one context", None,
                  lambda r: r.median("pipeline/completes_later/32", "disk_bytes"), digits=0)]
    table += short_tags_rows() + linear_rows(threads)
    table += [Row("device: times mq, completes later; depth 32", None,
                  lambda r: ratio(r.per_io_ns("pipeline/device", 32),
                                  r.per_io_ns("pipeline/completes_later", 32))),
              Row("device: slowest / fastest depth, 1 to 1024", None, flatness("device", DEPTHS),
                  of_extremes=True),
              Row("device: allocations per I/O, any depth", None, most_allocations("device"),
                  of_worst=True)]
    # Two queues of the device on two threads have at least 1.5 times the throughput of one.
    table += [Row(f"device: throughput of {n} queues / {n} x one", 0.75 if n == 2 else None,
                  scaling("device", n), at_least=True) for n in threads if n > 1]
    return table


def null_block_rows():
    """The null block driver beside the shortest driver that completes in the same way."""
    def beside(way, other, depth):
        return lambda r: ratio(r.time_ns(f"null_block/{way}/{depth}"),
                               r.time_ns(f"null_block/{other}/{depth}"))

    table = [Row(f"null_block, {way} / {other.replace('_', ' ')}; depth {depth}", 1.10,
                 beside(way, other, depth))
             for way, other, depths in (("none", "ends_at_once", (1, 32, 1024)),
                                        ("softirq", "completes_later", (1, 32, 1024)),
                                        ("polled", "completes_later", (1, 32, 1024)),
                                        ("batch", "completes_later,listed", (32, 1024)))
             for depth in depths]
    return table + [Row(f"null_block, timer: nanoseconds per I/O; depth {depth}", None,
                        lambda r, depth=depth: r.per_io_ns("null_block/timer", depth))
                    for depth in (1, 32)]


def nanoseconds_at_32(name):
    def text(results):
        ns = results.per_io_ns(f"pipeline/{name}", 32)
        return None if ns is None else f"{ns:.0f} ns"
    return text


def rmws(results, name):
    """Read-modify-writes per I/O, rounded: filling and emptying the stash adds a fraction."""
    counted = results.rmws.get(name)
    return None if counted is None else float(f"{counted:.1f}")


def print_table(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def print_answer(results, compilers):
    """Prints the times of three fields relative to one word."""
    print("\nthree fields (state, references, mappings) / one word, nanoseconds:")
    for compiler, result in zip(compilers, results):
        for cycle in ("simple", "seed"):
            word = result.time_ns(f"{cycle}/bare")
            forms = [result.time_ns(f"{cycle}/three_fields_idle_{form}") for form in (0, 1)]
            if word is None or None in forms:
                continue
            shown = ", ".join(f"{ns / word:.2f} with {form} idle references"
                              for form, ns in enumerate(forms))
            print(f"  {cycle}, {compiler}: {shown}")


def write_tsv(path, header, lines):
    with path.open("w", encoding="utf-8") as file:
        for line in [header, *lines]:
            file.write("\t".join("nan" if cell is None else str(cell) for cell in line) + "\n")


def bars_of(groups):
    """Returns the lines of a picture with bars from the top down, and a gap behind each group."""
    lines = []
    at = 0
    for group in groups:
        for what, ns, is_library in group:
            if ns is not None:
                lines.append((at, what, f"{ns:.2f}", int(is_library)))
                at -= 1
        at -= 1
    return lines


def write_plots(folder, result, threads):
    folder.mkdir(parents=True, exist_ok=True)
    schemes = (("library", "library"), ("bare", "bare"), ("kernel_scheme", "kernel's scheme"),
               ("three_fields_idle_0", "three fields, 0 idle"),
               ("three_fields_idle_1", "three fields, 1 idle"))
    groups = [[(f"{cycle}: {label}", result.time_ns(f"{cycle}/{scheme}"), scheme == "library")
               for scheme, label in schemes] for cycle in ("simple", "seed", "pinned")]
    groups.append([("unique_ptr array", result.time_ns("simple/unique_ptr_array"), False),
                   ("intrusive_ptr array", result.time_ns("simple/intrusive_ptr_array"), False),
                   ("mutex + map + shared_ptr",
                    result.shared_ns("distinct/mutex_map_shared_ptr", 1), False)])
    write_tsv(folder / "cost.tsv", ("at", "what", "ns", "is_library"), bars_of(groups))

    write_points(folder / "scaling.tsv", threads,
                 (("distinct/library", "the library's requests"),
                  ("distinct/words_on_own_lines", "words on lines of their own"),
                  ("distinct/words_on_a_shared_line", "words on one line"),
                  ("distinct/mutex_map_shared_ptr", "mutex + map + shared_ptr")),
                 lambda name, n: ratio(result.shared_ns(name, 1), result.shared_ns(name, n)))
    # The time that an operation takes its thread.
    write_points(folder / "contention.tsv", threads,
                 (("hot/add_sub", "one word: add + sub, by hand"),
                  ("hot/clone_drop", "one request: clone + drop"),
                  ("hot/lookup_drop", "one request: lookup + drop"),
                  ("bitmap/nearly_empty", "one bitmap: a tag taken and given, few taken"),
                  ("bitmap/nearly_full", "one bitmap: a tag taken and given, few free")),
                 lambda name, n: product(n, result.shared_ns(name, n)))
    for unit, value in (("ns", lambda name, depth: result.per_io_ns(f"pipeline/{name}", depth)),
                        ("instructions",
                         lambda name, depth: result.instructions.get(f"{name}/{depth}"))):
        write_tsv(folder / f"pipeline_{unit}.tsv", ("depth", *(label for _, label in PIPELINES)),
                  [(depth, *(value(name, depth) for name, _ in PIPELINES)) for depth in DEPTHS])


def write_points(path, threads, what, value):
    """A line for each benchmark, from the top down, with a column for each number of threads."""
    write_tsv(path, ("at", "what", *(threads_of(n) for n in threads)),
              [(-at, label, *(value(name, n) for n in threads))
               for at, (name, label) in enumerate(what)])


def machine_of(build):
    """Returns the machine in a line, and the versions of the compilers."""
    path = build / "machine.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    facts = dict(line.strip().split(":", 1) for line in lines if re.match(r"\s*[A-Z]\S.*:", line))
    facts = {name: value.strip() for name, value in facts.items()}
    caches = [f"{level} {facts[f'{level} cache'].split(' (')[0]}"
              for level in ("L2", "L3") if f"{level} cache" in facts]
    machine = ", ".join([f"{facts.get('CPU(s)', '?')} x {facts.get('Model name', 'processor')}",
                         *caches])
    return machine, [line for line in lines if re.search(r"^(g\+\+|.*clang version)", line)]


def main(build, *compilers):
    build = pathlib.Path(build)
    results = [Rounds(build / compiler) for compiler in compilers]
    threads = sorted(set().union(*(rounds.all.threads() for rounds in results)))
    for compiler, rounds in zip(compilers, results):
        for error in rounds.errors:
            print(f"{compiler}: {error}", file=sys.stderr)
    machine, versions = machine_of(build)
    print("\n".join([machine, *versions]) + "\n")
    table = [row.cells(results) for row in rows(threads)
             + pipeline_rows(threads) + null_block_rows()]
    print_table([["", "target", *compilers, ""], *table])
    print_answer([rounds.all for rounds in results], compilers)
    write_plots(build / "plots", results[0].all, threads)
    (build / "plots" / "machine.txt").write_text(f"{machine}; {compilers[0]}", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
