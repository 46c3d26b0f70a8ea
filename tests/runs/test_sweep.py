from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from filelock import FileLock

import covidct
from covidct import cli
from covidct.errors import InvalidFileError, UnknownNameError
from covidct.report.sweep_tables import write_sweep_tables
from covidct.runs import fold as fold_module
from covidct.runs.protocol import Protocol
from covidct.runs.sweep import PlannedRun, SweepResult, run_sweep, time_left

OPTIONS = {"folds": 2, "threads": 1, "device": "cpu"}


@pytest.fixture
def cells(tiny, quick):
    shared = {"dataset": "phantom", "model": tiny, "protocol": "grouped", "weights": None}
    return [
        PlannedRun(variant="plain", recipe=quick, **shared),
        PlannedRun(variant="stretch", recipe=quick.replace(resize="stretch"), **shared),
    ]


@pytest.fixture
def do(cells, phantoms, tmp_path):
    def do(chosen=None, **options):
        options = {**OPTIONS, "datasets": {"phantom": phantoms}, **options}
        return run_sweep(cells if chosen is None else chosen, tmp_path, **options)

    return do


def test_every_cell_has_its_run(do, cells, tiny, tmp_path):
    done = do()
    assert list(done.results) == cells
    assert not done.failures
    for cell, result in done.results.items():
        assert result.run_dir == tmp_path / "phantom" / tiny / cell.variant
        assert result.recipe == cell.recipe
    table = done.table().render("csv").splitlines()
    assert table[0].startswith("network,dataset,variant,protocol")
    assert [row.split(",")[2] for row in table[1:]] == ["plain", "stretch"]


def test_a_cell_is_the_cross_validation_of_its_options(do, cells, tiny, phantoms):
    swept = do(cells[:1]).results[cells[0]]
    alone = covidct.CrossValidator(
        tiny, cells[0].recipe, cv=2, groups="patient", weights=None, threads=1, device="cpu"
    ).run(phantoms)
    assert swept.predictions.equals(alone.predictions)


def test_what_is_finished_is_not_done_again(do, cells, monkeypatch):
    first = do(cells[1:])
    loaded = SweepResult.load(first.results[cells[1]].run_dir.parents[2])
    assert list(loaded.results) == cells[1:]
    second = do()
    monkeypatch.setattr(fold_module, "_fit_and_score", None)  # nothing is left to do
    third = do(cells[::-1])
    for cell in cells:
        assert third.results[cell].predictions.equals(second.results[cell].predictions)


def test_a_failing_cell_stops_no_other(do, cells, caplog):
    official = PlannedRun(**{**vars(cells[0]), "variant": "official", "protocol": "official"})
    done = do([official, cells[0]])
    assert list(done.results) == cells[:1]
    assert "official" in done.failures[official]
    assert "phantom/tiny/official failed" in caplog.text


def test_a_damaged_cell_stops_no_other(do, cells, tmp_path):
    """Not even while the time that is left is estimated from all of them."""
    damaged = tmp_path / cells[1].path / "run.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{}")
    done = do()
    assert list(done.results) == cells[:1]
    assert repr(str(damaged)) in done.failures[cells[1]]


def test_cells_of_another_process_come_last(do, cells, tmp_path, monkeypatch):
    order = []
    fit = fold_module._fit_and_score
    monkeypatch.setattr(
        fold_module, "_fit_and_score", lambda *args: (order.append(args[1].path.name), fit(*args))
    )
    folder = tmp_path / cells[0].path
    folder.mkdir(parents=True)
    with FileLock(folder / ".sweep.lock"):
        assert len(do().results) == 2
    assert order == ["stretch", "stretch", "plain", "plain"]


