from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from covidct import CrossValidator, Predictor
from covidct.errors import InvalidFileError
from covidct.runs.novelty import Reference, grey_levels


@pytest.fixture(scope="module")
def result(tiny, phantoms, tmp_path_factory):
    import covidct

    cv = CrossValidator(
        tiny,
        covidct.Recipe.demo().scaled(2),
        cv=2,
        groups="patient",
        weights=None,
        threads=1,
        device="cpu",
        run_dir=tmp_path_factory.mktemp("predictor") / "run",
    )
    return cv.run(phantoms)


@pytest.fixture
def folder(phantoms, tmp_path):
    for i in range(5):
        path = tmp_path / "new" / f"{i} %s ü.png"
        path.parent.mkdir(exist_ok=True)
        phantoms[i][0].save(path)
    return tmp_path / "new"


def test_is_the_mean_of_the_folds(result, phantoms, folder):
    external = result.evaluate(phantoms.subset(range(6)))
    predictions = Predictor.from_run(result.run_dir)(folder)
    assert [p.path for p in predictions] == [str(p) for p in sorted(folder.iterdir())]
    for i, prediction in enumerate(predictions):
        of_folds = external.probabilities[:, i]
        assert prediction.probability == pytest.approx(of_folds.mean(), abs=1e-5)
        assert prediction.spread == pytest.approx(of_folds.std(ddof=1), abs=1e-5)
        assert prediction.size == phantoms[i][0].size[::-1]


def test_batches_do_not_matter(result, folder):
    predictor = Predictor.from_run(result.run_dir)
    one, two = (
        [p.probability for p in predictor.stream(folder, batch_size=size)] for size in (1, 4)
    )
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_broken_file_stops_or_is_reported(result, folder):
    (folder / "3 broken.png").write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    predictor = Predictor.from_run(result.run_dir)
    with pytest.raises(InvalidFileError, match=r"3 broken\.png"):
        predictor(folder)
    predictions = predictor(folder, on_error="skip")
    (broken,) = [p for p in predictions if p.canvas is None]
    assert math.isnan(broken.probability)
    assert "3 broken.png" in broken.doubts[0]
    assert len(predictions) == 6


def test_odd_images_are_doubted(result, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 280), dtype=np.uint8)
    images = {"noise": noise, "small": noise[:6, :8], "strip": noise[:3, :]}
    for name, pixels in images.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    doubts = {p.path: p.doubts for p in Predictor.from_run(result.run_dir)(tmp_path)}
    by_name = {name: doubts[str(tmp_path / f"{name}.png")] for name in images}
    assert any("unlike" in d or "far from" in d for d in by_name["noise"])
    assert any("8 x 6 pixels" in d for d in by_name["small"])
    assert any("empty" in d for d in by_name["strip"])


@pytest.mark.parametrize("paths", [[], "nowhere"])
def test_nothing_to_score(result, paths):
    with pytest.raises(FileNotFoundError):
        Predictor.from_run(result.run_dir)(paths)


def test_damaged_reference_is_named(result, tmp_path):
    path = tmp_path / "reference.safetensors"
    path.write_bytes((result.run_dir / "folds/0/reference.safetensors").read_bytes()[:-9])
    with pytest.raises(InvalidFileError, match=r"reference\.safetensors"):
        Reference.load(path)


def test_one_in_a_hundred_of_the_same_source_is_unusual():
    rng = np.random.default_rng(0)

    def draw(n):
        return {"features": rng.normal(0, 1, (n, 32)), "grey": rng.normal(0, 1, (n, 9))}

    unusual = Reference.fit(draw(2000), draw(2000)).unusual(draw(5000))
    assert unusual["features"].mean() == pytest.approx(0.01, abs=0.006)


def test_grey_levels_of_a_ramp():
    ramp = np.tile(np.arange(101, dtype=np.uint8), (2, 4, 1))
    np.testing.assert_allclose(grey_levels(ramp)[0] * 255, np.arange(10, 100, 10))
