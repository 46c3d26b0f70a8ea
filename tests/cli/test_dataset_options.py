"""Datasets that the command line names, and their options."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

import covidct
from covidct import cli
from covidct.cli.dataset_options import NamedDataset, add_dataset, load_datasets, named_datasets
from covidct.cli.wrong_call import WrongCallError


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
