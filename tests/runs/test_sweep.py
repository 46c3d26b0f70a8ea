from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from filelock import FileLock

import covidct
from covidct import cli
from covidct.errors import InvalidFileError, UnknownNameError
from covidct.runs import fold as fold_module
from covidct.runs.sweep import PRESETS, Cell, find_finished, plan, sweep, time_left

OPTIONS = {"folds": 2, "threads": 1, "device": "cpu"}


@pytest.fixture
def cells(tiny, quick):
    shared = {"dataset": "phantom", "model": tiny, "protocol": "grouped", "weights": None}
    return [
        Cell(variant="plain", recipe=quick, **shared),
        Cell(variant="stretch", recipe=quick.replace(resize="stretch"), **shared),
    ]


@pytest.fixture
def do(cells, phantoms, tmp_path):
    def do(chosen=None, **options):
        options = {**OPTIONS, "datasets": {"phantom": phantoms}, **options}
        return sweep(cells if chosen is None else chosen, tmp_path, **options)

    return do


def test_every_cell_has_its_run(do, cells, tiny, tmp_path):
    done = do()
    assert list(done.results) == cells
    assert not done.failures
    for cell, result in done.results.items():
        assert result.run_dir == tmp_path / "phantom" / tiny / cell.variant
        assert result.recipe == cell.recipe
    table = done.table("csv").splitlines()
    assert table[0].startswith("network,dataset,variant,protocol")
    assert [row.split(",")[2] for row in table[1:]] == ["plain", "stretch"]


def test_a_cell_is_the_cross_validation_of_its_options(do, cells, tiny, phantoms):
    swept = do(cells[:1]).results[cells[0]]
    alone = covidct.CrossValidator(
        tiny, cells[0].recipe, cv=2, groups="patient", weights=None, threads=1, device="cpu"
    ).run(phantoms)
    assert (swept.predictions == alone.predictions).all()


def test_what_is_finished_is_not_done_again(do, cells, monkeypatch):
    first = do(cells[1:])
    assert list(find_finished(cells, first.results[cells[1]].run_dir.parents[2])) == cells[1:]
    second = do()
    monkeypatch.setattr(fold_module, "_fit_and_score", None)  # nothing is left to do
    third = do(cells[::-1])
    for cell in cells:
        assert (third.results[cell].predictions == second.results[cell].predictions).all()


def test_a_failing_cell_stops_no_other(do, cells, caplog):
    official = Cell(**{**vars(cells[0]), "variant": "official", "protocol": "official"})
    done = do([official, cells[0]])
    assert list(done.results) == cells[:1]
    assert "official" in done.failures[official]
    assert "phantom/tiny/official failed" in caplog.text


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


