from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import covidct
from covidct import Recipe
from covidct.errors import UnknownNameError
from covidct.training.recipe import Augmentation


def test_defaults_are_the_papers():
    recipe = Recipe()
    rates = [recipe.rate_at(epoch) for epoch in (0, 49, 50, 69, 70, 79, 80, 89, 90, 99)]
    assert rates == [3e-4, 3e-4, 1e-4, 1e-4, 3e-5, 3e-5, 1e-5, 1e-5, 3e-6, 3e-6]
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (100, 32, 1.0)
    assert (recipe.optimizer, recipe.augmentation.blur_probability) == ("lamb", 0.25)
    assert (recipe.augmentation.rotation, recipe.augmentation.shear) == (0, 0)


def test_summed_learning_rate_on_covid19_ct():
    steps = 19  # 597 training slices in batches of 32
    assert sum(steps * Recipe().rate_at(e) for e in range(100)) == pytest.approx(0.331, abs=1e-3)


@pytest.mark.parametrize("epochs", [1, 7, 30, 250])
def test_scaling_keeps_the_shape_of_the_schedule(epochs):
    scaled = Recipe().scaled(epochs)
    assert scaled.epochs == epochs
    assert [rate for _, rate in scaled.milestones] == [rate for _, rate in Recipe().milestones]
    for (short, _), (full, _) in zip(scaled.milestones, Recipe().milestones, strict=True):
        assert abs(short - full * epochs / 100) <= 0.5


def test_cosine_after_the_warmup():
    recipe = Recipe(epochs=6, learning_rate=0.4, milestones="cosine", warmup=2)
    # PyTorch's cosine over the four epochs after the warm-up.
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    expected = [0.4 / 3, 0.8 / 3]
    for _ in range(4):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert [recipe.rate_at(epoch) for epoch in range(6)] == pytest.approx(expected)
    assert recipe.scaled(12).warmup == 4
    assert recipe.scaled(1).warmup == 0
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_survives_json():
    recipe = Recipe(
        optimizer="sgd",
        augmentation=Augmentation.none(),
        milestones=((3, 1e-3),),
        canvas=(64, 96),
        betas=(0.8, 0.9),
        decay_norm_and_bias=False,
    )
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_numbers_and_lists_of_others_become_plain():
    numbers = Recipe(
        epochs=np.int64(3),
        learning_rate=np.float32(0.5),
        milestones=[[np.int64(1), np.float32(0.25)]],
        canvas=[64, 96],
        augmentation=Augmentation(noise=np.float32(0.5)),
    )
    plain = Recipe(
        epochs=3,
        learning_rate=0.5,
        milestones=((1, 0.25),),
        canvas=(64, 96),
        augmentation=Augmentation(noise=0.5),
    )
    assert numbers == plain
    assert hash(numbers) == hash(plain)
    assert json.dumps(numbers.to_dict()) == json.dumps(plain.to_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch_size": -1},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"milestones": ((5, 1e-3), (2, 1e-4))},
        {"milestones": ((5, -1e-3),)},
        {"milestones": 5},
        {"milestones": (5, 1e-3)},
        {"learning_rate": "fast"},
        {"weight_decay": -1},
        {"optimizer": "adam"},
        {"resize": "crop"},
        {"canvas": "large"},
        {"canvas": (0, 5)},
        {"pos_weight": 0},
        {"clamp_value": 0},
        {"betas": (0.9, 1.0)},
        {"betas": 0.9},
        {"debias": "yes"},
        {"adam": 1},
        {"decay_norm_and_bias": None},
        {"milestones": "linear"},
        {"warmup": -1},
        {"warmup": 100},
        {"first_layer_rate": 0},
        {"first_layer_rate": 1.5},
        {"label_smoothing": 1.0},
        {"average_decay": 1.0},
        {"average_decay": -0.1},
    ],
)
def test_refuses_what_makes_no_sense(wrong):
    (option,) = wrong
    with pytest.raises(ValueError, match=f"^{option} must "):
        Recipe(**wrong)


