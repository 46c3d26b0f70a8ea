"""A run's files and weights from a stranger or an editor: refused by name, or what they were."""

from __future__ import annotations

import copy
import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import covidct
from covidct.errors import InvalidFileError
from covidct.models.weights import read_state, save_state
from covidct.runs.storage import RunDirectory
from covidct.training.checkpoint import CheckpointStore

# What nobody wrote: other kinds, impossible numbers, and nothing at all.
NONSENSE = (None, "x", -1, 3.5, 10**30, [], {}, True, [[1]], float("nan"), ...)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where things stand in JSON; of a list the first two entries."""
    if path:
        yield path
    keys = value if isinstance(value, dict) else range(len(value)) if type(value) is list else ()
    for key in list(keys)[: None if isinstance(value, dict) else 2]:
        yield from places(value[key], (*path, key))


def with_nonsense(spec: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(spec)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return changed


@pytest.fixture(scope="module")
def finished(undisturbed_run: Path, tmp_path_factory) -> Path:
    run_dir = shutil.copytree(undisturbed_run, tmp_path_factory.mktemp("strangers") / "run")
    RunDirectory(run_dir).unseal()  # else every change is noticed by its checksum
    return run_dir


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_nonsense_anywhere_in_run_json(run_dir):
    """Each value of it replaced by each nonsense: one error that names a file, or the same run."""
    path = run_dir / "run.json"
    spec = json.loads(path.read_text())
    table = covidct.CrossValidationResult.load(run_dir).table().rows
    refused = tries = 0
    for place in places(spec):
        for value in NONSENSE:
            path.write_text(json.dumps(with_nonsense(spec, place, value)))
            tries += 1
            try:
                result = covidct.CrossValidationResult.load(run_dir)
            except InvalidFileError as error:
                refused += 1
                assert str(run_dir) in str(error)  # noqa: PT017  # only if it is refused
            else:
                assert result.table().rows == table, (place, value)
                assert str(result)
                assert result.to_dict()
    assert tries > 600
    assert refused > tries / 2


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("folds",), 1, "'folds' is 1, but the folder has more folds"),
        (("dataset", "classes"), ["a", "a"], "must be two different names"),
        (("protocol", "id"), "pape", "unknown protocol id 'pape'"),
        (("dataset", "slices"), ..., "'dataset.slices' is missing"),
        (("recipe", "canvas"), [60000, 60000], "'recipe': canvas must be .* at most 4096 pixels"),
        (("recipe", "epochs"), "10", "'recipe': epochs must be an integer of at least 1, got '10'"),
        (("format",), 3, "has format 3, this version of covidct reads format 2; run the"),
    ],
)
def test_the_message_says_what_is_wrong(run_dir, place, value, message):
    path = run_dir / "run.json"
    path.write_text(json.dumps(with_nonsense(json.loads(path.read_text()), place, value)))
    with pytest.raises(InvalidFileError, match=message) as caught:
        covidct.Predictor.from_run(run_dir)
    assert repr(str(path)) in str(caught.value)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000, "\ufeff{}", "", "\x00"])
def test_json_that_no_parser_likes(run_dir, text):
    (run_dir / "run.json").write_text(text)
    with pytest.raises(InvalidFileError, match=r"run\.json' cannot be read as JSON"):
        covidct.CrossValidationResult.load(run_dir)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("target", "2"), ("fold", "1"), ("probability", "nan"), ("probability", "1.5")),
        *(("probability", "-0.1"), ("logit", "inf"), ("index", "23"), ("target", "")),
    ],
)
def test_predictions_that_cannot_be(run_dir, column, value):
    path = run_dir / "folds/0/predictions.csv"
    header, *rows = path.read_text().splitlines()
    cells = rows[3].split(",")
    cells[header.split(",").index(column)] = value
    rows[3] = ",".join(cells)
    path.write_text("\n".join([header, *rows]))
    with pytest.raises(InvalidFileError, match=r"predictions\.csv' was damaged or edited"):
        covidct.CrossValidationResult.load(run_dir)


@pytest.mark.parametrize("number", [75, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_random_byte_of_a_run_changed(run_dir, number):
    """Any of its files: refused by name, or read to numbers that can be."""
    rng = random.Random(number)
    files = [p for p in sorted(run_dir.rglob("*")) if p.suffix in (".json", ".csv", ".safetensors")]
    for _ in range(number):
        path = rng.choice(files)
        whole = path.read_bytes()
        data, at = bytearray(whole), rng.randrange(min(len(whole), 4000))
        if rng.random() < 0.3:
            del data[at:]
        else:
            data[at] = rng.randrange(256)
        path.write_bytes(data)
        try:
            result = covidct.CrossValidationResult.load(run_dir)
            result.history(0)
            covidct.Predictor.from_run(run_dir)
            assert 0 <= result.summary()["accuracy"][0] <= 1
        except (InvalidFileError, covidct.errors.UnknownNameError) as error:
            assert str(run_dir) in str(error) or "unknown model" in str(error)  # noqa: PT017  # only if it is refused
        path.write_bytes(whole)


def _tensors() -> dict[str, tuple[object, str]]:
    return {
        "a view of a million million": (torch.ones(1).expand(10**12), "has more values"),
        "sparse": (torch.ones(3).to_sparse(), "not a dense tensor"),
        "without values": (torch.ones(3, device="meta"), "not a dense tensor"),
        "complex": (torch.ones(3, dtype=torch.complex64), "not a dense tensor"),
    }


@pytest.mark.parametrize("kind", sorted(_tensors()))
def test_tensors_that_are_no_weights(kind, tmp_path):
    value, message = _tensors()[kind]
    torch.save({"weight": value}, tmp_path / "odd.pth")
    with pytest.raises(InvalidFileError, match=rf"odd\.pth: 'weight' .*{message}"):
        read_state(tmp_path / "odd.pth")


def test_names_that_are_numbers(tmp_path):
    torch.save({5: torch.ones(3)}, tmp_path / "numbers.pth")
    with pytest.raises(InvalidFileError, match=r"numbers\.pth: not a state dict"):
        read_state(tmp_path / "numbers.pth")


def test_weights_that_grow_when_they_are_read(tmp_path):
    torch.save({"weight": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain:
        members = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in members.items():
            bomb.writestr(name, content)
    with pytest.raises(InvalidFileError, match=r"bomb\.pth: .*is compressed, 4,\d+,\d+ bytes"):
        read_state(tmp_path / "bomb.pth")


@pytest.mark.parametrize("classes", [2, 1000])
def test_a_head_of_other_classes_is_said(classes, tiny, tmp_path, caplog):
    """In a fitted model it is refused; in weights of the source it is left out, and told."""
    model = covidct.create_model(tiny, weights=None)
    features = model.info.feature_dim
    model.head.linear = torch.nn.Linear(features, classes)
    save_state(model, tmp_path / "fitted.safetensors")
    with pytest.raises(InvalidFileError, match=rf"linear\.weight' is \({classes}, {features}\)"):
        covidct.create_model(tiny, weights=tmp_path / "fitted.safetensors")
    source = {**model.backbone.state_dict(), "fc.weight": torch.zeros(classes, features)}
    torch.save(source, tmp_path / "source.pth")
    with caplog.at_level("INFO", logger="covidct"):
        covidct.create_model(tiny, weights=tmp_path / "source.pth")
    assert "source.pth: its classifier is not used; the head is new" in caplog.text


@pytest.mark.parametrize(
    "state",
    [{"epoch": 1}, {"model": {}, "optimizer": {}, "history": []}, {"model": 5}, [1]],
    ids=str,
)
def test_a_checkpoint_of_another_training_is_named(tiny, tmp_path, state):
    CheckpointStore(tmp_path).save(state)
    model = covidct.create_model(tiny, weights=None)
    trainer = covidct.Trainer(
        model, covidct.Recipe.demo().scaled(1), device="cpu", checkpoint_dir=tmp_path
    )
    with pytest.raises(
        InvalidFileError, match=r"checkpoint\.pt' is not a checkpoint of this training"
    ):
        trainer.fit(np.zeros((4, 40, 56), np.uint8), np.array([0, 1, 0, 1]))
