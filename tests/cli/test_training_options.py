"""Options of a training on the command line."""

from __future__ import annotations

import argparse

import covidct
from covidct.cli.training_options import add_recipe, read_recipe


def test_demo_is_short_for_its_recipe():
    parser = argparse.ArgumentParser()
    add_recipe(parser)
    recipes = [read_recipe(parser.parse_args(c.split())) for c in ("--demo", "--recipe demo", "")]
    assert recipes == [covidct.Recipe.demo(), covidct.Recipe.demo(), covidct.Recipe()]