def test_the_choices_of_an_option_are_listed():
    message = "^optimizer must be one of 'lamb', 'adamw', 'sgd', got 'adam'$"
    with pytest.raises(ValueError, match=message):
        Recipe(optimizer="adam")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((option, np.int64(2)) for option in ("epochs", "batch_size", "warmup")),
        *(
            (option, np.float32(0.5))
            for option in (
                *("learning_rate", "first_layer_rate", "label_smoothing", "average_decay"),
                *("weight_decay", "clamp_value", "pos_weight"),
            )
        ),
    ],
)
def test_each_number_becomes_plain(option, value):
    kept = getattr(Recipe(**{option: value}), option)
    assert type(kept) is type(value.item())
    assert kept == value
    with pytest.raises(ValueError, match=f"^{option} must be "):
        Recipe(**{option: "2"})


@pytest.mark.parametrize(
    "allowed",
    [
        {"learning_rate": 1e-9, "clamp_value": 1e-9, "pos_weight": 1e-9},
        {"weight_decay": 0, "label_smoothing": 0, "average_decay": 0},
        {"label_smoothing": 0.99, "average_decay": 0.9999},
        {"first_layer_rate": 1},
        {"first_layer_rate": 1e-3},
        {"epochs": 1, "batch_size": 1, "warmup": 0, "milestones": ()},
        {"epochs": 5, "warmup": 4, "milestones": ((0, 1e-3), (3, 1e-4), (3, 1e-5))},
        {"betas": (0, 0)},
        {"betas": [0.5, 0.999999]},
        {"canvas": (1, 4096)},
        {"canvas": (4096, 1)},
        {"class_weight": "balanced", "strategy": "feature-extraction"},
    ],
)
def test_limits_belong_to_the_ranges(allowed):
    recipe = Recipe(**allowed)
    for option, value in allowed.items():
        kept = tuple(value) if isinstance(value, list) else value
        assert getattr(recipe, option) == kept


@pytest.mark.parametrize(
    "wrong",
    [
        *({option: float("inf")} for option in ("learning_rate", "clamp_value", "pos_weight")),
        {"weight_decay": float("inf")},
        {"milestones": ((5, float("inf")),)},
        {"milestones": ((5, 0),)},
        {"epochs": 5, "warmup": 5},
        {"canvas": (4097, 10)},
        {"canvas": (10, 4097)},
        {"canvas": (10, 0)},
        {"canvas": (10, 10, 10)},
        {"canvas": (10.0, 10)},
        {"canvas": None},
        {"betas": (0.9, 0.99, 0.999)},
        {"betas": (-0.1, 0.9)},
        {"betas": (1.0, 0.9)},
        {"betas": ("a", 0.9)},
    ],
)
def test_what_lies_beyond_the_limits_is_refused(wrong):
    option = list(wrong)[-1]
    with pytest.raises(ValueError, match=f"^{option} must be "):
        Recipe(**wrong)


LARGEST = {
    "crop": 0.95,
    "blur_probability": 1,
    "blur_sigma": 10,
    "noise": 1,
    "brightness": 1,
    "contrast": 1,
    "flip_probability": 1,
    "rotation": 180,
    "shear": 60,
}


@pytest.mark.parametrize(("option", "largest"), LARGEST.items())
def test_augmentation_up_to_its_limits(option, largest):
    assert LARGEST.keys() == Augmentation.none().__dict__.keys()
    assert getattr(Augmentation(**{option: largest}), option) == largest
    assert getattr(Augmentation(**{option: 0}), option) == 0
    for wrong in (largest * 1.01, -0.01):
        message = f"^{option} must be from 0 to {largest:g}, got {wrong!r}$"
        with pytest.raises(ValueError, match=message):
            Augmentation(**{option: wrong})


