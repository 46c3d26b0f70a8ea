"""Change the source one small step at a time and count the changes that no test notices.

Run the mutants of a package, or of one module, against the tests of that package; a second start
goes on where the first one ended. Without --run, only list the results:

    python tools/mutate.py --run training
    python tools/mutate.py --run evaluation/metrics.py
    python tools/mutate.py --run --again training
    python tools/mutate.py training
    python tools/mutate.py

mutmut does the work, each package or module in a copy of its own below .mutation/. This script
writes its configuration, sorts the tests by their duration, and sets the mutants aside that
tools/equivalent_mutants.toml lists with the reason why no test can notice them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".mutation"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")

# Modules of each package that results depend on; a package's tests are tests/<package>.
PACKAGES = {
    "audit": ["*"],
    "datasets": ["gray", "volumes", "geometry", "lung", "slices", "frames", "canvases"],
    "evaluation": ["*"],
    "explain": ["*"],
    "models": ["export"],
    "runs": [
        *("splits", "group_folds", "fold", "result", "scores", "fold_predictions", "decisions"),
        *("unit_predictions", "predictor", "predictions"),
    ],
    "training": ["*"],
    "transforms": [""],
}

# Lines on which nothing is changed: the words of errors, warnings and logs, and plots.
WORDS = [r"^\s*raise \w+", r"warnings\.warn\(", r"(?i:\b_?log(ger)?)\.\w+\(", r"\bcast\("]

# Options of pytest. Without the plugins that a mutant does not need, a session of one short test
# takes 0.05 s of CPU time instead of 0.3 s; most of it goes into collections of garbage.
PYTEST = ["-o", "addopts=--import-mode=importlib -m 'not slow'", "-p", "mutate"]
for plugin in ("anyio", "cacheprovider", "pytest_cov", "unraisableexception", "xdist"):
    PYTEST += ["-p", f"no:{plugin}"]

# Program that lets mutmut write the mutants and find the tests that call each function.
GENERATE = """
import mutmut.__main__ as mutmut

def stop(_):
    raise SystemExit(0)

