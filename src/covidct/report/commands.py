"""How to repeat a run: the command, and all that its result depends on."""

from __future__ import annotations

import json
import shlex

from ..datasets.registry import list_datasets, load_dataset
from ..runs.protocol import PROTOCOLS
from ..runs.result import CrossValidationResult
from ..runs.storage import DatasetSpec, WeightsSpec
from ..training.recipe import Recipe

__all__ = ["command_line"]

_REPEATS = 5  # of an official split, unless Python says otherwise
_BASES = {(): Recipe, ("--demo",): Recipe.demo}


def command_line(result: CrossValidationResult) -> str | None:
    """Compose the call of ``covidct train`` that makes a run like this one.

    Parameters
    ----------
    result
        The run.

    Returns
    -------
    str or None
        The call, quoted for a POSIX shell; words in capitals stand for folders and files that a
        run does not know. None where only Python can express the run: a splitter or groups of the
        user's own, a schedule that is no stretched default, other repeats of an official split,
        phantoms of another seed or size.

    Examples
    --------
    >>> import covidct
    >>> from covidct.report.commands import command_line
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None,
    ...                             threads=1, device="cpu", precision="float32")
    >>> print(command_line(cv.run(slices)).replace(" --", "|--").replace("|", chr(10)))
    covidct train
    --dataset phantom
    --n 16
    --model shufflenet
    --weights none
    --protocol grouped
    --folds 2
    --demo
    --epochs 1
    --seed 0
    --threads 1
    --device cpu
    --precision float32
    """
    spec, protocol = result.spec, result.protocol
    recipe, dataset = _recipe_options(result.recipe), _dataset_options(spec.dataset)
    if recipe is None or dataset is None or protocol.id not in PROTOCOLS:
        return None
    if protocol.group_kind == "given groups":
        return None
    if protocol.id == "official" and len(result.folds) != _REPEATS:
        return None
    words = ["covidct", "train", *dataset, "--model", result.model_name]
    words += _weights_options(spec.weights)
    words += ["--protocol", protocol.id]
    if protocol.id != "official":
        words += ["--folds", str(len(result.folds))]
    words += recipe
    words += ["--seed", str(spec.seed), "--threads", str(spec.threads)]
    return shlex.join([*words, "--device", spec.device, "--precision", spec.precision])


def _recipe_options(recipe: Recipe) -> list[str] | None:
    """Return the shortest options that make the recipe of a default one."""
    wanted = recipe.options()
    found = []
    for flags, make in _BASES.items():
        base = make()
        options = list(flags)
        if base.epochs != recipe.epochs:
            base = base.scaled(recipe.epochs)
            options += ["--epochs", str(recipe.epochs)]
        had = base.options()
        changed = [name for name, value in wanted.items() if had[name] != value]
        if "milestones" not in changed:
            sets = ([f"--set={name}={_written(wanted[name])}"] for name in changed)
            found.append(sum(sets, options))
    return min(found, key=len, default=None)


def _written(value: object) -> str:
    """Write a value as ``--set`` reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _dataset_options(dataset: DatasetSpec) -> list[str] | None:
    name = dataset.name
    if name == "phantom":
        drawn = load_dataset(name, n=dataset.slices)
        if drawn.content_hash() != dataset.content_hash:
            return None
        return ["--dataset", name, "--n", str(dataset.slices)]
    known = name in list_datasets()
    return ["--dataset", name if known else "folder", "--root", "FOLDER"]


def _weights_options(weights: WeightsSpec | None) -> list[str]:
    name = "none" if weights is None else weights.name
    return [] if name == "imagenet" else ["--weights", name]
