"""Options shared by the verbs: datasets by name and folder, modules to import, error texts."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

import covidct
from covidct import cli
from covidct.cli.options import (
    NamedDataset,
    WrongCallError,
    add_dataset,
    add_recipe,
    in_shell_words,
    load_datasets,
    named_datasets,
    read_recipe,
)

REGISTRATIONS = """
import dataclasses
import covidct

network = dataclasses.replace(covidct.model_info("shufflenet"), name="{name}-net")
covidct.register_model(network)
covidct.register_dataset(covidct.DatasetInfo("{name}-slices", "Slices of {name}"))
"""


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_dataset(parser)
    return parser.parse_args(["--dataset", *words])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["phantom"], {"phantom": NamedDataset("phantom", None)}),
        (["folder", "--root", "a"], {"folder": NamedDataset("folder", Path("a"))}),
        (["folder=a=b"], {"folder": NamedDataset("folder", Path("a=b"))}),
        (["phantom@own"], {"own": NamedDataset("phantom", None)}),
        (
            ["folder@ward-7=a@b", "folder@site b=c", "--dataset", "phantom"],
            {
                "ward-7": NamedDataset("folder", Path("a@b")),
                "site b": NamedDataset("folder", Path("c")),
                "phantom": NamedDataset("phantom", None),
            },
        ),
    ],
)
def test_datasets_have_names_and_folders(words, expected):
    assert named_datasets(parse(*words)) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder="], "got 'folder='"),
        (["=a"], "got '=a'"),
        (["folder@=a"], "got 'folder@=a'"),
        (["folder@../x=a"], "got 'folder@../x=a'"),
        (["folder=a", "folder=b"], "give each its own name: folder@OWN=ROOT"),
        (["folder=a", "--root", "b"], "--root takes a single"),
        (["folder", "phantom", "--root", "b"], "--root takes a single"),
    ],
)
def test_wrong_datasets_are_refused(words, message):
    with pytest.raises(WrongCallError, match=message):
        named_datasets(parse(*words))


def test_options_go_to_the_datasets_that_take_them(slice_folder):
    for old, new in (("COVID", "a"), ("non-COVID", "b")):
        (slice_folder / old).rename(slice_folder / new)
    args = parse("phantom", f"folder@ward={slice_folder}", "--n", "8", "--positive", "a")
    datasets = load_datasets(args)
    assert {name: (len(d), d.name) for name, d in datasets.items()} == {
        "phantom": (8, "phantom"),
        "ward": (12, "ward"),
    }
    with pytest.raises(WrongCallError, match="--n does not apply to folder"):
        load_datasets(parse(f"folder={slice_folder}", "--n", "8"))


def test_options_of_tables_and_volumes(slice_folder):
    table = slice_folder.parent / "slices.csv"
    rows = [f"{path.parent.name}/{path.name}" for path in sorted(slice_folder.rglob("*.png"))]
    lines = [f'"{row}",{row.partition("/")[0]},{k // 2}' for k, row in enumerate(rows)]
    table.write_text("\n".join(["where,what,who", *lines]))
    words = [f"table@ward={table}", "--images", str(slice_folder)]
    words += ["--columns", "path=where,label=what,group=who", "--positive", "COVID"]
    (dataset,) = load_datasets(parse(*words)).values()
    assert (dataset.name, len(dataset), int(dataset.targets.sum())) == ("ward", 12, 6)
    words = [f"folder={slice_folder}", "--groups", "none", "--slices", "2,4", "--window", "40,400"]
    (dataset,) = load_datasets(parse(*words)).values()
    assert dataset.groups is None
    with pytest.raises(SystemExit):
        parse(f"table={table}", "--columns", "path")
    with pytest.raises(WrongCallError, match="--images takes a single --dataset"):
        load_datasets(parse(f"table={table}", "phantom", "--images", "x"))


def test_further_options_of_a_dataset(tmp_path, capsys):
    root = tmp_path / "set"
    call = ["audit", "--dataset", f"covid-ctset={root}", "--option"]
    assert cli.main([*call, "fold=7"]) == 1
    assert "fold must be 1 to 5 or None, got 7" in capsys.readouterr().err
    assert cli.main([*call, "folds=1"]) == 2
    assert "--option folds does not apply to covid-ctset" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main([*call, "fold"])
    assert "takes NAME=VALUE, got 'fold'" in capsys.readouterr().err


def test_several_datasets_are_joined_as_sources(slice_folder, tmp_path, capsys):
    other = tmp_path / "other"
    covidct.load_dataset("phantom", n=8).save(other)
    named = [f"folder@ward-7={slice_folder}", f"folder@site-b={other}"]
    assert cli.main(["audit", "--json", "--dataset", *named]) == 0
    subject = json.loads(capsys.readouterr().out)["subject"]
    assert subject.startswith("ConcatDataset 'ward-7+site-b': 20 slices")
    assert "2 sources" in subject
    known = ["--dataset", f"covidx-ct={other}", f"covid-ct-md={other}"]
    assert cli.main(["audit", *known]) == 1  # neither folder has the layout


@pytest.mark.parametrize("by_path", [True, False])
def test_imported_modules_register_networks_and_datasets(
    by_path, slice_folder, tmp_path, monkeypatch, capsys
):
    name = f"imported{by_path}".lower()
    module = tmp_path / f"{name}.py"
    module.write_text(REGISTRATIONS.format(name=name))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    option = ["--import", str(module) if by_path else name]
    assert cli.main(["models", f"{name}-*", *option]) == 0
    assert capsys.readouterr().out == f"{name}-net\n"
    assert covidct.model_info(f"{name}-net").title == "ShuffleNet"
    assert cli.main(["audit", "--dataset", f"{name}-slices={slice_folder}", *option]) == 0
    assert "12 slices" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module_here", "--import cannot import 'no_such_module_here'"),
        ("nowhere.py", "the file 'nowhere.py' does not exist"),
        ("json.py", "another module is already called 'json'"),
    ],
)
def test_wrong_imports_are_wrong_calls(module, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "json.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["models", "--import", module]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("or start without them: weights=None", "or start without them: --weights none"),
        ('load a copy with verify="names"', "load a copy with --verify names"),
        ("pass download=True", "pass --download"),
        ("give it as weights=PATH", "give it as --weights PATH"),
        ('split with groups="patient"', "split with --protocol grouped"),
        ("cv must be 2 or more", "--folds must be 2 or more"),
        ("groups must be 'auto', None or a file", "--groups must be 'auto', none or a file"),
        ("use cv=5", "use --protocol paper --folds 5"),
        ('leave one source out (cv="source")', "leave one source out (--protocol source)"),
        ("x=None and groups=None", "x=None and --groups none"),
        ("no images found in 'verify'", "no images found in 'verify'"),
    ],
)
def test_errors_speak_the_command_line(text, expected):
    names = ("weights", "verify", "download", "protocol", "groups", "folds", "n_jobs")
    assert in_shell_words(text, argparse.Namespace(**dict.fromkeys(names))) == expected


def test_demo_is_short_for_its_recipe():
    parser = argparse.ArgumentParser()
    add_recipe(parser)
    recipes = [read_recipe(parser.parse_args(c.split())) for c in ("--demo", "--recipe demo", "")]
    assert recipes == [covidct.Recipe.demo(), covidct.Recipe.demo(), covidct.Recipe()]
