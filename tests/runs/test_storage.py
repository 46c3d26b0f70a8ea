"""Messages about folders of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidct.runs import CrossValidationResult
from covidct.runs.exported import read_export


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("runs", "'runs/a', 'runs/study/b'"),
        ("runs/study", "'runs/study/b'"),
        ("runs/a/run.json", "'runs/a'"),
        ("runs/a/folds/0/model.safetensors", "'runs/a'"),
        ("slices", ""),
        ("nowhere", ""),
    ],
)
def test_the_runs_near_a_wrong_path_are_named(
    given: str, near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("runs/a", "runs/study/b"):
        Path(run, "folds", "0").mkdir(parents=True)
        Path(run, "run.json").touch()
    Path("slices").mkdir()
    for read in (CrossValidationResult.load, read_export):
        with pytest.raises(FileNotFoundError) as caught:
            read(given)
        assert str(caught.value).partition("; runs near it: ")[2] == near
