"""Commands that reproduce a run."""

from __future__ import annotations

import json
import re
import shlex

from ..datasets.registry import list_datasets, load_dataset
from ..runs.protocol import PROTOCOLS, default_repeats
from ..runs.result import CrossValidationResult
from ..runs.run_spec import DatasetSpec, WeightsSpec
from ..training.recipe import RECIPES, Recipe

__all__ = ["command_line", "replacement_note"]

_TARGET_OPTIONS = {"covid": [], "label": ["--target", "label"]}
_PHANTOM_OPTIONS: tuple[tuple[list[str], int], ...] = (([], 2), (["--option", "labels=3"], 3))


def command_line(result: CrossValidationResult) -> str | None:
    """Compose the ``covidct train`` command that reproduces a run.

    Parameters
    ----------
    result : CrossValidationResult
        The run.

    Returns
    -------
    str or None
        The command, quoted for a POSIX shell; ``FOLDER`` stands for the folder of the dataset, and
        a file of weights is given by its name, see `replacement_note`. None if the run can only be
        expressed in Python: with a custom splitter or custom groups, with learning-rate milestones
        that no ``--epochs`` gives, on slices that `covidct.load_dataset` did not load, or on
        phantoms made with other options.

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
        words += ["--folds", str(spec.folds_per_repeat)]
    if spec.repeats != default_repeats(protocol.id):
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
    for name, make in RECIPES.items():
        base = make()
        options = [] if name == "paper" else ["--recipe", name]
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


def replacement_note(result: CrossValidationResult) -> str:
    """Describe what must be replaced in the command that reproduces a run.

    Parameters
    ----------
    result : CrossValidationResult
        The run.

    Returns
    -------
    str
        A sentence about the paths that a run folder does not record; empty if the command can be
        used as it is.

    Examples
    --------
    >>> import covidct
    >>> from covidct.report import replacement_note
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> replacement_note(cv.run(slices))
    ''
    """
    spec = result.spec
    sources = spec.dataset.name.split("+")
    parts, ending = [], ""
    if _registered(spec.dataset) != ("phantom",):
        parts.append(
            f"FOLDER by the folder of {sources[0]}"
            if len(sources) == 1
            else f"each FOLDER by the folder of its source ({', '.join(sources)})"
        )
        ending = (
            "; add the options that the slices were loaded with, such as --positive or --groups, "
            "which the run does not record"
        )
    if spec.weights is not None and spec.weights.sha256 is not None:
        parts.append(
            f"{spec.weights.name} by the path of the weights with the SHA-256 "
            f"{spec.weights.sha256[:8]}"
        )
    return f"Replace {' and '.join(parts)}{ending}." if parts else ""


def _dataset_options(dataset: DatasetSpec) -> list[str] | None:
    registered, owns = _registered(dataset), dataset.name.split("+")
    if registered == ("phantom",) and len(owns) == 1:
        named = _named("phantom", owns[0])
        for options, labels in _PHANTOM_OPTIONS:
            phantoms = load_dataset("phantom", n=dataset.slices, labels=labels)
            if phantoms.content_hash() == dataset.content_hash:
                return ["--dataset", named, "--n", str(dataset.slices), *options]
        return None
    if len(registered) == 1:  # each name is listed once, however many sources have it
        registered *= len(owns)
    if not registered or "phantom" in registered or len(owns) != len(registered):
        return None
    pairs = zip(registered, owns, strict=True)
    words = ["--dataset", *(f"{_named(kind, own)}=FOLDER" for kind, own in pairs)]
    if dataset.window == "lung":
        return words
    window = dataset.window
    text = window if isinstance(window, str) else ",".join(f"{value:g}" for value in window)
    return [*words, f"--window={text}"]


def _registered(dataset: DatasetSpec) -> tuple[str, ...]:
    if not dataset.registry_names and dataset.name in list_datasets():
        return (dataset.name,)
    return dataset.registry_names


def _named(registered: str, own: str) -> str:
    """Return a dataset with its own name, where the command line takes it."""
    is_own = own != registered and re.fullmatch(r"[\w.-][\w. -]*", own)
    return f"{registered}@{own}" if is_own else registered


def _weights_options(weights: WeightsSpec | None) -> list[str]:
    name = "none" if weights is None else weights.name
    return [] if name == "imagenet" else ["--weights", name]
