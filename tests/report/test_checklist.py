"""Checklists list every item, and answer from the run what the run can answer."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pandas as pd
import pytest

import covidct
from covidct.cli import main
from covidct.report.checklist import checklist_tables, write_checklist
from covidct.report.guidelines import GUIDELINES

TRIPOD = re.findall(
    r"\S+",
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 "
    "16 17 18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c",
)


def answer(result, guideline, number, **options):
    rows = checklist_tables(result, **options)[guideline].rows
    return next(row[2] for row in rows if row[0] == number)


def test_every_item_of_the_guidelines_is_listed_once():
    numbers = {key: [item.number for item in g.items] for key, g in GUIDELINES.items()}
    assert numbers["tripod-ai"] == TRIPOD
    assert numbers["claim"] == [str(number) for number in range(1, 45)]


def test_every_item_is_answered_or_left_to_the_author(grouped):
    for table in checklist_tables(grouped).values():
        assert all(set(row[2:]) != {"–"} for row in table.rows)
        author = [row[0] for row in table.rows if row[2] == "–"]
        whole = [row[0] for row in table.rows if row[3] == "–"]
        partly = len(table.rows) - len(author) - len(whole)
        assert table.notes[-1] == (
            f"Of {len(table.rows)} items, the run answers {len(whole)} and a part of {partly}; "
            f"{len(author)} are left to the author."
        )


def test_answers_have_the_numbers_of_the_run(grouped, phantoms):
    patients = len(set(phantoms.groups))
    assert f"24 slices, {patients} tested patients" in answer(grouped, "tripod-ai", "5a")
    assert answer(grouped, "claim", "12").startswith("No file was skipped")
    assert "2 folds, each with a training and test part" in answer(grouped, "claim", "19")
    assert answer(grouped, "claim", "20") == (
        "All slices of a patient on the same side of every split."
    )
    sizes = {fold.test.size for fold in grouped.folds}
    assert all(f"{size}" in answer(grouped, "tripod-ai", "21") for size in sizes)
    assert f"50.0 % COVID-19, {patients} patients" in answer(grouped, "tripod-ai", "21")
    low, high = grouped.intervals()["accuracy"]
    mean = grouped.summary()["accuracy"][0]
    expected = f"Accuracy {100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    assert expected in answer(grouped, "claim", "37")
    assert "per patient, Accuracy" in answer(grouped, "tripod-ai", "23a")
    wrong = (grouped.predictions["probability"] >= 0.5) != (grouped.predictions["target"] == 1)
    positive = grouped.predictions["target"] == 1
    assert f"{(wrong & positive).sum()} COVID and {(wrong & ~positive).sum()} non-COVID" in answer(
        grouped, "claim", "39"
    )


def test_operating_points_and_their_thresholds(grouped):
    points = grouped.operating_points(per="patient")
    for point in points:
        assert f"{point.criterion} ({point.thresholds.min():.3f} to" in answer(
            grouped, "tripod-ai", "15"
        )
        assert point.text("specificity") in answer(grouped, "claim", "38")


def test_leakage_is_not_hidden(random):
    for guideline, number in (("claim", "20"), ("claim", "40"), ("tripod-ai", "26")):
        assert "too optimistic for new patients" in answer(random, guideline, number)


def test_unknown_patients_are_a_limitation(random, changed):
    predictions = random.predictions.assign(group="")
    unknown = changed(random, predictions=predictions)
    assert "patients are unknown" in answer(unknown, "claim", "20")
    assert "Patients are unknown" in answer(unknown, "claim", "40")
    assert "patients unknown" in answer(unknown, "claim", "7")


def test_skipped_files_are_counted(grouped, changed):
    dataset = replace(grouped.spec.dataset, skipped=(("a.png", "broken"), ("b.png", "broken")))
    skipped = changed(grouped, {"dataset": dataset})
    assert answer(skipped, "tripod-ai", "11").startswith("2 files were skipped as unreadable")
    assert "2 files skipped" in answer(skipped, "claim", "35")


def test_sources_are_compared(grouped, changed):
    assert answer(grouped, "tripod-ai", "23b").startswith("One source")
    predictions = grouped.predictions.copy()
    predictions["source"] = ["here" if i % 2 else "there" for i in predictions["index"]]
    several = changed(grouped, predictions=predictions)
    accuracy = several.by("source")["accuracy"]["here"]
    assert f"here {100 * accuracy:.1f} (" in answer(several, "tripod-ai", "23b")
    assert "here (12 slices), there (12 slices)" in answer(several, "claim", "7")


def test_an_audit_is_a_limitation(grouped, phantoms):
    audit = covidct.audit_dataset(phantoms)
    assert audit.verdict in answer(grouped, "claim", "40", audit=audit)


def test_a_single_fold_says_why_there_is_no_threshold(grouped, changed):
    first = grouped.predictions[grouped.predictions["fold"] == 0]
    single = changed(grouped, predictions=first, folds=grouped.folds[:1])
    assert "No other threshold was chosen: no threshold can be chosen" in answer(
        single, "tripod-ai", "15"
    )
    assert answer(single, "tripod-ai", "24").startswith("Not recalibrated")


def test_files(grouped, changed, tmp_path):
    dataset = replace(grouped.spec.dataset, name="a|b")
    other = changed(grouped, {"dataset": dataset})
    markdown = write_checklist([grouped, other], tmp_path / "new" / "c.md").read_text("utf-8")
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 2 * (len(TRIPOD) + 44 + 2 * 2)
    assert all(line.replace(r"\|", "").count("|") == 5 for line in lines)
    assert "Dataset a\\|b" in markdown
    content = write_checklist([grouped, other], tmp_path / "c.csv").read_text("utf-8")
    table = pd.read_csv(io.StringIO(content), dtype=str)
    assert len(table) == 2 * (len(TRIPOD) + 44)
    assert table["guideline"].unique().tolist() == ["TRIPOD+AI", "CLAIM"]
    with pytest.raises(ValueError, match=r"ends in .md or .csv"):
        write_checklist(grouped, tmp_path / "c.docx")


def test_command(grouped, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["report", "--checklist", str(grouped.run_dir), "--output", str(page)]) == 0
    written = [tmp_path / name for name in ("page.html", "page-checklist.md", "page-checklist.csv")]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    assert all(path.stat().st_size > 5_000 for path in written)