def test_processes_share_a_folder_without_doing_a_fold_twice(tiny, tmp_path):
    script = textwrap.dedent(
        """
        import sys
        from dataclasses import replace
        import covidct
        from covidct.runs import fold
        from covidct.runs.sweep import Cell, sweep
        shufflenet = covidct.model_info("shufflenet")
        covidct.register_model(replace(shufflenet, name="tiny", custom_size=(40, 56)))
        fit = fold._fit_and_score
        def noted(job, directory, profile):
            print(directory.path.name, job.number)
            fit(job, directory, profile)
        fold._fit_and_score = noted
        recipe = covidct.Recipe.demo().scaled(2)
        cells = [
            Cell(dataset="phantom", model="tiny", variant=name, recipe=recipe,
                 protocol="grouped", weights=None)
            for name in "abc"
        ]
        slices = covidct.load_dataset("phantom", n=24, seed=0)
        options = dict(folds=2, threads=1, device="cpu")
        done = sweep(cells, sys.argv[1], datasets={"phantom": slices}, **options)
        assert len(done.results) == 3, done.failures
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    done = sorted("".join(outputs).splitlines())
    assert done == [f"{name} {number}" for name in "abc" for number in (0, 1)]


def test_estimate_scales_with_slices_and_epochs(do, cells, quick):
    finished = do(cells[:1]).results
    (result,) = finished.values()
    seconds = sum(result.history(k)["seconds"].sum() for k in (0, 1))
    longer = Cell(**{**vars(cells[1]), "dataset": "larger", "recipe": quick.scaled(6)})
    sizes = {"phantom": 24, "larger": 240}
    assert time_left([longer], finished, sizes) == pytest.approx(30 * seconds)
    assert time_left([longer], finished, sizes, n_jobs=2) == pytest.approx(15 * seconds)
    assert time_left([], finished, sizes) == 0
    assert time_left(cells, {}, sizes) is None


def test_a_speed_of_the_same_network_counts_before_others(do, cells):
    (result,) = do(cells[:1]).results.values()
    finished = {cells[0]: result}
    other = Cell(**{**vars(cells[0]), "model": "resnet18"})
    assert time_left([other], finished, {"phantom": 24}) == time_left(
        cells[:1], finished, {"phantom": 24}
    )


def test_finished_cells_of_other_epochs_and_damaged_ones_are_not_taken(do, cells, tmp_path):
    do(cells[:1])
    other = Cell(**{**vars(cells[0]), "recipe": cells[0].recipe.scaled(5)})
    assert find_finished([other], tmp_path) == {}
    (tmp_path / cells[0].path / "run.json").write_text("{")
    with pytest.raises(InvalidFileError, match=r"run\.json"):
        find_finished(cells, tmp_path)


def test_bad_sweeps_fail_at_once(do, cells):
    with pytest.raises(ValueError, match="share phantom/tiny/plain"):
        do([cells[0], Cell(**{**vars(cells[1]), "variant": "plain"})])
    with pytest.raises(UnknownNameError, match="'phantom'"):
        do(datasets={})
    with pytest.raises(UnknownNameError, match="did you mean 'table2'"):
        plan("table", ["resnet18"], ["phantom"])
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        plan("table2", ["resnet1"], ["phantom"])


def test_table2_is_the_papers():
    names = [name for name in covidct.list_models() if name != "tiny"]
    cells = plan("table2", names, ["covid19-ct", "sars-cov-2-ct"])
    assert len(cells) == 2 * len(names)
    assert {cell.recipe for cell in cells} == {covidct.Recipe()}
    assert {(cell.protocol, cell.weights) for cell in cells} == {("paper", "imagenet")}


def test_an_ablation_differs_from_the_paper_in_one_thing():
    paper = covidct.Recipe().to_dict()
    linked = {"optimizer", "learning_rate", "weight_decay", "milestones"}
    seen = set()
    for name, variant in PRESETS["ablations"].items():
        changed = {key for key, value in variant.recipe.to_dict().items() if value != paper[key]}
        assert len(changed) == (name != "paper") or changed == linked
        seen.add(variant.recipe)
    assert len(seen) == len(PRESETS["ablations"])
    sgd = PRESETS["ablations"]["sgd"].recipe
    rates = [covidct.Recipe().rate_at(epoch) / sgd.rate_at(epoch) for epoch in range(100)]
    np.testing.assert_allclose(rates, rates[0])


def test_command_line(tiny, phantoms, tmp_path, capsys):
    covidct.load_dataset("phantom", n=24, seed=0).save(tmp_path / "slices")
    shared = ["sweep", "--preset", "honest", "--models", tiny, "--datasets", "folder"]
    shared += ["--roots", f"folder={tmp_path / 'slices'}", "--folder", str(tmp_path / "sweep")]
    shared += ["--epochs", "1", "--weights", "none"]
    doing = ["--folds", "2", "--threads", "1", "--device", "cpu", "--table", "markdown"]
    assert cli.main([*shared, "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [f"to do     folder/{tiny}/grouped", f"to do     folder/{tiny}/official"]
    assert cli.main([*shared, *doing]) == 0
    table = capsys.readouterr().out
    assert table.startswith("|")
    assert "grouped by patient" in table
    assert cli.main([*shared, "--finished", "--table", "markdown"]) == 0
    assert capsys.readouterr().out == table
    assert cli.main([*shared, "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"finished  folder/{tiny}/grouped"
    assert "1 to do; 1 of them in about" in out[2]


def test_command_line_names_what_failed(tiny, phantoms, tmp_path, capsys):
    phantoms_folder = tmp_path / "slices"
    covidct.load_dataset("phantom", n=8, seed=0).save(phantoms_folder)
    arguments = ["sweep", "--preset", "honest", "--models", tiny, "--datasets", "folder"]
    arguments += ["--roots", f"folder={phantoms_folder}", "--folder", str(tmp_path / "sweep")]
    assert cli.main([*arguments, "--weights", "none", "--epochs", "1", "--folds", "100"]) == 1
    assert f"folder/{tiny}/grouped: " in capsys.readouterr().err
    assert cli.main([*arguments, "--roots", "x=y"]) == 2
    assert "--roots takes NAME=PATH" in capsys.readouterr().err
