from __future__ import annotations

import pytest

from covidct.datasets.labels import binarize, one_spelling, plain_label
from covidct.errors import UnknownNameError


@pytest.mark.parametrize(
    ("labels", "options", "targets", "classes"),
    [
        (["CAP", "COVID", "Normal"], {}, [0, 1, 0], ("non-COVID", "COVID")),
        (["NCP", "CP", "Normal"], {}, [1, 0, 0], ("non-NCP", "NCP")),
        (["0", "1"], {}, [0, 1], ("0", "1")),
        (["1", "2", "0"], {"positive": 2}, [0, 1, 0], ("non-2", "2")),
        (["a", "b", "c"], {"positive": ["a", "b"]}, [1, 1, 0], ("c", "COVID")),
        (["a", "b", "c"], {"positive": "a", "negative": "c"}, [1, -1, 0], ("c", "a")),
        (["a", "b"], {"positive": "A"}, [1, 0], ("b", "a")),
        (["COVID"], {}, [1], ("non-COVID", "COVID")),
        (["normal", "pneumonia"], {}, [0, 0], ("non-COVID", "COVID")),
        (["ward"], {"negative": "ward"}, [0], ("ward", "COVID")),
        # The lists of a study: a cohort may lack some of their labels, or all of one list.
        (["a", "b"], {"positive": "c", "negative": ["a", "B"]}, [0, 0], ("non-COVID", "COVID")),
        (["b"], {"positive": ["b", "c"], "negative": ["a"]}, [1], ("non-b", "b")),
    ],
)
def test_covid_against_the_rest(
    labels: list[str], options: dict[str, object], targets: list[int], classes: tuple[str, str]
) -> None:
    found = binarize(labels, where="x", **options)
    assert found.targets.tolist() == targets
    assert found.classes == classes


@pytest.mark.parametrize(
    ("labels", "options", "error", "match"),
    [
        (["a", "b"], {}, ValueError, "cannot recognize .*positive='a'"),
        (["covid", "covid19"], {}, ValueError, "cannot recognize"),
        (["1", "2", "0"], {}, ValueError, "cannot recognize"),
        (["a", "b"], {"positive": "c"}, UnknownNameError, "unknown positive label 'c'"),
        (["COVID", "b"], {"positive": "COVlD"}, UnknownNameError, "did you mean 'COVID'"),
        (["a", "b"], {"positive": "a", "negative": "d"}, UnknownNameError, "negative label 'd'"),
        (["a", "b"], {"positive": "a", "negative": "a"}, ValueError, "in positive and in negative"),
    ],
)
def test_refuses(
    labels: list[str], options: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        binarize(labels, where="x", **options)


def test_labels_that_are_left_out_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    binarize(["COVID", "CAP", "CAP", "Normal"], negative="normal", where="slices.csv")
    assert "slices.csv: 2 of 'CAP'" in caplog.text


def test_a_dataset_without_covid_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    binarize(["normal", "healthy"], where="ward")
    assert "ward: all slices are of class 0" in caplog.text


@pytest.mark.parametrize(
    "others",
    [("covid-19", "Covid-19"), ("COVID\u201119", "COVID\u201319"), ("COVID-19 ", "\uff23OVID-19")],
    ids=["case", "hyphens", "blanks and width"],
)
def test_one_label_in_several_spellings(
    caplog: pytest.LogCaptureFixture, others: tuple[str, str]
) -> None:
    labels = ["COVID-19", *others, "COVID-19", "normal"]
    assert one_spelling(labels, where="x") == ["COVID-19"] * 4 + ["normal"]
    assert "is taken for 'COVID-19'" in caplog.text


def test_signs_stay_apart() -> None:
    labels = ["COVID+", "COVID-", "COVID 19", "COVID-19"]
    assert one_spelling(labels, where="x") == labels


@pytest.mark.parametrize(
    ("value", "label"),
    [(1.0, "1"), ("1.0", "1"), ("12.00", "12"), ("1.5", "1.5"), ("007", "007"), (" a\u200b ", "a")],
)
def test_plain_labels(value: object, label: str) -> None:
    assert plain_label(value) == label
