"""What is built and uploaded: complete, nothing else, and telling one version."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import covidct

REPOSITORY = Path(__file__).parents[1]
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dcm", ".nii")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel out of the sdist, as a release does, with the backend already here."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(REPOSITORY)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> list[str]:
    (path,) = dist.glob("covidct-*-py3-none-any.whl")
    return zipfile.ZipFile(path).namelist()


@pytest.fixture(scope="module")
def sdist(dist: Path) -> list[str]:
    (path,) = dist.glob("covidct-*.tar.gz")
    return [name.partition("/")[2] for name in tarfile.open(path).getnames()]


def test_the_wheel_holds_every_file_of_the_package(wheel: list[str]) -> None:
    source = REPOSITORY / "src"
    files = (path for path in (source / "covidct").rglob("*") if path.is_file())
    expected = {path.relative_to(source).as_posix() for path in files if path.suffix != ".pyc"}
    assert {name for name in wheel if ".dist-info/" not in name} == expected
    assert "covidct/py.typed" in expected
    assert any(re.fullmatch(r"covidct/datasets/manifests/.+\.csv", name) for name in expected)
    assert any(re.fullmatch(r"covidct/report/.+\.(html|j2|jinja)", name) for name in expected)


def test_the_wheel_brings_its_license_and_command(dist: Path, wheel: list[str]) -> None:
    (information,) = {name.partition("/")[0] for name in wheel if ".dist-info/" in name}
    assert f"{information}/licenses/LICENSE" in wheel
    (path,) = dist.glob("*.whl")
    entry_points = zipfile.ZipFile(path).read(f"{information}/entry_points.txt").decode()
    assert "covidct = covidct.cli:main" in entry_points


def test_the_sdist_is_enough_to_test_and_document_from(sdist: list[str]) -> None:
    expected = {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff"}
    expected |= {"tests/conftest.py", "docs/conf.py", "constraints-oldest.txt"}
    assert expected <= set(sdist)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_image_is_shipped(kind: str, request: pytest.FixtureRequest) -> None:
    names = [n for n in request.getfixturevalue(kind) if n.lower().endswith(PICTURES)]
    assert not [name for name in names if not name.startswith("docs/_static/")]


def test_twine_accepts_both(dist: Path) -> None:
    files = [str(path) for path in sorted(dist.iterdir())]
    assert len(files) == 2
    check = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_one_version(dist: Path) -> None:
    assert {path.name.split("-")[1].removesuffix(".tar.gz") for path in dist.iterdir()} == {
        covidct.__version__
    }
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {covidct.__version__}\n" in citation
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{covidct.__version__}]" in changelog


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    bound = re.compile(r'"([\w.-]+)>=([\d.]+)"')
    metadata = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    dependencies = metadata.partition("\ndependencies = [")[2].partition("\n]")[0]
    lower = {name: tuple(map(int, v.split("."))) for name, v in bound.findall(dependencies)}
    pins = re.findall(
        r"^([\w.-]+)==([\d.]+)$", (REPOSITORY / "constraints-oldest.txt").read_text("utf-8"), re.M
    )
    pinned = {name: tuple(map(int, version.split("."))) for name, version in pins}
    assert lower
    for name, version in lower.items():
        assert pinned[name][: len(version)] == version, name
