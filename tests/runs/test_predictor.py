from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageOps

from covidct import CrossValidator, Predictor, Recipe, load_dataset
from covidct.errors import InvalidFileError
from covidct.runs.out_of_distribution import TrainingReference
from covidct.runs.predictions import Predictions


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
    predictions = Predictor.from_run(result.run_dir).predict(folder)
    assert [p.path for p in predictions] == [str(p) for p in sorted(folder.iterdir())]
    for i, prediction in enumerate(predictions):
        of_folds = external.probabilities[:, i]
        assert prediction.probability == pytest.approx(of_folds.mean(), abs=1e-5)
        assert prediction.spread == pytest.approx(of_folds.std(ddof=1), abs=1e-5)
        assert prediction.size == phantoms[i][0].size[::-1]


def test_predictions_are_a_sequence_and_a_table(result, folder):
    (folder / "5 broken.png").write_bytes(b"\x89PNG")
    predictions = Predictor.from_run(result.run_dir).predict(folder, on_error="skip")
    assert len(predictions) == 6
    assert [p.path for p in predictions[:2]] == [p.path for p in predictions][:2]
    assert predictions.volumes == ()
    frame = predictions.to_frame()
    assert frame.columns.tolist() == [
        *("path", "probability", "spread", "doubts"),
        *("position", "volume", "volume_probability", "frame", "lung", "patient"),
    ]
    assert frame["probability"].tolist()[:5] == [p.probability for p in predictions[:5]]
    assert "trained on this slice" in frame["doubts"][0]
    unknown = ["position", "volume", "volume_probability", "lung", "patient"]
    assert frame[unknown].isna().all(axis=None)
    assert predictions.by_volume()["volume"].tolist() == frame["path"].tolist()
    assert predictions.by_patient()["patient"].tolist() == frame["path"].tolist()
    assert frame["frame"].tolist() == [0] * 6
    assert repr(predictions).startswith("Predictions of 6 slices\n  probability: ")
    assert "not readable: 1" in repr(predictions)
    assert "trained on this slice (5 slices)" in repr(predictions)
    assert len(repr(predictions).splitlines()) <= 6
    assert "<table" in predictions._repr_html_()
    assert len(Predictions([]).to_frame()) == 0


def test_batches_do_not_matter(result, folder):
    predictor = Predictor.from_run(result.run_dir)
    one, two = (
        [p.probability for p in predictor.stream(folder, batch_size=size)] for size in (1, 4)
    )
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_a_folder_is_predicted_as_its_files_in_any_order(result, folder):
    predictor = Predictor.from_run(result.run_dir)
    expected = {p.path: p for p in predictor.predict(folder)}
    files = sorted(folder.iterdir())
    order = [files[i] for i in (3, 0, 4, 2, 1)]
    alone = [p for file in files for p in predictor.predict(file)]
    for predictions in (predictor.predict(order), alone):
        assert {p.path for p in predictions} == set(expected)
        for prediction in predictions:
            same = expected[prediction.path]
            assert prediction.probability == pytest.approx(same.probability, abs=1e-5)
            assert prediction.spread == pytest.approx(same.spread, abs=1e-5)
            assert prediction.doubts == same.doubts
    assert [p.path for p in predictor.predict(order)] == [str(path) for path in order]


def test_external_scores_do_not_depend_on_the_order_of_the_slices(result, phantoms):
    order = np.random.default_rng(0).permutation(8)
    given, mixed = (result.evaluate(phantoms.subset(index)) for index in (range(8), order))
    np.testing.assert_allclose(mixed.probabilities, given.probabilities[:, order], atol=1e-5)
    for metric, (mean, sd) in given.summary().items():
        assert mixed.summary()[metric] == pytest.approx((mean, sd), abs=1e-5, nan_ok=True)


def test_other_files_of_a_folder_are_passed_over(result, folder, caplog):
    (folder / "groups.csv").write_text("path,group\n")
    predictor = Predictor.from_run(result.run_dir)
    assert len(predictor.predict(folder)) == 5
    assert "1 file set aside: 1 not an image ('groups.csv')" in caplog.text
    with pytest.raises(InvalidFileError, match=r"groups\.csv"):
        predictor.predict(folder / "groups.csv")


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
        predictor.predict(folder)
    predictions = predictor.predict(folder, on_error="skip")
    (broken,) = [p for p in predictions if not p.readable]
    assert math.isnan(broken.probability)
    assert "3 broken.png" in broken.doubts[0]
    assert len(predictions) == 6


def test_odd_images_are_doubted(result, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 280), dtype=np.uint8)
    images = {"noise": noise, "small": noise[:6, :8], "strip": noise[:3, :]}
    for name, pixels in images.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    doubts = {p.path: p.doubts for p in Predictor.from_run(result.run_dir).predict(tmp_path)}
    by_name = {name: doubts[str(tmp_path / f"{name}.png")] for name in images}
    assert any("differ from" in d or "far from" in d for d in by_name["noise"])
    assert any("8 x 6 pixels" in d for d in by_name["small"])
    assert any("empty" in d for d in by_name["strip"])


