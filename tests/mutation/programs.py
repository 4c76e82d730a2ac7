# SPDX-License-Identifier: BSL-1.0
"""The test programs that a sampled mutant meets, at -O0, with one word.

CMake says how each file is compiled. The files of a program with the same options are compiled as one.
A program of GoogleTest is shown to a mutant one test file at a time. CTest says how other programs are
run, and what a run that passes prints.
"""

import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field

# The folders of tests that a library's mutants meet.
PARTS = {"core": ("core", "dma", "death", "fuzz", "poison"), "dma": ("dma", "death", "examples"),
         "mq": ("mq", "death", "fuzz"), "nvme": ("nvme", "examples", "fuzz"),
         "sim": ("sim", "examples")}
# Test cases that look at the whole program, or at more than the seeds of a short run.
LEFT_OUT = "Coverage.*"
# Mutants need no long run: the counts of the stress tests and random tests are divided by this.
SCALE = "0.1"
# Runs of a program that CTest registers are left out if they have more seeds than this.
MOST_SEEDS = {"mq_adversary": 5}
MOST_SEEDS_OF_OTHERS = 20
COMMON_HEADERS = (
    "gtest/gtest.h", "algorithm", "array", "atomic", "chrono", "condition_variable", "cstdint", "cstdio",
    "cstring", "expected", "functional", "memory", "mutex", "optional", "span", "string", "string_view",
    "thread", "utility", "vector")


class Trouble(Exception):
    """The unchanged tree cannot be built, or does not pass."""


@dataclass
class Binary:
    name: str                     # its target
    sources: dict                 # source file -> options of the compiler
    runs: list                    # of CTest: (arguments, what a run that passes prints, or None)
    files: set = field(default_factory=set)    # of the tree, that it includes
    libraries: tuple = ()
    path: pathlib.Path | None = None

    def units(self, folder):
        """(file, options) of what is compiled: the sources with the same options are one file."""
        groups = {}
        for source, options in self.sources.items():
            groups.setdefault(options, []).append(source)
        for number, (options, sources) in enumerate(groups.items()):
            if len(sources) > 1:
                unit = folder / f"unit{number}.cpp"
                unit.write_text("".join(f'#include "{source}"\n' for source in sources))
                yield unit, options
            else:
                yield pathlib.Path(sources[0]), options

    def includes_any(self, root, headers):
        """Whether the sources include one of these files below include/, also through others."""
        places = [root / "include", root / "tests", root / "examples", root / "tests/compile_fail"]
        known, waiting = set(), [pathlib.Path(source) for source in self.sources]
        while waiting:
            file = waiting.pop()
            for name in re.findall(r'(?m)^ *# *include [<"]([^>"\n]+)', text_of(file)):
                found = next((place / name for place in (file.parent, *places) if (place / name).is_file()),
                             None)
                found = found and pathlib.Path(os.path.normpath(found))
                if found is not None and found not in known:
                    known.add(found)
                    waiting.append(found)
        return any(root / "include" / header in known for header in headers)

    def note_depends(self, depends, folder, root):
        """Takes over the files that the compiler has read. Those below `folder` are copies of headers."""
        included = depends.read_text().replace("\\\n", " ").split()[1:]
        libraries = set(self.libraries)
        if any(name.endswith("/liburing.h") for name in included):
            libraries.add("-luring")
        if any(has_sanitizer(options) for options in self.sources.values()):
            libraries.add("-fsanitize=address")
        self.libraries = tuple(sorted(libraries))
        for name in included:
            path = pathlib.Path(os.path.normpath(name))
            if path.is_relative_to(folder):
                path = root / "include" / path.relative_to(folder)
            if path.is_relative_to(root):
                self.files.add(str(path.relative_to(root)))


@dataclass
class Program:
    """One test file, or one run of a program without GoogleTest."""
    name: str                     # of the test file, below tests/
    binary: Binary
    sources: dict                 # source file -> options of the compiler
    arguments: tuple = ()
    prints: str | None = None     # what a run that passes prints; None: it exits with 0
    reached: dict = field(default_factory=dict)   # "header:position" of a probe -> its share of all
    cpu_s: float = 0.0
    wall_s: float = 0.0
    kills: int = field(default=0, compare=False)


@dataclass
class Done:
    """The end of a run."""
    status: int | None            # None: it hung
    cpu_s: float
    wall_s: float
    passed: bool = False
    why: str = ""


