"""Contents of the page: notices, and sections without repeated notes."""

from __future__ import annotations

from covidct.report.contents import find_notices, make_page
from covidct.runs.protocol import Protocol


def test_leakage_of_patients_is_noticed(random, grouped):
    (notice,) = find_notices({"random": random})
    share = f"{100 * random.shared_groups():.0f} %"
    assert notice.title == "Slices of the same patient are in training and test"
    assert share in notice.detail
    assert share != "0 %"
    assert grouped.shared_groups() == 0
    assert list(find_notices({"grouped": grouped})) == []


def test_leakage_of_near_duplicates_is_noticed(random, changed):
    alike = changed(
        random, protocol=Protocol.grouped("near-duplicate"), group_kind="near-duplicate"
    )
    (notice,) = find_notices({"alike": alike})
    assert notice.title == "Slices of the same near-duplicate group are in training and test"
    assert "too optimistic for new patients" in notice.detail


def test_unknown_patients_are_noticed(random, changed):
    predictions = random.predictions.copy()
    predictions["group"] = ""
    (notice,) = find_notices({"random": changed(random, predictions=predictions)})
    assert "unknown" in notice.title
    assert notice.severity == "note"


def test_groups_of_training_slices_may_be_unknown(grouped, changed):
    only_first = grouped.predictions[grouped.predictions["fold"] == 0]
    assert changed(grouped, predictions=only_first).shared_groups() is None


def test_notes_of_the_thresholds_are_not_repeated(grouped):
    (section,) = make_page([grouped]).sections
    notes = [note for table in section.use.tables for note in table.notes]
    assert len(notes) == len(set(notes)) > 3
    (at_target, other, *rare) = section.use.sentences
    assert all(" of 100 patients with COVID-19" in text for text in (at_target, other))
    assert [text.split(" %")[0] for text in rare] == ["Where 2", "Where 10", "Where 30"]
