"""The real download path: real files behind a real mirror on loopback, real hashes, every way to go wrong."""

import gzip
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import Program, assert_one_line_error, environment
from mnist_cnn import download
from mnist_cnn.data_loader import load
from mnist_cnn.download import FILES, SOURCES, MirrorError, read_verified
from mnist_cnn.errors import InputError

LABELS = "t10k-labels-idx1-ubyte"


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, *_: object) -> None:
        """Keep the paths for the tests to look at, and print nothing."""
        self.server.requests.append(self.path)  # type: ignore[attr-defined]


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on loopback; yield its address and the paths asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.requests = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.requests  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave only loopback to reach, and no data to find by accident."""
    monkeypatch.chdir(tmp_path)
    for name in ("MNIST_CNN_DATA", "MNIST_CNN_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def raw(mnist_data: Path) -> Path:
    """Name the folder with the four packed MNIST files."""
    return mnist_data / "MNIST" / "raw"


@pytest.mark.parametrize("layout", ["a served data folder", "flat"])
def test_downloads_from_a_mirror_once(
    tmp_path: Path, mnist_data: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    with serve(raw if layout == "flat" else mnist_data) as (address, requests):
        monkeypatch.setenv("MNIST_CNN_MIRROR", address)
        dataset = load("mnist")
        first = len(requests)
        load("mnist")
        assert len(requests) == first
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    landed = tmp_path / "data" / "MNIST" / "raw"
    assert sorted(path.name for path in landed.iterdir()) == sorted([".lock", *(f"{file}.gz" for file in FILES)])
    for file in FILES:
        assert (landed / f"{file}.gz").read_bytes() == (raw / f"{file}.gz").read_bytes()


def test_a_mirror_with_wrong_bytes_is_passed_over(
    tmp_path: Path, mnist_data: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in FILES:
        (bad / f"{file}.gz").write_bytes((raw / f"{file}.gz").read_bytes()[:-1] + b"!")
    with serve(bad) as (address, _), serve(mnist_data) as (good, requests):
        monkeypatch.setenv("MNIST_CNN_MIRROR", address)
        source = download.Source("MNIST", (f"{good}/MNIST/raw/",), SOURCES["mnist"].sha256)
        monkeypatch.setitem(SOURCES, "mnist", source)
        assert len(load("mnist").test) == 10_000
        assert len(requests) == len(FILES)


@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>", gzip.compress(b"<html>", mtime=0)])
def test_mirrors_without_the_files_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "portal").mkdir()
    for file in FILES:
        (tmp_path / "portal" / f"{file}.gz").write_bytes(content)
    with serve(tmp_path / "portal") as (address, _):
        monkeypatch.setenv("MNIST_CNN_MIRROR", address)
        with pytest.raises(MirrorError, match=r"wrong SHA-256.*--data-dir.*\$MNIST_CNN_MIRROR") as error:
            load("mnist")
    assert all(mirror in str(error.value) for mirror in SOURCES["mnist"].mirrors)
    assert [path.name for path in (tmp_path / "data" / "MNIST" / "raw").iterdir()] == [".lock"]


def test_a_stalled_mirror_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MNIST_CNN_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(MirrorError, match="Timeout"):
            load("mnist")


def test_auto_falls_back_to_the_bundled_digits_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("auto").name == "digits"
    assert "using scikit-learn's 1,797 bundled digits, not MNIST" in capsys.readouterr().err


def test_processes_share_one_download(tmp_path: Path, mnist_data: Path) -> None:
    with serve(mnist_data) as (address, requests):
        command = [sys.executable, "-c", "from mnist_cnn.data_loader import load; print(len(load('mnist').test))"]
        env = environment(MNIST_CNN_MIRROR=address)
        racers = [subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE) for _ in range(3)]
        assert [racer.communicate(timeout=120)[0].strip() for racer in racers] == [b"10000"] * 3
    assert sorted(requests) == sorted(f"/MNIST/raw/{file}.gz" for file in FILES)


def test_data_is_looked_for_in_order(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, env = tmp_path / "named", tmp_path / "env"
    shutil.copytree(raw, env)  # flat and packed
    monkeypatch.setenv("MNIST_CNN_DATA", str(env))
    assert len(load("mnist", named).test) == 10_000
    shutil.copytree(raw, named / "MNIST" / "raw")
    broken = named / "MNIST" / "raw" / f"{LABELS}.gz"
    broken.write_bytes(b"wrong")
    with pytest.raises(InputError, match="named"):
        load("mnist", named)
    broken.unlink()
    unpacked = gzip.decompress((raw / f"{LABELS}.gz").read_bytes())
    broken.with_name(LABELS).write_bytes(unpacked)
    assert len(load("mnist", named).test) == 10_000


def damaged(content: bytes) -> dict[str, bytes]:
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    inside = bytearray(gzip.decompress(content))
    inside[-1] ^= 1
    return {
        "truncated": content[:-10],
        "bit-flipped": bytes(flipped),
        "empty": b"",
        "HTML": b"<!DOCTYPE html><p>404",
        "bit-flipped inside the gzip stream": gzip.compress(bytes(inside)),
        "truncated inside the gzip stream": gzip.compress(bytes(inside[:-1])),
        "HTML inside the gzip stream": gzip.compress(b"<!DOCTYPE html>"),
    }


@pytest.mark.parametrize("kind", damaged(gzip.compress(b"any")))
def test_a_damaged_file_is_named_with_both_hashes_and_kept(
    tmp_path: Path, raw: Path, program: Program, kind: str
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(raw, folder)
    path = folder / f"{LABELS}.gz"
    content = damaged(path.read_bytes())[kind]
    path.write_bytes(content)
    result = program("main.py", "--dataset", "mnist", "--data-dir", folder)
    assert_one_line_error(result, str(path), SOURCES["mnist"].sha256[LABELS][0])
    assert path.read_bytes() == content
    assert not (tmp_path / "saved_models").exists() or not list((tmp_path / "saved_models").iterdir())


def test_an_unpacked_file_has_a_hash_of_its_own(tmp_path: Path, raw: Path) -> None:
    unpacked = gzip.decompress((raw / f"{LABELS}.gz").read_bytes())
    path = tmp_path / LABELS
    path.write_bytes(unpacked)
    assert read_verified(path, SOURCES["mnist"].sha256[LABELS]) == unpacked
    path.write_bytes(unpacked[:-1] + b"\xff")
    with pytest.raises(InputError, match=SOURCES["mnist"].sha256[LABELS][1]):
        read_verified(path, SOURCES["mnist"].sha256[LABELS])


def test_unreachable_mirrors_end_the_command_in_one_line(program: Program, tmp_path: Path) -> None:
    result = program("main.py", "--dataset", "mnist")
    assert_one_line_error(result, "no mirror gave", "--data-dir", "$MNIST_CNN_MIRROR")
    assert not list(tmp_path.rglob("*.pth"))