def run(command, limit_s, output, cpu_limit_s=None, **options):
    """Runs a command, whose output goes into the file `output`."""
    start = time.monotonic()
    with open(output, "wb") as out:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True, **options)
        if cpu_limit_s is not None:
            limit = max(1, round(cpu_limit_s))
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (limit, limit))
        pause_s = 0.002
        status = None
        while True:
            ended, code, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(code)
                break
            if time.monotonic() - start > limit_s:
                # With the children of a death test.
                os.killpg(process.pid, signal.SIGKILL)
                _, _, usage = os.wait4(process.pid, 0)
                break
            time.sleep(pause_s)
            pause_s = min(0.05, 1.2 * pause_s)
        process.returncode = 0
    if cpu_limit_s is not None and status in (-signal.SIGXCPU, -signal.SIGKILL):
        status = None
    return Done(status, usage.ru_utime + usage.ru_stime, time.monotonic() - start)


def has_sanitizer(options):
    return any(option.startswith("-fsanitize") for option in options)


def freed(binary):
    """The beginning of a command that runs the program: AddressSanitizer reserves terabytes of addresses."""
    return ["prlimit", "--as=unlimited"] if has_sanitizer(binary.libraries) else []


def text_of(path):
    return pathlib.Path(path).read_text(errors="replace")


