"""Write the files of the page of results: tables of runs, choices, external tests, audits, pairs.

NAME.json has the table that the page shows, with the command, machine, date, seed and minutes of
the run. NAME.csv.gz has the predictions, from which a test computes the table again with
scikit-learn. Runs of several seeds on one test part also get a row for the mean of their networks.

    python docs/results/collect.py run runs/lite0 --name covid19-ct-lite0-official
    python docs/results/collect.py choice runs/chosen runs/other --name official-choice
    python docs/results/collect.py external runs/lite0 --name lite0-elsewhere --on sars-cov-2-ct=DIR
    python docs/results/collect.py audit --name audit-covid19-ct --on covid19-ct=DIR
    python docs/results/collect.py compare runs/grouped runs/random --name repeats-difference
"""

from __future__ import annotations

import argparse
import re
import textwrap
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import covidct
from covidct._files import write_json
from covidct.audit import audit_dataset
from covidct.evaluation import metrics
from covidct.evaluation.intervals import Interval
from covidct.evaluation.tables import Table, percent, percent_range
from covidct.report import command_line
from covidct.runs import compare_runs
from covidct.runs.external_test import ExternalEvaluation
from covidct.runs.protocol import NARROW_INTERVALS
from covidct.training import Recipe

FOLDER = Path(__file__).parent
SHOWN = (*metrics.PAPER_METRICS, "auc")
CHOICE = """\
slices = covidct.load_dataset("covid19-ct", "FOLDER")
train, validation = (np.flatnonzero(slices.official_split == part) for part in ("train", "val"))
cv = covidct.CrossValidator(NETWORK, covidct.Recipe.modern(), cv=[(train, validation)], threads=1)
cv.run(slices)"""
RECIPES = {"the paper's recipe": Recipe(), "the modern recipe": Recipe.modern()}


def folds_table(run: covidct.CrossValidationResult) -> list[list[str]]:
    """Return the rows of a run: each fold or seed, mean, intervals, patients."""
    names = run.to_frame().index
    rows = [_row(str(name), run.fold_metrics[k]) for k, name in enumerate(names)]
    rows.append(["mean ± sd", *(percent(*run.summary()[name]) for name in SHOWN)])
    rows.append(_range(f"95 % interval, by {run.resampled_unit}", run.intervals()))
    if run.has_patients and run.patient_metrics is not None:
        means = metrics.summarize(run.patient_metrics)
        rows.append(["per patient, mean ± sd", *(percent(*means[name]) for name in SHOWN)])
    if tests_one_part(run.predictions):
        of_slice = run.predictions.pivot(index="index", columns="fold", values="probability")
        known = run.predictions.groupby("index")[["target", "group"]].first()
        groups = known["group"].to_numpy(str) if run.has_groups else None
        mean = ExternalEvaluation(
            run.dataset_name,
            run.dataset_name,
            of_slice.to_numpy().T,
            known["target"].to_numpy(),
            groups,
        )
        rows.append(_row("mean of the networks", mean.ensemble_metrics))
        rows.append(_range("its 95 % interval", mean.intervals()))
    return rows


def external_table(found: ExternalEvaluation) -> list[list[str]]:
    """Return the rows of an external test: each network, their mean, and its interval."""
    rows = [_row(str(k), scores) for k, scores in enumerate(found.fold_metrics)]
    rows.append(["mean ± sd", *(percent(*found.summary()[name]) for name in SHOWN)])
    rows.append(_row("mean of the networks", found.ensemble_metrics))
    rows.append(_range("95 % interval of the mean of the networks", found.intervals()))
    return rows


def title_of_dataset(name: str) -> str:
    """Return the titles of a dataset, or of the sources that it joins, without descriptions."""
    titles = [covidct.dataset_info(part).title for part in name.split("+")]
    return ", ".join(re.split(r", | \(", title)[0] for title in titles)


def tests_one_part(predictions: pd.DataFrame) -> bool:
    """Return True if several networks were tested on the same slices."""
    tested = [set(part["index"]) for _, part in predictions.groupby("fold")]
    return len(tested) > 1 and all(part == tested[0] for part in tested)


def _row(label: str, scores: Mapping[str, float]) -> list[str]:
    return [label, *(percent(scores[name]) for name in SHOWN)]


def _range(label: str, intervals: Mapping[str, Interval]) -> list[str]:
    return [label, *(percent_range(*intervals[name]) for name in SHOWN)]


def recipe_of(run: covidct.CrossValidationResult) -> str:
    epochs = run.recipe.epochs
    for name, known in RECIPES.items():
        if run.recipe == known.scaled(epochs):
            return name if epochs == known.epochs else f"{name}, {epochs} epochs"
    return "own recipe"


def machine_of(run: covidct.CrossValidationResult) -> str:
    threads = "1 thread" if run.spec.threads == 1 else f"{run.spec.threads} threads"
    return (
        f"{run.spec.device} with {threads}, {run.spec.precision}, "
        f"torch {run.spec.versions['torch']}"
    )


