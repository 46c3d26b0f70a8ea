"""Volumes: scored in the order of the body, plotted, explained, and nobody's name told."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import covidct
from covidct import cli
from covidct.datasets.slices import FoundVolume
from covidct.runs import predictor as module
from covidct.runs.predictions import Prediction, Predictions, VolumePrediction, with_images

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


NO_LUNG = "no lung was recognized"


@pytest.fixture
def some_lung(monkeypatch):
    """Let only the second to fourth slice of each volume show lung."""

    def lung_slices(volume: FoundVolume, *, on_error: str) -> np.ndarray:
        return np.isin(np.arange(len(volume)), (1, 2, 3))

    monkeypatch.setattr(module, "lung_slices", lung_slices)


def rows_of(capsys) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_a_series_comes_in_the_order_of_the_body(run_dir, series, some_lung):
    predictor = covidct.Predictor.from_run(run_dir)
    predictions = predictor.predict(series)
    (volume,) = predictions.volumes
    assert volume.slices == tuple(predictions)
    assert [Path(p.path).name for p in volume.slices] == [f"{9 - i}.dcm" for i in range(5)]
    assert volume.positions.tolist() == [0, 2.5, 5, 7.5, 10]
    by_name = {p: predictor.predict(p)[0] for p in sorted(series.iterdir())}
    assert {p.volume for p in by_name.values()} == {None}
    for prediction in volume.slices:
        alone = by_name[Path(prediction.path)]
        assert prediction.probability == pytest.approx(alone.probability, abs=1e-5)
    assert len(predictor.predict(by_name).volumes) == 1  # files of a series, one by one
    frame = predictions.to_frame()
    assert frame["position"].tolist() == volume.positions.tolist()
    assert frame["lung"].tolist() == [False, True, True, True, False]
    assert set(frame["volume"]) == {series.as_posix()}
    assert frame["patient"].nunique() == 1
    assert "\n" not in repr(volume)
    assert "1 volume\n" in repr(predictions)
    lung = np.array([p.by_fold for p in volume.slices[1:4]])
    assert volume.probability == pytest.approx(lung.mean())
    assert volume.spread == pytest.approx(lung.mean(axis=0).std(ddof=1))
    assert set(frame["volume_probability"]) == {volume.probability}


def test_slices_that_show_lung_are_counted():
    def volume(*rows: tuple[float, bool | None]) -> VolumePrediction:
        slices = [Prediction("", p, 0.0, (), (8, 8), lung=lung) for p, lung in rows]
        return VolumePrediction("", tuple(slices))

    assert volume((0.1, False), (0.3, True), (0.5, True)).probability == pytest.approx(0.4)
    assert volume((0.1, False), (0.3, False)).probability == pytest.approx(0.2)  # no lung
    assert volume((0.1, None), (0.3, None)).probability == pytest.approx(0.2)  # unknown
    assert volume((0.1, None)).lung_slices is None
    unread = volume((float("nan"), True), (0.3, True), (0.9, False))
    assert unread.probability == pytest.approx(0.3)
    assert unread.doubts == ("1 of 3 slices could not be read",)
    assert np.isnan(volume((float("nan"), None)).probability)


def test_patients_put_their_volumes_together():
    def row(path: str, p: float, volume: str | None, patient: str | None, lung: bool) -> Prediction:
        return Prediction(path, p, 0.0, (), (8, 8), volume=volume, patient=patient, lung=lung)

    predictions = Predictions(
        [
            row("x.dcm", 0.6, None, "a", lung=True),
            row("1.dcm", 0.2, "v", "a", lung=True),
            row("2.dcm", 0.9, "v", "a", lung=False),
            row("3.dcm", 0.4, "w", "a", lung=True),
            row("4.nii", 0.5, "4.nii", None, lung=True),
        ]
    )
    assert [volume.name for volume in predictions.volumes] == ["v", "w", "4.nii"]
    table = predictions.by_patient()
    assert table["patient"].tolist() == ["a", "4.nii"]
    assert table["probability"].tolist() == pytest.approx([0.4, 0.5])
    assert table[["slices", "lung_slices", "volumes"]].to_numpy().tolist() == [[4, 3, 2], [1, 1, 1]]
    assert predictions.by_volume()["volume"].tolist() == ["x.dcm", "v", "w", "4.nii"]


def test_doubts_of_a_volume_are_about_its_counted_slices():
    gray, layout, seen = "gray", "layout", "seen"
    texts = {kind: module._DOUBTS[kind] for kind in (gray, layout)} | {seen: "seen"}

    def doubted(*slices: tuple[str, ...], lung: list[bool]) -> list[tuple[str, ...]]:
        predictions = [
            Prediction("", 0.5, 0.0, tuple(texts[kind] for kind in kinds), (8, 8), lung=shown)
            for kinds, shown in zip(slices, lung, strict=True)
        ]
        return [p.doubts for p in module._as_volume(predictions, lung)]

    outside = (gray, layout)
    lung = [False, True, True, True]
    assert doubted(outside, (), (gray,), (), lung=lung) == [()] * 4
    mostly = doubted(outside, (gray,), (gray,), (seen,), lung=lung)
    assert mostly == [(), (texts[gray],), (texts[gray],), ("seen",)]
    none = doubted(outside, (gray,), (gray,), (), lung=[False] * 4)
    assert all(NO_LUNG in doubts[0] for doubts in none)
    assert [len(doubts) for doubts in none] == [2, 2, 2, 1]


def test_predict_a_series_beside_an_image(run_dir, series, phantoms, tmp_path, capsys, caplog):
    phantoms[0][0].save(image := tmp_path / "image.png")
    out = tmp_path / "out"
    call = ["predict", str(run_dir), str(series), str(image), "--device", "cpu"]
    assert cli.main([*call, "--cam", str(out / "cam"), "--plot", str(out)]) == 0
    captured = capsys.readouterr()
    assert "scored 1 volume with 5 slices, 5 of lung; 1 single image; 1 patient" in captured.err
    alone, *slices = csv.DictReader(io.StringIO(captured.out))
    unknown = ("position", "volume", "volume_probability", "lung", "patient")
    assert [alone[column] for column in unknown] == [""] * 5
    assert [float(row["position"]) for row in slices] == [0, 2.5, 5, 7.5, 10]
    assert {row["volume"] for row in slices} == {series.as_posix()}
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
        assert secret not in captured.out + captured.err + caplog.text
        assert not any(secret.encode() in content for content in written)


def test_an_archive_has_a_row_per_slice_volume_or_patient(run_dir, series, tmp_path, capsys):
    import pydicom  # which the fixture has found

    archive = tmp_path / "archive"
    for patient, study, uid in (("a", "1", "7.1"), ("a", "2", "7.2"), ("b", "1", "7.3")):
        for path in series.iterdir():
            file = pydicom.dcmread(path)
            file.PatientID, file.SeriesInstanceUID = patient, uid
            place = archive / "COVID" / patient / study / "CT" / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            file.save_as(place)
    (archive / "COVID" / "notes.txt").write_text("")
    call = ["predict", str(run_dir), str(archive), "--device", "cpu"]
    assert cli.main([*call, "--plot", str(tmp_path / "plots")]) == 0
    slices = rows_of(capsys)
    assert len(slices) == 15
    assert [row["volume"] for row in slices[::5]] == [
        (archive / "COVID" / name / "CT").as_posix() for name in ("a/1", "a/2", "b/1")
    ]
    plots = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert plots == ["a-1-CT.png", "a-2-CT.png", "b-1-CT.png"]
    assert cli.main([*call, "--per", "volume"]) == 0
    volumes = rows_of(capsys)
    assert [row["slices"] for row in volumes] == ["5"] * 3
    assert volumes[0]["probability"] == slices[0]["volume_probability"]
    assert volumes[0]["lung_slices"] == "5"
    assert cli.main([*call, "--per", "patient", "--json"]) == 0
    patients = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["volumes"] for row in patients] == [2, 1]
    assert {row["patient"] for row in patients} == {row["patient"] for row in volumes}
    assert cli.main([*call, "--per", "patient", "--one-per-patient"]) == 0
    assert [row["slices"] for row in rows_of(capsys)] == ["5", "5"]


def test_a_volume_file_is_predicted_as_its_series(run_dir, series, tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series))
    sitk.WriteImage(sitk.ReadImage(names), path := tmp_path / "volume.nii.gz")
    predictor = covidct.Predictor.from_run(run_dir, device="cpu")
    one, other = predictor.predict([series, path]).volumes
    assert other.name == path.as_posix()
    assert [p.frame for p in other.slices] == [0, 1, 2, 3, 4]
    assert other.positions.tolist() == pytest.approx(one.positions.tolist())
    for a, b in zip(one.slices, other.slices, strict=True):
        assert a.probability == pytest.approx(b.probability, abs=1e-3)


def test_the_window_of_the_run_is_used(run_dir, series, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_text())
    assert content["dataset"]["window"] == "lung"
    content["dataset"]["window"] = [40, 400]
    path.write_text(json.dumps(content))
    (tmp_path / "run" / "SHA256SUMS").unlink()
    own = covidct.Predictor.from_run(tmp_path / "run", device="cpu")
    assert own.window == (40, 400)
    usual = covidct.Predictor.from_run(run_dir, device="cpu")
    expected = usual.predict(series, window=(40, 400))
    assert [p.by_fold for p in own.predict(series)] == [p.by_fold for p in expected]
    assert [p.by_fold for p in usual.predict(series)] != [p.by_fold for p in expected]
    with pytest.raises(ValueError, match="window must"):
        usual.stream(series, window="bone")


def test_a_volume_holds_no_pixels(run_dir, series, monkeypatch):
    """However long the series, only some of its slices wait in memory."""
    import pydicom  # which the fixture has found

    base = pydicom.dcmread(next(series.iterdir()))
    for i in range(300):
        base.SOPInstanceUID, base.ImagePositionPatient = f"1.2.4.{i}", [0, 0, float(i)]
        base.SeriesInstanceUID = "1.2.9"
        base.save_as(series / f"long-{i}.dcm")
    predictor = covidct.Predictor.from_run(run_dir, device="cpu")
    alive = most = 0
    canvas = predictor.canvas

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def counted(image: object) -> np.ndarray:
        nonlocal alive, most
        made = canvas(image).copy().view(Counted)
        alive += 1
        most = max(most, alive)
        return made

    monkeypatch.setattr(predictor, "canvas", counted)
    assert len(predictor.predict(series, series="1.2.9")) == 300
    assert 0 < most < 250


def test_files_shipped_with_pydicom(run_dir, capsys):
    data = pytest.importorskip("pydicom.data", reason="needs the extra dicom")
    small = data.get_testdata_file("CT_small.dcm", download=False)
    one = data.get_testdata_file("dicomdirtests/98892001/CT5N/2062", download=False)
    assert cli.main(["predict", str(run_dir), small, str(Path(one).parent), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count(NO_LUNG) == 1  # of the pelvis
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert all(NO_LUNG in line["doubts"][0] for line in lines[1:])
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
    frames, single = sorted((frames, single), key=lambda volume: volume.name)
    assert {p.path for p in frames.slices} == {str(path)}
    assert [p.frame for p in frames.slices] == [4, 3, 2, 1, 0]
    assert frames.positions.tolist() == single.positions.tolist()
    assert frames.probability == pytest.approx(single.probability, abs=1e-5)
    for (_, one), (_, other) in zip(
        with_images(frames.slices), with_images(single.slices), strict=True
    ):
        assert one == other


def test_a_slice_that_cannot_be_read_costs_itself(run_dir, series, capsys):
    path = series / "7.dcm"
    path.write_bytes(path.read_bytes()[:-99])
    call = ["predict", str(run_dir), "--device", "cpu"]
    assert cli.main([*call, str(series)]) == 1
    error = capsys.readouterr().err
    assert path.name in error
    assert "--on-error skip" in error
    assert cli.main([*call, str(series), "--on-error", "skip"]) == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(captured.out)))
    assert [row["probability"] == "" for row in rows] == [False, False, True, False, False]
    assert path.name in rows[2]["doubts"]
    assert "1 of 5 slices could not be read" in captured.err
    assert cli.main([*call, str(path)]) == 1  # nothing else would be left
    assert "--on-error skip" not in capsys.readouterr().err


def test_what_is_set_aside_is_named(run_dir, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("")
    assert cli.main(["predict", str(run_dir), str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no images found" in error
    assert "1 not an image ('notes.txt')" in error
    assert "--on-error skip" not in error


def test_a_series_may_be_chosen(run_dir, series, phantoms, tmp_path, capsys):
    import pydicom  # which the fixture has found

    other = pydicom.dcmread(next(series.iterdir()))
    other.SeriesInstanceUID = "1.2.4"
    other.save_as(series / "other.dcm")
    phantoms[6][0].save(image := tmp_path / "6.png")  # beside a series, of none
    arguments = ["predict", str(run_dir), str(image), str(series), "--device", "cpu"]
    for chosen, expected in (([], 7), (["--series", "1.2.3"], 6), (["--series", "1.2.4"], 2)):
        assert cli.main([*arguments, *chosen]) == 0
        assert len(rows_of(capsys)) == expected
    assert cli.main([*arguments, "--series", "9"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_names_outside_the_code_page_are_written(monkeypatch, as_json):
    from covidct.cli.predict import _Writer

    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp1252"))
    _Writer(None, as_json=as_json)(Prediction("肺.png", 0.5, 0.1, (), (20, 30)))
    cli.sys.stdout.flush()
    text = written.getvalue().decode("utf-8")
    assert (
        json.loads(text)["path"] if as_json else text.splitlines()[1].partition(",")[0]
    ) == "肺.png"
