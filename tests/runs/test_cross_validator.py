from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from safetensors.numpy import load_file, save_file
from sklearn.model_selection import StratifiedGroupKFold

import covidct
from covidct import CrossValidationResult, CrossValidator
from covidct.datasets.canvases import map_canvases
from covidct.errors import InvalidFileError, TrainingDivergedError, UnknownNameError
from covidct.runs import fold as fold_module
from covidct.runs.out_of_distribution import TrainingReference
from covidct.runs.storage import RunDirectory

OPTIONS = {"cv": 2, "groups": "patient", "weights": None, "threads": 1, "device": "cpu"}


@pytest.fixture
def run(tiny, quick, phantoms, tmp_path):
    def run(**options) -> CrossValidationResult:
        options = {**OPTIONS, "run_dir": tmp_path / "run", **options}
        return CrossValidator(tiny, options.pop("recipe", quick), **options).run(phantoms)

    return run


@pytest.fixture(scope="module")
def finished_folder(tiny, quick, phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    CrossValidator(tiny, quick, run_dir=folder, **OPTIONS).run(phantoms)
    return folder


@pytest.fixture
def finished(finished_folder, tmp_path):
    """Copy a finished run, in the folder in which ``run`` goes on with it; to be damaged."""
    return CrossValidationResult.load(shutil.copytree(finished_folder, tmp_path / "run"))


def test_result_holds_what_the_contract_names(run, phantoms):
    result = run()
    rows = result.predictions
    assert sorted(rows["index"]) == list(range(len(phantoms)))
    assert [phantoms.names[i] for i in rows["index"]] == list(rows["path"])
    np.testing.assert_array_equal(rows["target"], phantoms.targets[rows["index"]])
    np.testing.assert_allclose(rows["probability"], 1 / (1 + np.exp(-rows["logit"])))
    assert list(phantoms.groups[rows["index"]]) == list(rows["group"])
    for k, scores in enumerate(result.fold_metrics):
        part = rows[rows["fold"] == k]
        called = part["probability"] >= 0.5
        assert scores["accuracy"] == sklearn.metrics.accuracy_score(part["target"], called)
        assert scores["auc"] == pytest.approx(
            sklearn.metrics.roc_auc_score(part["target"], part["probability"])
        )
    mean, sd = result.summary()["auc"]
    aucs = [scores["auc"] for scores in result.fold_metrics]
    assert (mean, sd) == pytest.approx((np.mean(aucs), np.std(aucs, ddof=1)))
    assert result.confusion_matrix().sum() == len(phantoms) / 2


@pytest.mark.parametrize(
    "option",
    [
        {"seed": -1},
        {"seed": 0.5},
        {"repeats": 0},
        {"split_seed": -1},
        {"threads": 0},
        {"threads": -1},
        {"monitor_every": 0},
        {"n_jobs": 0},
    ],
)
def test_options_out_of_range_are_refused_at_once(run, tmp_path, option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name} must .*got {value}"):
        run(**option)
    assert not (tmp_path / "run").exists()


def test_options_may_be_numpys_or_scikit_learns(run):
    assert run(seed=np.int64(1), n_jobs=None).spec.seed == 1


def test_global_randomness_is_as_it_was(run):
    before = torch.random.get_rng_state()
    run()
    assert torch.equal(before, torch.random.get_rng_state())


def test_workers_compute_in_the_arithmetic_that_was_recorded(tiny, quick, phantoms, monkeypatch):
    native = "covidct.devices._computes_bfloat16"
    monkeypatch.setattr(native, lambda device: True)
    validator = CrossValidator(tiny, quick.scaled(1), **OPTIONS)
    monkeypatch.setattr(native, lambda device: False)  # as on the machine of a worker
    used = []

    class Watched(fold_module.Trainer):
        def fit(self, *args, **options):
            used.append(self.dtype)
            return super().fit(*args, **options)

    monkeypatch.setattr(fold_module, "Trainer", Watched)
    assert validator.run(phantoms).spec.precision == "bfloat16"
    assert used == [torch.bfloat16] * 2


def test_a_worker_fits_the_network_of_the_caller(finished, tiny, quick, phantoms):
    known = covidct.model_info(tiny)
    validator = CrossValidator(tiny, quick, **OPTIONS)
    of_the_worker = dataclasses.replace(known, mean=(0, 0, 0), std=(0.1, 0.1, 0.1))
    covidct.register_model(of_the_worker, overwrite=True)
    try:
        fitted = validator.run(phantoms)
    finally:
        covidct.register_model(known, overwrite=True)
    np.testing.assert_array_equal(fitted.predictions["logit"], finished.predictions["logit"])


def test_a_job_is_sent_without_its_canvases(run, monkeypatch):
    jobs = []

    def keep(self, directory, given):
        jobs.extend(given)
        raise InterruptedError

    monkeypatch.setattr(CrossValidator, "_run_jobs", keep)
    with pytest.raises(InterruptedError):
        run(recipe=covidct.Recipe.demo().scaled(1).replace(canvas=(400, 500)))
    canvases = map_canvases(jobs[0].canvases)
    assert canvases.shape[1:] == (400, 500)
    assert len(pickle.dumps(jobs[0])) < canvases.nbytes / 50


def test_a_machine_without_the_canvases_says_what_to_share(run, monkeypatch):
    run_fold = fold_module.run_fold

    def elsewhere(job, **options):
        return run_fold(dataclasses.replace(job, canvases=Path("/elsewhere/a.npy")), **options)

    monkeypatch.setattr("covidct.runs.cross_validator.run_fold", elsewhere)
    with pytest.raises(FileNotFoundError, match="COVIDCT_CACHE"):
        run()


def test_slices_of_one_patient_alone_have_no_interval(tiny, quick, slice_folder):
    paths = sorted(slice_folder.glob("*/*.png"))
    targets = [path.parent.name == "COVID" for path in paths]
    alone = covidct.CTDataset(paths, targets, ["p"] * 12, root=slice_folder)
    with pytest.warns(UserWarning, match="slices are split at random"):
        result = CrossValidator(tiny, quick.scaled(1), **OPTIONS | {"groups": None}).run(alone)
    assert "Interval of the mean: none, since there is only one patient." in str(result)
    assert np.isnan(result.intervals()["accuracy"]).all()


def test_files_of_a_run(run, tmp_path):
    result = run()
    folder = tmp_path / "run"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.name != ".lock"}
    for k in (0, 1):
        assert {f"folds/{k}/{f}" for f in ("model.safetensors", "history.csv", "predictions.csv")}
        assert f"folds/{k}/checkpoint.pt" not in files
    assert {"run.json", "metrics.json", "predictions.csv"} <= files
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["summary"]["accuracy"]["mean"] == result.summary()["accuracy"][0]


