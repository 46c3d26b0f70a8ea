"""Volumes: scored in the order of the body, plotted, explained, and nobody's name told."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import covidct
from covidct import cli
from covidct.errors import InvalidFileError
from covidct.runs.predictor import Prediction, VolumePrediction, with_images

NAME, IDENTITY = "Doe^Jane", "secret-0815"


@pytest.fixture(scope="module")
def run_dir(tiny, phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "run"
    recipe = covidct.Recipe.demo().scaled(1).replace(canvas=(64, 84))
    options = {"weights": None, "threads": 1, "device": "cpu", "run_dir": folder}
    covidct.CrossValidator(tiny, recipe, cv=2, groups="patient", **options).run(phantoms)
    return folder


@pytest.fixture
def series(phantoms, tmp_path):
    """Five slices, 2.5 mm apart, whose names are in the order opposite to that of the body."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    for i in range(5):
        gray = np.asarray(phantoms[i][0].resize((96, 72)), np.float64)
        file = pydicom.Dataset()
        file.file_meta = pydicom.dataset.FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = CTImageStorage
        file.SOPInstanceUID = f"1.2.3.{i}"
        file.SeriesInstanceUID, file.PatientName, file.PatientID = "1.2.3", NAME, IDENTITY
        file.Rows, file.Columns = gray.shape
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
        file.RescaleSlope, file.RescaleIntercept = 1, -1350
        file.ImageOrientationPatient, file.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.7, 0.7]
        file.ImagePositionPatient = [0, 0, 2.5 * i]
        file.PixelData = (gray / 255 * 1500).astype(np.uint16).tobytes()
        path = tmp_path / "series $1$" / f"{9 - i}.dcm"
        path.parent.mkdir(exist_ok=True)
        file.save_as(path, enforce_file_format=True)
    return path.parent


def test_a_series_comes_in_the_order_of_the_body(run_dir, series):
    predictor = covidct.Predictor.from_run(run_dir)
    predictions = predictor.predict(series)
    (volume,) = predictions.volumes
    assert volume.slices == tuple(predictions)
    assert [Path(p.path).name for p in volume.slices] == [f"{9 - i}.dcm" for i in range(5)]
    assert volume.positions.tolist() == [0, 2.5, 5, 7.5, 10]
    by_name = {p.path: p.probability for p in predictor.predict(series.iterdir())}
    for prediction in volume.slices:
        assert prediction.probability == pytest.approx(by_name[prediction.path], abs=1e-5)
    assert predictions.to_frame()["position"].tolist() == volume.positions.tolist()
    assert set(predictions.to_frame()["volume"]) == {str(series)}
    assert "\n" not in repr(volume)
    assert "1 volumes" in repr(predictions)
    highest = sorted(by_name.values())[-2:]
    assert volume.probability == pytest.approx(np.mean(highest), abs=1e-5)


@pytest.mark.parametrize(("n", "counted"), [(1, 1), (2, 1), (3, 1), (6, 2), (300, 100)])
def test_a_volume_has_the_mean_of_its_highest_third(n, counted):
    values = np.random.default_rng(n).permutation(n) / n
    volume = VolumePrediction("", tuple(Prediction("", p, 0.0, (), (8, 8)) for p in values))
    assert volume.probability == pytest.approx(np.sort(values)[-counted:].mean())


