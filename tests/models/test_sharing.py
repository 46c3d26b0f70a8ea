from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import covidct
from covidct.errors import InvalidFileError, UnknownNameError
from covidct.models.sharing import ModelCard, read_card

CARD = {
    "resize": "stretch",
    "training_data": "phantoms, 24 slices",
    "protocol": "grouped by patient",
    "metrics": {"accuracy": [0.81, 0.03]},
}


@pytest.fixture
def model() -> covidct.CTClassifier:
    torch.manual_seed(0)
    return covidct.create_model("shufflenet", weights=None, input_size=(64, 96))


@pytest.fixture
def shared(model: covidct.CTClassifier, tmp_path: Path) -> Path:
    model.save(tmp_path / "shared", card=CARD)
    return tmp_path / "shared"


@torch.inference_mode()
def test_a_shared_model_scores_as_the_original(model: covidct.CTClassifier, shared: Path) -> None:
    twin = covidct.CTClassifier.load(shared)
    x = torch.randint(0, 256, (3, 1, 64, 96), dtype=torch.uint8)
    assert torch.equal(twin(x), model.eval()(x))
    assert not twin.training
    assert (twin.info.name, twin.input_size) == ("shufflenet", (64, 96))


def test_the_card_says_what_the_model_is(shared: Path) -> None:
    expected = ModelCard(model="shufflenet", input_size=(64, 96), **CARD)
    assert read_card(shared) == expected
    assert expected.covidct == covidct.__version__
    assert "not a medical device" in expected.intended_use
    assert sorted(path.name for path in shared.iterdir()) == ["card.json", "model.safetensors"]


def test_a_model_needs_no_card(model: covidct.CTClassifier, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert read_card(tmp_path) == ModelCard(model="shufflenet", input_size=(64, 96))


@pytest.mark.parametrize("field", ["metric", "model", "input_size", "covidct"])
def test_only_free_fields_can_be_given(
    model: covidct.CTClassifier, tmp_path: Path, field: str
) -> None:
    with pytest.raises(UnknownNameError, match=f"field of a model card '{field}'"):
        model.save(tmp_path, card={field: "x"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("card", "message"),
    [({"resize": "crop"}, "resize must be one of"), ({"metrics": {"auc": float("nan")}}, "JSON")],
)
def test_malformed_fields_are_refused(
    model: covidct.CTClassifier, tmp_path: Path, card: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path, card=card)


def edit(**changes: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text()) | changes
        kept = {key: value for key, value in card.items() if value is not None}
        (folder / "card.json").write_text(json.dumps(kept))

    return spoil


def cut(folder: Path) -> None:
    (folder / "card.json").write_text('{"model": "shufflenet"')


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1  # the last weight, hardly changed: shapes and finiteness are as they were
    (folder / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (cut, r"card\.json: not the card"),
        (edit(model="resnet1"), r"card\.json: .*unknown model 'resnet1'"),
        (edit(model=None), r"card\.json: .*'model'"),
        (edit(sha256=None), r"card\.json: .*'sha256'"),
        (edit(input_size=[64]), r"card\.json: .*input_size must be"),
        (edit(input_size=["64", "96"]), r"card\.json: .*input_size must be"),
        (edit(surprise=1), r"card\.json: .*'surprise'"),
        (flip_a_bit, r"model\.safetensors: not the file that card\.json describes"),
        (edit(model="squeezenet"), r"not weights of 'squeezenet'.*looks like 'shufflenet'"),
    ],
)
def test_a_spoilt_folder_is_refused(
    shared: Path, spoil: Callable[[Path], None], named: str
) -> None:
    spoil(shared)
    with pytest.raises(InvalidFileError, match=named):
        covidct.CTClassifier.load(shared)


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file(shared: Path, name: str) -> None:
    (shared / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        covidct.CTClassifier.load(shared)
