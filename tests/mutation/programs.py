# SPDX-License-Identifier: BSL-1.0
"""The test programs that a sampled mutant meets: one for each test file, at -O0, with one word.

CMake says how each file is compiled. A first build of the unchanged library finds out which statements
of the headers each program reaches: its headers are copies with a probe before each of them. The probe
counts in a mapped file, which keeps what was counted before an abort. The record of a
program is kept beside the build, until a file changes that the program includes.
"""

import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field

from operators import probes_of
from source import code_of, functions

# The folders of tests that a library's mutants meet.
PARTS = {"core": ("core", "dma", "death", "fuzz", "poison"), "dma": ("dma", "death", "examples"),
         "mq": ("mq", "death", "fuzz"), "nvme": ("nvme", "examples"), "sim": ("sim",)}
# Programs with a main function of their own, and what they are run with.
MAINS = {"adversary": ("--seeds", "20"), "message_adversary": ("--seeds", "20"),
         "mq_adversary": ("--seeds", "5")}
# Test cases that look at the whole program, whose files are compiled apart here.
OF_WHOLE_PROGRAMS = "Coverage.*"
# Mutants need no long run: the counts of the stress tests and random tests are divided by this.
SCALE = "0.1"
COMMON_HEADERS = (
    "gtest/gtest.h", "algorithm", "array", "atomic", "chrono", "condition_variable", "cstdint", "cstdio",
    "cstring", "expected", "functional", "memory", "mutex", "optional", "span", "string", "string_view",
    "thread", "utility", "vector")
PROBE = """\
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
inline unsigned* blkown_probes() {
  static unsigned* const counts = static_cast<unsigned*>(mmap(
      nullptr, %d, PROT_READ | PROT_WRITE, MAP_SHARED, open(getenv("BLKOWN_PROBES"), O_RDWR), 0));
  return counts;
}
constexpr void blkown_probe(unsigned number) noexcept {
  if (!__builtin_is_constant_evaluated()) ++blkown_probes()[number];
}
"""


class Trouble(Exception):
    """The unchanged tree cannot be built, or does not pass."""


@dataclass
class Program:
    name: str                     # of its test file, below tests/
    sources: dict                 # source file -> options of the compiler
    arguments: tuple = ("--gtest_fail_fast", "--gtest_brief=1", f"--gtest_filter=-{OF_WHOLE_PROGRAMS}")
    files: frozenset = frozenset()       # of the tree, that it includes
    reached: dict = field(default_factory=dict)   # "header:position" of a probe -> its share of all
    run_s: float = 0.0
    libraries: tuple = ()
    kills: int = field(default=0, compare=False)


def run(command, limit_s, output, **options):
    """The exit status, or None if the command did not end. Its output goes into the file `output`."""
    with open(output, "wb") as out:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True, **options)
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            # With the children of a death test.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def has_sanitizer(options):
    return any(option.startswith("-fsanitize") for option in options)


def text_of(path):
    return pathlib.Path(path).read_text(errors="replace")


