from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageOps

from covidct import CrossValidator, Predictor, Recipe, load_dataset
from covidct.errors import InvalidFileError
from covidct.runs.out_of_distribution import TrainingReference


@pytest.fixture(scope="module")
def result(tiny, phantoms, tmp_path_factory):
    cv = CrossValidator(
        tiny,
        Recipe.demo().scaled(2),
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


def test_other_files_of_a_folder_are_passed_over(result, folder, caplog):
    (folder / "groups.csv").write_text("path,group\n")
    predictor = Predictor.from_run(result.run_dir)
    assert len(predictor(folder)) == 5
    assert "1 files are no slices: passed over 'groups.csv'" in caplog.text
    with pytest.raises(InvalidFileError, match=r"groups\.csv"):
        predictor(folder / "groups.csv")


@pytest.mark.parametrize(
    ("option", "message"),
    [({"batch_size": 0}, "batch_size must .* got 0"), ({"on_error": "x"}, "'raise' or 'skip'")],
)
def test_wrong_options_are_refused_at_once(result, folder, option, message):
    with pytest.raises(ValueError, match=message):
        Predictor.from_run(result.run_dir).stream(folder, **option)


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


def test_training_slices_are_doubted_and_new_ones_are_not(result, folder, tmp_path):
    (new := tmp_path / "others").mkdir()
    for i, (image, _) in enumerate(load_dataset("phantom", n=4, seed=1)):
        image.save(new / f"{i}.png")
    predictor = Predictor.from_run(result.run_dir)
    for path, known in ((folder, True), (new, False)):
        for prediction in predictor(path):
            assert any("was trained on it" in doubt for doubt in prediction.doubts) == known


def test_slices_turned_and_inverted_are_doubted(result, phantoms, folder, tmp_path):
    """Their features may be usual, and the grays of a turned one are."""
    image = phantoms[0][0]
    (other := tmp_path / "other").mkdir()
    image.transpose(Image.Transpose.ROTATE_90).save(other / "turned.png")
    ImageOps.invert(image).save(other / "inverted.png")
    predictor = Predictor.from_run(result.run_dir)
    for prediction in predictor(other):
        assert "where it is light and dark is unlike the training slices" in prediction.doubts
    assert all(not any("light and dark" in d for d in p.doubts) for p in predictor(folder))


def test_references_of_earlier_runs_compare_what_they_have(result, phantoms, tmp_path):
    references = Predictor.from_run(result.run_dir).references
    old = [
        TrainingReference(
            *({k: part[k] for k in ("features", "gray")} for part in (r.mean, r.sd, r.limit))
        )
        for r in references
    ]
    old[0].save(tmp_path / "old")
    old[0] = TrainingReference.load(tmp_path / "old")
    noise = np.random.default_rng(0).integers(0, 256, (1, 128, 168), dtype=np.uint8)
    models = [result.fold_model(k) for k in range(2)]
    _, ((*doubts,),) = Predictor(models, old).score(noise)
    assert doubts
    assert not any("light and dark" in doubt for doubt in doubts)


@pytest.mark.parametrize("paths", [[], "nowhere"])
def test_nothing_to_score(result, paths):
    with pytest.raises(FileNotFoundError):
        Predictor.from_run(result.run_dir)(paths)


def test_damaged_reference_is_named(result, tmp_path):
    path = tmp_path / "reference.safetensors"
    path.write_bytes((result.run_dir / "folds/0/reference.safetensors").read_bytes()[:-9])
    with pytest.raises(InvalidFileError, match=r"reference\.safetensors"):
        TrainingReference.load(path)


def test_one_in_a_hundred_of_the_same_source_is_unusual():
    rng = np.random.default_rng(0)

    def draw(n):
        return {"features": rng.normal(0, 1, (n, 32)), "gray": rng.normal(0, 1, (n, 9))}

    unusual = TrainingReference.fit(draw(2000), draw(2000)).unusual(draw(5000))
    for kind in ("features", "gray"):
        assert unusual[kind].mean() == pytest.approx(0.01, abs=0.006)


def test_what_lies_between_two_kinds_of_slices_is_unusual():
    rng = np.random.default_rng(0)

    def draw(n):
        values = rng.normal(0, 0.1, (n, 9)) + rng.choice([-1, 1], (n, 1))
        return {"features": values, "gray": values}

    reference = TrainingReference.fit(draw(400), draw(400))
    unusual = reference.unusual(dict.fromkeys(("features", "gray"), np.zeros((1, 9))))
    assert unusual["gray"][0]
    assert not unusual["features"][0]  # from the mean, which lies there
