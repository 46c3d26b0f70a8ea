"""What CTClassifier does whatever the network; a few small ones stand for all."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

import covidct
from covidct.models.preprocessing import Preprocessing

SIZE = (64, 96)


def create(name: str = "shufflenet") -> covidct.CTClassifier:
    torch.manual_seed(0)
    return covidct.create_model(name, weights=None, input_size=SIZE).eval()


def canvases(n: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 1, *SIZE), dtype=torch.uint8, generator=generator)


def settled(name: str) -> covidct.CTClassifier:
    """Create a network whose batch normalization knows canvases, so that its logits vary."""
    model = create(name)
    update_bn([canvases(8)], model)
    return model


# --- preprocessing ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shufflenet", "inception_v3", "xception"])
def test_channels_are_equal_before_the_normalization_of_the_weights(name: str) -> None:
    info = covidct.model_info(name)
    x = canvases()
    rgb = Preprocessing(info.mean, info.std)(x)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (info.mean, info.std))
    torch.testing.assert_close(rgb * std + mean, (x / 255).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@torch.inference_mode()
def test_uint8_and_floats_mean_the_same(dtype: torch.dtype) -> None:
    model = create()
    # Rounding to half precision moves a logit, but not far.
    torch.testing.assert_close(
        model((canvases() / 255).to(dtype)), model(canvases()), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(2, 3, *SIZE),
        torch.zeros(1, *SIZE),
        torch.zeros(2, *SIZE, 1),
        torch.full((1, 1, *SIZE), 255.0),
        torch.full((1, 1, *SIZE), -2.1),
        torch.full((1, 1, *SIZE), torch.nan),
    ],
    ids=["color", "no batch", "channels last", "0..255", "normalized", "NaN"],
)
def test_wrong_canvases_are_refused(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="canvases must be"):
        create()(wrong)


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(1, 1, *SIZE, dtype=torch.int64), np.zeros((1, 1, *SIZE), np.uint8)],
    ids=["int64", "array"],
)
def test_canvases_of_a_wrong_type_are_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="canvases must be a tensor, uint8 or floating point"):
        create()(wrong)


def test_interpolated_canvases_may_overshoot_a_little() -> None:
    assert create()(torch.full((1, 1, *SIZE), 1.004)).isfinite()


def test_an_empty_batch_gives_no_logit() -> None:
    assert create()(torch.zeros(0, 1, *SIZE)).shape == (0,)


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_a_canvas_has_pixels(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="input_size must be"):
        covidct.create_model("shufflenet", weights=None, input_size=size)


# --- probabilities of slices of any size ------------------------------------------------------


@pytest.fixture(scope="module")
def slices() -> list[Image.Image]:
    phantoms = covidct.load_dataset("phantom", n=3, seed=0)
    return [phantoms[i][0].resize((100 + i, 80)) for i in range(3)]


def test_probabilities_are_those_of_the_padded_canvases(slices: list[Image.Image]) -> None:
    model = settled("shufflenet").train()
    pad = covidct.AspectPreservingPad(SIZE)
    x = torch.stack([torch.from_numpy(np.array(pad(image))) for image in slices])[:, None]
    expected = torch.sigmoid(copy.deepcopy(model).eval()(x).detach().double()).numpy()
    assert model.training
    for images in (slices, iter(slices), [np.array(image) for image in slices], x, x.numpy()):
        found = model.predict_proba(images, batch_size=2)
        assert (found.dtype, found.shape) == (np.float64, (3,))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(x.squeeze(1) / 255), expected, atol=1e-6)
    for single in (slices[0], np.array(slices[0])):
        np.testing.assert_allclose(model.predict_proba(single), expected[:1], atol=1e-6)
    assert model.training


def test_floats_are_scaled_like_bytes(slices: list[Image.Image]) -> None:
    model = settled("shufflenet")
    floats = [np.asarray(image) / 255 for image in slices]
    np.testing.assert_allclose(model.predict_proba(floats), model.predict_proba(slices), atol=0.03)


def test_an_empty_batch_is_refused(slices: list[Image.Image]) -> None:
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        create().predict_proba(slices, batch_size=0)


def test_no_slice_gives_no_probability() -> None:
    assert create().predict_proba([]).shape == (0,)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("slice.png", TypeError, "got str; read files with"),
        (["slice.png"], TypeError, "got str; read files with"),
        (np.zeros((2, 5, 5), np.uint16), TypeError, r"uint8 or floating point.*torch\.uint16"),
        (np.zeros((5, 5, 3), np.uint8), ValueError, r"must be gray.*\(5, 5, 3\)"),
        (torch.zeros(2, 3, 5, 5), ValueError, r"must be gray.*\(3, 5, 5\)"),
        (torch.full((5, 5), 255.0), ValueError, r"must be in \[0, 1\]"),
        (Image.new("I;16", (5, 5)), ValueError, r"got mode 'I;16'; convert it with"),
        (Image.new("RGBA", (5, 5)), ValueError, r"got mode 'RGBA'; convert it with"),
    ],
)
def test_images_of_a_wrong_kind_are_refused(
    wrong: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create().predict_proba(wrong)


# --- Grad-CAM --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "densenet121"])
def test_hooking_the_cam_layer_gives_the_gradcam_of_the_head(name: str) -> None:
    model = settled(name)
    x = canvases() / 255
    maps = model.feature_maps(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.head(maps).sum(), maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
    found = LayerGradCam(model, model.get_submodule(model.cam_layer)).attribute(x)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected)


# --- one state, many ways to move it ---------------------------------------------------------


@pytest.mark.parametrize("how", ["state dict", "deepcopy", "pickle", "torch.save"])
@torch.inference_mode()
def test_a_copy_gives_the_same_logits(how: str) -> None:
    model = settled("shufflenet")
    if how == "state dict":
        twin = covidct.CTClassifier(model.info).eval()
        twin.load_state_dict(model.state_dict())
    elif how == "deepcopy":
        twin = copy.deepcopy(model)
    elif how == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        torch.save(model, file := io.BytesIO())
        twin = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    assert torch.equal(twin(canvases()), model(canvases()))
    assert twin.info == model.info


def test_files_hold_what_is_fitted_only() -> None:
    assert {name.partition(".")[0] for name in create().state_dict()} == {"backbone", "head"}


@torch.inference_mode()
def test_channels_last_changes_no_logit() -> None:
    model = settled("squeezenet")
    expected = model(canvases())
    model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        model(canvases().to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5
    )


@torch.inference_mode()
def test_compiles_to_one_graph() -> None:
    model = settled("squeezenet")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for x in (canvases(), canvases() / 255):
        torch.testing.assert_close(compiled(x), model(x))


@torch.inference_mode()
def test_half_precision_models_take_canvases() -> None:
    assert create().bfloat16()(canvases()).dtype == torch.bfloat16


def test_repr_names_the_network() -> None:
    assert "shufflenet, input_size=(64, 96)" in repr(create())


# --- feature extraction ----------------------------------------------------------------------


def test_a_frozen_backbone_never_changes() -> None:
    model = create().freeze_backbone().train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.1)
    model(canvases()).sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed == {"head.linear.weight", "head.linear.bias"}
    assert {p for p in model.parameters() if p.requires_grad} == set(model.head.parameters())


def test_a_thawed_backbone_learns_again() -> None:
    model = create().train().freeze_backbone().freeze_backbone(frozen=False)
    before = model.backbone.conv1[1].running_mean.clone()
    model(canvases()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert not torch.equal(model.backbone.conv1[1].running_mean, before)


def test_freezing_keeps_the_mode() -> None:
    assert not create().freeze_backbone().training
    frozen = create().train().freeze_backbone()
    assert (frozen.training, frozen.head.training, frozen.backbone.training) == (True, True, False)
    assert all(not module.training for module in frozen.eval().modules())


def test_a_network_without_the_layer_to_cut_at_is_refused() -> None:
    info = replace(covidct.model_info("resnet18"), cam_layer="layer5")
    with pytest.raises(ValueError, match=r"no child 'layer5'; set cam_layer to one of \['conv1'"):
        covidct.CTClassifier(info)


def test_a_dropout_of_the_source_is_kept() -> None:
    rates = {
        name: [m.p for m in create(name).head if isinstance(m, nn.Dropout)]
        for name in ("squeezenet", "shufflenet")
    }
    assert rates == {"squeezenet": [0.5], "shufflenet": [0.0]}


@pytest.mark.parametrize("size", [64, (64,), (0, 96), (64.5, 96), "64x96", (64, 96, 1)], ids=str)
def test_an_input_size_that_is_not_two_whole_numbers(size: object) -> None:
    with pytest.raises(ValueError, match=r"input_size must be \(height, width\)"):
        covidct.create_model("shufflenet", weights=None, input_size=size)


def test_an_input_size_from_an_array_is_plain() -> None:
    model = covidct.create_model("shufflenet", weights=None, input_size=np.array([64, 96]))
    assert model.input_size == (64, 96)
    assert all(type(side) is int for side in model.input_size)
