"""The examples in docstrings and in the documentation do what they show."""

from __future__ import annotations

import doctest
import shutil
from importlib import import_module
from pathlib import Path

import joblib
import numpy as np
import pytest

import covidct
from covidct.datasets import registry as dataset_registry
from covidct.datasets.canvases import map_canvases
from covidct.models import registry as model_registry
from covidct.runs import fold as fold_module
from covidct.runs.storage import RunDirectory
from covidct.training.profile import Profile

REPOSITORY = Path(__file__).parents[1]
PACKAGE = Path(covidct.__file__).parent
MODULES = sorted(
    ".".join(("covidct", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "docs").rglob("*.rst")
    if ">>> " in path.read_text("utf-8")
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def a_fresh_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each page in an empty directory, and forget what it registers."""
    monkeypatch.chdir(tmp_path)
    for registry in (dataset_registry, model_registry):
        monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the folds that examples have trained."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(autouse=True)
def equal_folds_are_trained_once(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy a fold that another example has trained: most of them begin with the same run."""
    fit = fold_module._fit_and_score

    def fit_or_copy(
        job: fold_module.FoldJob, directory: RunDirectory, profile: Profile | None
    ) -> None:
        content = vars(job) | {"run_dir": None, "canvases": np.array(map_canvases(job.canvases))}
        folder, same = directory.fold(job.number), trained / joblib.hash(content)
        if same.exists() and profile is None:
            shutil.copytree(same, folder, dirs_exist_ok=True)
            return
        fit(job, directory, profile)
        shutil.copytree(folder, same, ignore=shutil.ignore_patterns(".lock"), dirs_exist_ok=True)

    monkeypatch.setattr(fold_module, "_fit_and_score", fit_or_copy)


def run(test: doctest.DocTest) -> None:
    report: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not failed, "".join(report)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(name)):
        if test.examples:
            run(test)


@pytest.mark.parametrize("page", PAGES)
def test_pages(page: str) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    run(doctest.DocTestParser().get_doctest(text, {}, page, page, 0))
