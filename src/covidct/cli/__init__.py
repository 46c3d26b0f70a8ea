"""Command line: ``covidct VERB``. Each verb is a module that calls the public Python interface."""

from __future__ import annotations

import argparse
import io
import logging
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module

from .._version import __version__
from ..errors import InvalidSliceError, UnknownNameError
from .imports import add_imports, import_modules
from .shell_words import in_shell_words
from .wrong_call import WrongCallError

__all__ = ["main"]

_VERBS = {
    "demo": "run all steps on synthetic slices: audit, training, explanations, report",
    "datasets": "list the datasets, or describe one",
    "models": "list the networks, or describe them",
    "audit": "check a dataset for duplicates, shortcuts and leakage",
    "train": "cross-validate a network on a dataset",
    "evaluate": "print the metrics of finished runs, or test them on another dataset",
    "sweep": "cross-validate many networks on many datasets",
    "compare": "test whether finished runs on the same slices differ",
    "ensemble": "average the predictions of finished runs on the same folds",
    "figures": "draw the paper's figures from a sweep",
    "predict": "predict COVID-19 in new slices with a finished run",
    "explain": "draw and evaluate the explanations of a finished run",
    "report": "write finished runs as one HTML page",
    "export": "write a fitted network as ONNX, or as a folder to share",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments. None: those of the process.

    Returns
    -------
    int
        Exit code: 0 after success, 1 after an error, 2 after a wrong call, 130 after an
        interruption.

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
    _escape_unknown_characters()
    logging.basicConfig(level=logging.WARNING, format="covidct: %(levelname)s: %(message)s")
    try:
        with _short_warnings(args), _progress_in_logs(), _each_line_once():
            import_modules(args.imports)
            args.run(args)
    except KeyboardInterrupt:
        hint = getattr(args, "resume_hint", "finished parts are kept")
        return _fail(args, f"interrupted; {hint}", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the output was closed, as in `covidct models | head -1`
        return 1
    except (WrongCallError, UnknownNameError) as error:
        return _fail(args, str(error), 2)
    except (ValueError, IndexError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if args.traceback:
            raise
        return _fail(args, (str(error) or type(error).__name__) + _hint(error, args), 1)
    return 0


def _hint(error: Exception, args: argparse.Namespace) -> str:
    """Return the hint that slices can be skipped, unless there is only one file."""
    if not isinstance(error, InvalidSliceError) or getattr(args, "on_error", "") != "raise":
        return ""
    paths = getattr(args, "paths", [])
    if len(paths) == 1 and paths[0].is_file():
        return ""
    return " (--on-error skip leaves out slices that cannot be read)"


class _ParagraphsFormatter(argparse.RawDescriptionHelpFormatter):
    """Formatter of help texts that wraps each paragraph, but not indented examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            indent + part if "\n  " in part else textwrap.fill(part, width, initial_indent=indent)
            for part in text.strip().split("\n\n")
        )


class _VerbParser(argparse.ArgumentParser):
    """Parser of the arguments of a verb; its errors show the usage of that verb."""

    def parse_known_args(  # type: ignore[override]  # verbs are parsed into a new namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Raise an error for unknown arguments, instead of passing them to the main parser."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            names = [*self._option_string_actions]
            close = [n for word in unknown for n in get_close_matches(word.split("=")[0], names, 1)]
            hint = f" (did you mean {' '.join(close)}?)" if close else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return known, unknown


def _escape_unknown_characters() -> None:
    """Escape characters that the encoding of the console lacks, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="covidct",
        description="Explainable COVID-19 detection on chest-CT slices. For research; not a "
        "medical device.",
        epilog="example:\n  covidct demo\n\n"
        "covidct VERB --help shows the options of a verb, with an example.",
        formatter_class=_ParagraphsFormatter,
    )
    parser.add_argument("--version", action="version", version=f"covidct {__version__}")
    verbs = parser.add_subparsers(
        metavar="VERB", required=True, dest="verb", parser_class=_VerbParser
    )
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
        add_imports(command)
        command.add_argument(
            "--traceback", action="store_true", help="show the Python traceback of an error"
        )
        command.set_defaults(run=module.run)
    return parser


@contextmanager
def _short_warnings(args: argparse.Namespace) -> Iterator[None]:
    """Print warnings without the line of code that raised them."""

    def short(message: Warning | str, *_: object, **__: object) -> str:
        return f"covidct: WARNING: {in_shell_words(str(message), args)}\n"

    before = warnings.formatwarning
    warnings.formatwarning = short
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextmanager
def _progress_in_logs() -> Iterator[None]:
    """Log the progress if no terminal shows a progress bar."""
    logger = logging.getLogger("covidct")
    before = logger.level
    if not sys.stderr.isatty():
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Once(logging.Filter):
    """Filter that drops repeated lines, such as those of a folder that several steps read."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        line = record.getMessage()
        new = line not in self._passed
        self._passed.add(line)
        return new


@contextmanager
def _each_line_once() -> Iterator[None]:
    """Print each log line only once."""
    # One filter per handler, since each record passes through all handlers.
    filters = [(handler, _Once()) for handler in logging.getLogger().handlers]
    for handler, once in filters:
        handler.addFilter(once)
    try:
        yield
    finally:
        for handler, once in filters:
            handler.removeFilter(once)


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    kind = "" if code == 130 else "error: "
    sys.stderr.write(f"covidct {args.verb}: {kind}{in_shell_words(message, args)}\n")
    return code
