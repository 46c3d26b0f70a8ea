"""Sentences that answer items of the reporting checklists from a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .._reasons import value_or_reason
from .._text import capitalized
from .._version import __version__
from ..evaluation.decision_rule import Unit
from ..evaluation.intervals import Interval
from ..evaluation.metrics import METRICS, TABLE_METRICS, summarize
from ..evaluation.operating_points import OperatingPoints
from ..evaluation.tables import percent, percent_range
from ..models.registry import model_info
from ..runs.exported import count_parts
from ..runs.protocol import leakage_warning
from ..runs.recalibration import CalibratedFolds
from ..runs.result import CrossValidationResult

if TYPE_CHECKING:
    from ..audit import AuditReport

__all__ = ["Answers"]


class Answers:
    """Sentences about a run that answer items of a checklist."""

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
        return "Read from the image files by software, without human assessment."

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
        """Return the numbers of slices, patients and COVID-19 slices of both parts."""
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
            "contain the command, the recipe and the seeds. covidct export writes the networks."
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
        return "The network of the last epoch; no setting was chosen on a test fold."

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


def _values(summary: Mapping[str, tuple[float, float]], intervals: Mapping[str, Interval]) -> str:
    return ", ".join(
        f"{METRICS[name].title} {percent(summary[name][0])} ({percent_range(*intervals[name])})"
        for name in TABLE_METRICS
    )