class Workshop:
    """Builds and runs programs in a folder."""

    def __init__(self, root, folder, cxx):
        self.root = root
        self.folder = folder
        self.cxx = cxx
        self.is_clang = "clang" in pathlib.Path(cxx).name
        self.precompiled = []

    def programs(self, library):
        """Asks CMake how each test file of the library's parts is compiled."""
        build = self.folder / "cmake"
        log = self.folder / "cmake.log"
        parts = [part for part in PARTS[library] if (self.root / "tests" / part).is_dir()]
        status = run(["cmake", "--fresh", "-S", self.root, "-B", build, "-G", "Ninja",
                      f"-DCMAKE_CXX_COMPILER={self.cxx}", "-DCMAKE_CXX_FLAGS=", "-DCMAKE_BUILD_TYPE=",
                      "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DBLKOWN_TEST_UNITY=OFF",
                      "-DBLKOWN_TEST_WORDS=64", "-DBLKOWN_BUILD_BENCH=OFF",
                      f"-DBLKOWN_TEST_PARTS={';'.join(parts)}"], 300, log)
        if status != 0:
            raise Trouble(f"cmake fails:\n{text_of(log)[-3000:]}")
        targets = {}
        for entry in json.loads((build / "compile_commands.json").read_text()):
            words = shlex.split(entry["command"])
            target = re.search(r"([^/]+)\.dir/", words[words.index("-o") + 1])
            if target and entry["file"].startswith(str(self.root / "tests")):
                targets.setdefault(target[1], {})[entry["file"]] = self._options(words)
        found = {}
        for target, sources in targets.items():
            if target in MAINS:
                found[target] = Program(f"sim/{target}", sources, MAINS[target])
            others = {file: options for file, options in sources.items()
                      if not file.endswith("_test.cpp")}
            for file, options in sources.items():
                if file.endswith("_test.cpp"):
                    name = str(pathlib.Path(file).relative_to(self.root / "tests"))
                    found.setdefault((file, *options), Program(name, {file: options, **others}))
        # A file of several programs: the first has its name.
        seen = {}
        for program in found.values():
            seen[program.name] = seen.get(program.name, 0) + 1
            if seen[program.name] > 1:
                program.name += f" ({seen[program.name]})"
        return list(found.values())

    def _options(self, words):
        """The options without those for warnings, optimisation and output, and without the headers."""
        kept = []
        words = iter(words[1:])
        for word in words:
            if word in ("-o", "-c"):
                next(words)
            elif word in ("-isystem", "-I"):
                kept += [word, next(words)]
            elif not re.match(rf"-W|-O|-g|-[DU]NDEBUG|-fno-exceptions|-I{re.escape(str(self.root))}/include$", word):
                kept.append(word)
        return tuple(kept)

    def precompile(self):
        """Precompiles GoogleTest and the standard library, if a test includes GoogleTest."""
        header = self.folder / "common.hpp"
        header.write_text("".join(f"#include <{name}>\n" for name in COMMON_HEADERS))
        output = self.folder / ("common.pch" if self.is_clang else "common.hpp.gch")
        log = self.folder / "precompile.log"
        if run([self.cxx, "-std=c++23", "-O0", "-w", "-DGTEST_HAS_PTHREAD=1", "-x", "c++-header", header,
                "-o", output], 300, log) != 0:
            raise Trouble(f"GoogleTest does not compile:\n{text_of(log)[:3000]}")
        self.precompiled = ["-include-pch", output] if self.is_clang else ["-include", header]

    def compile(self, source, options, headers, output, log, limit_s=300, more=()):
        """True if the file compiles. `headers` stand before the headers of the tree."""
        before = [] if has_sanitizer(options) else list(self.precompiled)
        for folder in headers:
            before += ["-I", folder]
        return run([self.cxx, "-O0", "-w", *before, "-I", self.root / "include",
                    *options, "-O0", "-w", *more, "-c", source, "-o", output], limit_s, log) == 0

    def link(self, objects, libraries, output, log):
        linker = ["-fuse-ld=lld"] if shutil.which("ld.lld") else []
        return run([self.cxx, *linker, *objects, "-lgtest_main", "-lgtest", "-pthread", *libraries, "-o",
                    output], 120, log) == 0

    def execute(self, program, arguments, limit_s, log, libraries=(), **environment):
        # AddressSanitizer reserves terabytes of addresses.
        limits = ["prlimit", "--as=unlimited"] if has_sanitizer(libraries) else []
        return run([*limits, program, *arguments], limit_s, log, cwd=log.parent,
                   env={**os.environ, "BLKOWN_TEST_SCALE": SCALE, **environment})


class Probes:
    """Copies of the headers with probes: see probes_of."""

    def __init__(self, workshop):
        self.folder = workshop.folder / "probed"
        self.names = []
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in sorted((workshop.root / "include").rglob("*.hpp")):
            file = path.relative_to(workshop.root / "include")
            text = path.read_text()
            code = code_of(text)
            pieces, last = [], 0
            additions = []
            for place, end, is_braced in sorted({probe for _, begin, end in functions(code)
                                                 for probe in probes_of(code, begin, end)}):
                probe = f" ::blkown_probe({len(self.names)}u); "
                self.names.append(f"{file}:{place}")
                additions.append((place, "{" + probe if is_braced else probe))
                if is_braced:
                    additions.append((end, " }"))
            for place, addition in sorted(additions, key=lambda a: a[0]):
                pieces += [text[last:place], addition]
                last = place
            copy = self.folder / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text("".join(pieces) + text[last:])
        self.header = self.folder / "probe.h"
        self.header.write_text("#pragma once\n" + PROBE % self.size_bytes())


    def size_bytes(self):
        return 4 * max(1, len(self.names))


