from __future__ import annotations

import errno
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covidct.datasets.archives import is_archive, unpack
from covidct.errors import InvalidFileError

LIMITS = {"max_files": 10, "max_bytes": 100_000}


def zip_of(path: Path, members: list[tuple[str, bytes]], **how: int) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


def assert_refused(archive: Path, match: str, **limits: int) -> None:
    """Nothing is left behind, inside of the target or out of it."""
    before = set(archive.parent.rglob("*"))
    target = archive.parent / "target"
    with pytest.raises(InvalidFileError, match=match):
        unpack(archive, target, **LIMITS | limits)
    assert set(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_unpacks_tar(tmp_path: Path, mode: str) -> None:
    folder = tarfile.TarInfo("COVID")
    folder.type = tarfile.DIRTYPE
    members = [(folder, b""), (tarfile.TarInfo("COVID/a%0 (1).png"), b"abc")]
    archive = tar_of(tmp_path / "a.tar", *members, mode=mode)
    assert is_archive(archive)
    unpack(archive, tmp_path / "new" / "target", **LIMITS)
    found = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in found] == [b"abc"]
    assert found[0] == tmp_path / "new" / "target" / "COVID" / "a%0 (1).png"


def test_unpacks_zip_without_hidden_files(tmp_path: Path) -> None:
    members = [
        ("COVID/", b""),
        ("COVID/a.png", b"a"),
        ("COVID/.DS_Store", b"x"),
        ("__MACOSX/COVID/._a.png", b"x"),
    ]
    unpack(zip_of(tmp_path / "a.zip", members), tmp_path / "target", **LIMITS)
    files = [path for path in (tmp_path / "target").rglob("*") if path.is_file()]
    assert files == [tmp_path / "target" / "COVID" / "a.png"]
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o755


def test_target_must_not_exist(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("a", b"a")])
    (tmp_path / "target").mkdir()
    with pytest.raises(FileExistsError, match="target"):
        unpack(archive, tmp_path / "target", **LIMITS)


@pytest.mark.parametrize(
    "name",
    ["../a", "b/../../a", "/a", "\\a", "..\\a", "C:\\a", "C:a", "\\\\host\\share\\a", "b/.."],
)
def test_refuses_names_that_lead_outside(tmp_path: Path, name: str) -> None:
    good = ("good.png", b"a")
    assert_refused(zip_of(tmp_path / "a.zip", [good, (name, b"a")]), "outside of the target")
    tar = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("good"), b"a"), (tarfile.TarInfo(name), b"a"))
    assert_refused(tar, "outside of the target")


@pytest.mark.parametrize(
    "member",
    [
        special("a", tarfile.SYMTYPE, "/etc/passwd"),
        special("a", tarfile.LNKTYPE, "good"),
        special("a", tarfile.CHRTYPE),
        special("a", tarfile.BLKTYPE),
        special("a", tarfile.FIFOTYPE),
    ],
    ids=lambda member: str(member[0].type),
)
def test_refuses_links_and_devices_in_tar(
    tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]
) -> None:
    archive = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("good"), b"a"), member)
    assert_refused(archive, "'a' is a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_refuses_links_and_devices_in_zip(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("a")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert_refused(tmp_path / "a.zip", "'a' is a link or a device")


def test_refuses_too_many_members(tmp_path: Path) -> None:
    members = [(f"{i}", b"") for i in range(11)]
    assert_refused(zip_of(tmp_path / "a.zip", members), "more than 10 members")


def test_refuses_too_many_bytes_together(tmp_path: Path) -> None:
    members = [("a", b"a" * 60_000), ("b", b"b" * 60_000)]
    archive = zip_of(tmp_path / "a.zip", members)
    assert_refused(archive, "'b' would exceed the 40,000 bytes that are left")
    unpack(archive, tmp_path / "target", max_files=2, max_bytes=120_000)


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_refuses_bombs_by_their_ratio(tmp_path: Path, how: int) -> None:
    members = [("a", bytes(10_000_000))]
    archive = zip_of(tmp_path / "a.zip", members, compression=how)
    assert_refused(archive, "'a' would exceed", max_bytes=1 << 40)
    tar = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("a"), bytes(10_000_000)), mode="w:xz")
    assert_refused(tar, "'a' would exceed", max_bytes=1 << 40)


def test_refuses_a_size_that_is_a_lie(tmp_path: Path) -> None:
    size = 5_000_000
    archive = zip_of(tmp_path / "a.zip", [("a", bytes(size))], compression=zipfile.ZIP_DEFLATED)
    content = archive.read_bytes()
    honest, lie = size.to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert content.count(honest) == 2  # In the header of the member, and in the directory.
    archive.write_bytes(content.replace(honest, lie))
    assert_refused(archive, "not an intact archive")


def test_refuses_one_name_twice(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = zip_of(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")])
    assert_refused(archive, "not an intact archive.*exists")


def test_refuses_a_file_that_is_also_a_folder(tmp_path: Path) -> None:
    assert_refused(
        zip_of(tmp_path / "a.zip", [("a", b"1"), ("a/b", b"2")]), "not an intact archive"
    )


def test_refuses_encrypted(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("a", b"secret")])
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert_refused(archive, "encrypted")


def test_a_full_disk_is_no_fault_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_of(tmp_path / "a.zip", [("a", b"a")])

    def full(self: Path, mode: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left") as caught:
        unpack(archive, tmp_path / "target", **LIMITS)
    assert not isinstance(caught.value, InvalidFileError)
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_archive_that_is_cut_short(tmp_path: Path, mode: str) -> None:
    archive = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("a"), bytes(range(256)) * 9), mode=mode)
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) * 2 // 3])
    assert_refused(archive, "not an intact archive")
    archive.write_bytes(content[:20])
    assert not is_archive(archive)
    assert_refused(archive, "not an intact archive")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", bytes(2000)])
def test_refuses_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    if content != bytes(2000):  # Python takes a run of zeros for an empty TAR archive.
        assert not is_archive(tmp_path / "a.zip")
        assert_refused(tmp_path / "a.zip", "not an intact archive")


def build_zip(path: Path) -> Path:
    members = [(f"c/{i}.png", bytes(range(200))) for i in range(3)]
    return zip_of(path, members, compression=zipfile.ZIP_DEFLATED)


def build_tar(path: Path) -> Path:
    return tar_of(
        path, *[(tarfile.TarInfo(f"c/{i}.png"), bytes(range(200))) for i in range(3)], mode="w:gz"
    )


@pytest.mark.parametrize("build", [build_zip, build_tar])
def test_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, build: Callable[[Path], Path]
) -> None:
    """Whatever bytes change: an InvalidFileError, or files in the target and nowhere else."""
    intact = build(tmp_path_factory.mktemp("intact") / "a").read_bytes()

    @settings(deadline=None, max_examples=100)
    @given(
        changes=st.lists(
            st.tuples(st.integers(0, len(intact) - 1), st.integers(0, 255)), max_size=4
        ),
        length=st.integers(len(intact) // 2, len(intact)) | st.just(len(intact)),
    )
    def check(changes: list[tuple[int, int]], length: int) -> None:
        folder = tmp_path_factory.mktemp("damaged")
        content = bytearray(intact)
        for position, value in changes:
            content[position] = value
        (folder / "a").write_bytes(content[:length])
        try:
            unpack(folder / "a", folder / "target", **LIMITS)
        except InvalidFileError:
            left = ["a"]
        else:
            left = ["a", "target"]
        assert sorted(path.name for path in folder.iterdir()) == left

    check()
