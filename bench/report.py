# SPDX-License-Identifier: BSL-1.0
"""Usage: report.py BUILD COMPILER...

Reads the results of each compiler from BUILD/COMPILER/*.json, prints the table of ratios and
targets, and writes the data of the plots to BUILD/plots/*.tsv.
"""

import json
import pathlib
import re
import statistics
import sys


class Results:
    """The results of one compiler: medians over the repetitions."""

    def __init__(self, folder):
        self.runs = {}
        for path in sorted(folder.glob("bench_*.json")):
            with path.open(encoding="utf-8") as file:
                self.add(json.load(file)["benchmarks"])

    def add(self, benchmarks):
        for run in benchmarks:
            if run.get("run_type") != "iteration":
                continue
            if run.get("error_occurred"):
                print(f"{run['run_name']}: {run['error_message']}", file=sys.stderr)
                continue
            self.runs.setdefault(run["run_name"], []).append(run)

    def median(self, name, field):
        values = [run[field] for run in self.runs.get(name, []) if field in run]
        return statistics.median(values) if values else None

    def time_ns(self, name):
        """Processor time of a benchmark with one pinned thread: other load disturbs it least."""
        return self.median(name, "cpu_time")

    def shared_ns(self, name, threads):
        """Wall-clock time per operation of any of several threads."""
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


def ratio(one, other):
    return None if not one or not other else one / other


class Row:
    """One line of the table: the text, the target, and the function that computes the number from
    Results. Without a target the line is a figure without a verdict."""

    def __init__(self, what, target, measure, at_least=False):
        self.what = what
        self.target = target
        self.measure = measure
        self.at_least = at_least

    def verdict(self, values):
        if any(value is None for value in values):
            return "not run"
        if self.target is None:
            return ""
        met = (value >= self.target if self.at_least else value <= self.target for value in values)
        return "pass" if all(met) else "short"

    def cells(self, results):
        values = [self.measure(result) for result in results]
        limit = "" if self.target is None else f"{'>=' if self.at_least else '<='} {self.target:g}"
        numbers = ["-" if value is None else f"{value:.2f}" for value in values]
        return [self.what, limit, *numbers, self.verdict(values)]


def cycle_row(cycle, baseline, target):
    return Row(f"{cycle} / {baseline.replace('_', ' ')}", target,
               lambda r: ratio(r.time_ns(f"{cycle}/library"), r.time_ns(f"{cycle}/{baseline}")))


def rows(threads):
    table = [cycle_row("simple", "bare", 1.10), cycle_row("simple", "kernel_scheme", 1.05),
             cycle_row("seed", "bare", 1.10), cycle_row("seed", "kernel_scheme", 0.95),
             cycle_row("pinned", "bare", 1.10), cycle_row("pinned", "kernel_scheme", 0.73)]
    for n in threads:
        table.append(Row(f"hot clone + drop / add + sub, {n} threads", 1.10,
                         lambda r, n=n: ratio(r.shared_ns("hot/clone_drop", n),
                                              r.shared_ns("hot/add_sub", n))))
    for n in (n for n in threads if n > 1):
        table.append(Row(f"distinct requests: throughput at {n} / {n} x one", 0.9,
                         lambda r, n=n: ratio(r.shared_ns("distinct/library", 1),
                                              n * (r.shared_ns("distinct/library", n) or 0)),
                         at_least=True))
    for n in threads:
        table.append(Row(f"times faster than mutex + map + shared_ptr, {n} threads",
                         2 if n == 1 else 8,
                         lambda r, n=n: ratio(r.shared_ns("distinct/mutex_map_shared_ptr", n),
                                              r.shared_ns("distinct/library", n)),
                         at_least=True))
    table.append(Row("cold batch: time saved by claim_each / by prefetching by hand", 0.8,
                     lambda r: r.median("batch/cold", "gain"), at_least=True))
    for way in ("claim", "claim_each", "bare", "prefetched"):
        table.append(Row(f"cold batch: {way}, nanoseconds", None,
                         lambda r, way=way: r.median("batch/cold", f"{way}_ns")))
    table.append(Row("io_uring NOP, batch 32: library / raw", 1.10,
                     lambda r: ratio(r.time_ns("uring_nop/library/32"),
                                     r.time_ns("uring_nop/raw/32"))))
    table.append(Row("io_uring NOP, batch 32: bare / raw", None,
                     lambda r: ratio(r.time_ns("uring_nop/bare/32"),
                                     r.time_ns("uring_nop/raw/32"))))
    for cycle, most in (("simple", 1), ("seed", 5), ("pinned", 3)):
        table.append(Row(f"{cycle}: read-modify-writes per I/O", most,
                         lambda r, cycle=cycle: rmws(r, f"{cycle}/library")))
    return table


def fio_ns(build):
    """Processor time per I/O of fio's null engine; none if fio did not run."""
    times = []
    for path in sorted(build.glob("fio_*.json")):
        with path.open(encoding="utf-8") as file:
            job = json.load(file)["jobs"][0]
        busy = (job["usr_cpu"] + job["sys_cpu"]) / 100
        times.append(job["job_runtime"] * 1e6 * busy / job["read"]["total_ios"])
    return statistics.median(times) if times else None