def test_loading_gives_the_same_result(run, tmp_path):
    result, loaded = run(), CrossValidationResult.load(tmp_path / "run")
    assert loaded.predictions.equals(result.predictions)
    assert str(loaded) == str(result)
    assert loaded.history(0)["epoch"].tolist() == [0, 1]


def test_fold_model_gives_the_recorded_logits(finished, phantoms):
    external = finished.evaluate(phantoms.subset(range(len(phantoms))[::-1]))
    for k in (0, 1):
        part = finished.predictions[finished.predictions["fold"] == k]
        np.testing.assert_allclose(
            external.probabilities[k][::-1][part["index"]], part["probability"], rtol=1e-6
        )
    assert external.fold_metrics[0].keys() == finished.summary().keys()
    assert "tested on phantom" in str(external)
    assert external.seen == phantoms.names[::-1]
    with pytest.raises(IndexError, match="folds 0 to 1"):
        finished.fold_model(2)


@pytest.mark.parametrize(
    "options", [{"n_jobs": 2}, pytest.param({"threads": 2}, marks=pytest.mark.slow)], ids=str
)
def test_the_same_run_again_gives_the_same_bits(run, finished, tmp_path, options):
    """Whatever n_jobs, and at any number of threads, as long as each fold has as many."""
    results = [
        finished if "n_jobs" in options else run(run_dir=tmp_path / "first", **options),
        run(run_dir=tmp_path / "second", **options),
    ]
    assert results[0].predictions.equals(results[1].predictions)
    files = [sorted(r.run_dir.glob("folds/*/model.safetensors")) for r in results]
    networks = [[path.read_bytes() for path in found] for found in files]
    assert len(networks[0]) == 2
    assert networks[0] == networks[1]


