from __future__ import annotations

import csv
import io

import pytest

from covidct.errors import UnknownNameError
from covidct.evaluation import Table


@pytest.fixture
def table():
    return Table(
        ["fold", "accuracy, %"],
        [["0", "91.2"], ["1", "88.0 <†>"]],
        footer=[["mean ± sd", "89.6 ± 2.3"]],
        caption="Each fold",
        notes=["A note & more."],
    )


def test_text(table):
    assert str(table).splitlines() == [
        "Each fold",
        "fold       accuracy, %",
        "0                 91.2",
        "1             88.0 <†>",
        "mean ± sd   89.6 ± 2.3",
        "A note & more.",
    ]


def test_markdown(table):
    caption, body, note = table.render("markdown").split("\n\n")
    assert (caption, note) == ("Each fold", "A note & more.")
    assert body.splitlines()[:2] == ["| fold      | accuracy, % |", "| --------- | ----------: |"]


def test_latex(table):
    lines = table.render("latex").splitlines()
    assert lines[0] == r"\begin{table}"
    assert r"fold & accuracy, \% \\" in lines
    assert r"1 & 88.0 <\dag{}> \\" in lines
    assert lines.index(r"mean $\pm$ sd & 89.6 $\pm$ 2.3 \\") == lines.index(r"\bottomrule") - 1
    plain = Table(table.header, table.rows).render("latex")
    assert plain.startswith(r"\begin{tabular}{lr}")


def test_csv_is_read_back(table):
    rows = list(csv.reader(io.StringIO(table.render("csv"))))
    assert rows == [[*table.header], *map(list, table.rows), *map(list, table.footer)]


def test_html_is_escaped(table):
    text = table.render("html")
    assert text == table._repr_html_()
    assert "88.0 &lt;†&gt;" in text
    assert "A note &amp; more." in text


def test_bad_rows_and_styles_are_refused(table):
    with pytest.raises(ValueError, match="needs 2 cells, got"):
        Table(table.header, [["0"]])
    with pytest.raises(UnknownNameError, match="unknown table style 'tex'"):
        table.render("tex")