def test_training_slices_are_doubted_and_new_ones_are_not(result, folder, tmp_path):
    (new := tmp_path / "others").mkdir()
    for i, (image, _) in enumerate(load_dataset("phantom", n=4, seed=1)):
        image.save(new / f"{i}.png")
    predictor = Predictor.from_run(result.run_dir)
    for path, known in ((folder, True), (new, False)):
        for prediction in predictor.predict(path):
            assert any("was trained on this slice" in doubt for doubt in prediction.doubts) == known


def test_slices_turned_and_inverted_are_doubted(result, phantoms, folder, tmp_path):
    """Their features may be usual, and the grays of a turned one are."""
    image = phantoms[0][0]
    (other := tmp_path / "other").mkdir()
    image.transpose(Image.Transpose.ROTATE_90).save(other / "turned.png")
    ImageOps.invert(image).save(other / "inverted.png")
    predictor = Predictor.from_run(result.run_dir)
    for prediction in predictor.predict(other):
        assert (
            "bright and dark regions differ from those of the training slices" in prediction.doubts
        )
    assert all(not any("bright and dark" in d for d in p.doubts) for p in predictor.predict(folder))


@pytest.mark.parametrize("paths", [[], "nowhere"])
def test_nothing_to_score(result, paths):
    with pytest.raises(FileNotFoundError):
        Predictor.from_run(result.run_dir).predict(paths)


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


@pytest.fixture(scope="module")
def archive(phantoms, tmp_path_factory):
    """The phantoms as DICOM files of three patients, two series each, in folders by class."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    root = tmp_path_factory.mktemp("archive")
    chosen = [np.flatnonzero(phantoms.targets == k)[:6] for k in (0, 1)]
    for number, index in enumerate(np.concatenate(chosen)):
        gray = np.asarray(phantoms[index][0].resize((96, 72)), np.float64)
        patient, series = number // 3, number // 2
        file = pydicom.Dataset()
        file.file_meta = pydicom.dataset.FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = CTImageStorage
        file.SOPInstanceUID = f"1.2.3.{number}"
        file.SeriesInstanceUID, file.PatientID = f"1.2.{patient}.{series}", f"patient {patient}"
        file.Rows, file.Columns = gray.shape
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
        file.RescaleSlope, file.RescaleIntercept = 1, -1350
        file.ImageOrientationPatient, file.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.7, 0.7]
        file.ImagePositionPatient = [0, 0, 2.5 * number]
        file.PixelData = (1500 * gray / 255).astype(np.uint16).tobytes()
        path = root / ("COVID" if number >= 6 else "non-COVID") / f"{number:02d}.dcm"
        path.parent.mkdir(exist_ok=True)
        file.save_as(path, enforce_file_format=True)
    return root


def test_evaluated_rule_is_the_applied_rule(result, archive):
    """Numbers of an evaluation on patients equal those of Predictor on the same files."""
    dataset = load_dataset("folder", archive, positive="COVID", groups="dicom")
    assert len(set(dataset.groups)) == 4
    rule = result.decision_rule(calibrate="platt", sensitivity=0.8)
    assert rule.per == "patient"
    predictor = Predictor.from_run(result.run_dir, calibrate="platt", sensitivity=0.8)
    assert predictor.rule == rule
    evaluation = result.evaluate(dataset)
    predictions = predictor.predict(archive)
    slices = predictions.to_frame().set_index(["path", "frame"])["probability"]
    table = dataset.table
    mine = [
        slices[str(path), frame] for path, frame in zip(dataset.paths, table["frame"], strict=True)
    ]
    np.testing.assert_allclose(mine, evaluation.probabilities.mean(axis=0), atol=1e-5)
    patients = predictions.by_patient().set_index("patient")
    evaluated = evaluation.patients()
    applied = patients.loc[list(evaluated.groups)]
    np.testing.assert_allclose(
        applied["probability"], evaluated.probabilities.mean(axis=0), atol=1e-5
    )
    np.testing.assert_allclose(
        applied["calibrated_probability"],
        rule.calibrate(evaluated.probabilities.mean(axis=0)),
        atol=1e-5,
    )
    point = evaluation.decide(rule)[0]
    positive = applied["positive"].to_numpy(bool)
    expected = np.bincount(2 * evaluated.targets + positive, minlength=4).reshape(2, 2)
    np.testing.assert_array_equal(point.confusion, expected)


def test_rule_decides_about_its_unit(result, folder):
    predictor = Predictor.from_run(result.run_dir, threshold=0.4, per="slice")
    predictions = predictor.predict(folder)
    frame = predictions.to_frame()
    np.testing.assert_array_equal(frame["positive"], frame["probability"] >= 0.4)
    np.testing.assert_array_equal(frame["calibrated_probability"], frame["probability"])
    assert "positive" not in predictions.by_patient()
    assert "(probability of at least 0.400)" in repr(predictions)
    per_patient = Predictor.from_run(result.run_dir, threshold=0.4).predict(folder)[:3]
    assert "positive" not in per_patient.to_frame()
    assert len(per_patient.by_volume()["positive"]) == 3
    assert Predictor.from_run(result.run_dir).rule is None
