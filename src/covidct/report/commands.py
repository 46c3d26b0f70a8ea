"""Commands that reproduce a run."""

from __future__ import annotations

import json
import shlex

from ..datasets.registry import list_datasets, load_dataset
from ..runs.protocol import PROTOCOLS
from ..runs.result import CrossValidationResult
from ..runs.storage import DatasetSpec, WeightsSpec
from ..training.recipe import Recipe

__all__ = ["command_line"]

_TARGET_OPTIONS = {"covid": [], "label": ["--target", "label"]}
_PHANTOM_OPTIONS: tuple[tuple[list[str], int], ...] = (([], 2), (["--option", "labels=3"], 3))
_BASES = {
    (): Recipe,
    ("--recipe", "modern"): Recipe.modern,
    ("--recipe", "demo"): Recipe.demo,
}


def command_line(result: CrossValidationResult) -> str | None:
    """Compose the ``covidct train`` command that reproduces a run.

    Parameters
    ----------
    result : CrossValidationResult
        The run.

    Returns
    -------
    str or None
        The command, quoted for a POSIX shell; ``FOLDER`` stands for the folder of the dataset. None
        if the run can only be expressed in Python: with a custom splitter or custom groups, with
        learning-rate milestones that no ``--epochs`` gives, or on phantoms made with other options.

    Examples
    --------
    >>> import covidct
    >>> from covidct.report import command_line
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
    --recipe demo
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
    words = ["covidct", "train", *dataset, "--model", result.model_name]
    words += _weights_options(spec.weights)
    words += _TARGET_OPTIONS[spec.target]
    words += ["--protocol", protocol.id]
    if protocol.id not in ("official", "source"):
        words += ["--folds", str(len(result.folds) // spec.repeats)]
    if spec.repeats != (5 if protocol.id == "official" else 1):
        words += ["--repeats", str(spec.repeats)]
    words += recipe
    words += ["--seed", str(spec.seed)]
    if spec.split_seed != spec.seed:
        words += ["--split-seed", str(spec.split_seed)]
    words += ["--threads", str(spec.threads)]
    return shlex.join([*words, "--device", spec.device, "--precision", spec.precision])


def _recipe_options(recipe: Recipe) -> list[str] | None:
    """Return the shortest options that turn a default recipe into this one, or None."""
    target = recipe.options()
    found = []
    for flags, make in _BASES.items():
        base = make()
        options = list(flags)
        if base.epochs != recipe.epochs:
            base = base.scaled(recipe.epochs)
            options += ["--epochs", str(recipe.epochs)]
        given = base.options()
        changed = [name for name, value in target.items() if given[name] != value]
        if "milestones" not in changed or isinstance(target["milestones"], str):
            sets = ([f"--set={name}={_format_value(target[name])}"] for name in changed)
            found.append(sum(sets, options))
    return min(found, key=len, default=None)


def _format_value(value: object) -> str:
    """Format a value as ``--set`` parses it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _dataset_options(dataset: DatasetSpec) -> list[str] | None:
    name = dataset.name
    if name == "phantom":
        for options, labels in _PHANTOM_OPTIONS:
            phantoms = load_dataset(name, n=dataset.slices, labels=labels)
            if phantoms.content_hash() == dataset.content_hash:
                return ["--dataset", name, "--n", str(dataset.slices), *options]
        return None
    if len(registered := dataset.registry_names) > 1:
        owns = name.split("+")
        if len(owns) != len(registered) or "phantom" in registered:
            return None
        pairs = zip(registered, owns, strict=True)
        return ["--dataset", *(f"{kind}@{own}=FOLDER" for kind, own in pairs)]
    known = name in list_datasets()
    return ["--dataset", name if known else "folder", "--root", "FOLDER"]


def _weights_options(weights: WeightsSpec | None) -> list[str]:
    name = "none" if weights is None else weights.name
    return [] if name == "imagenet" else ["--weights", name]