class Records:
    """What is known of each program, from this run or from an earlier one in the same folder."""

    def __init__(self, workshop):
        self.workshop = workshop
        self.folder = workshop.folder / "records"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.probes = None
        self.objects = workshop.folder / "objects"
        self.objects.mkdir(exist_ok=True)

    def digest(self, files, sources):
        what = repr((SCALE, PROBE, sorted(sources.items()))).replace(str(self.workshop.root), "")
        total = hashlib.sha256(what.replace(str(self.workshop.folder), "").encode())
        for file in sorted(files):
            path = self.workshop.root / file
            total.update(path.read_bytes() if path.exists() else b"-")
        return total.hexdigest()

    def path(self, program):
        return self.folder / (re.sub(r"\W", "_", program.name) + ".json")

    def recall(self, program):
        """True if the record of an earlier run still holds."""
        path = self.path(program)
        if not path.exists():
            return False
        record = json.loads(path.read_text())
        if record["digest"] != self.digest(record["files"], program.sources):
            return False
        self._take(program, record)
        return True

    @staticmethod
    def _take(program, record):
        program.files = frozenset(record["files"])
        program.reached = record["reached"]
        program.run_s = record["run_s"]
        program.libraries = tuple(record["libraries"])

    def make(self, program):
        """Builds and runs the program with probes."""
        shop = self.workshop
        place = shop.folder / "probing" / self.path(program).stem
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        files, objects, needs_uring = set(), [], False
        for number, (source, options) in enumerate(program.sources.items()):
            output, depends = place / f"{number}.o", place / f"{number}.d"
            log = place / "compile.log"
            if not shop.compile(source, options, [self.probes.folder], output, log,
                                more=["-include", self.probes.header, "-MD", "-MF", depends]):
                raise Trouble(f"{program.name} does not compile:\n{text_of(log)[:3000]}")
            objects.append(output)
            included = depends.read_text().replace("\\\n", " ").split()[1:]
            needs_uring |= any(name.endswith("/liburing.h") for name in included)
            files |= self._of_tree(included)
        libraries = ("-luring",) if needs_uring else ()
        if any(has_sanitizer(options) for options in program.sources.values()):
            libraries += ("-fsanitize=address",)
        binary, log = place / "program", place / "log"
        if not shop.link(objects, libraries, binary, log):
            raise Trouble(f"{program.name} does not link:\n{text_of(log)[:3000]}")
        counted = place / "counts"
        counted.write_bytes(bytes(self.probes.size_bytes()))
        start = time.monotonic()
        status = shop.execute(binary, program.arguments, 600, log, libraries,
                              BLKOWN_PROBES=str(counted))
        if status != 0:
            raise Trouble(f"{program.name} fails with the unchanged library:\n{text_of(log)[-3000:]}")
        counts = memoryview(counted.read_bytes()).cast("I")
        total = max(1, sum(counts))
        record = {"digest": self.digest(files, program.sources), "files": sorted(files),
                  "reached": {name: count / total for name, count in zip(self.probes.names, counts)
                              if count},
                  "run_s": time.monotonic() - start, "libraries": libraries}
        self.path(program).write_text(json.dumps(record))
        self._take(program, record)
        shutil.rmtree(place)

    def _of_tree(self, included):
        found = set()
        for name in included:
            path = pathlib.Path(os.path.normpath(name))
            if path.is_relative_to(self.probes.folder):
                path = self.workshop.root / "include" / path.relative_to(self.probes.folder)
            if path.is_relative_to(self.workshop.root) and path.name != "probe.h":
                found.add(str(path.relative_to(self.workshop.root)))
        return found
