from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import update_bn

import covidct
from covidct.models import export
from covidct.models.catalogue import BUILT_IN

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

SIZE = (75, 96)  # the least that InceptionV3 takes, and more


def fitted(name: str) -> covidct.CTClassifier:
    """Create a network whose batch normalization knows canvases, so that its logits vary."""
    torch.manual_seed(0)
    model = covidct.create_model(name, weights=None, input_size=SIZE)
    update_bn([torch.from_numpy(canvases(8))], model)
    return model


def canvases(n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    # Of different brightness, so that even the average of a map differs from canvas to canvas.
    noise = rng.integers(0, 256, (n, 1, *SIZE)) * rng.uniform(0.2, 1, (n, 1, 1, 1))
    return noise.astype(np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(info.name, marks=() if info.name == "squeezenet" else pytest.mark.slow)
        for info in BUILT_IN
    ],
)
def test_onnx_runtime_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    model.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    model.eval()
    for n in (1, 5):
        (found,) = session.run(None, {"canvases": canvases(n)})
        with torch.inference_mode():
            expected = model(torch.from_numpy(canvases(n))).numpy()
        assert found.shape == (n,)
        assert np.all(np.abs(found - expected) <= 1e-3 * np.maximum(1, np.abs(expected)))
    assert np.ptp(expected) > 1e-3  # else a file that ignores its input would pass


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    model = fitted("squeezenet").freeze_backbone()
    modes = [module.training for module in model.modules()]
    model.export(tmp_path / "model.onnx", input_type="float32")
    assert [module.training for module in model.modules()] == modes
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape[1:]) == ("canvases", "tensor(float)", [1, *SIZE])
    assert given.name == "logits"
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["model"] == "squeezenet"
    assert json.loads(facts["input_size"]) == [*SIZE]
    assert json.loads(facts["classes"]) == ["non-COVID", "COVID"]
    assert (facts["input_type"], facts["covidct"]) == ("float32", covidct.__version__)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_disagrees_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_text("the last one that was right")
    monkeypatch.setattr(export, "_TOLERANCE", -1.0)
    with pytest.raises(
        RuntimeError, match=r"of squeezenet is wrong: its logits differ .* it was deleted"
    ):
        fitted("squeezenet").export(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == "the last one that was right"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="input_type must be one of 'uint8', 'float32', got 'int8'"
    ):
        fitted("squeezenet").export(tmp_path / "model.onnx", input_type="int8")


def test_without_the_extra_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str) -> None:
        raise ModuleNotFoundError(module, name=module)

    monkeypatch.setattr("covidct._extras.import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'covidct\[onnx\]'"):
        fitted("squeezenet").export(tmp_path / "model.onnx")
