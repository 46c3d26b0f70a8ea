"""Options that several verbs share, and the objects that they describe."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from ..runs.result import CrossValidationResult
    from ..training.recipe import Recipe

__all__ = [
    "WrongCallError",
    "add_dataset",
    "add_imports",
    "add_layer",
    "add_on_error",
    "add_recipe",
    "add_rule",
    "add_runs",
    "add_table",
    "add_training",
    "checked_call",
    "emit",
    "emit_json",
    "import_modules",
    "in_shell_words",
    "load_datasets",
    "load_runs",
    "load_slices",
    "named_datasets",
    "read_recipe",
    "read_weights",
    "rule_options",
]

# Options of `load_dataset` that only some datasets take; their flags have the same names.
_LOADER_OPTIONS = (
    *("positive", "negative", "groups", "slices", "window", "images", "columns", "version", "n"),
)
# Arguments of the Python interface whose flag has another name.
_FLAGS = {"cv": "--folds", "compile_model": "--compile"}
# Advice of the Python interface whose words are others on the command line.
_ADVICE = {
    "join datasets with covidct.concat": "name several datasets after --dataset",
}
_GROUPED = ("patient", "near-duplicate", "patient+near-duplicate")  # covidct train: --protocol


class WrongCallError(ValueError):
    """The arguments of the command line contradict each other, or one has an invalid value."""


class NamedDataset(NamedTuple):
    """A dataset that the command line names: its registered name, and the folder of its files."""

    dataset: str
    root: Path | None


@contextmanager
def checked_call() -> Iterator[None]:
    """Report a ValueError in the body, where options become objects, as a wrong call."""
    try:
        yield
    except ValueError as error:
        raise WrongCallError(str(error)) from error


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names finished runs."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run"
    )


def load_runs(folders: Iterable[Path]) -> dict[str, CrossValidationResult]:
    """Read finished runs; each is named by its folder."""
    from .. import CrossValidationResult

    return {folder.as_posix(): CrossValidationResult.load(folder) for folder in folders}


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add the option that imports modules of the user's own."""
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        metavar="MODULE",
        dest="imports",
        help="import this module, or .py file, first: the networks and datasets that it registers "
        "can then be named (may be repeated)",
    )


def import_modules(modules: Sequence[str]) -> None:
    """Import modules by their name, or by the path of their file.

    The folder of a file (for a module's name, the current folder) is appended to ``sys.path``, so
    that worker processes can import what the module registers.
    """
    for module in modules:
        path = Path(module)
        is_file = path.suffix == ".py"
        if is_file and not path.is_file():
            raise WrongCallError(f"--import: the file {module!r} does not exist")
        folder = str(path.resolve().parent if is_file else Path.cwd())
        if folder not in sys.path:
            sys.path.append(folder)
        try:
            imported = import_module(path.stem if is_file else module)
        except (ImportError, TypeError) as error:
            raise WrongCallError(f"--import cannot import {module!r}: {error}") from error
        found = getattr(imported, "__file__", None)
        if is_file and (found is None or not path.samefile(found)):
            raise WrongCallError(
                f"--import: another module is already called {path.stem!r}; rename {module!r}"
            )