def test_resume_does_only_what_is_missing(run, finished, tmp_path, monkeypatch):
    kept = tmp_path / "run/folds/0/model.safetensors"
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "run/folds/1/predictions.csv").unlink()
    with pytest.raises(ValueError, match=r"folds \[1\] of 2 are missing"):
        CrossValidationResult.load(tmp_path / "run")
    second = run()
    assert kept.stat().st_mtime_ns == stamp
    assert second.predictions.equals(finished.predictions)
    monkeypatch.setattr(fold_module, "_fit_and_score", None)  # nothing is left to do
    run()


def test_another_run_in_the_folder_is_refused(run, finished, quick):
    with pytest.raises(ValueError, match=r"contains another run: .*seed was 0, is 1"):
        run(seed=1)
    with pytest.raises(ValueError, match=r"recipe\.epochs was 2, is 3"):
        run(recipe=quick.scaled(3))
    with pytest.raises(ValueError, match="folds was 2, is 3"):
        run(cv=3)
    with pytest.raises(ValueError, match="the folds have other slices"):
        run(cv=StratifiedGroupKFold(2, shuffle=True, random_state=5))
    with pytest.raises(ValueError, match="contains a run; choose another run_dir"):
        run(resume=False)


def test_resume_under_other_threads_is_logged(run, finished, caplog):
    run(threads=2)
    assert "threads was 1, is 2" in caplog.text


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("model.safetensors", CrossValidationResult.fold_model),
        ("reference.safetensors", CrossValidationResult.fold_reference),
        ("history.csv", CrossValidationResult.history),
    ],
)
def test_what_is_missing_of_a_finished_fold_can_be_made_anew(run, finished, name, read):
    lost = finished.run_dir / "folds/0" / name
    lost.unlink()
    with pytest.raises(InvalidFileError, match=rf"{name}' is missing; remove 'predictions\.csv'"):
        read(finished, 0)
    (lost.parent / "predictions.csv").unlink()
    read(run(), 0)


def test_a_reference_of_another_network_is_refused(finished):
    path = finished.run_dir / "folds/0/reference.safetensors"
    features = {"features": np.random.default_rng(0).normal(size=(8, 512))}
    RunDirectory(finished.run_dir).unseal()
    TrainingReference.fit(features, features).save(path)
    with pytest.raises(InvalidFileError, match="another network: it has 512 features, not 128"):
        finished.fold_reference(0)


def test_a_run_needs_a_folder(run, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="the folder of a run must be writable; choose another"):
        run()


def test_the_log_says_how_far_a_run_is(run, caplog):
    caplog.set_level("INFO", "covidct")
    run()
    assert caplog.messages[-3:] == [
        "run: 2 of 2 folds to train",
        "run: fold 0 is finished",
        "run: fold 1 is finished",
    ]


def test_diverging_fold_leaves_the_others(run, tmp_path, monkeypatch):
    create = fold_module.create_model

    def poisoned(*args, **options):
        model = create(*args, **options)
        if not (tmp_path / "run/folds/1").exists():  # that is: in fold 0
            with torch.no_grad():
                next(model.head.parameters()).fill_(float("nan"))
        return model

    monkeypatch.setattr(fold_module, "create_model", poisoned)
    with pytest.raises(TrainingDivergedError, match=r"1 folds diverged.*fold 0: the loss is nan"):
        run()
    assert (tmp_path / "run/folds/1/predictions.csv").exists()
    monkeypatch.undo()
    assert len(run().fold_metrics) == 2


def test_official_split_repeats_and_scores_the_validation_part(tiny, quick, slice_folder, tmp_path):
    paths = sorted(slice_folder.glob("*/*.png"))
    dataset = covidct.CTDataset(
        paths,
        [p.parent.name == "COVID" for p in paths],
        official_split=["train", "train", "train", "val", "test", "test"] * 2,
    )
    options = {**OPTIONS, "cv": "official", "groups": None, "repeats": 2}
    result = CrossValidator(tiny, quick, run_dir=tmp_path / "run", **options).run(dataset)
    assert len(result.predictions) == 8
    assert len(result.pooled_predictions()) == 4
    assert (tmp_path / "run/folds/1/validation.csv").exists()
    first, second = (result.predictions[result.predictions["fold"] == k] for k in (0, 1))
    assert first["index"].tolist() == second["index"].tolist()
    assert first["logit"].tolist() != second["logit"].tolist()


