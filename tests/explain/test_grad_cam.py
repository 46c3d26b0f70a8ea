from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

import covidct
from covidct.explain import GradCAM
from covidct.explain.grad_cam import _is_scaled

RAW = {"relu": False, "normalize": False, "upsample": False}


@pytest.fixture
def image() -> Tensor:
    return torch.arange(1.0, 17.0).view(1, 1, 4, 4)


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Tensor:
        return self.function(maps)


# The block sums of the image are 14 22 / 46 54, the first pixels 1 3 / 9 11. The head pools and
# weighs them by 1 and -6, so that alpha = 1/4 and -6/4.
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[2, 1], [-2, -3]]),
        ({"target": "non-covid"}, [[-2, -1], [2, 3]]),
        ({"relu": True}, [[2, 1], [0, 0]]),
        ({"relu": True, "target": "non-covid"}, [[0, 0], [2, 3]]),
        ({"relu": True, "normalize": True}, [[1, 0.5], [0, 0]]),
        ({"normalize": True}, [[2 / 3, 1 / 3], [-2 / 3, -1]]),
    ],
)
def test_hand_computed_maps(
    blocks: nn.Module, image: Tensor, options: dict[str, object], expected: list[list[float]]
) -> None:
    cams = [GradCAM(blocks, **RAW | options), GradCAM(blocks, layer="features", **RAW | options)]
    for cam in cams:
        maps, logits = cam.explain(image)
        torch.testing.assert_close(maps, torch.tensor([expected], dtype=torch.float32))
        torch.testing.assert_close(logits, torch.tensor([-2.0]))  # 34 - 6 * 6


def test_gradients_are_averaged_over_the_map(blocks: nn.Module, image: Tensor) -> None:
    blocks.head = Lambda(lambda maps: maps.square().sum(dim=(1, 2, 3)))
    # alpha is twice the mean of each map: 68 and 12.
    expected = torch.tensor([[[964.0, 1532], [3236, 3804]]])
    torch.testing.assert_close(GradCAM(blocks, **RAW)(image), expected)


def test_maps_are_brought_to_the_canvas_bilinearly(blocks: nn.Module, image: Tensor) -> None:
    maps = GradCAM(blocks, relu=False, normalize=False)(image)
    # Centers of the cells lie at 0.5 and 2.5: a quarter and three quarters in between.
    first_row = torch.tensor([2, 0.75 * 2 + 0.25 * 1, 0.25 * 2 + 0.75 * 1, 1])
    assert maps.shape == (1, 4, 4)
    torch.testing.assert_close(maps[0, 0], first_row)


@pytest.mark.parametrize("name", covidct.list_models())
def test_equals_captum(name: str) -> None:
    torch.manual_seed(0)
    model = covidct.create_model(name, weights=None).eval()
    x = torch.randint(0, 256, (2, 1, 128, 160), dtype=torch.uint8)
    layer = model.get_submodule(model.cam_layer)
    reference = LayerGradCam(model, layer).attribute(x)[:, 0].detach()
    span = reference.amax(dim=(1, 2)) - reference.amin(dim=(1, 2))
    assert (span > 0).all()
    for cam in (GradCAM(model, **RAW), GradCAM(model, layer=layer, **RAW)):
        difference = (cam(x) - reference).abs().amax(dim=(1, 2))
        assert (difference <= 1e-4 * span).all()
    assert not layer._forward_hooks