def add_dataset(
    parser: argparse.ArgumentParser, *, required: bool = True, several: bool = False
) -> None:
    """Add the options that name datasets and describe how to load them."""
    parser.add_argument(
        "--dataset",
        nargs="+",
        action="extend",
        required=required,
        metavar="NAME=ROOT",
        help="the dataset and its folder (covidct datasets lists the names; 'folder' reads class "
        "folders of your own). NAME@OWN=ROOT gives it another name in tables and run folders; "
        + (
            "several datasets may follow each other" if several else "several are joined as sources"
        ),
    )
    parser.add_argument(
        "--root", type=Path, help="folder of the dataset; --dataset NAME=ROOT does the same"
    )
    parser.add_argument("--download", action="store_true", help="download the files if missing")
    parser.add_argument(
        "--verify",
        choices=("hashes", "names", "none"),
        default="hashes",
        help="how to check the files of a published dataset: content, file names only, or not at "
        "all (default: %(default)s)",
    )
    add_on_error(parser)
    parser.add_argument(
        "--positive",
        nargs="+",
        metavar="LABEL",
        help="labels (class folders) that mean COVID-19, if their names are unusual",
    )
    parser.add_argument(
        "--negative",
        nargs="+",
        metavar="LABEL",
        help="labels of the other class (default: all that are not positive); slices with further "
        "labels are left out",
    )
    parser.add_argument(
        "--groups",
        metavar="HOW",
        help="source of the patients: auto, folder (a folder per patient), dicom (PatientID), "
        "none, or a CSV file with the columns path,group (default: auto)",
    )
    parser.add_argument(
        "--slices",
        type=_slices,
        metavar="WHICH",
        help="slices of each volume: lung, all, labelled, or FIRST,LAST counted from 0 at the feet "
        "(default: lung)",
    )
    parser.add_argument(
        "--window",
        type=_window,
        metavar="WINDOW",
        help="display window of Hounsfield units and 16-bit values: lung, range, file, or "
        "LEVEL,WIDTH (default: lung)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the files that a table lists"
    )
    parser.add_argument(
        "--columns",
        type=_columns,
        metavar="MEANING=COLUMN,...",
        help="columns of a table: path, label, group, split, source and slice, such as "
        "path=filename,label=finding,group=patientid",
    )
    parser.add_argument(
        "--version", metavar="VERSION", help="version of a published dataset, such as 3A"
    )
    parser.add_argument(
        "--option",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="loader_options",
        help="another option of a published dataset, such as fold=1 of covid-ctset (may be "
        "repeated)",
    )
    parser.add_argument(
        "--n", type=int, metavar="N", help="number of slices of 'phantom' (default: 240)"
    )


def _pair(text: str) -> tuple[str, str] | None:
    first, comma, second = text.partition(",")
    return (first.strip(), second.strip()) if comma else None


def _slices(text: str) -> str | tuple[int, int]:
    """Read a choice of slices; the loader checks it."""
    pair = _pair(text)
    return text if pair is None else (int(pair[0]), int(pair[1]))


def _window(text: str) -> str | tuple[float, float]:
    """Read a choice of the window; the loader checks it."""
    pair = _pair(text)
    return text if pair is None else (float(pair[0]), float(pair[1]))


def _columns(text: str) -> dict[str, str]:
    """Read the columns of a table: ``path=filename,label=finding``."""
    columns = {}
    for part in text.split(","):
        meaning, equals, column = part.partition("=")
        if not (equals and meaning.strip() and column.strip()):
            raise argparse.ArgumentTypeError(f"takes MEANING=COLUMN,..., got {text!r}")
        columns[meaning.strip()] = column.strip()
    return columns


def _option(text: str) -> tuple[str, str | int]:
    """Read an option of a loader, which checks it."""
    name, equals, value = text.partition("=")
    if not (equals and name.strip() and value.strip()):
        raise argparse.ArgumentTypeError(f"takes NAME=VALUE, got {text!r}")
    value = value.strip()
    return name.strip(), int(value) if value.isdigit() else value


# Ranges of the numbers of a decision rule: as written, and as tested.
_RULE_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "sensitivity": ("(0, 1]", lambda value: 0 < value <= 1),
    "specificity": ("(0, 1]", lambda value: 0 < value <= 1),
    "threshold": ("[0, 1]", lambda value: 0 <= value <= 1),
    "prevalence": ("(0, 1)", lambda value: 0 < value < 1),
}


def add_rule(parser: argparse.ArgumentParser) -> None:
    """Add the options of calibration and threshold; the default of each is None."""
    options = parser.add_argument_group("decision rule")
    target = options.add_mutually_exclusive_group()
    for name in ("sensitivity", "specificity"):
        target.add_argument(f"--{name}", type=float, metavar="S", help=f"target {name}, in (0, 1]")
    target.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="threshold of the probability, calibrated if --calibrate is given, in [0, 1]",
    )
    options.add_argument(
        "--calibrate",
        choices=("temperature", "platt"),
        help="calibrate probabilities by a factor of the logit, or by a factor and a constant",
    )
    options.add_argument(
        "--prevalence",
        type=float,
        metavar="P",
        help="share of COVID-19 where the result is used, in (0, 1)",
    )