def test_no_augmentation_is_zero_throughout():
    assert set(Augmentation.none().__dict__.values()) == {0.0}


def test_canvas_of_a_network():
    info = covidct.model_info("resnet18")
    assert info.custom_size != info.default_size
    assert Recipe().canvas_size(info) == info.custom_size
    assert Recipe(canvas="default").canvas_size(info) == info.default_size
    assert Recipe(canvas=(64, 96)).canvas_size(info) == (64, 96)


def test_warmup_rises_by_equal_steps_and_then_follows_the_milestones():
    recipe = Recipe(epochs=8, learning_rate=0.4, milestones=((5, 0.1),), warmup=3)
    rates = [recipe.rate_at(epoch) for epoch in range(8)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.1, 0.1, 0.1])


def test_a_milestone_may_be_the_first_epoch():
    assert Recipe(learning_rate=0.4, milestones=((0, 0.1),)).rate_at(0) == 0.1


def test_a_warmup_of_all_but_one_epoch_stays_shorter_than_the_schedule():
    recipe = Recipe(epochs=10, warmup=9)
    assert [recipe.scaled(epochs).warmup for epochs in (2, 3, 10, 20)] == [1, 2, 9, 18]


def test_replacing_keeps_the_other_options():
    recipe = Recipe(epochs=7, weight_decay=0.5, milestones=())
    assert recipe.replace(batch_size=4) == Recipe(
        epochs=7, weight_decay=0.5, milestones=(), batch_size=4
    )
    assert recipe.replace() == recipe


def test_presets_differ_from_the_paper_as_documented():
    """The results in the documentation were computed with these values."""
    paper = Recipe().options()
    modern = {k: v for k, v in Recipe.modern().options().items() if v != paper[k]}
    assert modern == {
        "epochs": 20,
        "learning_rate": 5e-4,
        "milestones": "cosine",
        "warmup": 2,
        "first_layer_rate": 0.1,
        "label_smoothing": 0.1,
        "average_decay": 0.98,
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "decay_norm_and_bias": False,
    }
    demo = {k: v for k, v in Recipe.demo().options().items() if v != paper[k]}
    assert demo == {
        "epochs": 7,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "milestones": ((5, 2e-4),),
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "canvas": (128, 168),
        "augmentation.crop": 0.1,
        "augmentation.blur_probability": 0,
        "augmentation.noise": 0.02,
        "augmentation.brightness": 0.1,
        "augmentation.contrast": 0.1,
    }


@pytest.mark.parametrize(
    "wrong", [{"crop": 1.0}, {"noise": -0.1}, {"flip_probability": 2}, {"noise": "a"}]
)
def test_refuses_augmentation_out_of_range(wrong):
    (option,) = wrong
    with pytest.raises(ValueError, match=option):
        Augmentation(**wrong)


@pytest.mark.parametrize(
    ("call", "kind", "known"),
    [
        (lambda: Recipe().replace(learningrate=1), "Recipe", "learning_rate"),
        (lambda: Recipe.from_dict({"learningrate": 1}), "Recipe", "learning_rate"),
        (lambda: Recipe.from_dict({"augmentation": {"nose": 1}}), "Augmentation", "noise"),
    ],
)
def test_unknown_options_are_named(call, kind, known):
    with pytest.raises(UnknownNameError, match=f"^unknown {kind} option .*did you mean '{known}'"):
        call()


def test_augmentation_of_a_dictionary_must_be_a_mapping():
    with pytest.raises(ValueError, match="augmentation must map options to values, got 5"):
        Recipe.from_dict({"augmentation": 5})


def test_a_canvas_from_an_array_is_plain() -> None:
    recipe = Recipe(canvas=np.array([64, 96]))
    assert recipe.canvas == (64, 96)
    assert recipe == Recipe(canvas=(64, 96))
    with pytest.raises(ValueError, match="canvas must be"):
        Recipe(canvas=np.array([64, 96, 1]))
