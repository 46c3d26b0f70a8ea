import json

import numpy as np
import pytest
import torch

import covidct
from covidct.models import CovidOutput, LabelOutputs, Outputs

LABELS = LabelOutputs(("CAP", "COVID-19", "mild COVID-19", "normal"), ("COVID-19", "mild COVID-19"))


@pytest.fixture(scope="module")
def model(tiny):
    torch.manual_seed(0)
    return covidct.create_model(tiny, weights=None, input_size=(64, 96), outputs=LABELS).eval()


def test_the_covid_logit_is_the_log_odds_of_the_summed_probabilities():
    outputs = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    covid = outputs.softmax(1)[:, [1, 2]].sum(1)
    torch.testing.assert_close(LABELS.covid_logit(outputs), covid.logit())
    torch.testing.assert_close(LABELS.log_odds(outputs, "non-covid"), -covid.logit())
    cap = outputs.softmax(1)[:, 0]
    torch.testing.assert_close(LABELS.log_odds(outputs, "CAP"), cap.logit())


def test_the_covid_logit_stays_finite_where_probabilities_round_to_one():
    outputs = torch.tensor([[0.0, 300.0, 0.0, 0.0], [300.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([300 - np.log(2), np.log(2) - 300], dtype=torch.float32)
    torch.testing.assert_close(LABELS.covid_logit(outputs), expected)


def test_gradients_of_the_covid_logit_by_hand():
    outputs = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(LABELS.covid_logit(outputs).sum(), outputs)
    chances = outputs.detach().softmax(1)
    covid = chances[:, [1, 2]].sum(1, keepdim=True)
    # d/dz_k of the log odds is p_k / p(COVID-19) for its labels, else -p_k / (1 - p(COVID-19)).
    positive = torch.tensor([False, True, True, False])
    torch.testing.assert_close(found, torch.where(positive, chances / covid, chances / (covid - 1)))


def test_one_logit_is_the_covid_logit():
    outputs = torch.randn(5)
    assert CovidOutput().covid_logit(outputs) is outputs
    assert torch.equal(CovidOutput().log_odds(outputs, "non-covid"), -outputs)
    assert CovidOutput().probabilities(outputs) == {}


@pytest.mark.parametrize("outputs", [CovidOutput(), LABELS])
def test_values_survive_json(outputs):
    assert Outputs.from_dict(json.loads(json.dumps(outputs.to_dict()))) == outputs


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "lung", "classes": ["a", "b"], "positive": ["a"]}, "lung"),
        ({"target": "label", "classes": ["a", "a"], "positive": ["a"]}, "distinct, non-empty"),
        ({"target": "label", "classes": ["a", "b"], "positive": []}, "at least one"),
        ({"target": "label", "classes": ["a", "b"], "positive": ["a", "b"]}, "not all"),
        ({"target": "label", "classes": "ab", "positive": ["a"]}, "classes must be names"),
        ({"target": "label", "classes": ["a", "b"]}, "positive"),
    ],
)
def test_invalid_values_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Outputs.from_dict(values)


def test_labels_of_slices():
    labels, targets = np.array(["CAP", "COVID", "CAP", "normal"]), np.array([0, 1, 0, 0])
    outputs = LabelOutputs.of(labels, targets)
    assert (outputs.classes, outputs.positive) == (("CAP", "COVID", "normal"), ("COVID",))
    assert outputs.encode(labels, targets).tolist() == [0, 1, 0, 2]
    with pytest.raises(ValueError, match="'CAP' has slices of both targets"):
        LabelOutputs.of(labels, np.array([1, 1, 0, 0]))
    with pytest.raises(ValueError, match="1 of 4 slices have none"):
        LabelOutputs.of(np.array(["CAP", "COVID", "", "normal"]), targets)
    with pytest.raises(covidct.errors.UnknownNameError, match="flu"):
        outputs.encode(np.array(["flu"]), np.array([0]))


def test_a_model_of_labels(model):
    canvases = torch.randint(0, 256, (3, 1, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        outputs = model(canvases)
    assert outputs.shape == (3, 4)
    assert model.classes == LABELS.classes
    expected = model.covid_logit(outputs).sigmoid().numpy()
    np.testing.assert_allclose(model.predict_proba(canvases), expected, rtol=1e-5)


def test_a_shared_model_keeps_its_labels(model, tmp_path):
    model.save(tmp_path)
    loaded = covidct.CTClassifier.load(tmp_path)
    assert loaded.outputs == LABELS
    canvases = torch.zeros(1, 1, 64, 96)
    assert torch.equal(loaded(canvases), model(canvases))


def test_onnx_has_the_covid_logit_and_the_labels(model, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    model.export(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    assert [output.name for output in session.get_outputs()] == ["logits", "labels"]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(LABELS.classes)
    assert json.loads(metadata["positive"]) == list(LABELS.positive)
    canvases = np.full((2, 1, 64, 96), 90, np.uint8)
    logits, labels = session.run(None, {"canvases": canvases})
    found = LABELS.covid_logit(torch.from_numpy(labels)).numpy()
    np.testing.assert_allclose(logits, found, rtol=1e-3, atol=1e-3)
