"""Messages of the Python interface in the words of the command line."""

from __future__ import annotations

import argparse

import pytest

from covidct.cli.shell_words import in_shell_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("or start without them: weights=None", "or start without them: --weights none"),
        ('load a copy with verify="names"', "load a copy with --verify names"),
        ("pass download=True", "pass --download"),
        ("give it as weights=PATH", "give it as --weights PATH"),
        ('split with groups="patient"', "split with --protocol grouped"),
        ("cv must be 2 or more", "--folds must be 2 or more"),
        ("groups must be 'auto', None or a file", "--groups must be 'auto', none or a file"),
        ("use cv=5", "use --protocol paper --folds 5"),
        ('leave one source out (cv="source")', "leave one source out (--protocol source)"),
        ("x=None and groups=None", "x=None and --groups none"),
        ("no images found in 'verify'", "no images found in 'verify'"),
    ],
)
def test_errors_speak_the_command_line(text, expected):
    names = ("weights", "verify", "download", "protocol", "groups", "folds", "n_jobs")
    assert in_shell_words(text, argparse.Namespace(**dict.fromkeys(names))) == expected
