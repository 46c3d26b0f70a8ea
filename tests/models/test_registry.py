from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import covidct
from covidct.errors import UnknownNameError
from covidct.models import registry
from covidct.models.catalogue import BUILT_IN

# Table 1 of the paper: default and custom size (width x height), layers, parameters (M), size (MB).
TABLE_1 = {
    "squeezenet": ("227x227", "335x255", 18, 0.73, 3.0),
    "shufflenet": ("224x224", "321x225", 51, 0.34, 1.5),
    "resnet18": ("224x224", "349x253", 18, 11.17, 44.8),
    "resnet50": ("224x224", "349x253", 50, 23.51, 94.3),
    "resnet101": ("224x224", "349x253", 101, 42.50, 170.6),
    "resnext50": ("224x224", "349x253", 50, 22.98, 92.3),
    "resnext101": ("224x224", "349x253", 101, 86.74, 347.9),
    "inception_v3": ("299x299", "331x267", 48, 21.79, 87.4),
    "xception": ("299x299", "327x231", 37, 20.81, 83.5),
    "densenet121": ("224x224", "349x253", 121, 6.95, 28.3),
    "densenet169": ("224x224", "349x253", 169, 12.48, 50.8),
    "densenet201": ("224x224", "349x253", 201, 18.09, 73.6),
}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", {info.name: info for info in BUILT_IN})


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1(name: str) -> None:
    info = covidct.model_info(name)
    sizes = tuple(f"{width}x{height}" for height, width in (info.default_size, info.custom_size))
    assert (*sizes, info.layers, info.parameters, info.size_mb) == TABLE_1[name]


def test_list_models() -> None:
    assert covidct.list_models() == [*TABLE_1, *(f"efficientnet_lite{k}" for k in range(3))]
    assert covidct.list_models("resne?t*") == ["resnext50", "resnext101"]
    assert covidct.list_models("nothing") == []


def test_unknown_names_propose_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'resnet1'.*'resnet18', 'resnet101'"):
        covidct.model_info("resnet1")
    with pytest.raises(UnknownNameError, match=r"network of timm 'reznet34'.*'resnet34'"):
        covidct.model_info("timm:reznet34")


def test_register_model() -> None:
    mine = replace(covidct.model_info("resnet18"), name="mine")
    covidct.register_model(mine)
    assert covidct.list_models()[-1] == "mine"
    assert covidct.model_info("mine") is mine
    with pytest.raises(ValueError, match="'mine' is taken"):
        covidct.register_model(mine)
    covidct.register_model(replace(mine, title="Other"), overwrite=True)
    assert covidct.model_info("mine").title == "Other"
    with pytest.raises(ValueError, match="'timm:mine' is reserved"):
        covidct.register_model(replace(mine, name="timm:mine"), overwrite=True)


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "My Net"},
        {"builder": "torchvision.models.resnet18"},
        {"package": "somewhere"},
        {"feature_dim": -1},
        {"head": "attention"},
        {"dropout": 1.0},
        {"std": (0.5, 0.5, 0.0)},
        {"mean": (0.5, 0.5)},
        {"custom_size": (0, 3)},
        {"default_size": (224,)},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_malformed_entries_are_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fault))} must be"):
        replace(covidct.model_info("resnet18"), **fault)


def two_stages(width: int = 4) -> nn.Sequential:
    """Build a network whose weights would change the global random state."""
    return nn.Sequential(
        OrderedDict(
            stage=nn.Conv2d(3, width, 3, stride=2),
            last=nn.Conv2d(width, 2 * width, 3, stride=2, bias=False),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
        )
    )


@pytest.mark.parametrize("builder", [two_stages, functools.partial(two_stages, width=4)])
def test_a_callable_is_measured_when_it_is_looked_up(builder: Callable[..., nn.Module]) -> None:
    covidct.register_model(
        covidct.ArchitectureInfo(name="small", builder=builder, cam_layer="last")
    )
    state = torch.get_rng_state()
    info = covidct.model_info("small")
    assert torch.equal(state, torch.get_rng_state())
    model = covidct.create_model("small", weights=None)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert (info.feature_dim, info.title) == (8, "small")
    assert (info.parameters, info.size_mb) == (count, 4 * count)
    assert json.loads(json.dumps(info.to_dict()))["builder"].rpartition(":")[2]
    assert covidct.model_info("small") is info


def test_given_figures_are_kept() -> None:
    entry = covidct.ArchitectureInfo(
        name="small", builder=two_stages, cam_layer="last", parameters=7.0, title="Small"
    )
    info = covidct.CTClassifier(entry).info
    assert (info.parameters, info.size_mb, info.title) == (7.0, 28.0, "Small")
    assert info.source == f"{__name__} two_stages"


def test_a_network_without_feature_maps_lists_its_children() -> None:
    entry = covidct.ArchitectureInfo(name="small", builder=two_stages)
    with pytest.raises(ValueError, match=r"'small'.*\(1, 8\).*cam_layer.*'last'"):
        covidct.CTClassifier(entry)


def test_registering_needs_no_pytorch() -> None:
    code = (
        "import sys, covidct; info = covidct.ArchitectureInfo(name='a', builder='b:c'); "
        "covidct.register_model(info); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_listing_needs_no_pytorch() -> None:
    code = "import sys, covidct; covidct.list_models(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_timm_network() -> None:
    info = covidct.model_info("timm:mobilenetv3_small_050")
    assert info.custom_size == (224, 320)
    model = covidct.create_model(info.name, weights=None).eval()
    maps = model.feature_maps(torch.zeros(1, 1, 64, 96))
    assert maps.shape == (1, info.feature_dim, 2, 3)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(
        info.parameters, abs=0.01
    )


def test_describing_a_timm_network_draws_no_random_number() -> None:
    state = torch.get_rng_state()
    covidct.models.timm_networks.timm_info.__wrapped__("mobilenetv3_small_050")
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "coat_tiny", "vgg11"],
    ids=["tokens", "windows", "always pooled", "classifier of one cell"],
)
def test_timm_networks_without_feature_maps_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'timm:{name}' can't be used .*register_model"):
        covidct.model_info(f"timm:{name}")


def test_a_wrong_number_of_features_is_told_with_the_right_one() -> None:
    wrong = replace(covidct.model_info("shufflenet"), name="wrong", feature_dim=500)
    covidct.register_model(wrong)
    model = covidct.create_model("wrong", weights=None, input_size=(64, 96))
    with pytest.raises(ValueError, match=r"feature_dim=500, but .* \(1, 1024, 2, 3\)"):
        model(torch.zeros(1, 1, 64, 96))
