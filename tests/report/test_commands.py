from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

import covidct
from covidct.cli import _parser
from covidct.cli.dataset_options import named_datasets
from covidct.cli.training_options import read_recipe
from covidct.report.commands import command_line, replacement_note
from covidct.runs.protocol import Protocol
from covidct.runs.run_spec import WeightsSpec

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


SOURCES = [
    ("ward-7", ("folder",), "lung", ["folder@ward-7=FOLDER"]),
    ("mine; rm -rf ~", ("table",), "lung", ["table=FOLDER"]),
    ("covid19-ct", ("covid19-ct",), "lung", ["covid19-ct=FOLDER"]),
    (
        "a+site b",
        ("folder",),
        "range",
        ["folder@a=FOLDER", "folder@site b=FOLDER", "--window=range"],
    ),
    ("a+b", ("folder", "table"), (-600.0, 1500.0), ["folder@a=FOLDER", "table@b=FOLDER"]),
]


@pytest.mark.parametrize(("name", "registered", "window", "words"), SOURCES)
def test_own_slices(grouped, changed, name, registered, window, words):
    own = replace(
        grouped.spec.dataset, name=name, registry_names=registered, window=window, content_hash="x"
    )
    run = changed(grouped, {"dataset": own})
    command = shlex.split(command_line(run))
    assert command[3 : 3 + len(words)] == words
    args = _parser().parse_args(command[1:])
    assert args.window == (None if window == "lung" else window)
    owns = {name} if "+" not in name else set(name.split("+"))
    assert set(named_datasets(args)) in (owns, set(registered))
    assert "FOLDER by the folder" in replacement_note(run)


def test_what_to_replace_is_named(grouped, changed):
    assert replacement_note(grouped) == ""
    weighted = changed(grouped, {"weights": WeightsSpec("net.pt", "0123456789")})
    assert replacement_note(weighted) == (
        "Replace net.pt by the path of the weights with the SHA-256 01234567."
    )
    made_in_python = replace(grouped.spec.dataset, name="mine", registry_names=())
    assert command_line(changed(grouped, {"dataset": made_in_python})) is None


def test_official_split_has_no_number_of_folds(grouped, changed):
    official = changed(
        grouped, {"repeats": 5}, protocol=Protocol.official(), folds=grouped.folds[:1] * 5
    )
    assert not {"--folds", "--repeats"} & set(shlex.split(command_line(official)))


def test_repeats_and_the_seed_of_the_split(grouped, changed):
    folds = grouped.folds * 2
    repeated = changed(grouped, {"repeats": 2, "split_seed": 7, "folds": folds}, folds=folds)
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
