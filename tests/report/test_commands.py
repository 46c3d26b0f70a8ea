from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

import covidct
from covidct.cli import _parser
from covidct.cli.options import read_recipe
from covidct.report.commands import command_line
from covidct.runs.protocol import Protocol
from covidct.runs.storage import WeightsSpec

DEMO = covidct.Recipe.demo()


@pytest.mark.parametrize(
    "recipe",
    [
        covidct.Recipe(),
        DEMO,
        DEMO.scaled(7),
        covidct.Recipe().scaled(30),
        replace(DEMO, batch_size=5, learning_rate=1e-5, resize="stretch"),
        replace(DEMO, canvas=(96, 128)),
        replace(DEMO, augmentation=replace(DEMO.augmentation, noise=0.0)),
    ],
)
def test_command_makes_the_same_recipe(grouped, changed, recipe):
    words = shlex.split(command_line(changed(grouped, recipe=recipe)))
    args = _parser().parse_args(words[1:])
    assert read_recipe(args) == recipe
    assert (args.model, args.protocol, args.folds, args.n) == ("tiny", "grouped", 2, 24)
    assert (args.weights, args.seed, args.threads, args.device) == ("none", 0, 1, "cpu")


@pytest.mark.parametrize(
    ("weights", "option"),
    [
        (WeightsSpec("imagenet"), "imagenet"),
        (None, "none"),
        (WeightsSpec("my net.pt", "0123"), "my net.pt"),
    ],
)
def test_weights(grouped, changed, weights, option):
    words = shlex.split(command_line(changed(grouped, {"weights": weights})))
    assert _parser().parse_args(words[1:]).weights == option


def test_own_slices(grouped, changed):
    own = replace(grouped.spec.dataset, name="mine; rm -rf ~")
    words = shlex.split(command_line(changed(grouped, {"dataset": own})))
    assert words[2:6] == ["--dataset", "folder", "--root", "FOLDER"]


def test_official_split_has_no_number_of_folds(grouped, changed):
    official = changed(
        grouped, {"repeats": 5}, protocol=Protocol.official(), folds=grouped.folds[:1] * 5
    )
    assert not {"--folds", "--repeats"} & set(shlex.split(command_line(official)))


def test_repeats_and_the_seed_of_the_split(grouped, changed):
    repeated = changed(grouped, {"repeats": 2, "split_seed": 7}, folds=grouped.folds * 2)
    words = shlex.split(command_line(repeated))
    args = _parser().parse_args(words[1:])
    assert (args.folds, args.repeats, args.seed, args.split_seed) == (2, 2, 0, 7)
    assert "--repeats" not in shlex.split(command_line(grouped))


def test_only_python_can_express_it(grouped, changed):
    assert (
        command_line(changed(grouped, protocol=Protocol("splitter", "GroupShuffleSplit"))) is None
    )
    odd = replace(covidct.Recipe(), milestones=((3, 1e-4),))
    assert command_line(changed(grouped, recipe=odd)) is None
    phantoms = replace(grouped.spec.dataset, content_hash="that of another seed")
    assert command_line(changed(grouped, {"dataset": phantoms})) is None
