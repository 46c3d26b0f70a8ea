from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from covidct import AuditReport, CTDataset
from covidct.audit import Finding
from covidct.errors import UnknownNameError
from covidct.evaluation.tables import percent, percent_range
from covidct.report import write_report
from covidct.report.page import render

HOSTILE = "<script>alert(1)</script>.png"
PAIR = {"files": ["a&b.png", "<c>.png"], "similarity": 0.913, "identical": False, "change": ""}


@pytest.fixture(scope="module")
def audit():
    findings = (
        Finding("fatal", "Sizes differ <by class>", "Crop them.", {}),
        Finding("note", "Slices are few", "Add some.", {"pairs": [PAIR]}),
    )
    return AuditReport("phantom", "24 slices", findings, np.arange(24), {})


@pytest.fixture(scope="module")
def audited(grouped, audit):
    """The page of a run and of an audit."""
    return render([grouped], audit=audit)


def test_needs_no_other_file_and_no_network(html):
    for address in ("http:", "https:", "//fonts", "@import", 'src="/', "url("):
        assert address not in html
    assert "default-src 'none'" in html


def test_is_accessible(html, outline):
    page = outline(html)
    assert page.all("html") == [{"lang": "en"}]
    assert all("alt" in image for image in page.all("img"))
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert set(ids.values()) == {1}
    labelled = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert labelled <= set(ids)
    assert len(page.all("table")) == len(page.all("caption")) == 3
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert np.diff(levels).max() <= 1


def test_shows_the_results_of_the_run(html, random, outline):
    text = outline(html).text
    assert "not a medical device" in text
    for name in ("accuracy", "recall", "specificity", "auc"):
        assert percent(*random.summary()[name]) in text
        assert percent_range(*random.intervals()[name]) in text
    assert "each scored in every fold that tests its slices" in text
    assert random.content_hash in text
    assert f"torch {random.spec.versions['torch']}" in text


def test_names_are_escaped(tiny, phantoms, train, tmp_path, outline):
    paths = [tmp_path / "slices" / name for name in [HOSTILE, *(f"{i}.png" for i in range(11))]]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        phantoms[i][0].resize((60, 50), Image.Resampling.BILINEAR).save(path)
    dataset = CTDataset(
        paths,
        phantoms.targets[:12],
        [f"<b>{i % 3}{phantoms.targets[i]}</b>" for i in range(12)],
        classes=('" onload="alert(2)', "$\\frac$ <i>"),
        name="</title><script>alert(3)</script>",
        root=tmp_path / "slices",
        skipped=[("<img src=x onerror=alert(4)>.png", "broken & \udcff")],
    )
    with pytest.warns(UserWarning, match="split at random"):
        result = train(tiny, dataset, tmp_path / "run")
    html = write_report(result, tmp_path / "report.html", dataset=dataset).read_text("utf-8")
    page = outline(html)
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert page.all("b", "i") == []
    assert HOSTILE in page.text
    assert "<img src=x onerror=alert(4)>.png" in page.text
    assert "1 skipped file" in page.text
    assert "Not shown" not in page.text


def test_warnings_are_above_the_results(audited, audit, outline):
    text = outline(audited).text
    assert (
        text.index("Sizes differ <by class>") < text.index("Results") < text.index("Slices are few")
    )
    assert audit.verdict in text


def test_examples_of_a_finding_are_listed(audited, outline):
    assert "a&b.png  ~ 0.91  <c>.png" in outline(audited).text


def test_every_part_can_be_jumped_to(html, bare, outline):
    for page in map(outline, (html, bare)):
        ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
        targets = {a["href"].removeprefix("#") for a in page.all("a")}
        assert targets <= ids
        assert len(targets) >= 7


def test_without_slices_explains_how_to_add_them(bare, outline):
    page = outline(bare)
    assert page.text.count("covidct report RUN --dataset NAME") == 2
    assert page.all("form") == []


def test_other_slices_are_refused(grouped, phantoms):
    with pytest.raises(ValueError, match="no run was trained on the given slices of 'phantom'"):
        render([grouped], dataset=phantoms.subset(range(20)))


def test_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        write_report([], tmp_path / "report.html")


def test_same_bytes_each_time(grouped, bare):
    assert render([grouped]) == bare


def test_published_values_are_shown(grouped, changed, outline):
    squeezenet = changed(grouped, model_name="squeezenet", dataset_name="covid19-ct")
    text = outline(render([squeezenet])).text
    assert "87.3 ± 3.2" in text
    assert "The protocols differ" in text


def test_several_runs_are_compared(random, grouped, outline):
    page = outline(render([random, random]))
    assert "ShuffleNet on phantom: comparison of 2 runs" in page.text
    assert "tiny minus tiny (run 2)" in page.text
    assert {a["href"] for a in page.all("a")} >= {"#run-1", "#run-2"}
    assert len({a["id"] for _, a in page.elements if "id" in a}) > 10


def test_runs_are_named_by_their_differences(random, grouped, changed, outline):
    page = outline(render([random, changed(random, {"seed": 1})]))
    assert "seed 0 minus seed 1" in page.text
    assert "on phantom (protocol: paper; seed 1)" in page.text
    page = outline(render([random, grouped]))
    assert "paper: Slices of the same patient are in training and test" in page.text


def test_stays_small(html):
    """A page shows at most 48 slices, so 24 slices may take half of 10 MB."""
    assert len(html) < 5e6


def test_the_explained_layer_is_shown(grouped, phantoms, html):
    page = render([grouped], dataset=phantoms, layer="backbone.stage3")
    assert "Grad-CAM map at the layer <code>backbone.stage3</code>" in page
    assert "at the layer" not in html
    with pytest.raises(UnknownNameError, match="unknown layer 'stage9'"):
        render([grouped], dataset=phantoms, layer="stage9")