def test_processes_share_a_folder_without_doing_a_fold_twice(tiny_as_json, tmp_path):
    script = textwrap.dedent(
        """
        import json
        import os
        import sys
        import covidct
        from covidct.runs import fold
        from covidct.runs.sweep import PlannedRun
        from covidct.runs.sweep import run_sweep
        covidct.register_model(covidct.ArchitectureInfo(**json.loads(sys.argv[2])))
        fit = fold._fit_and_score
        def noted(job, directory, profile):
            sys.stdout.write(f"{directory.path.name} {job.number}\\n")  # in one piece
            sys.stdout.flush()
            fit(job, directory, profile)
        fold._fit_and_score = noted
        recipe = covidct.Recipe.demo().scaled(2)
        cells = [
            PlannedRun(dataset="phantom", model="tiny", variant=name, recipe=recipe,
                 protocol="grouped", weights=None)
            for name in "abc"
        ]
        slices = covidct.load_dataset("phantom", n=24, seed=0)
        options = dict(folds=2, threads=1, device="cpu")
        child = os.fork()  # two processes, and the slow imports only once
        done = run_sweep(cells, sys.argv[1], datasets={"phantom": slices}, **options)
        assert len(done.results) == 3, done.failures
        if child:
            assert os.waitpid(child, 0)[1] == 0
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path), tiny_as_json]
    output = subprocess.check_output(command, text=True, timeout=240)
    assert sorted(output.splitlines()) == [f"{name} {k}" for name in "abc" for k in (0, 1)]


@pytest.fixture
def one_done(made_up_run, tmp_path):
    """A folder with one finished cell that took 50 s; and cells of other work."""
    recipe = covidct.Recipe(epochs=2, milestones=(), canvas=(40, 56))
    done = PlannedRun(dataset="a", model="squeezenet", variant="x", recipe=recipe)
    made_up_run(
        lambda t, i: t, name="a", slices=100, recipe=recipe, folder=tmp_path / done.path, seconds=10
    )
    return done, tmp_path


def changed(cell, **changes):
    return PlannedRun(**{**vars(cell), **changes})


def test_estimate_scales_with_slices_pixels_and_epochs(one_done):
    done, folder = one_done
    longer = changed(done, dataset="b", recipe=done.recipe.replace(epochs=6, canvas=(80, 56)))
    sizes = {"a": 100, "b": 1000}
    assert time_left([done, longer], folder, sizes) == pytest.approx(50 * 3 * 2 * 10)
    assert time_left([done, longer], folder, sizes, n_jobs=2) == pytest.approx(25 * 3 * 2 * 10)
    assert time_left([done], folder, sizes) == 0
    assert time_left([longer], folder, sizes) is None


def test_estimate_counts_further_repeats(one_done):
    done, folder = one_done
    other = changed(done, variant="y")
    official = changed(done, variant="z", protocol="official")
    sizes = {"a": 100}
    assert time_left([done], folder, sizes, repeats=3) == pytest.approx(2 * 50)
    assert time_left([done, other], folder, sizes, repeats=2) == pytest.approx(50 + 2 * 50)
    assert time_left([done, official], folder, sizes, repeats=None) == pytest.approx(5 * 10)
    assert time_left([done, official], folder, sizes, repeats=2) == pytest.approx(50 + 2 * 10)


def test_estimate_counts_finished_folds_of_a_cell_under_way(one_done):
    done, folder = one_done
    for k in (3, 4):
        (folder / done.path / "folds" / str(k) / "predictions.csv").unlink()
    assert time_left([done], folder, {"a": 100}) == pytest.approx(20)
    assert SweepResult.load(folder).results == {}


def test_a_speed_of_the_same_network_counts_before_others(one_done, made_up_run):
    done, folder = one_done
    slow = changed(done, model="resnet18")
    made_up_run(
        lambda t, i: t,
        name="a",
        slices=100,
        recipe=done.recipe,
        model="resnet18",
        folder=folder / slow.path,
        seconds=1000,
    )
    cells = [done, slow, changed(done, variant="y")]
    assert time_left(cells, folder, {"a": 100}) == pytest.approx(50)
    other = [done, slow, changed(done, model="resnet50")]
    assert 50 < time_left(other, folder, {"a": 100}) < 5000


def test_a_folder_of_another_recipe_is_still_to_do(one_done):
    done, folder = one_done
    other = changed(done, recipe=done.recipe.replace(resize="stretch"))
    assert time_left([done, other], folder, {"a": 100}) == pytest.approx(50)


def test_a_damaged_run_is_named(one_done):
    done, folder = one_done
    assert list(SweepResult.load(folder).results) == [done]
    (folder / done.path / "run.json").write_text("{")
    with pytest.raises(InvalidFileError, match=r"run\.json"):
        SweepResult.load(folder)


def noisy(seed, share):
    def judge(targets, index):
        wrong = np.random.default_rng((seed, int(index[0]))).random(len(index)) < share
        return np.where(wrong, 1 - targets, targets)

    return judge


@pytest.fixture
def swept(made_up_run, tmp_path):
    """Two networks under three variants, of which the stretched ones are worse."""
    for seed, (model, variant) in enumerate(
        (m, v) for m in ("resnet18", "squeezenet") for v in ("paper", "stretch", "grouped")
    ):
        worse = variant == "stretch"
        made_up_run(
            noisy(seed, 0.3 if worse else 0.05),
            recipe=covidct.Recipe(resize="stretch") if worse else None,
            model=model,
            protocol=Protocol.grouped("patient") if variant == "grouped" else Protocol.paper(),
            folder=tmp_path / "covid19-ct" / model / variant,
        )
    return SweepResult.load(tmp_path)


def test_cells_that_differ_in_one_thing_are_compared(swept):
    tests = swept.compare(n_permutations=199)
    pairs = [(t.a.split("/", 1)[1], t.b.split("/", 1)[1]) for t in tests.tests]
    assert pairs == [
        ("resnet18/grouped", "squeezenet/grouped"),
        ("resnet18/paper", "resnet18/stretch"),
        ("resnet18/paper", "squeezenet/paper"),
        ("resnet18/stretch", "squeezenet/stretch"),
        ("squeezenet/paper", "squeezenet/stretch"),
    ]
    found = [t.p_permutation_holm <= 0.05 and t.p_retraining_holm <= 0.05 for t in tests.tests]
    assert found == [False, True, False, False, True]
    assert swept.compare(baseline="none", n_permutations=1).tests[0].a.endswith("grouped")


def test_beside_the_paper(swept):
    header, *rows = swept.published().render("csv").splitlines()
    assert header.startswith("run,result,published")
    assert len(rows) == 6
    assert "90.3 ± 2.5" in rows[1]
    assert rows[1].endswith("–")
    assert rows[2].endswith("resize stretch instead of pad")
    assert "grouped by patient" in rows[0]
    assert not swept.published(metric="auc").rows


def test_page_for_the_documentation(swept, tmp_path):
    paths = write_sweep_tables(swept, tmp_path / "page", tests=swept.compare(n_permutations=99))
    assert [path.name for path in paths] == ["covid19-ct-sweep.json", "covid19-ct-tests.json"]
    results, tests = (json.loads(path.read_text("utf-8")) for path in paths)
    for table in (results, tests):
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        assert table["command"].count("covidct train") == 6
        assert "1 thread, float32" in table["machine"]
    rows = {(row[0], row[1]): row for row in results["rows"]}
    assert rows["resnet18", "paper"][-2] == "90.3 ± 2.5"
    assert rows["resnet18", "stretch"][-2] == "(90.3 ± 2.5)"
    assert any("resnet18, stretch: resize" in note for note in results["notes"])
    assert tests["rows"][1][0] == "resnet18 paper minus resnet18 stretch"
    assert str(tmp_path) not in paths[0].read_text("utf-8")


def test_bad_sweeps_fail_at_once(do, cells):
    with pytest.raises(ValueError, match="several are planned for phantom/tiny/plain"):
        do([cells[0], PlannedRun(**{**vars(cells[1]), "variant": "plain"})])
    with pytest.raises(UnknownNameError, match="'phantom'"):
        do(datasets={})


@pytest.mark.filterwarnings("ignore::covidct.runs.splits.LeakageWarning")  # not tested here
def test_command_line(tiny, tmp_path, capsys, caplog):
    covidct.load_dataset("phantom", n=24, seed=0).save(tmp_path / "slices")
    shared = ["sweep", "--folder", str(tmp_path / "sweep")]
    planned = ["--preset", "honest,ablations", "--only", "grouped,stretch,official"]
    planned += ["--models", f"{tiny}*", "--dataset", f"folder={tmp_path / 'slices'}"]
    planned += ["--recipe", "demo", "--epochs", "1", "--weights", "none"]
    planned += ["--folds", "2", "--threads", "1", "--device", "cpu", "--target", "label"]
    shown = ["--table", "markdown"]
    assert cli.main([*shared, *planned, "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [f"to do     folder/{tiny}/grouped", f"to do     folder/{tiny}/stretch"]
    assert "folder has no official split" in caplog.text
    assert cli.main([*shared, *planned, *shown]) == 0
    assert "2 of 2 runs done" in caplog.text
    table = capsys.readouterr().out
    assert table.startswith("|")
    assert "grouped by patient" in table
    trained = covidct.CrossValidationResult.load(tmp_path / "sweep" / "folder" / tiny / "grouped")
    assert trained.spec.target == "label"
    assert cli.main([*shared, *shown, "--finished"]) == 0
    assert capsys.readouterr().out == table
    assert cli.main([*shared, *planned, "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"finished  folder/{tiny}/grouped"
    assert out[2] == "0 to do"
    for change in ("--repeats", "2"), ("--target", "covid"):
        assert cli.main([*shared, *planned, "--dry-run", *change]) == 0
        out = capsys.readouterr().out.splitlines()
        assert out[0] == f"to do     folder/{tiny}/grouped"


def test_command_line_names_what_failed(tiny, tmp_path, capsys):
    covidct.load_dataset("phantom", n=8, seed=0).save(tmp_path / "slices")
    arguments = ["sweep", "--preset", "honest", "--models", tiny, "--dataset", "folder"]
    arguments += ["--root", str(tmp_path / "slices"), "--folder", str(tmp_path / "sweep")]
    assert cli.main([*arguments, "--weights", "none", "--epochs", "1", "--folds", "100"]) == 1
    assert f"folder/{tiny}/grouped: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs --dataset NAME"),
        (["--dataset", "phantom", "--preset", "table"], "did you mean 'table2'"),
        (["--dataset", "phantom", "--only", "padding"], "unknown variant 'padding'"),
        (["--dataset", "phantom", "--models", "resnet1"], "did you mean 'resnet18'"),
        (["--dataset", "phantom", "--scale", "0"], "--scale must be positive"),
        (["--dataset", "phantom", "phantom=x"], "'phantom' is named twice"),
        (["--dataset", "phantom", "--metric", "acu"], "did you mean"),
    ],
)
def test_wrong_calls_exit_with_2(arguments, message, capsys):
    assert cli.main(["sweep", *arguments]) == 2
    assert message in capsys.readouterr().err
