from __future__ import annotations

import copy
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import covidct
from covidct.report.page import render

VOID = {"meta", "img", "input", "br"}


class Outline(HTMLParser):
    """The elements of a page, in order, and its text; fails where tags do not match."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="session")
def train():
    def train_two_folds(model, dataset, run_dir, **options):
        return covidct.CrossValidator(
            model,
            covidct.Recipe.demo().scaled(1),
            cv=2,
            weights=None,
            threads=1,
            device="cpu",
            run_dir=run_dir,
            **options,
        ).run(dataset)

    return train_two_folds


@pytest.fixture(scope="session")
def grouped(tiny, phantoms, train, tmp_path_factory):
    return train(tiny, phantoms, tmp_path_factory.mktemp("runs") / "grouped", groups="patient")


@pytest.fixture(scope="session")
def random(tiny, phantoms, train, tmp_path_factory):
    with pytest.warns(UserWarning, match="slices are split at random"):
        return train(tiny, phantoms, tmp_path_factory.mktemp("runs") / "random")


@pytest.fixture(scope="session")
def html(random, phantoms):
    """The page of a run, with its slices."""
    return render([random], dataset=phantoms)


@pytest.fixture(scope="session")
def bare(grouped):
    """The page of a run, without its slices."""
    return render([grouped])


@pytest.fixture
def changed():
    """Copy a run with changed attributes."""

    def change(result, spec=None, **attributes):
        other = copy.copy(result)
        other.spec = replace(result.spec, **(spec or {}))
        other._intervals, other._patient_intervals = {}, {}
        for cached in ("fold_metrics", "patient_metrics"):
            other.__dict__.pop(cached, None)
        for name, value in attributes.items():
            setattr(other, name, value)
        return other

    return change


@pytest.fixture
def outline():
    return Outline