def date_of(run: covidct.CrossValidationResult) -> str:
    finished = (run.run_dir / "metrics.json").stat().st_mtime
    return datetime.fromtimestamp(finished, UTC).date().isoformat()


def title_of(run: covidct.CrossValidationResult, what: str) -> str:
    weights = "random weights" if run.spec.weights is None else "pretrained"
    network = covidct.model_info(run.model_name).title
    return f"{network} ({weights}, {recipe_of(run)}) {what}, in percent"


def write_result(
    name: str,
    run: covidct.CrossValidationResult,
    predictions: pd.DataFrame,
    *,
    title: str,
    rows: list[list[str]],
    shown: tuple[str, str, str] | None,
    command: str,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Write NAME.json and NAME.csv.gz; ``shown`` is the dataset, column and row of the overview."""
    minutes = sum(run.history(k)["seconds"].sum() for k in range(len(run.folds))) / 60
    content: dict[str, Any] = {
        "title": title,
        "command": command,
        "machine": machine_of(run),
        "date": date_of(run),
        "columns": ["fold", *(metrics.METRICS[name].title for name in SHOWN)],
        "rows": rows,
        "notes": [f"Seed {run.spec.seed}; {minutes:.0f} minutes of training.", *notes],
        "predictions": f"{name}.csv.gz",
    }
    if shown is not None:
        dataset, column, value = shown
        labels = [row[0] for row in rows]
        (interval,) = (k for k, label in enumerate(labels) if label.startswith("95 % interval"))
        cell = {"network": run.model_name, "dataset": dataset, "column": column}
        places = {"value": [labels.index(value), "Accuracy"], "interval": [interval, "Accuracy"]}
        content["overview"] = [cell | places]
    predictions.to_csv(
        FOLDER / f"{name}.csv.gz", index=False, compression={"method": "gzip", "mtime": 0}
    )
    write_json(FOLDER / f"{name}.json", content)
    return content


def command_of(run: covidct.CrossValidationResult) -> str:
    command = command_line(run)
    if command is None:
        raise SystemExit(f"{run.run_dir}: the command line cannot repeat this run")
    return command


def wrapped(command: str) -> str:
    """Break a command into lines of at most 100 characters."""
    return " \\\n".join(textwrap.wrap(command, 96, subsequent_indent="  ", break_on_hyphens=False))


def write_folds(
    name: str, run: covidct.CrossValidationResult, notes: list[str], *, in_overview: bool
) -> dict[str, Any]:
    kept = ["index", "path", "target", "group", "fold", "probability"]
    dataset = run.dataset_name
    on = f"on {title_of_dataset(dataset)}, {run.protocol.label}"
    in_overview = in_overview and run.protocol.id != "source"
    return write_result(
        name,
        run,
        run.predictions[kept],
        title=title_of(run, on),
        rows=folds_table(run),
        shown=(dataset, run.protocol.id, "mean ± sd") if in_overview else None,
        command=wrapped(command_of(run)),
        notes=notes,
    )


def write_choice(name: str, runs: list[covidct.CrossValidationResult]) -> dict[str, Any]:
    """Write the table of networks that were trained on the training part of the official split."""
    rows = []
    for run in runs:
        t, p = run.predictions["target"], run.predictions["probability"]
        found = metrics.score(t, p)
        loss = -np.log(np.where(t == 1, p, 1 - p)).mean()
        minutes = sum(run.history(k)["seconds"].sum() for k in range(len(run.folds))) / 60
        rows.append(
            [
                *(covidct.model_info(run.model_name).title, recipe_of(run), str(run.spec.seed)),
                *(percent(found["accuracy"]), percent(found["auc"]), f"{loss:.3f}"),
                f"{minutes:.0f}",
            ]
        )
    content = {
        "title": f"The choice on the validation part ({len(t)} slices), in percent",
        "command": CHOICE,
        "machine": machine_of(runs[0]),
        "date": date_of(runs[-1]),
        "columns": ["network", "recipe", "seed", "Accuracy", "AUC", "log loss", "minutes"],
        "rows": rows,
    }
    write_json(FOLDER / f"{name}.json", content)
    return content


def write_external(
    name: str, run: covidct.CrossValidationResult, dataset: covidct.CTDataset, notes: list[str]
) -> dict[str, Any]:
    found = run.evaluate(dataset)
    n_folds, n = found.probabilities.shape
    slices = pd.DataFrame(
        {
            "index": np.arange(n),
            "path": dataset.names,
            "target": found.targets,
            "group": "" if found.groups is None else found.groups,
        }
    )
    predictions = pd.concat([slices.assign(fold=k) for k in range(n_folds)], ignore_index=True)
    predictions["probability"] = found.probabilities.ravel()
    trained, tested = (title_of_dataset(d) for d in (run.dataset_name, dataset.name))
    narrow = NARROW_INTERVALS[found.groups is not None]
    evaluate = f"covidct evaluate RUN --dataset {dataset.name}=FOLDER"
    return write_result(
        name,
        run,
        predictions,
        title=title_of(run, f"trained on {trained}, tested on {tested}"),
        rows=external_table(found),
        shown=(run.dataset_name, "external", "mean of the networks"),
        command=wrapped(f"{command_of(run)} --run-dir RUN") + f"\n{evaluate}",
        notes=[*([] if found.has_patients else [narrow]), *notes],
    )


def write_pair(
    name: str, runs: Sequence[covidct.CrossValidationResult], notes: list[str]
) -> dict[str, Any]:
    """Write the differences of the accuracy and the AUC between two runs on the same slices.

    The names of their folders are those under which the runs themselves are collected.
    """
    a, b = runs
    tables = {
        metric: compare_runs({"a": a, "b": b}, metric=metric).table()
        for metric in ("accuracy", "auc")
    }
    first = tables["accuracy"]
    content = {
        "title": (
            f"{title_of(a, f'on {title_of_dataset(a.dataset_name)}')}: {a.protocol.label} minus "
            f"{b.protocol.label}"
        ),
        "pair": [a.run_dir.name, b.run_dir.name],
        "command": "\n".join(
            [
                *(wrapped(f"{command_of(run)} --run-dir {run.run_dir.name}") for run in runs),
                *(
                    wrapped(f"covidct compare {a.run_dir.name} {b.run_dir.name}{option}")
                    for option in ("", " --metric auc")
                ),
            ]
        ),
        "machine": machine_of(a),
        "date": max(map(date_of, runs)),
        "columns": ["metric", *first.header[1:]],
        "rows": [
            [metrics.METRICS[metric].title, *map(str, table.rows[0][1:])]
            for metric, table in tables.items()
        ],
        "notes": [*dict.fromkeys(n for table in tables.values() for n in table.notes), *notes],
    }
    write_json(FOLDER / f"{name}.json", content)
    return content


def write_audit(name: str, dataset: covidct.CTDataset, notes: list[str]) -> dict[str, Any]:
    start = time.process_time()
    report = audit_dataset(dataset)
    seconds = time.process_time() - start
    rows = [
        [f"file properties alone: {', '.join(row['properties'])}", *_accuracy(row)]
        for row in report.tables["shortcuts"]
    ]
    rows += [
        [f"nearest neighbor, {row['split']} ({row['n_groups']} groups)", *_accuracy(row)]
        for row in report.tables["leakage"]
    ]
    larger = np.bincount(dataset.targets).max() / len(dataset)
    rows.append(["always the larger class", percent(larger), ""])
    others = "; ".join(f.title for f in report.findings if "accuracy" not in f.title)
    ranges = (
        "Accuracy in percent. The nearest neighbor compares raw pixels. The range is the 95 % "
        "interval for file properties, and the range over draws of folds for the neighbor."
    )
    content = {
        "title": f"Audit of {title_of_dataset(dataset.name)}, which uses no network",
        "command": f"covidct audit --dataset {dataset.name}=FOLDER",
        "machine": f"cpu, {seconds:.0f} seconds of processor time",
        "date": datetime.now(UTC).date().isoformat(),
        "columns": ["predictor of the label", "accuracy", "range"],
        "rows": rows,
        "notes": [ranges, f"Other findings: {others}.", *notes],
    }
    write_json(FOLDER / f"{name}.json", content)
    return content


def _accuracy(row: Mapping[str, Any]) -> list[str]:
    return [percent(row["accuracy"]), percent_range(row["low"], row["high"])]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("run", "choice", "external", "audit", "compare"))
    parser.add_argument("runs", type=Path, nargs="*", help="folders of finished runs")
    parser.add_argument("--name", required=True, help="name of the files in docs/results")
    parser.add_argument("--on", metavar="DATASET=FOLDER", help="dataset to test on, or to audit")
    parser.add_argument("--note", action="append", default=[], help="a sentence under the table")
    parser.add_argument(
        "--no-overview",
        action="store_true",
        help="leave the run out of the first table of the page",
    )
    options = parser.parse_args(arguments)
    runs = [covidct.CrossValidationResult.load(path) for path in options.runs]
    if options.kind in ("run", "external") and len(runs) != 1:
        parser.error(f"{options.kind} takes the folder of one run, got {len(runs)}")
    if options.kind == "compare" and len(runs) != 2:
        parser.error(f"compare takes the folders of two runs, got {len(runs)}")
    if (options.kind in ("external", "audit")) != (options.on is not None):
        parser.error("--on is the dataset of an external test or an audit")
    if options.on:
        dataset = covidct.load_dataset(*options.on.split("=", 1), verify="names")
    if options.kind == "audit":
        content = write_audit(options.name, dataset, options.note)
    elif options.kind == "external":
        content = write_external(options.name, runs[0], dataset, options.note)
    elif options.kind == "compare":
        content = write_pair(options.name, runs, options.note)
    elif options.kind == "choice":
        content = write_choice(options.name, runs)
    else:
        content = write_folds(
            options.name, runs[0], options.note, in_overview=not options.no_overview
        )
    print(Table(content["columns"], content["rows"], caption=content["title"]))


if __name__ == "__main__":
    main()
