"""Reporting checklists: what a run answers of TRIPOD+AI and CLAIM, and what its author must add.

The topics are summaries in our own words. The full texts of the items, with explanations, are in
the publications that the tables cite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._files import write_text
from .._reasons import value_or_reason
from .._text import capitalized
from .._version import __version__
from ..evaluation.decision_rule import Unit
from ..evaluation.intervals import Interval
from ..evaluation.metrics import METRICS, TABLE_METRICS, summarize
from ..evaluation.operating_points import OperatingPoints
from ..evaluation.tables import Table, percent, percent_range
from ..models.registry import model_info
from ..runs.exported import count_parts
from ..runs.protocol import leakage_warning
from ..runs.recalibration import CalibratedFolds
from ..runs.result import CrossValidationResult

if TYPE_CHECKING:
    from ..audit import AuditReport

__all__ = ["GUIDELINES", "ChecklistItem", "Guideline", "checklist_tables", "write_checklist"]

_HEADER = ("item", "topic", "from the run", "left to the author")


class _Run:
    """A run, with the sentences that answer items of a checklist."""

    def __init__(self, result: CrossValidationResult, audit: AuditReport | None) -> None:
        self.result = result
        self.audit = audit
        self.spec = result.spec

    @cached_property
    def _points(self) -> OperatingPoints | str:
        """Operating points, or the reason why they are missing."""
        per: Unit = "patient" if self.result.has_patients else "slice"
        return value_or_reason(lambda: self.result.operating_points(per=per))

    @cached_property
    def _calibrated(self) -> CalibratedFolds | str:
        """Calibration, or the reason why it is missing."""
        return value_or_reason(self.result.calibrate)

    @cached_property
    def _sources(self) -> dict[str, int]:
        rows = self.result.pooled_predictions()
        return {str(k): int(n) for k, n in rows["source"].value_counts().sort_index().items() if k}

    def data(self) -> str:
        dataset = self.spec.dataset
        sources = ", ".join(f"{name} ({n:,} slices)" for name, n in self._sources.items())
        several = f" Sources: {sources}." if len(self._sources) > 1 else ""
        return (
            f"Dataset {dataset.name}: {dataset.slices:,} slices, {self._patients()}.{several} "
            f"Content hash: {dataset.content_hash}."
        )

    def _patients(self) -> str:
        if not self.result.has_patients:
            return "patients unknown"
        return f"{self.result.predictions['group'].nunique():,} tested {self.result.unit}s"

    def outcome(self) -> str:
        negative, positive = self.result.classes
        labels = sorted(set(self.result.predictions["label"]) - {"", negative, positive})
        original = f" Original labels: {', '.join(labels)}." if labels else ""
        return f"Class 1: {positive}; class 0: {negative}.{original}"

    def preparation(self) -> str:
        height, width = self._canvas()
        resized = {
            "pad": "with their aspect ratio kept, padded with black",
            "stretch": "without keeping their aspect ratio",
        }[self.result.recipe.resize]
        window = self.spec.dataset.window
        shown = window if isinstance(window, str) else f"level {window[0]:g}, width {window[1]:g}"
        return (
            f"Slices in gray, resized to {width} x {height} pixels {resized}. Display window of "
            f"Hounsfield units: {shown}."
        )

    def _canvas(self) -> tuple[int, int]:
        return self.result.recipe.canvas_size(model_info(self.result.model_name))

    def predictors(self) -> str:
        return "The gray values of a single CT slice; no clinical variable."

    def assessment(self) -> str:
        return "Read from the image files by software; nobody assesses them."

    def missing(self) -> str:
        skipped = len(self.spec.dataset.skipped)
        files = {0: "No file was skipped", 1: "1 file was skipped"}.get(
            skipped, f"{skipped:,} files were skipped"
        )
        listed = "; the report and run.json list them with the reasons" if skipped else ""
        return f"{files} as unreadable{listed}. Nothing is imputed."

    def partition(self) -> str:
        result, spec = self.result, self.spec
        repeated = f", each slice tested {spec.repeats} times" if spec.repeats > 1 else ""
        validation = sum(fold.validation.size for fold in result.folds)
        parts = "training, validation and test" if validation else "training and test"
        return (
            f"Protocol “{result.protocol}”: {result.protocol.description}. {len(result.folds)} "
            f"folds{repeated}, each with a {parts} part. Seed of the split: {spec.split_seed}."
        )

    def disjoint(self) -> str:
        result = self.result
        share = result.shared_groups()
        if share:
            warning = leakage_warning(result.unit, random=result.protocol.id == "paper")
            return f"{capitalized(warning)}. This concerns {percent(share)} % of the test slices."
        if result.protocol.group_kind is not None:
            return f"{capitalized(result.protocol.description)}."
        if share == 0:
            return f"No {result.unit} has slices in both the training and the test part of a fold."
        return "Slice, as patients are unknown: slices of a patient may be in both parts of a fold."

    def numbers(self) -> str:
        """Count slices, patients and COVID-19 slices of both parts."""
        folds = self.result.folds
        counts = count_parts(self.result, range(len(folds)))
        found = []
        for part, sizes in (
            ("training", [fold.train.size for fold in folds]),
            ("test", [fold.test.size for fold in folds]),
        ):
            low, high = min(sizes), max(sizes)
            text = f"{part} part of a fold: " + (
                f"{low:,}" if low == high else f"{low:,} to {high:,}"
            )
            text += " slices"
            if part in counts.prevalence:
                patients = counts.patients.get(part)
                known = "" if patients is None else f", {patients:,} {self.result.unit}s"
                share = percent(counts.prevalence[part])
                text += f" (over all folds: {share} % COVID-19{known})"
            found.append(text)
        unknown = "" if self.result.has_patients else " Patients unknown."
        return f"{capitalized('; '.join(found))}.{unknown}"

    def flow(self) -> str:
        rows = self.result.pooled_predictions()
        negative, positive = np.bincount(rows["target"], minlength=2)
        return (
            f"{self.spec.dataset.slices:,} slices read, {len(self.spec.dataset.skipped):,} files "
            f"skipped, {len(rows):,} slices tested: {positive:,} {self.result.classes[1]}, "
            f"{negative:,} {self.result.classes[0]}. {capitalized(self._patients())}."
        )

    def model(self) -> str:
        info = model_info(self.result.model_name)
        height, width = self._canvas()
        outputs = {
            "covid": "one logit of COVID-19 against the rest",
            "label": "one output per label, combined into COVID-19 against the rest",
        }[self.spec.target]
        return (
            f"{info.title} ({info.name}), {info.parameters:.1f} million parameters. Input: a gray "
            f"canvas of {width} x {height} pixels. Output: {outputs}."
        )

    def software(self) -> str:
        return ", ".join(f"{name} {number}" for name, number in self.spec.versions.items()) + "."

    def code(self) -> str:
        return (
            f"covidct {self.spec.versions.get('covidct', __version__)}; the report and run.json "
            "hold the command, the recipe and the seeds. covidct export writes the networks."
        )

    def weights(self) -> str:
        weights = self.spec.weights
        return "Random weights." if weights is None else f"Weights: {weights}."

    def training(self) -> str:
        recipe = self.result.recipe.options()
        listed = ", ".join(f"{name} {value}" for name, value in recipe.items())
        return f"{len(self.result.folds)} networks, one per fold. Recipe: {listed}."

    def building(self) -> str:
        return f"{self.model()} {self.selection()} Validation: {self.partition()}"

    def selection(self) -> str:
        return "The network of the last epoch; no epoch, threshold or setting from a test fold."

    def ensembling(self) -> str:
        return (
            "None in the scores, each of which is of a single network. New slices are scored by "
            f"the mean probability of the {len(self.result.folds)} networks."
        )

    def measures(self) -> str:
        titles = ", ".join(METRICS[name].title for name in TABLE_METRICS)
        return (
            f"{titles}; ROC and precision-recall curves, calibration slope, intercept and diagram, "
            "decision curve."
        )

    def uncertainty(self) -> str:
        result = self.result
        notes = " ".join(result.interval_notes())
        return (
            "Mean and standard deviation over folds. 95 % intervals of the mean: "
            f"{result.resampling}. {notes}".strip()
        )

    def imbalance(self) -> str:
        rows, recipe = self.result.pooled_predictions(), self.result.recipe
        weighted = (
            "no weighting of classes"
            if recipe.pos_weight == 1 and recipe.class_weight is None
            else f"pos_weight {recipe.pos_weight}, class_weight {recipe.class_weight}"
        )
        return f"{percent(rows['target'].mean())} % of the tested slices are COVID-19; {weighted}."

    def output(self) -> str:
        return (
            "Probability of COVID-19, and the class at the threshold 0.5, which was not fitted. "
            f"{self._thresholds()}"
        )

    def _thresholds(self) -> str:
        points = self._points
        if isinstance(points, str):
            return f"No other threshold was chosen: {points}."
        chosen = "; ".join(
            f"{point.criterion} ({point.thresholds.min():.3f} to {point.thresholds.max():.3f})"
            for point in points
        )
        return f"Thresholds per {points.unit} for targets, chosen on {points.fitted_on}: {chosen}."

    def accuracy(self) -> str:
        points = self._points
        if isinstance(points, str):
            return self.performance()
        found = "; ".join(
            f"target {point.criterion}: "
            + ", ".join(f"{name} {point.text(name)}" for name in ("sensitivity", "specificity"))
            for point in points
        )
        return f"Per {points.unit}, in percent with 95 % intervals: {found}."

    def performance(self) -> str:
        result = self.result
        found = [f"per slice, {_values(result.summary(), result.intervals())}"]
        scores, ends = result.patient_metrics, result.patient_intervals()
        if scores is not None and ends is not None:
            found.append(f"per {result.unit}, {_values(summarize(scores), ends)}")
        return f"In percent with 95 % intervals: {'; '.join(found)}."

    def clusters(self) -> str:
        if len(self._sources) < 2:
            return "One source; differences between sources cannot be estimated."
        return (
            "Metrics of each source with intervals, and the largest difference, are in the report."
        )

    def by_source(self) -> str:
        if len(self._sources) < 2:
            return self.clusters()
        table = self.result.by("source")
        found = "; ".join(
            f"{name} {percent(row['accuracy'])} "
            f"({percent_range(row['accuracy_low'], row['accuracy_high'])})"
            for name, row in table.iterrows()
        )
        return f"Accuracy by source, in percent with 95 % intervals: {found}."

    def subgroups(self) -> str | None:
        columns = self.result.columns
        if columns is None or not len(columns.columns):
            return None
        names = ", ".join(map(str, columns.columns))
        return f"Columns kept with the run, for result.by(column): {names}."

    def updating(self) -> str:
        found = self._calibrated
        if isinstance(found, str):
            return f"Not recalibrated: {found}."
        return f"Temperature scaling of each fold, fitted on {found.fitted_on}."

    def updated(self) -> str:
        found = self._calibrated
        if isinstance(found, str):
            return f"Not recalibrated: {found}."
        return "; ".join(f"{name}: {value}" for name, value in found.slopes().items()) + "."

    def difference(self) -> str:
        if self.result.protocol.id == "source":
            return "Each source is tested by a network that was trained on the other sources."
        if self.result.protocol.id == "official":
            return "Training and test part are those of the authors of the dataset."
        return "Training and test part are drawn from the same dataset."

    def internal(self) -> str:
        return f"{self.partition()} {self.performance()}"

    def external(self) -> str:
        if self.result.protocol.id == "source":
            return f"{self.difference()} {self.by_source()}"
        return "None in this run; covidct evaluate tests it on another source."

    def robustness(self) -> str | None:
        if self.spec.repeats < 2:
            return None
        return (
            f"{self.spec.repeats} repeats with other seeds; the report separates the variance of "
            "training, split and patients."
        )

    def explanations(self) -> str:
        return (
            "Grad-CAM of correct and wrong predictions in the report; covidct explain measures "
            "their faithfulness by deletion, insertion, randomization and regions."
        )

    def failures(self) -> str:
        rows = self.result.predictions
        wrong = (rows["probability"] >= 0.5) != (rows["target"] == 1)
        missed = int((wrong & (rows["target"] == 1)).sum())
        return (
            f"At the threshold 0.5, {missed:,} {self.result.classes[1]} and "
            f"{int(wrong.sum()) - missed:,} {self.result.classes[0]} predictions are wrong; the "
            "report shows examples."
        )

    def limitations(self) -> str | None:
        found = []
        result = self.result
        if result.shared_groups():
            found.append(self.disjoint())
        elif not result.has_patients:
            found.append("Patients are unknown, so that intervals may be too narrow.")
        if len(self._sources) < 2:
            found.append("One source.")
        if self.audit is not None:
            found.append(f"Audit: {self.audit.verdict}")
        return " ".join(found) or None

    def poor_input(self) -> str:
        return (
            "Unreadable files are reported. The predictor lists doubts about slices that differ "
            "from the training slices, and about volumes without recognized lung."
        )


@dataclass(frozen=True)
class ChecklistItem:
    """Item of a reporting guideline.

    Attributes
    ----------
    number : str
        Number of the item in the guideline.
    topic : str
        Topic in a few words.
    answer : callable or None, default=None
        Function that answers the item from a run; it returns None if this run does not answer it.
    author : str, default=""
        Statement that only the author can make; empty if a run answers the whole item.
    """

    number: str
    topic: str
    answer: Callable[[_Run], str | None] | None = None
    author: str = ""


@dataclass(frozen=True)
class Guideline:
    """Reporting guideline.

    Attributes
    ----------
    name : str
        Name, such as ``"TRIPOD+AI"``.
    citation : str
        Publication with the full text of the items.
    items : tuple of ChecklistItem
        All items, in their order.
    """

    name: str
    citation: str
    items: tuple[ChecklistItem, ...]


_I = ChecklistItem

#: Reporting guidelines by their short name, with all of their items.
GUIDELINES: Mapping[str, Guideline] = {
    "tripod-ai": Guideline(
        "TRIPOD+AI",
        "Collins et al., TRIPOD+AI statement, BMJ 385 (2024) e078378",
        (
            _I("1", "title", author="Model, patients and outcome in the title."),
            _I("2", "abstract", author="Abstract, by TRIPOD+AI for Abstracts."),
            _I("3a", "clinical context", author="Context, rationale and existing models."),
            _I("3b", "target population", author="Patients, place in the pathway, and users."),
            _I("3c", "health inequalities", author="Known inequalities between groups."),
            _I("4", "objectives", author="Aims; development, evaluation or both."),
            _I("5a", "data sources", _Run.data, "Origin, and how representative the data are."),
            _I("5b", "dates of the data", author="Start and end of the collection."),
            _I("6a", "setting", author="Kind, number and place of the centers."),
            _I("6b", "eligibility", author="Criteria of inclusion and exclusion."),
            _I("6c", "treatments", author="Treatments, if they could change the images."),
            _I("7", "data preparation", _Run.preparation, "Processing before covidct."),
            _I("8a", "outcome", _Run.outcome, "How and when COVID-19 was diagnosed."),
            _I("8b", "outcome assessors", author="Qualification of those who judged the outcome."),
            _I("8c", "blinding of outcome", author="Knowledge of the CT when it was judged."),
            _I("9a", "choice of predictors", _Run.predictors, "Reason for this choice."),
            _I("9b", "predictors", _Run.preparation, "Scanners, protocols, and time of the CT."),
            _I("9c", "predictor assessors", _Run.assessment),
            _I("10", "sample size", _Run.numbers, "How the size was determined."),
            _I("11", "missing data", _Run.missing, "Patients without CT or outcome."),
            _I("12a", "use of the data", _Run.partition),
            _I("12b", "handling of predictors", _Run.preparation),
            _I("12c", "model building", _Run.building, "Earlier experiments, and other settings."),
            _I("12d", "clusters", _Run.clusters),
            _I("12e", "performance measures", _Run.measures),
            _I("12f", "model updating", _Run.updating),
            _I("12g", "computing predictions", _Run.code),
            _I("13", "class imbalance", _Run.imbalance),
            _I("14", "fairness", _Run.subgroups, "Approaches to fairness, and their rationale."),
            _I("15", "model output", _Run.output, "Clinical rationale of the threshold."),
            _I("16", "training and evaluation data", _Run.difference, "Other differences."),
            _I("17", "ethics", author="Approval and consent, or waiver."),
            _I("18a", "funding", author="Sources and role of the funders."),
            _I("18b", "conflicts of interest", author="Conflicts and financial disclosures."),
            _I("18c", "protocol", author="Access to the protocol, or none."),
            _I("18d", "registration", author="Register and number, or none."),
            _I("18e", "data sharing", author="Availability of the data."),
            _I("18f", "code sharing", _Run.code, "Availability of your own code."),
            _I("19", "public involvement", author="Involvement of patients and the public."),
            _I("20a", "flow of participants", _Run.flow, "Patients before this dataset."),
            _I("20b", "characteristics", author="Demographics, predictors and missing values."),
            _I("20c", "comparison with development", author="For an evaluation on other data."),
            _I("21", "numbers in each analysis", _Run.numbers),
            _I("22", "model specification", _Run.model, "Where others obtain the model."),
            _I("23a", "performance", _Run.performance, "Subgroups that matter clinically."),
            _I("23b", "heterogeneity", _Run.by_source),
            _I("24", "results of updating", _Run.updated),
            _I("25", "interpretation", author="Main results, objectives, earlier studies."),
            _I("26", "limitations", _Run.limitations, "Bias, uncertainty, generalizability."),
            _I("27a", "poor input", _Run.poor_input, "Handling of poor input in use."),
            _I("27b", "user interaction", author="Expertise and actions expected of users."),
            _I("27c", "next steps", author="Further research; applicability."),
        ),
    ),
    "claim": Guideline(
        "CLAIM",
        "Tejani et al., CLAIM: 2024 update, Radiology: Artificial Intelligence 6 (2024) e240300",
        (
            _I("1", "title", author="AI methodology and its category in the title."),
            _I("2", "abstract", author="Design, methods, results and conclusions."),
            _I("3", "background", author="Background, intended use and role."),
            _I("4", "aims", author="Aims, objectives and hypotheses."),
            _I("5", "prospective or retrospective", author="Design of the study."),
            _I("6", "study goal", author="Goal of the study."),
            _I("7", "data sources", _Run.data, "Origin of the data."),
            _I("8", "eligibility", author="Criteria of inclusion and exclusion."),
            _I("9", "data preprocessing", _Run.preparation, "Processing before covidct."),
            _I("10", "data subsets", author="Selection of slices or patients."),
            _I("11", "de-identification", author="Method of de-identification."),
            _I("12", "missing data", _Run.missing, "Patients without CT or outcome."),
            _I("13", "image acquisition", author="Scanners and protocols."),
            _I("14", "reference standard", _Run.outcome, "How COVID-19 was diagnosed."),
            _I("15", "choice of reference", author="Rationale of the reference standard."),
            _I("16", "source of annotations", author="Annotators and their qualification."),
            _I("17", "annotation of the test set", author="How test slices were labeled."),
            _I("18", "rater variability", author="Variability between and within raters."),
            _I("19", "partitions", _Run.partition),
            _I("20", "level of disjointness", _Run.disjoint),
            _I("21", "intended sample size", author="How the size was determined."),
            _I("22", "model", _Run.model),
            _I("23", "software", _Run.software),
            _I("24", "initialization", _Run.weights),
            _I("25", "training", _Run.training),
            _I("26", "final model", _Run.selection, "Earlier experiments."),
            _I("27", "ensembling", _Run.ensembling),
            _I("28", "metrics", _Run.measures),
            _I("29", "uncertainty", _Run.uncertainty),
            _I("30", "robustness", _Run.robustness, "Analyses of sensitivity."),
            _I("31", "explainability", _Run.explanations, "Judgment of the maps."),
            _I("32", "internal evaluation", _Run.internal),
            _I("33", "external testing", _Run.external, "Results on other sources."),
            _I("34", "trial registration", author="Register and number, if it is a trial."),
            _I("35", "included and excluded", _Run.flow, "Patients before this dataset."),
            _I("36", "characteristics", _Run.numbers, "Demographics by partition."),
            _I("37", "performance and uncertainty", _Run.performance),
            _I("38", "diagnostic performance", _Run.accuracy),
            _I("39", "failure analysis", _Run.failures, "Causes of the errors."),
            _I("40", "limitations", _Run.limitations, "Bias, uncertainty, generalizability."),
            _I("41", "implications for practice", author="Intended use and clinical role."),
            _I("42", "full protocol", author="Reference to the protocol or details."),
            _I("43", "availability", _Run.code, "Availability of data and model."),
            _I("44", "funding", author="Funding and role of the funders."),
        ),
    ),
}


def checklist_tables(
    result: CrossValidationResult, *, audit: AuditReport | None = None
) -> dict[str, Table]:
    """Fill the reporting checklists TRIPOD+AI and CLAIM with what a run can answer.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    audit : AuditReport, optional
        Result of `covidct.audit_dataset` on its slices, for the limitations.

    Returns
    -------
    dict of str to Table
        A table per guideline, with the keys ``"tripod-ai"`` and ``"claim"`` and a row per item:
        number, topic, the answer of the run, and the part left to the author (``"–"`` for nothing).
        The last note counts the items.

    Examples
    --------
    >>> import covidct
    >>> from covidct.report import checklist_tables
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> tables = checklist_tables(cv.run(slices))
    >>> row = next(row for row in tables["claim"].rows if row[0] == "20")
    >>> print(*row, sep="; ")
    20; level of disjointness; All slices of a patient on the same side of every split.; –
    """
    run = _Run(result, audit)
    return {key: _fill(guideline, run) for key, guideline in GUIDELINES.items()}


def _values(summary: Mapping[str, tuple[float, float]], intervals: Mapping[str, Interval]) -> str:
    return ", ".join(
        f"{METRICS[name].title} {percent(summary[name][0])} ({percent_range(*intervals[name])})"
        for name in TABLE_METRICS
    )


def _fill(guideline: Guideline, run: _Run) -> Table:
    rows = []
    for item in guideline.items:
        answer = None if item.answer is None else item.answer(run)
        rows.append((item.number, item.topic, answer or "–", item.author or "–"))
    whole = sum(answer != "–" and author == "–" for *_, answer, author in rows)
    partly = sum("–" not in row[2:] for row in rows)
    return Table(
        _HEADER,
        rows,
        caption=f"{guideline.name} checklist of {_title(run.result)}",
        notes=(
            f"Topics in short; full text of the items: {guideline.citation}.",
            "Check every sentence before you publish it.",
            (
                f"Of {len(rows)} items, the run answers {whole} and a part of {partly}; "
                f"{len(rows) - whole - partly} are left to the author."
            ),
        ),
        left_columns=len(_HEADER),
    )


def _title(result: CrossValidationResult) -> str:
    network = model_info(result.model_name).title
    return f"{network} on {result.dataset_name} (protocol: {result.protocol})"


def write_checklist(
    results: CrossValidationResult | Sequence[CrossValidationResult],
    path: str | PathLike[str],
    *,
    audit: AuditReport | None = None,
) -> Path:
    """Write the reporting checklists of runs as Markdown or CSV.

    Parameters
    ----------
    results : CrossValidationResult or sequence of CrossValidationResult
        The runs.
    path : str or Path
        File to write, with the ending ``.md`` or ``.csv``. Missing folders are created.
    audit : AuditReport, optional
        Result of `covidct.audit_dataset` on the slices of the runs.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    ValueError
        If `path` has another ending.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.report import write_checklist
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> path = write_checklist(cv.run(slices), f"{tempfile.mkdtemp()}/checklist.md")
    >>> "| 23a | performance |" in path.read_text(encoding="utf-8")
    True
    """
    runs = [results] if isinstance(results, CrossValidationResult) else list(results)
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise ValueError(f"a checklist ends in .md or .csv, got {str(path)!r}")
    content = _WRITERS[path.suffix]([(run, checklist_tables(run, audit=audit)) for run in runs])
    write_text(path, content, errors="backslashreplace")
    return path


_Filled = Sequence[tuple[CrossValidationResult, Mapping[str, Table]]]


def _markdown(filled: _Filled) -> str:
    """Render each table below a heading.

    Table.render would pad every cell to the longest sentence of its column.
    """
    parts = []
    for _, tables in filled:
        for table in tables.values():
            rows = (table.header, ["---"] * len(table.header), *table.rows)
            # A bar within a cell would end it.
            lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
            body = "\n".join(f"| {line} |" for line in lines)
            parts.append("\n\n".join([f"# {table.caption}", body, *table.notes]))
    return "\n\n".join(parts) + "\n"


def _csv(filled: _Filled) -> str:
    rows = [
        (_title(run), GUIDELINES[key].name, *row)
        for run, tables in filled
        for key, table in tables.items()
        for row in table.rows
    ]
    return Table(("run", "guideline", *_HEADER), rows).render("csv") + "\n"


_WRITERS: Mapping[str, Callable[[_Filled], str]] = {".md": _markdown, ".csv": _csv}