def rule_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_rule` by name; None where one was not given."""
    for name, (interval, contains) in _RULE_RANGES.items():
        value = getattr(args, name)
        if value is not None and not contains(value):
            raise WrongCallError(f"--{name} must lie in {interval}, got {value}")
    return {name: getattr(args, name) for name in (*_RULE_RANGES, "calibrate")}


def add_on_error(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses what happens when a file cannot be read."""
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="stop at a file that cannot be read, or leave it out (default: %(default)s)",
    )


def named_datasets(args: argparse.Namespace) -> dict[str, NamedDataset]:
    """Return the datasets that ``--dataset`` names, by the names that the user gave them."""
    texts = args.dataset or []
    if args.root is not None and not texts:
        raise WrongCallError("--root needs --dataset NAME")
    if args.root is not None and (len(texts) > 1 or "=" in texts[0]):
        raise WrongCallError("--root takes a single --dataset NAME; write --dataset NAME=ROOT ...")
    named: dict[str, NamedDataset] = {}
    for text in texts:
        names, equals, root = text.partition("=")
        dataset, at, own = names.partition("@")
        own = own if at else dataset
        if not dataset or (equals and not root) or not re.fullmatch(r"[\w.-][\w. -]*", own):
            raise WrongCallError(f"--dataset takes NAME, NAME=ROOT or NAME@OWN=ROOT, got {text!r}")
        if own in named:
            raise WrongCallError(
                f"dataset {own!r} is named twice; give each its own name: {dataset}@OWN=ROOT"
            )
        named[own] = NamedDataset(dataset, Path(root) if equals else args.root)
    return named


def load_datasets(args: argparse.Namespace) -> dict[str, CTDataset]:
    """Load the datasets that ``--dataset`` names; an option goes to each dataset that takes it."""
    from .. import load_dataset

    named = named_datasets(args)
    accepted = {own: _loader_parameters(source.dataset) for own, source in named.items()}
    given = {name: getattr(args, name) for name in _LOADER_OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    given |= dict(args.loader_options)
    if given.get("groups") == "none":
        given["groups"] = None
    if "images" in given and len(named) > 1:
        raise WrongCallError("--images takes a single --dataset")
    for option in given:
        if not any(option in parameters for parameters in accepted.values()):
            names = ", ".join(source.dataset for source in named.values())
            flag = f"--option {option}" if option not in _LOADER_OPTIONS else f"--{option}"
            known = [name for name in _LOADER_OPTIONS if any(name in a for a in accepted.values())]
            advice = f", which takes {', '.join(f'--{name}' for name in known)}" if known else ""
            raise WrongCallError(f"{flag} does not apply to {names}{advice}")
    loaded = {}
    for own, (name, root) in named.items():
        loaded[own] = load_dataset(
            name,
            root,
            name=own,
            download=args.download and (len(named) == 1 or "download" in accepted[own]),
            verify=None if args.verify == "none" else args.verify,
            on_error=args.on_error,
            **{option: value for option, value in given.items() if option in accepted[own]},
        )
    return loaded


def load_slices(args: argparse.Namespace) -> CTDataset:
    """Load the dataset that ``--dataset`` names, or join the sources that it names."""
    from .. import concat

    loaded = load_datasets(args)
    if len(loaded) == 1:
        return next(iter(loaded.values()))
    with checked_call():
        return concat(list(loaded.values()), list(loaded))


def _loader_parameters(dataset: str) -> frozenset[str]:
    """Return the names of the parameters of a dataset's loader."""
    from inspect import signature  # slow to import
    from pkgutil import resolve_name

    from ..datasets.registry import dataset_info

    loader = dataset_info(dataset).loader
    if isinstance(loader, str):
        try:
            loader = resolve_name(loader)
        except (ImportError, AttributeError):
            return frozenset()  # load_dataset raises the error
    return frozenset(signature(loader).parameters)


def add_layer(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the layer to explain."""
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="layer that Grad-CAM explains, such as backbone.layer3 of a ResNet, whose grid is "
        "twice as fine (default: the last layer with rows and columns)",
    )


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses the style of the printed tables."""
    parser.add_argument(
        "--table",
        default="text",
        choices=("text", "markdown", "latex", "csv"),
        help="style of the tables (default: %(default)s)",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the network's outputs, the recipe, folds and hardware."""
    parser.add_argument(
        "--target",
        default="covid",
        choices=("covid", "label"),
        help="train one logit of COVID-19 against the rest, or one output per label (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="initial weights: 'imagenet', 'none' for random weights, or a file "
        "(default: %(default)s)",
    )
    parser.add_argument("--folds", type=int, default=5, help="number of folds (default: 5)")
    parser.add_argument(
        "--repeats",
        type=int,
        help="number of repeats, each with another split (default: 1), or of trainings on an "
        "official split, each with another seed (default: 5); extends a finished run with fewer",
    )
    add_recipe(parser)
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of the training (default: %(default)s)"
    )
    parser.add_argument(
        "--split-seed", type=int, help="random seed of the split (default: that of the training)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="precision of the training (default: %(default)s)",
    )
    parser.add_argument(
        "--n-jobs", type=int, default=1, help="folds trained at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="CPU threads for each fold (default: OMP_NUM_THREADS or all cores, and no more than "
        "the cores divided by --n-jobs)",
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options that change the recipe."""
    parser.add_argument(
        "--recipe",
        choices=["paper", "modern", "demo"],
        default="paper",
        help="recipe of the training: the paper's, a modern one for fine-tuning (AdamW with a "
        "cosine schedule, 20 epochs), or the short one of covidct demo (default: %(default)s)",
    )
    parser.add_argument(
        "--demo",
        action="store_const",
        const="demo",
        dest="recipe",
        help="the same as --recipe demo",
    )
    parser.add_argument(
        "--epochs", type=int, help="number of epochs; the schedule is stretched to it"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        dest="changes",
        help="change an option of the recipe, such as resize=stretch, canvas=[128,176] or "
        "augmentation.noise=0 (may be repeated)",
    )


def read_recipe(args: argparse.Namespace) -> Recipe:
    """Build the recipe that the options describe."""
    from .. import Recipe

    recipe = {"paper": Recipe, "modern": Recipe.modern, "demo": Recipe.demo}[args.recipe]()
    if args.epochs is not None:
        recipe = recipe.scaled(args.epochs)
    values = recipe.to_dict()
    for change in args.changes:
        option, equals, value = change.partition("=")
        if not equals:
            raise WrongCallError(f"--set takes OPTION=VALUE, got {change!r}")
        table, _, key = option.rpartition(".")
        if table not in ("", "augmentation"):
            raise WrongCallError(f"--set knows no option {option!r}")
        if option == "augmentation":
            raise WrongCallError(
                "--set takes the options of the augmentation one by one, as augmentation.noise=0"
            )
        target = values[table] if table else values
        target[key] = _parse(value)
    return Recipe.from_dict(values)


def _parse(value: str) -> Any:
    """Read a value as JSON, or as text if it is not valid JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def read_weights(args: argparse.Namespace) -> str | None:
    """Return the initial weights that the options name; None stands for random weights."""
    return None if args.weights == "none" else args.weights


def in_shell_words(message: str, args: argparse.Namespace) -> str:
    """Write arguments of the Python interface in a message as options of the verb.

    Examples
    --------
    >>> from argparse import Namespace
    >>> from covidct.cli.options import in_shell_words
    >>> args = Namespace(weights="imagenet", n_jobs=0)
    >>> in_shell_words("train from random weights with weights=None", args)
    'train from random weights with --weights none'
    >>> in_shell_words("n_jobs must be 1 or more, got 0", args)
    '--n-jobs must be 1 or more, got 0'
    """
    flags = {name: f"--{name.replace('_', '-')}" for name in vars(args)}
    flags |= {name: flag for name, flag in _FLAGS.items() if flag in flags.values()}

    def with_value(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"].strip("\"'")
        if name == "groups" and value in _GROUPED and "protocol" in flags:
            return "--protocol grouped"
        if name == "cv" and value in ("official", "source") and "protocol" in flags:
            return f"--protocol {value}"
        if name == "cv" and value.isdigit() and "protocol" in flags:
            return f"--protocol paper --folds {value}"
        if name not in flags:
            return match[0]
        return flags[name] + {"True": "", "None": " none"}.get(value, f" {value}")

    def about(match: re.Match[str]) -> str:
        if match["name"] not in flags:
            return match[0]
        values = re.sub(r"\b(None|True|False)\b", lambda value: value[0].lower(), match["rest"])
        return f"{flags[match['name']]}{values}"

    for words, advice in _ADVICE.items():
        message = message.replace(words, advice)
    value = r"(?P<value>None|True|[A-Z]+\b|\d+\b|'[^']*'|\"[^\"]*\")"
    message = re.sub(rf"\b(?P<name>[a-z_]+)={value}", with_value, message)
    return re.sub(r"^(?P<name>[a-z_]+)(?P<rest> must [^;]*)", about, message)


def emit(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(text + "\n")


def emit_json(value: Any) -> None:
    """Write a result for another program to standard output."""
    emit(json.dumps(value, indent=2, allow_nan=False))