DEPTHS = (1, 8, 32, 256, 1024)
PIPELINES = (("ends_at_once", "ends at once"), ("completes_later", "completes later"),
             ("completes_elsewhere", "handed over"),
             ("device", "simulated device"))


def pipeline_rows(fio, threads):
    def times_fio(name):
        return lambda r: ratio(fio, r.per_io_ns(f"pipeline/{name}", 32))

    def flatness(name):
        def measure(results):
            times = [results.per_io_ns(f"pipeline/{name}", depth) for depth in DEPTHS]
            return None if None in times else max(times) / min(times)
        return measure

    def most_allocations(*names):
        def measure(results):
            counts = [results.median(f"pipeline/{name}/{depth}", "allocs_per_io")
                      for name in names for depth in DEPTHS]
            return None if None in counts else max(counts)
        return measure

    def scaling(name, n):
        return lambda r: ratio(r.shared_ns(f"queues/{name}", 1),
                               n * (r.shared_ns(f"queues/{name}", n) or 0))

    table = [Row("mq, ends at once: times fio's null engine", 3, times_fio("ends_at_once"),
                 at_least=True),
             Row("mq, completes later: times fio's null engine", 2, times_fio("completes_later"),
                 at_least=True),
             Row("mq, completes later: slowest / fastest depth, 1 to 1024", 1.20,
                 flatness("completes_later")),
             Row("mq, completes elsewhere: slowest / fastest depth", None,
                 flatness("completes_elsewhere")),
             Row("mq, completes elsewhere: times fio's null engine", None,
                 times_fio("completes_elsewhere")),
             Row("mq: allocations per I/O, any depth", 0,
                 most_allocations("ends_at_once", "completes_later", "completes_elsewhere")),
             Row("mq: bytes of a request without driver's data", None,
                 lambda r: r.median("pipeline/completes_later/32", "request_bytes")),
             Row("mq: bytes of a disk, one queue and one context", None,
                 lambda r: r.median("pipeline/completes_later/32", "disk_bytes")),
             Row("device: times mq, completes later; depth 32", None,
                 lambda r: ratio(r.per_io_ns("pipeline/device", 32),
                                 r.per_io_ns("pipeline/completes_later", 32))),
             Row("device: slowest / fastest depth, 1 to 1024", None, flatness("device")),
             Row("device: allocations per I/O, any depth", None, most_allocations("device"))]
    for name, what in (("completes_later", "mq, completes later"), ("device", "device")):
        # Two queues of the device on two threads have at least 1.5 times the throughput of one.
        table += [Row(f"{what}: throughput of {n} queues / {n} x one",
                      0.75 if (name, n) == ("device", 2) else None, scaling(name, n), at_least=True)
                  for n in threads if n > 1]
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
                                        ("batch", "completes_later", (32, 1024)))
             for depth in depths]
    return table + [Row(f"null_block, timer: nanoseconds per I/O; depth {depth}", None,
                        lambda r, depth=depth: r.per_io_ns("null_block/timer", depth))
                    for depth in (1, 32)]


def rmws(results, name):
    """Read-modify-writes per I/O, rounded: filling and emptying the stash adds a fraction."""
    counted = results.median(name, "rmws")
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

    scaling = (("distinct/library", "library"), ("distinct/words_on_own_lines", "words, own lines"),
               ("distinct/words_on_a_shared_line", "words, one line"),
               ("distinct/mutex_map_shared_ptr", "mutex + map + shared_ptr"))
    write_tsv(folder / "scaling.tsv", ("threads", *(label for _, label in scaling)),
              [(n, *(ratio(1000, result.shared_ns(name, n)) for name, _ in scaling))
               for n in threads])
    contention = (("hot/add_sub", "add + sub, by hand"), ("hot/clone_drop", "clone + drop"),
                  ("hot/lookup_drop", "lookup + drop"),
                  ("bitmap/nearly_empty", "tag, few taken"), ("bitmap/nearly_full", "tag, few free"))
    write_tsv(folder / "contention.tsv", ("threads", *(label for _, label in contention)),
              [(n, *(result.shared_ns(name, n) for name, _ in contention)) for n in threads])

    write_tsv(folder / "pipeline.tsv", ("depth", *(label for _, label in PIPELINES)),
              [(depth, *(result.per_io_ns(f"pipeline/{name}", depth) for name, _ in PIPELINES))
               for depth in DEPTHS])


def main(build, *compilers):
    build = pathlib.Path(build)
    results = [Results(build / compiler) for compiler in compilers]
    threads = sorted(set().union(*(result.threads() for result in results)))
    table = [row.cells(results) for row in rows(threads)
             + pipeline_rows(fio_ns(build), threads) + null_block_rows()]
    print_table([["", "target", *compilers, ""], *table])
    print_answer(results, compilers)
    write_plots(build / "plots", results[0], threads)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
