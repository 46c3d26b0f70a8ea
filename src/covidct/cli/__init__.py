"""``covidct <verb>``: each verb is a few lines over the public API, in a module of its name."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from .._version import __version__
from ..errors import InvalidFileError, UnknownNameError
from .options import WrongCallError

__all__ = ["main"]

_VERBS = {
    "demo": "run the whole on phantoms: audit, folds, explanations, report",
    "datasets": "list the datasets, or describe one",
    "models": "list the networks, or describe one",
    "audit": "say whether a dataset, and a split of it, is fit to be believed",
    "train": "cross-validate a network on a dataset",
    "evaluate": "print what runs score, out of fold or on another source",
    "sweep": "cross-validate many networks on many datasets",
    "compare": "test whether runs on the same slices differ",
    "ensemble": "average runs on the same folds, and score the average",
    "figures": "draw the paper's figures from a sweep",
    "predict": "score new slices with a finished run",
    "explain": "draw and measure the explanations of a finished run",
    "report": "write finished runs as one HTML page",
    "export": "write a fitted network as ONNX, or as a folder to share",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        The arguments; by default those of the process.

    Returns
    -------
    int
        0 the work is done, 1 it failed, 2 the call was wrong, 130 it was interrupted.

    Examples
    --------
    >>> from covidct.cli import main
    >>> main(["models", "densenet*"])
    densenet121
    densenet169
    densenet201
    0
    """
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="covidct: %(levelname)s: %(message)s")
    try:
        with _plain_warnings(), _progress_in_logs():
            args.run(args)
    except KeyboardInterrupt:
        hint = getattr(args, "resume_hint", "what is finished is kept")
        return _complain(args, f"interrupted; {hint}", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, as in `covidct models | head -1`
        return 1
    except (WrongCallError, UnknownNameError) as error:
        return _complain(args, str(error), 2)
    except (ValueError, IndexError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if args.traceback:
            raise
        hint = ""
        if isinstance(error, InvalidFileError) and getattr(args, "on_error", "") == "raise":
            hint = " (--on-error skip leaves out a slice that cannot be read)"
        return _complain(args, (str(error) or type(error).__name__) + hint, 1)
    return 0


class _ParagraphsFormatter(argparse.RawDescriptionHelpFormatter):
    """Wrap each paragraph to the terminal; examples, which are indented, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            indent + part if "\n  " in part else textwrap.fill(part, width, initial_indent=indent)
            for part in text.strip().split("\n\n")
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="covidct",
        description="Explainable COVID-19 detection on chest-CT slices. For research; no medical "
        "device.",
        epilog="covidct VERB --help shows the options of a verb, and an example.",
    )
    parser.add_argument("--version", action="version", version=f"covidct {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, dest="verb")
    for verb, summary in _VERBS.items():
        module = import_module(f"{__name__}.{verb}")
        command = verbs.add_parser(
            verb,
            help=summary,
            description=module.__doc__,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=_ParagraphsFormatter,
        )
        module.add_arguments(command)
        command.add_argument(
            "--traceback", action="store_true", help="show where an error comes from"
        )
        command.set_defaults(run=module.run)
    return parser


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Leave out the place in the code, which means nothing to who typed a command."""

    def plain(message: Warning | str, *_: object, **__: object) -> str:
        return f"covidct: WARNING: {message}\n"

    before = warnings.formatwarning
    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextmanager
def _progress_in_logs() -> Iterator[None]:
    """Log how far the work is where no terminal shows a bar."""
    logger = logging.getLogger("covidct")
    before = logger.level
    if not sys.stderr.isatty():
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)


def _complain(args: argparse.Namespace, message: str, code: int) -> int:
    sys.stderr.write(f"covidct {args.verb}: {'' if code == 130 else 'error: '}{message}\n")
    return code