def test_bad_input_fails_before_training(tiny, phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(fold_module, "_fit_and_score", None)
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        CrossValidator("resnet1")
    with pytest.raises(ValueError, match="seed"):
        CrossValidator(tiny, seed=-1)
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    with pytest.raises(InvalidFileError, match=r"weights\.pth"):
        CrossValidator(tiny, weights=tmp_path / "weights.pth", groups="patient", cv=2).run(phantoms)
    small = covidct.Recipe(canvas=(8, 8))
    run_dir = tmp_path / "run"
    with pytest.raises(ValueError, match=r"squeezenet cannot score canvases of 8 x 8 pixels"):
        CrossValidator("squeezenet", small, run_dir=run_dir, **OPTIONS).run(phantoms)
    assert not run_dir.exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:100], "cannot be read as JSON"),
        (lambda text: text.replace('"format": 2', '"format": 0'), "format 0"),
        (lambda text: text.replace('"seed": 0', '"seed": "x"'), "'seed' is 'x'"),
        (lambda text: text.replace('"protocol"', '"protocoll"'), "'protocol' is missing"),
        (lambda text: text.replace('"optimizer"', '"optimiser"'), "did you mean 'optimizer'"),
        (lambda text: "[]", "format 'list'"),
    ],
)
def test_edited_run_json_is_noticed(finished, tmp_path, damage, message):
    path = tmp_path / "run/run.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message):
        CrossValidationResult.load(tmp_path / "run")


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[: len(text) // 2], lambda text: "", lambda text: text.replace("0.", "O.")],
)
def test_edited_predictions_are_noticed(finished, tmp_path, damage):
    path = tmp_path / "run/folds/0/predictions.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InvalidFileError, match=r"predictions\.csv"):
        CrossValidationResult.load(tmp_path / "run")


def test_a_changed_digit_is_noticed(run, finished, tmp_path):
    sums = tmp_path / "run/SHA256SUMS"
    listed = {line.split("  ")[1] for line in sums.read_text().splitlines()}
    files = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*.*")}
    assert listed == {f for f in files if not f.rpartition("/")[2].startswith(".")}
    path = tmp_path / "run/folds/1/predictions.csv"
    text = path.read_text()
    digit = text.rindex(".") + 3
    path.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
    with pytest.raises(InvalidFileError, match=r"1/predictions\.csv' .*SHA-256 differs"):
        CrossValidationResult.load(tmp_path / "run")
    path.unlink()
    assert run().predictions.equals(finished.predictions)
    model = tmp_path / "run/folds/0/model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"model\.safetensors' .*SHA-256 differs"):
        CrossValidationResult.load(tmp_path / "run").fold_model(0)
    (tmp_path / "run/metrics.json").write_text("{}")
    with pytest.raises(InvalidFileError, match=r"metrics\.json' .*; remove it and start"):
        CrossValidationResult.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folds: folds.pop("1.test"), "must have train, test, validation of 2 folds"),
        (lambda folds: folds["0.train"].fill(24), "'0.train' must be positions from 0 to 23"),
        (lambda folds: folds["0.test"].fill(3), "fold 0 must have slices to train on"),
        (lambda folds: folds.update({"0.train": folds["0.test"]}), "fold 0 has slices in both"),
        (lambda folds: folds.update({"0.test": np.array([0.5])}), "must be a list of integers"),
    ],
)
def test_edited_folds_are_noticed(finished, tmp_path, change, message):
    path = tmp_path / "run/folds.safetensors"
    folds = load_file(path)
    change(folds)
    save_file(folds, path)
    with pytest.raises(InvalidFileError, match=message):
        CrossValidationResult.load(tmp_path / "run")


def test_a_backend_of_joblib_is_used(run):
    with joblib.parallel_config(backend="threading"):
        assert len(run(run_dir=None).fold_metrics) == 2