class Workshop:
    """Builds and runs programs in a folder."""

    def __init__(self, root, folder, cxx, patience_s):
        self.root = root
        self.folder = folder
        self.cxx = cxx
        self.patience_s = patience_s
        self.is_clang = "clang" in pathlib.Path(cxx).name
        self.precompiled = []

    def binaries(self, library, headers, only):
        """Asks CMake for the test programs of the library's parts that include one of the headers.
        `only`: of these, those with a test file whose path contains one of these texts."""
        build = self.folder / "cmake"
        log = self.folder / "cmake.log"
        parts = [part for part in PARTS[library] if (self.root / "tests" / part).is_dir()]
        if run(["cmake", "--fresh", "-S", self.root, "-B", build, "-G", "Ninja",
                f"-DCMAKE_CXX_COMPILER={self.cxx}", "-DCMAKE_CXX_FLAGS=", "-DCMAKE_BUILD_TYPE=",
                "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DBLKOWN_TEST_UNITY=OFF",
                "-DBLKOWN_TEST_WORDS=64", "-DBLKOWN_BUILD_BENCH=OFF", "-DBLKOWN_TEST_LIBFUZZER=OFF",
                f"-DBLKOWN_TEST_PARTS={';'.join(parts)}"], 300, log).status != 0:
            raise Trouble(f"cmake fails:\n{text_of(log)[-3000:]}")
        targets, places = {}, {}
        for entry in json.loads((build / "compile_commands.json").read_text()):
            words = shlex.split(entry["command"])
            target = re.search(r"(.*?)CMakeFiles/([^/]+)\.dir/", words[words.index("-o") + 1])
            if target and entry["file"].startswith(str(self.root / "tests")):
                targets.setdefault(target[2], {})[entry["file"]] = self._options(words)
                places[target[2]] = build / target[1] / target[2]
        runs = self._runs_of_ctest(build, places)
        found = {}
        for target, sources in targets.items():
            chosen = [source for source in sources if any(text in source for text in only)]
            tests = [source for source in chosen if source.endswith("_test.cpp")]
            if only != [""]:
                sources = {source: options for source, options in sources.items()
                           if source in tests or not source.endswith("_test.cpp")}
            # Two programs of the same sources differ in what the mutants do not.
            if tests or (target in runs and chosen):
                found.setdefault(tuple(sorted(sources.items())), Binary(target, sources, runs.get(target, [])))
        return [binary for binary in found.values() if binary.includes_any(self.root, headers)]

    def _runs_of_ctest(self, build, places):
        """Target -> its runs, of the programs that CTest runs without GoogleTest."""
        for place in places.values():
            # CTest lists no command that does not exist.
            place.touch(0o755)
        listed = self.folder / "ctest.json"
        run(["ctest", "--test-dir", build, "--show-only=json-v1"], 60, listed)
        runs = {}
        text = text_of(listed)
        for test in json.loads(text[text.index("{"):])["tests"]:
            command = test.get("command", ())
            if not command or not command[0].startswith(str(build)):
                continue
            target = pathlib.PurePath(command[0]).name
            wanted = [p["value"] for p in test["properties"] if p["name"] == "PASS_REGULAR_EXPRESSION"]
            prints = "|".join(wanted[0]) if wanted else None
            arguments = list(command[1:])
            if "--driver" not in arguments and "--seeds" in arguments:
                arguments[arguments.index("--seeds") + 1] = str(MOST_SEEDS.get(target, MOST_SEEDS_OF_OTHERS))
                prints = None
            runs.setdefault(target, []).append((test["name"], tuple(arguments), prints))
        return runs

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

    def programs_of(self, binary, place):
        """What a mutant meets of a program that is built."""
        others = {file: options for file, options in binary.sources.items()
                  if not file.endswith("_test.cpp")}
        if not any("gtest/gtest.h" in text_of(source) for source in binary.sources):
            runs = [Program(name, binary, binary.sources, arguments, prints)
                    for name, arguments, prints in binary.runs]
            return runs or [Program(self._below_tests(next(iter(binary.sources))), binary, binary.sources)]
        listed, log = place / "cases.json", place / "log"
        done = run([*freed(binary), binary.path, "--gtest_list_tests", f"--gtest_output=json:{listed}"], 60, log)
        if done.status != 0:
            raise Trouble(f"{binary.name} does not list its tests:\n{text_of(log)[-3000:]}")
        cases = {}
        for suite in json.loads(listed.read_text())["testsuites"]:
            for case in suite["testsuite"]:
                file = os.path.normpath(case["file"])
                cases.setdefault(file, {}).setdefault(suite["name"], []).append(case["name"])
        found = []
        for file, suites in cases.items():
            if file not in binary.sources:
                file = next(source for source in binary.sources if source.endswith("_test.cpp"))
            names = [f"{suite}.*" if sum(suite in other for other in cases.values()) == 1
                     else f"{suite}.{case}" for suite, its_cases in suites.items() for case in its_cases]
            chosen = ":".join(dict.fromkeys(names))
            found.append(Program(self._below_tests(file), binary, {file: binary.sources[file], **others},
                                 ("--gtest_fail_fast", "--gtest_brief=1",
                                  f"--gtest_filter={chosen}:-{LEFT_OUT}")))
        return found

    def _below_tests(self, file):
        return str(pathlib.Path(file).relative_to(self.root / "tests"))

    def precompile(self):
        """Precompiles GoogleTest and the standard library, if a test includes GoogleTest."""
        header = self.folder / "common.hpp"
        header.write_text("".join(f"#include <{name}>\n" for name in COMMON_HEADERS))
        output = self.folder / ("common.pch" if self.is_clang else "common.hpp.gch")
        log = self.folder / "precompile.log"
        if run([self.cxx, "-std=c++23", "-O0", "-w", "-DGTEST_HAS_PTHREAD=1", "-x", "c++-header", header,
                "-o", output], 300, log).status != 0:
            raise Trouble(f"GoogleTest does not compile:\n{text_of(log)[:3000]}")
        self.precompiled = ["-include-pch", output] if self.is_clang else ["-include", header]

    def compile(self, source, options, headers, output, log, limit_s=900, more=()):
        """True if the file compiles. `headers` stand before the headers of the tree."""
        before = [] if has_sanitizer(options) else list(self.precompiled)
        for folder in headers:
            before += ["-I", folder]
        return run([self.cxx, "-O0", "-w", *before, "-I", self.root / "include",
                    *options, "-O0", "-w", *more, "-c", source, "-o", output], limit_s, log).status == 0

    def link(self, objects, libraries, output, log):
        linker = ["-fuse-ld=lld"] if shutil.which("ld.lld") else []
        return run([self.cxx, *linker, *objects, "-lgtest_main", "-lgtest", "-pthread", *libraries, "-o",
                    output], 120, log).status == 0

    def execute(self, program, place, log, binary=None, **environment):
        """The end of a run of the program. It hangs if it takes far longer than the unchanged code has."""
        known = program.wall_s > 0
        done = run([*freed(program.binary), binary or program.binary.path, *program.arguments],
                   5 * self.patience_s + 10 * program.wall_s if known else 600, log,
                   self.patience_s + 4 * program.cpu_s if known else None, cwd=place,
                   env={**os.environ, "BLKOWN_TEST_SCALE": SCALE, **environment})
        text = text_of(log)
        if done.status is None:
            done.why = "hangs"
        elif program.prints is not None:
            done.passed = re.search(program.prints, text, re.DOTALL) is not None
            done.why = "prints something else"
        elif done.status == 0:
            done.passed = True
        else:
            failed = re.search(r"^\[  FAILED  \] (\w[\w/]*\.[\w/]+)", text, re.MULTILINE)
            done.why = failed[1] if failed else f"exit status {done.status}"
        return done
