"""A program of a user who type-checks: every contract of covidct, seen from outside.

It is checked by mypy, not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import torch

import covidct
from covidct.errors import InvalidFileError


def prepare(root: Path) -> covidct.CTDataset:
    """Load slices, look at them, keep the first half."""
    names: list[str] = covidct.list_datasets("covid19-*")
    info: covidct.DatasetInfo = covidct.dataset_info(names[0])
    dataset = covidct.load_dataset(info.name, root, verify="names", on_error="skip")
    assert_type(dataset, covidct.CTDataset)
    image, target = dataset[0]
    print(image.size, target + 1, dataset.targets.mean(), dataset.classes[target])
    print(covidct.to_grayscale(image).mode)
    report: covidct.AuditReport = covidct.audit_dataset(dataset)
    print(report, [finding.title.upper() for finding in report.findings])
    return dataset.subset(range(len(dataset) // 2))


def train(dataset: covidct.CTDataset) -> covidct.CrossValidationResult:
    """Fit five folds by a shorter recipe."""
    recipe = covidct.Recipe().scaled(10).replace(pos_weight=1.5)
    assert_type(recipe, covidct.Recipe)
    validator = covidct.CrossValidator(
        covidct.list_models("resnet*")[0], recipe, cv=5, groups="patient", weights=None
    )
    result = validator.run(dataset)
    assert_type(result, covidct.CrossValidationResult)
    mean, deviation = result.summary()["accuracy"]
    print(f"{mean:.3f} ± {deviation:.3f}", result.table().render("latex").splitlines()[0])
    return result


def explain(result: covidct.CrossValidationResult, canvases: torch.Tensor) -> torch.Tensor:
    """Where a fitted fold looks."""
    model = result.fold_model(0)
    assert_type(model, covidct.CTClassifier)
    assert_type(model.feature_maps(canvases), torch.Tensor)
    print(model.info.title, model.input_size, covidct.model_info(model.info.name).custom_size)
    maps: torch.Tensor = covidct.explain.GradCAM(model)(canvases)
    return maps


def single_parts(parameters: list[torch.nn.Parameter]) -> covidct.Lamb:
    """What others use alone."""
    pad = covidct.AspectPreservingPad((253, 349), fill=0)
    top, left, height, width = pad.geometry((512, 512))
    print(top + left + height + width)
    return covidct.Lamb(parameters, lr=3e-4, weight_decay=1.0)


def predict(run: Path, slices: list[Path]) -> None:
    """Score new slices; a file that can't be read is an error that names it."""
    try:
        frame = covidct.Predictor.from_run(run).predict(slices).to_frame()
        print(frame["probability"].mean())
    except InvalidFileError as error:
        print(error)