@pytest.mark.parametrize("style", ["text", "markdown", "latex", "csv"])
def test_tables(finished, style):
    table = finished.table().render(style)
    assert "mean ± sd" in table or r"mean $\pm$ sd" in table
    assert "Accuracy" in table
    assert style != "text" or max(map(len, table.splitlines()[1:10])) < 80


def test_groups_of_both_classes_are_positive(run, phantoms):
    pairs = np.arange(len(phantoms)) // 8  # a patient of each class
    result = run(groups=pairs)
    positive = result.predictions.groupby("group")["target"].max()
    patients = result.patient_predictions().set_index("group")["target"]
    assert patients.to_dict() == positive[patients.index].to_dict()
    assert len(result.to_dict()["patients"]) == len(result.folds)


@pytest.mark.parametrize("data", ["slices/", [1, 2], None])
def test_other_datasets_are_refused(data):
    with pytest.raises(TypeError, match=r'covidct\.load_dataset\("folder", root\)'):
        covidct.CrossValidator("shufflenet", weights=None).run(data)


def test_repeats_number_folds_through_and_keep_the_first_repeat(run, tmp_path):
    once = run(run_dir=tmp_path / "once", seed=1)
    twice = run(run_dir=tmp_path / "twice", seed=1, repeats=2)
    assert (twice.spec.repeats, len(twice.folds)) == (2, 4)
    pd.testing.assert_frame_equal(
        twice.predictions[twice.predictions["repeat"] == 0], once.predictions
    )
    for k in (0, 1):
        files = [r.run_dir / f"folds/{k}/model.safetensors" for r in (once, twice)]
        assert files[0].read_bytes() == files[1].read_bytes()
    tested = twice.predictions.groupby("repeat")["index"].apply(sorted)
    assert tested[0] == tested[1] == list(range(24))
    assert len(twice.pooled_predictions()) == 24
    kept = sorted(once.run_dir.glob("folds/*/model.safetensors"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    extended = run(run_dir=once.run_dir, seed=1, repeats=2)
    pd.testing.assert_frame_equal(extended.predictions, twice.predictions)
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    with pytest.raises(ValueError, match=r"repeats was 2, is 1\. Give repeats=2, or choose"):
        run(run_dir=once.run_dir, seed=1)


def test_a_run_that_is_killed_while_it_is_extended_stays_as_it_was(run, tmp_path, monkeypatch):
    before = run()
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr("covidct.runs.storage.write_json", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            run(repeats=2)
    assert len(load_file(tmp_path / "run/folds.safetensors")) == 3 * 4
    after = CrossValidationResult.load(tmp_path / "run")
    pd.testing.assert_frame_equal(after.predictions, before.predictions)
    trained = []
    monkeypatch.setattr(fold_module, "_fit_and_score", lambda job, *_: trained.append(job.number))
    with pytest.raises(ValueError, match=r"folds \[2, 3\] of 4 are missing"):
        run(repeats=2)
    assert set(trained) == {2, 3}


def test_a_damaged_run_is_not_extended(run, tmp_path):
    run()
    (tmp_path / "run/folds/1/model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InvalidFileError, match=r"folds/1/model\.safetensors' was damaged"):
        run(repeats=2)


@pytest.mark.parametrize(
    ("of_torch", "n_jobs", "threads"), [(3, 1, 3), (16, 1, 8), (16, 2, 4), (1, 2, 1), (16, -1, 1)]
)
def test_threads_are_those_of_torch_and_share_the_cores(
    tiny, monkeypatch, of_torch, n_jobs, threads
):
    monkeypatch.setattr("covidct.runs.cross_validator.cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: of_torch)
    assert CrossValidator(tiny, n_jobs=n_jobs).threads == threads
    assert CrossValidator(tiny, n_jobs=n_jobs, threads=5).threads == 5


def test_split_and_training_have_seeds_of_their_own(run, tmp_path):
    first, other = run(seed=0, split_seed=5), run(run_dir=tmp_path / "b", seed=1, split_seed=5)
    assert first.folds == other.folds
    assert first.predictions["logit"].tolist() != other.predictions["logit"].tolist()
    assert (first.spec.seed, first.spec.split_seed) == (0, 5)
    with pytest.raises(ValueError, match="split_seed was 5, is 6"):
        run(seed=0, split_seed=6)
