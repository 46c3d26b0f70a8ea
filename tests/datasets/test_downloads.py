"""Downloads from a server that misbehaves; nothing here leaves the machine."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

import covidct
from covidct.datasets import downloads
from covidct.errors import InvalidFileError

Behavior = Callable[["Handler", bytes], None]
FIRST, SECOND = "/CT_COVID.zip", "/CT_NonCOVID.zip"


class Server(ThreadingHTTPServer):
    """Serves the archives, unless a script says how to answer the next request for a path."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.script: dict[str, list[Behavior]] = {}
        self.requests: Counter[str] = Counter()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        content = (self.server.folder / Path(self.path).name).read_bytes()
        script = self.server.script.get(self.path)
        (script.pop(0) if script else serve)(self, content)

    def start(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Write no log."""


def serve(handler: Handler, content: bytes) -> None:
    handler.start(Content_Length=len(content))
    handler.wfile.write(content)


def cut(handler: Handler, content: bytes) -> None:
    handler.start(Content_Length=len(content))
    handler.wfile.write(content[: len(content) // 2])


def cut_without_length(handler: Handler, content: bytes) -> None:
    handler.start()
    handler.wfile.write(content[: len(content) // 2])


def claim_less(handler: Handler, content: bytes) -> None:
    handler.start(Content_Length=len(content) // 2)
    handler.wfile.write(content)


def claim_more(handler: Handler, content: bytes) -> None:
    handler.start(Content_Length=len(content) + 1000)
    handler.wfile.write(content)


def stall(handler: Handler, content: bytes) -> None:
    handler.start(Content_Length=len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.wfile.flush()
    handler.server.closing.wait(20)


def never_answer(handler: Handler, content: bytes) -> None:
    handler.server.closing.wait(20)


def hang_up(handler: Handler, content: bytes) -> None:
    handler.connection.close()


def error_page(handler: Handler, content: bytes) -> None:
    page = b"<html>Please log in</html>"
    handler.start(Content_Length=len(page))
    handler.wfile.write(page)


def not_found(handler: Handler, content: bytes) -> None:
    handler.start(404, Content_Length=0)


def broken(handler: Handler, content: bytes) -> None:
    handler.start(500, Content_Length=0)


def endless(handler: Handler, content: bytes) -> None:
    handler.start()
    with contextlib.suppress(OSError):
        while not handler.server.closing.is_set():
            handler.wfile.write(bytes(1 << 16))


def redirect(handler: Handler, content: bytes) -> None:
    handler.start(302, Location=f"/mirror{handler.path}", Content_Length=0)


def redirect_in_circles(handler: Handler, content: bytes) -> None:
    handler.server.script[handler.path].append(redirect_in_circles)
    handler.start(302, Location=handler.path, Content_Length=0)


FAILURES = (
    *(cut, cut_without_length, claim_less, claim_more, stall, never_answer, hang_up),
    *(error_page, not_found, broken),
)


@pytest.fixture
def server(
    archives: Path, register: Callable[..., covidct.DatasetInfo], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "TIMEOUT", 1.0)
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    with Server(archives) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        register("covid19-ct", source=server.url)
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "installed"


def download(root: Path, **how: str) -> covidct.CTDataset:
    return covidct.load_dataset("covid19-ct", root, download=True, **how)


def assert_nothing_installed(root: Path) -> None:
    assert [path.name for path in root.iterdir()] == [".download.lock"]


def test_installs_what_is_published(server: Server, root: Path, covid19_ct: object) -> None:
    dataset = download(root)
    original = covidct.load_dataset("covid19-ct", covid19_ct.root)
    assert dataset.content_hash() == original.content_hash()
    names = {path.name for path in root.iterdir()}
    assert names == {".download.lock", "CT_COVID", "CT_NonCOVID"}
    assert not list(root.rglob("*/.*"))


def test_nothing_is_fetched_unasked(server: Server, root: Path, covid19_ct: object) -> None:
    with pytest.raises(FileNotFoundError, match="does not contain dataset"):
        covidct.load_dataset("covid19-ct", root)
    assert not root.exists()
    download(covid19_ct.root)
    assert not server.requests, "what is there is not fetched"
    download(root)
    download(root)
    assert server.requests == {FIRST: 1, SECOND: 1}


def test_default_root_is_in_the_cache(server: Server, cache: Path) -> None:
    dataset = covidct.load_dataset("covid19-ct", download=True)
    assert dataset.root == cache / "datasets" / "covid19-ct"


@pytest.mark.parametrize("failure", FAILURES)
def test_one_failure_is_got_over(server: Server, root: Path, failure: Behavior) -> None:
    server.script[SECOND] = [failure]
    assert len(download(root)) == 6
    assert server.requests == {FIRST: 1, SECOND: 2}


@pytest.mark.parametrize("failure", [cut, never_answer, error_page, not_found, broken])
def test_lasting_failure_is_told_and_leaves_nothing(
    server: Server, root: Path, failure: Behavior
) -> None:
    server.script[SECOND] = [failure] * 10
    with pytest.raises(
        OSError, match=rf"could not download {server.url}CT_NonCOVID\.zip"
    ) as caught:
        download(root)
    assert "by hand from https://github.com/UCSD-AI4H" in str(caught.value)
    assert server.requests[SECOND] == 1 + downloads.RETRIES
    assert_nothing_installed(root)
    server.script.clear()
    assert len(download(root)) == 6


def test_no_server(root: Path, covid19_ct: object, register: Callable[..., object]) -> None:
    with Server(root) as closed:
        register("covid19-ct", source=closed.url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
        with pytest.raises(OSError, match="could not download"):
            download(root)
    assert_nothing_installed(root)


def test_redirect_is_followed(server: Server, root: Path) -> None:
    server.script[FIRST] = [redirect]
    assert len(download(root)) == 6
    assert server.requests[f"/mirror{FIRST}"] == 1


def test_redirects_in_circles_end(server: Server, root: Path) -> None:
    server.script[FIRST] = [redirect_in_circles]
    with pytest.raises(OSError, match="redirects"):
        download(root)
    assert_nothing_installed(root)


def test_server_cannot_fill_the_disk(server: Server, root: Path) -> None:
    server.script[FIRST] = [endless] * 10
    with pytest.raises(OSError, match="sends more bytes than the dataset has"):
        download(root)
    assert server.requests == {FIRST: 1}, "an attack is not tried again"
    assert_nothing_installed(root)


def rewrite(archive: Path, change: Callable[[str, bytes], tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(archive) as file:
        members = [change(name, file.read(name)) for name in file.namelist()]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            if name:
                file.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda name, content: (name, content + b"\0" * ("/71%" in name)),
            r"2 altered: 'CT_NonCOVID/71%0\.jpg'",
        ),
        (
            lambda name, content: ("" if name.endswith("/0.jpg") else name, content),
            r"1 missing: 'CT_NonCOVID/0\.jpg'",
        ),
        (
            lambda name, content: (name.replace("CT_NonCOVID/0", "CT_NonCOVID/x/0"), content),
            r"1 missing: .*1 not published: 'CT_NonCOVID/x/0\.jpg'",
        ),
        (
            lambda name, content: (name.replace("CT_NonCOVID", "other"), content),
            "3 missing",
        ),
        (
            lambda name, content: (name.replace("CT_NonCOVID/0", "../../../0"), content),
            "outside of the target",
        ),
        (
            lambda name, content: (name, bytes(9_000_000) if name.endswith("/0.jpg") else content),
            "would exceed",
        ),
    ],
    ids=["altered", "missing", "moved", "renamed", "outside", "bomb"],
)
def test_content_is_checked_before_it_is_installed(
    server: Server,
    root: Path,
    archives: Path,
    change: Callable[[str, bytes], tuple[str, bytes]],
    match: str,
) -> None:
    around = {path for path in root.parent.rglob("*") if root not in path.parents}
    rewrite(archives / "CT_NonCOVID.zip", change)
    with pytest.raises(InvalidFileError, match=match):
        download(root)
    assert_nothing_installed(root)
    assert {path for path in root.parent.rglob("*") if root not in path.parents} == around | {root}


def test_archive_without_the_class_folder(server: Server, root: Path, archives: Path) -> None:
    rewrite(archives / "CT_COVID.zip", lambda name, content: (Path(name).name, content))
    assert len(download(root)) == 6


def test_source_without_a_class_folder(
    server: Server, root: Path, register: Callable[..., object]
) -> None:
    register("covid19-ct", archives=("CT_COVID.zip",))
    with pytest.raises(FileNotFoundError, match="has no folder 'CT_NonCOVID'; expected: CT_COVID"):
        download(root)
    assert_nothing_installed(root)


def test_verification_of_a_download_can_be_waived(
    server: Server, root: Path, archives: Path
) -> None:
    rewrite(
        archives / "CT_COVID.zip",
        lambda name, content: (name, content + b"\0" * name.endswith(".png")),
    )
    assert len(download(root, verify="names")) == 6


def test_only_the_absent_folder_is_put_in_place(
    server: Server, root: Path, covid19_ct: object
) -> None:
    present = covid19_ct.root / "Images-processed" / "CT_COVID"
    shutil.copytree(present, root / "CT_COVID")
    marker = root / "CT_COVID" / "notes.txt"
    marker.write_text("mine")
    assert len(download(root)) == 6
    assert marker.read_text() == "mine"


def test_concurrent_downloads_fetch_once(server: Server, root: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        datasets = list(pool.map(lambda _: download(root), range(4)))
    assert len({dataset.content_hash() for dataset in datasets}) == 1
    assert server.requests == {FIRST: 1, SECOND: 1}


def test_killed_download_is_begun_anew(server: Server, root: Path) -> None:
    server.script[SECOND] = [never_answer]
    info = covidct.dataset_info("covid19-ct")
    code = (
        "import covidct, dataclasses; "
        "info = dataclasses.replace(covidct.dataset_info('covid19-ct'), "
        f"source={info.source!r}, manifest={info.manifest!r}); "
        "covidct.register_dataset(info, overwrite=True); "
        f"covidct.load_dataset('covid19-ct', {str(root)!r}, download=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while not server.requests[SECOND]:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert (root / ".download").is_dir()
    assert len(download(root)) == 6
    assert not (root / ".download").exists()


@pytest.fixture
def kaggle(sars_cov_2_ct: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for kagglehub, which keeps what it fetched in a cache of its own."""
    asked: list[str] = []

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        return str(shutil.copytree(sars_cov_2_ct.root, tmp_path / "kagglehub" / str(len(asked))))

    module = SimpleNamespace(dataset_download=dataset_download)
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def test_kaggle(kaggle: list[str], root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="download=True"):
        covidct.load_dataset("sars-cov-2-ct", root)
    assert kaggle == []
    dataset = covidct.load_dataset("sars-cov-2-ct", root, download=True)
    assert kaggle == ["plameneduardo/sarscov2-ctscan-dataset"]
    assert len(dataset) == 6
    assert {path.name for path in root.iterdir()} == {".download.lock", "COVID", "non-COVID"}
    assert len(list((root.parent / "kagglehub").rglob("*.png"))) == 6, "the cache is not emptied"


def test_kaggle_fails(root: Path, kaggle: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: str) -> str:
        raise ConnectionError(f"403 for {handle}")

    monkeypatch.setattr(sys.modules["kagglehub"], "dataset_download", refuse)
    with pytest.raises(OSError, match=r"403 for plameneduardo.*by hand from https://www\.kaggle"):
        covidct.load_dataset("sars-cov-2-ct", root, download=True)
    assert_nothing_installed(root)


def test_kaggle_is_an_extra(
    sars_cov_2_ct: object, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'covidct\[kaggle\]'"):
        covidct.load_dataset("sars-cov-2-ct", root, download=True)
    assert_nothing_installed(root)


def test_entry_without_a_source(
    covid19_ct: object, root: Path, register: Callable[..., object]
) -> None:
    register("covid19-ct", source="")
    with pytest.raises(ValueError, match="'covid19-ct' cannot be downloaded; to get it"):
        download(root)
    assert not root.exists()