def test_default_maps_lie_in_0_to_1_and_reach_1(blocks: nn.Module) -> None:
    x = torch.rand(5, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    maps = GradCAM(blocks)(x)
    assert maps.shape == (5, 16, 24)
    assert maps.dtype == torch.float32
    assert maps.min() >= 0
    assert maps.amax(dim=(1, 2)).tolist() == [1.0] * 5


def test_without_evidence_the_map_is_zero(blocks: nn.Module) -> None:
    assert not GradCAM(blocks)(torch.zeros(2, 1, 4, 4)).any()


def snapshot(model: nn.Module) -> list[object]:
    modules = [(m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in model.modules()]
    parameters = [(p.requires_grad, p.grad is None, p.clone()) for p in model.parameters()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return [modules, [p[:2] for p in parameters], [p[2] for p in parameters], gradients]


def assert_same(before: list[object], after: list[object]) -> None:
    assert before[:2] == after[:2]
    for a, b in zip(before[2] + before[3], after[2] + after[3], strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.fixture
def in_use() -> covidct.CTClassifier:
    """Network in the middle of training: submodules differ in mode, and one gradient is set."""
    torch.manual_seed(0)
    model = covidct.create_model("shufflenet", weights=None).freeze_backbone()
    model.head.requires_grad_(requires_grad=True)
    next(model.head.parameters()).grad = torch.ones_like(next(model.head.parameters()))
    assert {module.training for module in model.modules()} == {True, False}
    return model


@pytest.mark.parametrize("layer", [None, "backbone"])
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_model_is_left_as_it_was(
    in_use: covidct.CTClassifier, layer: str | None, context: Callable[[], object]
) -> None:
    x = torch.randint(0, 256, (2, 1, 64, 96), dtype=torch.uint8)
    before, buffers = snapshot(in_use), copy.deepcopy(dict(in_use.named_buffers()))
    with context():
        enabled = torch.is_grad_enabled()
        maps = GradCAM(in_use, layer=layer, **RAW)(x)
        assert torch.is_grad_enabled() == enabled
    assert maps.std() > 0
    assert not maps.requires_grad
    assert_same(before, snapshot(in_use))
    assert all(torch.equal(buffers[name], b) for name, b in in_use.named_buffers())


@pytest.mark.parametrize("layer", [None, "backbone"])
def test_an_exception_leaves_the_model_as_it_was(
    in_use: covidct.CTClassifier, layer: str | None
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of order")

    handle = in_use.head.linear.register_forward_pre_hook(fail)
    before = snapshot(in_use)
    with pytest.raises(RuntimeError, match="out of order"):
        GradCAM(in_use, layer=layer)(torch.zeros(1, 1, 64, 96, dtype=torch.uint8))
    assert torch.is_grad_enabled()
    assert_same(before, snapshot(in_use))
    handle.remove()


def test_frozen_and_channels_last_models_give_the_same_maps(in_use: covidct.CTClassifier) -> None:
    x = torch.randint(0, 256, (2, 1, 64, 96), dtype=torch.uint8)
    expected = GradCAM(in_use)(x)
    in_use.requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)
    torch.testing.assert_close(GradCAM(in_use)(x), expected, rtol=0, atol=1e-4)


def test_bfloat16_gives_nearly_the_same_maps() -> None:
    torch.manual_seed(0)
    model = covidct.create_model("resnet18", weights=None)
    x = torch.randint(0, 256, (2, 1, 96, 128), dtype=torch.uint8)
    maps = GradCAM(model, precision="bfloat16")(x)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, GradCAM(model)(x), rtol=0, atol=0.1)


@pytest.mark.cuda
def test_cuda_gives_the_same_maps_on_the_device_of_the_input(in_use: covidct.CTClassifier) -> None:
    x = torch.randint(0, 256, (2, 1, 64, 96), dtype=torch.uint8)
    expected = GradCAM(in_use)(x)
    in_use.cuda()
    assert GradCAM(in_use)(x.cuda()).is_cuda
    torch.testing.assert_close(GradCAM(in_use)(x), expected, rtol=0, atol=1e-2)


def test_over_canvases_equals_batch_by_batch(blocks: nn.Module) -> None:
    canvases = np.random.default_rng(0).integers(0, 256, (5, 8, 12), dtype=np.uint8)
    cam = GradCAM(blocks)
    maps, logits = cam.over(canvases, index=np.array([4, 0, 2]), batch_size=2)
    for place, i in enumerate((4, 0, 2)):
        one = cam.explain(torch.from_numpy(canvases[[i]])[None])
        torch.testing.assert_close(maps[place], one.maps[0])
        torch.testing.assert_close(logits[place], one.logits[0])


def with_head(function: Callable[[Tensor], Tensor]) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        model.head = Lambda(function)
        return model

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_head(lambda m: m.mean(dim=(1, 2, 3)) * torch.nan), r"positions \[0, 1\] are NaN"),
        (with_head(lambda m: m.mean(dim=(2, 3))), r"one logit for each of 2 slices.*\(2, 2\)"),
        (with_head(lambda m: torch.ones(len(m))), "does not depend on the layer"),
    ],
)
def test_invalid_logits(
    blocks: nn.Module, change: Callable[[nn.Module], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GradCAM(change(blocks))(torch.rand(2, 1, 4, 4))


def test_a_layer_without_spatial_output() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"spatial feature maps .* returns shape \(2, 4\)"):
        GradCAM(flat, layer="1")(torch.rand(2, 1, 4, 4))
    assert not flat[1]._forward_hooks


class ChannelsLast(nn.Module):
    """Patches in rows and columns, with their channels last, as in Swin transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 10, 4, 4)
        self.turned = nn.Identity()
        self.tokens = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        turned = self.turned(self.patches(x).permute(0, 2, 3, 1))
        tokens: Tensor = self.tokens(turned.flatten(1, 2))
        return tokens.mean((1, 2))


def test_channels_last_and_tokens_are_refused() -> None:
    x = torch.rand(2, 1, 24, 36)
    assert GradCAM(ChannelsLast(), layer="patches")(x).shape == (2, 24, 36)
    with pytest.raises(ValueError, match=r"\(2, 6, 9, 10\).* canvas \(24 x 36\) with its ch"):
        GradCAM(ChannelsLast(), layer="turned")(x)
    with pytest.raises(ValueError, match=r"\(2, 54, 10\); these may be the tokens"):
        GradCAM(ChannelsLast(), layer="tokens")(x)


@pytest.mark.parametrize(
    ("canvas", "grid"),
    [((253, 349), (8, 11)), ((224, 224), (7, 7)), ((48, 64), (2, 2)), ((64, 96), (1, 3))],
)
def test_grids_of_one_stride(canvas: tuple[int, int], grid: tuple[int, int]) -> None:
    assert _is_scaled(grid, canvas)
    assert not _is_scaled((grid[1], 512), canvas)


def test_an_array_is_named(blocks: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"x must be a tensor, got a ndarray; convert it"):
        GradCAM(blocks)(np.zeros((2, 1, 8, 8), np.float32))


def test_a_map_of_one_cell_is_refused(blocks: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"more than one cell.*\(1, 2, 1, 1\).*larger canvases"):
        GradCAM(blocks)(torch.rand(1, 1, 2, 2))


def test_a_layer_that_runs_twice(blocks: nn.Module) -> None:
    relu = nn.ReLU()
    network = nn.Sequential(relu, blocks.features, relu, nn.AdaptiveAvgPool2d(1), nn.Flatten(0))
    with pytest.raises(ValueError, match="must run once per forward pass, but it ran 2 times"):
        GradCAM(network, layer=relu)(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "featurs"}, "unknown layer 'featurs'; did you mean 'features'"),
        ({"layer": nn.ReLU()}, "the given layer, a ReLU, is not part of the Blocks"),
        (
            {"target": "lung"},
            "target must be one of 'covid', 'non-covid', got 'lung'",
        ),
        ({"precision": "float8"}, "precision must be one of"),
    ],
)
def test_bad_options(blocks: nn.Module, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradCAM(blocks, **options)


def test_a_model_without_a_default_layer() -> None:
    with pytest.raises(
        ValueError, match=r"Sequential has no feature_maps.*layer=.*one of '0', '1'"
    ):
        GradCAM(nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()))


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (4, 4), (2, 4, 4)])
def test_bad_batches(blocks: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a batch of shape"):
        GradCAM(blocks)(torch.zeros(shape))


@pytest.mark.parametrize(("shape", "index"), [((0, 4, 4), None), ((3, 4, 4), []), ((4, 4), None)])
def test_no_canvases(blocks: nn.Module, shape: tuple[int, ...], index: list[int] | None) -> None:
    chosen = None if index is None else np.array(index, dtype=int)
    with pytest.raises(ValueError, match="expected at least one canvas"):
        GradCAM(blocks).over(np.zeros(shape, dtype=np.uint8), index=chosen)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
        GradCAM(blocks).over(np.zeros((2, 8, 8), dtype=np.uint8), batch_size=0)


class TestOfAnyModule:
    """A module of somebody else: three channels, normalized values, K outputs."""

    @pytest.fixture
    def network(self):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=4),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(64, 5),
        )

    def test_a_number_is_a_column_of_the_outputs(self, network):
        x = torch.randn(2, 3, 32, 32) * 3
        found = GradCAM(network, layer="0", target=3, relu=False, normalize=False).explain(x)
        torch.testing.assert_close(found.logits, network(x)[:, 3].detach())
        maps = network[0](x).detach().requires_grad_()
        gradient = torch.autograd.grad(network[1:](maps)[:, 3].sum(), maps)[0]
        expected = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).detach()
        small = GradCAM(network, layer="0", target=3, relu=False, normalize=False, upsample=False)
        torch.testing.assert_close(small(x), expected)

    def test_missing_outputs_are_named(self, network):
        with pytest.raises(ValueError, match=r"target 5 needs outputs of shape \(1, K\)"):
            GradCAM(network, layer="0", target=5)(torch.randn(1, 3, 32, 32))
        with pytest.raises(ValueError, match=r"target must be one of .*, got True"):
            GradCAM(network, layer="0", target=True)


def test_a_model_in_data_parallel_has_the_same_maps() -> None:
    model = covidct.create_model("squeezenet", weights=None, input_size=(64, 96)).eval()
    x = torch.randint(0, 256, (2, 1, 64, 96), dtype=torch.uint8)
    parallel = nn.DataParallel(model)
    expected = GradCAM(model)(x)
    assert torch.equal(GradCAM(parallel)(x), expected)
    layer = "module.backbone"
    assert torch.equal(GradCAM(parallel, layer=layer)(x), GradCAM(model, layer="backbone")(x))


def test_a_function_is_no_model() -> None:
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got function"):
        GradCAM(lambda x: x)


def test_few_layers_are_named() -> None:
    model = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(50)))
    with pytest.raises(ValueError, match="name the layer to explain") as caught:
        GradCAM(model)
    assert len(str(caught.value)) < 300