mutmut._check_test_to_mutant_associations = stop
mutmut.cli()
"""

# Environment variable with the number of mutants at a time, for the session that runs them.
PROCESSES = "COVIDCT_MUTANTS_AT_A_TIME"

STATES = {0: "survived", 33: "untested", 5: "untested", None: "not run"}
TIMEOUTS = {24, -24, 36, 152, 255}


@dataclass(frozen=True)
class Unit:
    """A package, or one module of it, with the tests that have to notice its mutants."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    @classmethod
    def named(cls, name: str, tests: list[str] | None = None) -> Unit:
        package, _, module = name.removesuffix(".py").partition("/")
        if package not in PACKAGES:
            raise SystemExit(f"no package {package!r}; choose from {', '.join(PACKAGES)}")
        modules = [module] if module else PACKAGES[package]
        paths = [f"src/covidct/{package}/{stem}.py".replace("/.py", ".py") for stem in modules]
        for path in paths:
            if "*" not in path and not (ROOT / path).exists():
                raise SystemExit(f"no module {path}")
        return cls(f"{package}/{module}".rstrip("/"), tuple(paths), tuple(tests or ()))

    @property
    def folder(self) -> Path:
        return WORK / self.name.replace("/", ".")

    @property
    def chosen_tests(self) -> list[str]:
        """Tests given now, else those of the last run, else all tests of the package."""
        if self.tests:
            return list(self.tests)
        written = self.folder / "pyproject.toml"
        if written.exists():
            kept = tomllib.loads(written.read_text(encoding="utf-8"))["tool"]["mutmut"]
            return list(kept["pytest_add_cli_args_test_selection"])
        return [f"tests/{self.name.partition('/')[0]}"]

    def prepare(self, *, fork: bool = False) -> None:
        """Write the folder in which mutmut runs: the source, the tests and a configuration."""
        settings: dict[str, Any] = {
            "source_paths": ["src"],
            "only_mutate": list(self.modules),
            "do_not_mutate_patterns": WORDS,
            "pytest_add_cli_args_test_selection": self.chosen_tests,
            "pytest_add_cli_args": PYTEST,
            # By default, processes are forked from one that has run no test and has no threads.
            "process_isolation": "fork" if fork else "forkserver",
            "timeout_multiplier": 3.0,
            "timeout_constant": 30.0,
            "use_git_change_detection": False,
        }
        # Python looks a folder of PYTHONPATH up once, as it starts: it has to exist by then.
        (self.folder / "mutants/src").mkdir(parents=True, exist_ok=True)
        tests = self.folder / "tests"
        if not tests.is_symlink():
            tests.symlink_to(ROOT / "tests")
        if (self.folder / "src").is_symlink():  # never write through a link into the checkout
            (self.folder / "src").unlink()
        for source in sorted((ROOT / "src").rglob("*")):
            copy = self.folder / source.relative_to(ROOT)
            if source.suffix == ".py" and any(fnmatch(copy_name(source), m) for m in self.modules):
                text = undecorated(source.read_text(encoding="utf-8"))
                write_with_time(copy, text, source.stat().st_mtime)
            elif source.is_file() and "__pycache__" not in source.parts:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        text = project + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n"
        (self.folder / "pyproject.toml").write_text(text, encoding="utf-8")

    def run(self, processes: int, *, fork: bool = False) -> int:
        self.prepare(fork=fork)
        paths = [str(self.folder / "mutants/src"), str(Path(__file__).parent)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        program = GENERATE if fork else "from mutmut.__main__ import cli; cli()"
        command = [sys.executable, "-c", program, "run", "--max-children", str(processes)]
        code = subprocess.run(command, cwd=self.folder, env=environment, check=False).returncode
        if code or not fork:
            return code
        environment[PROCESSES] = str(processes)
        command = [
            sys.executable,
            "-m",
            "pytest",
            *PYTEST,
            "-q",
            "--assert=plain",
            *self.chosen_tests,
        ]
        folder = self.folder / "mutants"
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode

    def forget_survivors(self) -> None:
        """Mark the mutants that no test noticed as not run, except for equivalent ones."""
        states = ("survived", "untested")
        again = {mutant.name for mutant in judged(self) if mutant.state in states}
        for meta in (self.folder / "mutants").glob("src/**/*.py.meta"):
            data = json.loads(meta.read_text(encoding="utf-8"))
            codes = data["exit_code_by_key"]
            for name, code in codes.items():
                codes[name] = None if name in again else code
            meta.write_text(json.dumps(data, indent=4), encoding="utf-8")

    def results(self) -> Iterator[tuple[Path, str, int | None]]:
        """Yield the module, the name and the exit code of each mutant."""
        source = self.folder / "mutants"
        for meta in sorted(source.glob("src/**/*.py.meta")):
            path = meta.relative_to(source).with_suffix("")
            codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
            yield from ((path, name, code) for name, code in codes.items())


def copy_name(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


def write_with_time(path: Path, text: str, seconds: float) -> None:
    """Write a file with the time of its source, which mutmut compares with its mutants."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (seconds, seconds))


def undecorated(source: str) -> str:
    """Apply the decorators of functions by assignments, since mutmut passes decorated ones over.

    ``@property`` above ``def size(self)`` becomes ``size = property(size)`` below it.
    """
    lines = source.splitlines()
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    ]
    for function in sorted(functions, key=lambda node: -node.lineno):
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        if any(
            re.fullmatch(r"staticmethod|classmethod|overload|.*\.setter", d) for d in decorators
        ):
            continue
        wrapped = function.name
        for decorator in reversed(decorators):
            wrapped = f"{decorator}({wrapped})"
        first = function.decorator_list[0].lineno - 1
        end = function.end_lineno or len(lines)
        lines.insert(end, f"{' ' * function.col_offset}{function.name} = {wrapped}")
        del lines[first : function.lineno - 1]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Mutant:
    name: str
    state: str
    removed: str = ""
    added: str = ""

    @property
    def function(self) -> str:
        """Dotted name of the function or method, as in ``covidct.training.lamb.Lamb.step``."""
        return re.sub(r"\.x_|\.xǁ|ǁ", ".", self.name.partition("__mutmut_")[0])


def judged(unit: Unit) -> Iterator[Mutant]:
    """Yield all mutants of a unit with their state; survivors with the line that was changed."""
    rules = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["mutant"]
    for path, name, code in unit.results():
        state = "timeout" if code in TIMEOUTS else STATES.get(code, "killed")
        mutant = Mutant(name, state)
        if state in ("survived", "untested"):
            removed, added = changed_lines(unit, path, name)
            mutant = Mutant(name, state, removed, added)
            if any(matches(rule, mutant) for rule in rules):
                mutant = Mutant(name, "equivalent", removed, added)
        yield mutant


def changed_lines(unit: Unit, path: Path, name: str) -> tuple[str, str]:
    """Return the lines that a mutant removes and those that it adds."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    os.chdir(unit.folder)
    lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
    parts = [" ".join(line[1:].strip() for line in lines if line[0:1] == sign) for sign in "-+"]
    return parts[0], parts[1]


def matches(rule: dict[str, str], mutant: Mutant) -> bool:
    """Return True if the rule names this change: by its lines, or by a pattern of both."""
    if not mutant.function.endswith(rule.get("function", "")):
        return False
    if "pattern" in rule:
        return re.search(rule["pattern"], f"{mutant.removed} -> {mutant.added}") is not None
    return mutant.removed == rule["before"] and mutant.added in rule["after"]


def report(units: list[Unit], *, survivors: bool) -> None:
    """Print one line per module, and the survivors."""
    columns = ("mutants", "killed", "timeout", "equivalent", "survived", "untested", "not run")
    print(f"{'module':44}" + "".join(f"{column:>11}" for column in columns) + "   noticed")
    for unit in units:
        found = list(judged(unit))
        tables: dict[str, Counter[str]] = {}
        for mutant in found:
            module = re.split(r"\.x[_ǁ]", mutant.name)[0].removeprefix("covidct.")
            tables.setdefault(module, Counter())[mutant.state] += 1
        if len(tables) > 1:
            tables[unit.name] = sum(tables.values(), Counter())
        for module, states in tables.items():
            counts = states | {"mutants": states.total()}
            noticed = states["killed"] + states["timeout"]
            judged_ones = states.total() - states["equivalent"] - states["not run"]
            share = f"{noticed / judged_ones:10.1%}" if judged_ones else ""
            print(f"{module:44}" + "".join(f"{counts.get(c, 0):11}" for c in columns) + share)
        if survivors:
            for mutant in found:
                if mutant.state in ("survived", "untested"):
                    print(f"\n{mutant.name}: {mutant.state}")
                    print(f"  - {mutant.removed}\n  + {mutant.added}")


# From here on a plugin of pytest, which runs in the folder of the mutants.

IMPORTED = Path("imported.json")


def pytest_configure(config: Any) -> None:
    """Draw the same examples for each mutant, and fewer of them; make short work of the start."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation",
        max_examples=25,
        derandomize=True,
        database=None,
        deadline=None,
        # A busy machine is slow, and the tests of a class run more than once in a process.
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    settings.load_profile("mutation")
    # Files are collected once and their tests chosen afterwards: pytest looks for each test of a
    # list by itself. A folder of its own saves looking through those of earlier sessions.
    config.chosen_tests = {name for name in config.args if "::" in name}
    config.args = list(dict.fromkeys(name.partition("::")[0] for name in config.args))
    config.option.basetemp = tempfile.mkdtemp(prefix="mutant-")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Sort the tests by the duration that mutmut measured: most mutants fall to a short one."""
    if config.chosen_tests:
        items[:] = [item for item in items if item.nodeid in config.chosen_tests]
    measured = Path("mutmut-stats.json")
    if measured.exists():
        durations = json.loads(measured.read_text(encoding="utf-8"))["duration_by_test"]
        items.sort(key=lambda item: durations.get(item.nodeid, 0.0))
    if (config.option.collectonly or PROCESSES in os.environ) and IMPORTED.exists():
        # In the process that the others are forked from: what tests import as they run, such as
        # the second of parts of PyTorch that an optimizer needs, is imported once for all of them.
        for name in json.loads(IMPORTED.read_text(encoding="utf-8")):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def pytest_sessionfinish(session: Any) -> None:
    """List the modules of libraries that the first run of all tests has imported."""
    shutil.rmtree(session.config.option.basetemp, ignore_errors=True)
    if not session.config.option.collectonly and not IMPORTED.exists():
        names = [
            name
            for name, module in list(sys.modules.items())
            if "site-packages" in str(getattr(module, "__file__", None))
        ]
        IMPORTED.write_text(json.dumps(names), encoding="utf-8")


def pytest_runtestloop(session: Any) -> bool | None:
    """Run every mutant in a process of its own, forked once the tests are collected.

    A session of pytest for each mutant would collect the tests again, which takes ten times as long
    as the short test that most mutants fall to.
    """
    if session.config.option.collectonly or PROCESSES not in os.environ:
        return None
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("stopped", returncode=1))
    metas = [Meta(path) for path in sorted(Path("src").glob("**/*.py.meta"))]
    # Made before the forks, each of which would empty a folder that another one uses. pytest offers
    # no public way to it here.
    session.config._tmp_path_factory.getbasetemp()
    try:
        run_mutants(session.items, metas, int(os.environ[PROCESSES]))
    finally:
        for meta in metas:
            meta.write()
    return True


def run_mutants(tests: list[Any], metas: list[Meta], processes: int) -> None:
    """Run the mutants that have no result yet, a few at a time."""
    from setproctitle import setproctitle

    stats = json.loads(Path("mutmut-stats.json").read_text(encoding="utf-8"))
    durations, covering = stats["duration_by_test"], stats["tests_by_mangled_function_name"]
    running: dict[int, tuple[Meta, str]] = {}

    def wait() -> None:
        pid, status = os.wait()
        meta, name = running.pop(pid)
        meta.codes[name] = os.waitstatus_to_exitcode(status)

    check_tests(tests, sum(durations.values()))
    waiting = [(meta, name) for meta in metas for name in meta.codes if meta.codes[name] is None]
    setproctitle(f"mutmut: {len(waiting)} mutants")
    for number, (meta, name) in enumerate(waiting):
        if number % 20 == 0:
            print(f"{number} of {len(waiting)} mutants", flush=True)
            meta.write()
        chosen = set(covering.get(name.partition("__mutmut_")[0], ()))
        items = [item for item in tests if item.nodeid in chosen]
        if not items:
            meta.codes[name] = 33
            continue
        if len(running) == processes:
            wait()
        pid = os.fork()
        if not pid:
            run_mutant(name, items, sum(durations.get(item.nodeid, 0.0) for item in items))
        running[pid] = meta, name
    while running:
        wait()


def check_tests(tests: list[Any], seconds: float) -> None:
    """Check that the tests pass without a change, and fail if every function raises an error."""
    for name, expected in (("", 0), ("fail", 1)):
        pid = os.fork()
        if not pid:
            run_mutant(name, tests, seconds)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != expected:
            pytest.exit("the tests fail without a change, or call no function of the module", 1)


class Meta:
    """File of mutmut with the exit codes of the mutants of a module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = json.loads(path.read_text(encoding="utf-8"))
        self.codes: dict[str, int | None] = self.content["exit_code_by_key"]

    def write(self) -> None:
        self.path.write_text(json.dumps(self.content, indent=4), encoding="utf-8")


def run_mutant(name: str, items: list[Any], seconds: float) -> NoReturn:
    """Run tests until one fails; end this process with 0 if none does."""
    from mutmut.mutation.trampoline import set_mutant_under_test
    from setproctitle import setproctitle

    setproctitle(f"mutmut: {name}")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    limit = int(5 * seconds) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    set_mutant_under_test(name)
    code = 3  # of an error within pytest, such as an exit in a test
    try:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        code = int(items[0].session.testsfailed > 0)
    finally:
        os._exit(code)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: Any, call: Any) -> None:
    """End the process of a mutant at its first failure, before the failure is described."""
    expected = (pytest.skip.Exception, pytest.xfail.Exception)
    if PROCESSES not in os.environ or not call.excinfo or item.get_closest_marker("xfail"):
        return
    if not isinstance(call.excinfo.value, expected):
        os._exit(1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("unit", nargs="?", help="package, or package/module.py (default: all)")
    parser.add_argument("--run", action="store_true", help="run the mutants not run yet")
    parser.add_argument(
        "--again", action="store_true", help="with --run: repeat survivors, after writing tests"
    )
    parser.add_argument(
        "--fork",
        action="store_true",
        help="fork from a session that has collected the tests: several times as fast",
    )
    parser.add_argument(
        "--tests", nargs="+", metavar="PATH", help="tests to run (default: all of the package)"
    )
    parser.add_argument(
        "--deselect", nargs="+", default=[], metavar="TEST", help="with --tests: tests to leave out"
    )
    parser.add_argument("--processes", type=int, default=1, help="mutants at a time (default: 1)")
    options = parser.parse_args()
    if options.run and not options.unit:
        parser.error("--run needs the name of a package")
    if options.deselect and not options.tests:
        parser.error("--deselect needs --tests")
    if options.unit:
        left_out = [f"--deselect={test}" for test in options.deselect]
        unit = Unit.named(options.unit, [*(options.tests or ()), *left_out])
        if options.again:
            unit.forget_survivors()
        code = unit.run(options.processes, fork=options.fork) if options.run else 0
        report([unit], survivors=True)
        return code
    names = [folder.name.replace(".", "/", 1) for folder in sorted(WORK.glob("*"))]
    report([Unit.named(name) for name in names], survivors=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