def test_predict_a_series_beside_an_image(run_dir, series, phantoms, tmp_path, capsys, caplog):
    phantoms[0][0].save(image := tmp_path / "image.png")
    out = tmp_path / "out"
    call = ["predict", str(run_dir), str(image), str(series), "--device", "cpu"]
    assert cli.main([*call, "--cam", str(out / "cam"), "--plot", str(out)]) == 0
    text = capsys.readouterr().out
    alone, *slices = csv.DictReader(io.StringIO(text))
    assert (alone["position"], alone["volume"], alone["volume_probability"]) == ("", "", "")
    assert [float(row["position"]) for row in slices] == [0, 2.5, 5, 7.5, 10]
    assert {row["volume"] for row in slices} == {str(series)}
    assert len({row["volume_probability"] for row in slices}) == 1
    pictures = sorted(p.name for p in (out / "cam").iterdir())
    assert pictures[:2] == ["00001-image.png.png", "00002-9.dcm.png"]
    assert len(pictures) == 6
    assert (out / "series $1$.png").stat().st_size > 1000
    assert cli.main([*call, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["volume"] is None
    assert lines[1]["position"] == 0
    written = [p.read_bytes() for p in out.rglob("*") if p.is_file()]
    for secret in ("Doe", "Jane", IDENTITY):
        assert secret not in text + caplog.text
        assert not any(secret.encode() in content for content in written)


def test_files_shipped_with_pydicom(run_dir, capsys):
    data = pytest.importorskip("pydicom.data", reason="needs the extra dicom")
    small = data.get_testdata_file("CT_small.dcm", download=False)
    one = data.get_testdata_file("dicomdirtests/98892001/CT5N/2062", download=False)
    assert cli.main(["predict", str(run_dir), small, str(Path(one).parent), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["volume"] is None
    assert np.allclose(np.diff([line["position"] for line in lines[1:]]), 2.5, atol=1e-3)
    assert len(lines) == 6


def test_a_multi_frame_file_is_a_volume(run_dir, series, tmp_path):
    import pydicom  # which the fixture has found
    from pydicom.uid import EnhancedCTImageStorage

    def item(**elements):
        dataset = pydicom.Dataset()
        for name, value in elements.items():
            setattr(dataset, name, value)
        return dataset

    slices = [pydicom.dcmread(path) for path in sorted(series.iterdir())]  # topmost first
    file = slices[0]
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    file.NumberOfFrames = len(slices)
    file.PixelData = b"".join(one.PixelData for one in slices)
    file.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)])
        for one in slices
    ]
    del file.ImagePositionPatient
    file.save_as(path := tmp_path / "frames.dcm", enforce_file_format=True)

    predictor = covidct.Predictor.from_run(run_dir, device="cpu")
    predictions = predictor.predict([path, series])
    frames, single = predictions.volumes
    assert {p.path for p in frames.slices} == {str(path)}
    assert [p.frame for p in frames.slices] == [4, 3, 2, 1, 0]
    assert frames.positions.tolist() == single.positions.tolist()
    assert frames.probability == pytest.approx(single.probability, abs=1e-5)
    for (_, one), (_, other) in zip(
        with_images(frames.slices), with_images(single.slices), strict=True
    ):
        assert one == other


def test_a_volume_that_cannot_be_read_may_be_skipped(run_dir, series):
    path = next(series.iterdir())
    path.write_bytes(path.read_bytes()[:-99])
    predictor = covidct.Predictor.from_run(run_dir, device="cpu")
    with pytest.raises(InvalidFileError, match=path.name):
        predictor.predict(series)
    (prediction,) = predictor.predict(series, on_error="skip")
    assert not prediction.readable
    assert path.name in prediction.doubts[0]


def test_a_series_may_be_chosen(run_dir, series, phantoms, tmp_path, capsys, caplog):
    import pydicom  # which the fixture has found

    other = pydicom.dcmread(next(series.iterdir()))
    other.SeriesInstanceUID = "1.2.4"
    other.save_as(series / "other.dcm")
    plots = tmp_path / "plots"
    arguments = ["predict", str(run_dir), str(series), "--plot", str(plots)]
    assert cli.main(arguments) == 0
    assert "no plot saved" in caplog.text
    capsys.readouterr()
    phantoms[6][0].save(tmp_path / "6.png")
    image = str(tmp_path / "6.png")  # beside a series, of none
    assert cli.main([*arguments[:3], image, *arguments[3:], "--series", "1.2.3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7
    assert [path.name for path in plots.iterdir()] == [f"{series.name}.png"]
    assert cli.main([*arguments, "--series", "9"]) == 2
    assert capsys.readouterr().out == ""
