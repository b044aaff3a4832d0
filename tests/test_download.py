"""The real download path: real files behind a real mirror on loopback, real hashes, every way to go wrong."""

import bz2
import dataclasses
import gzip
import hashlib
import io
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, cycle, repeat
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from conftest import Program, Tried, assert_one_line_error, environment
from mnist_cnn import download
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import UNFINISHED
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.download import MirrorError, read_published, read_verified
from mnist_cnn.sources import FILES, SOURCES, Source
from mnist_cnn.splits import Dataset
from test_data_loader import NAMES, idx, renamed

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
        dataset = load_dataset("mnist")
        first = len(requests)
        load_dataset("mnist")
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
        source = Source("MNIST", (f"{good}/MNIST/raw/",), SOURCES["mnist"].hashes)
        monkeypatch.setitem(SOURCES, "mnist", source)
        assert len(load_dataset("mnist").test) == 10_000
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
            load_dataset("mnist")
    assert all(mirror in str(error.value) for mirror in SOURCES["mnist"].mirrors)
    assert [path.name for path in (tmp_path / "data" / "MNIST" / "raw").iterdir()] == [".lock"]


# What a mirror sends for a path, given the right bytes: chunks, and None for a moment of nothing.
Answer = Callable[[str, bytes], Iterable[bytes | None]]
MOMENT = 0.02  # seconds
ENOUGH = 64 << 20  # bytes after which an endless answer ends, so that a failing test does not fill the machine
RESET = b"RESET"  # not sent: the connection then ends with a reset
BUFFERS = 24 << 20  # bytes of one answer that two sockets may hold while nobody reads


class Mirror(ThreadingTCPServer):
    """A mirror that answers with whatever bytes it is told to, at whatever pace."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.files, self.answer = files, answer
        self.requests: list[str] = []
        self.most_sent = 0
        self.closing = threading.Event()

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close without a farewell, so that a reset is one."""
        self.close_request(request)


class Connection(StreamRequestHandler):
    def handle(self) -> None:
        mirror = self.server
        assert isinstance(mirror, Mirror)
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        mirror.requests.append(path)
        with suppress(OSError):
            self.send(mirror, mirror.answer(path, mirror.files.get(path.rpartition("/")[2], b"")))

    def send(self, mirror: Mirror, chunks: Iterable[bytes | None]) -> None:
        sent = 0
        for chunk in chunks:
            if chunk is RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif chunk:
                self.connection.sendall(chunk)
                sent += len(chunk)
                mirror.most_sent = max(sent, mirror.most_sent)
            if mirror.closing.wait(0 if chunk else MOMENT) or sent > ENOUGH:
                return


@contextmanager
def mirror(files: dict[str, bytes], answer: Answer) -> Iterator[Mirror]:
    with Mirror(files, answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(MOMENT,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def ok(*headers: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "")).encode("latin-1")


def sized(content: bytes) -> bytes:
    return ok(f"Content-Length: {len(content)}") + content


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def in_chunks(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def slowly(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    for chunk in chunks:
        yield from (chunk, None)


def honest(_: str, right: bytes) -> Iterator[bytes]:
    yield sized(right)


def wrong(_: str, right: bytes) -> Iterator[bytes]:
    yield sized(right[:-1] + bytes([right[-1] ^ 1]))


def unhurried(_: str, right: bytes) -> Iterator[bytes | None]:
    """Take about a quarter of a second for 200,000 bytes."""
    chunks = (right[start : start + 20_000] for start in range(0, len(right), 20_000))
    yield from slowly([ok(f"Content-Length: {len(right)}"), *chunks])


def to_a_portal(path: str, _: bytes) -> Iterator[bytes]:
    yield sized(HTML) if path == "/login" else ok("Location: /login", "Content-Length: 0", status="302 Found")


def redirect(location: str) -> Answer:
    return lambda *_: [ok(f"Location: {location}", "Content-Length: 0", status="302 Found")]


HTML = b"<!DOCTYPE html><p>please log in</p>"
NOISE = bytes(1 << 16)
NOTHING = repeat(None)
CHUNKED = ok("Transfer-Encoding: chunked")
FAULTS: dict[str, Answer] = {
    "is silent": lambda *_: NOTHING,
    "stalls in its headers": lambda *_: chain([ok()[:-9]], NOTHING),
    "stalls before the body": lambda _, right: chain([sized(right)[: -len(right)]], NOTHING),
    "stalls in the body": lambda _, right: chain([sized(right)[:-9]], NOTHING),
    "hangs up": lambda *_: [],
    "resets": lambda *_: [RESET],
    "resets in the body": lambda _, right: [sized(right)[:-9], RESET],
    "sends half": lambda _, right: [ok(f"Content-Length: {len(right)}"), half(right)],
    "sends half as if it were all": lambda _, right: [sized(half(right))],
    "sends half without a length": lambda _, right: [ok(), half(right)],
    "sends half in chunks": lambda _, right: [CHUNKED, in_chunks(half(right))],
    "has no end, with a length": lambda *_: chain([ok(f"Content-Length: {1 << 40}")], cycle([NOISE])),
    "has no end, without a length": lambda *_: chain([ok()], cycle([NOISE])),
    "has no end, in chunks": lambda *_: chain([CHUNKED], cycle([in_chunks(NOISE)])),
    "has no end after the right bytes": lambda _, right: chain([ok(), right], cycle([NOISE])),
    "has no end in a chunk's size": lambda *_: chain([CHUNKED], cycle([b"0" * 65536])),
    "has no end in a header": lambda *_: chain([ok()[:-2]], cycle([b"a" * 65536])),
    "has no end in a redirect": lambda *_: chain([ok("Location: /login", status="302 Found")], cycle([NOISE])),
    "has no end in a 404": lambda *_: chain([ok(status="404 Not Found")], cycle([NOISE])),
    "sends HTML": lambda *_: [sized(HTML)],
    "sends HTML with a 503": lambda *_: [sized(HTML).replace(b"200 OK", b"503 Unavailable")],
    "redirects to HTML": to_a_portal,
    "redirects to itself": redirect("/again"),
    "redirects to a file": redirect("file:///etc/passwd"),
    "redirects to no host": redirect("http://[/"),
    "redirects to no text": redirect("/\xff"),
    "trickles its headers": lambda *_: slowly(chain([ok()[:-2]], cycle([b"a"]))),
    "trickles the body": lambda _, right: slowly(chain([sized(right)[: -len(right)]], cycle([b"a"]))),
    "trickles a chunk's size": lambda *_: slowly(chain([CHUNKED], cycle([b"0"]))),
    "always continues": lambda *_: slowly(cycle([ok(status="100 Continue")])),
    "speaks no HTTP": lambda *_: [bytes(range(256))],
    "has a length of letters": lambda _, right: [ok("Content-Length: many"), right],
    "has a length below zero": lambda _, right: [ok("Content-Length: -1"), half(right)],
    "has a length without measure": lambda *_: slowly([ok(f"Content-Length: {10**400}"), *[NOISE] * 10]),
    "sends other bytes": wrong,
}


@pytest.fixture(scope="module")
def small() -> dict[str, bytes]:
    """Pack four files of noise, of which one takes a while."""
    noise = np.random.default_rng(0)
    return {f"{file}.gz": gzip.compress(noise.bytes(200_000 if "images" in file else 5_000)) for file in FILES}


def source_of(files: dict[str, bytes], *mirrors: Mirror) -> Source:
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return Source("MNIST", tuple(m.url for m in mirrors), {file: (sha256[f"{file}.gz"], "") for file in FILES})


def landed(data_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (data_dir / "MNIST" / "raw").iterdir()}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_mirror_with_a_fault_is_passed_over_and_leaves_nothing(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, fault: str, tried: Tried
) -> None:
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.5)
    monkeypatch.setattr(download, "TOTAL_TIMEOUT", 1)
    monkeypatch.setattr(download, "MAX_BYTES", 1 << 20)
    with mirror(small, FAULTS[fault]) as bad, mirror(small, honest) as good:
        with pytest.raises(MirrorError, match=rf"^no mirror gave {LABELS}.gz: {bad.url}.* \(.+\); put") as error:
            download.download(LABELS, source_of(small, bad), tmp_path)
        assert "\n" not in str(error.value)
        assert landed(tmp_path) == {".lock": b""}
        path = download.download(LABELS, source_of(small, bad, good), tmp_path)
        assert f"/{LABELS}.gz" == bad.requests[0] == good.requests[0]
    assert landed(tmp_path) == {".lock": b"", path.name: small[path.name]}
    assert bad.most_sent < BUFFERS
    tried(f"a mirror at fault, in {len(FAULTS)} ways", 2, 0)


@pytest.mark.parametrize("fault", ["sends other bytes", "sends half", "resets in the body", "redirects to HTML"])
def test_a_mirror_may_go_bad_after_its_first_file(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def answer(path: str, right: bytes) -> Iterable[bytes | None]:
        return (honest if FILES[0] in path else FAULTS[fault])(path, right)

    with mirror(small, answer) as fickle, mirror(small, honest) as good:
        monkeypatch.setitem(SOURCES, "mnist", source_of(small, fickle))
        with pytest.raises(MirrorError, match=FILES[1]):
            read_published("mnist", None)
        assert landed(tmp_path / "data") == {".lock": b"", f"{FILES[0]}.gz": small[f"{FILES[0]}.gz"]}
        monkeypatch.setitem(SOURCES, "mnist", source_of(small, fickle, good))
        assert read_published("mnist", None) == tuple(map(gzip.decompress, small.values()))
    assert good.requests == [f"/{file}.gz" for file in FILES[1:]]
    assert landed(tmp_path / "data") == {".lock": b""} | small


def test_a_mirror_may_be_right_on_the_next_try(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = cycle([wrong, honest])
    with mirror(small, lambda path, right: next(answers)(path, right)) as fickle:
        with pytest.raises(MirrorError, match="wrong SHA-256"):
            download.download(LABELS, source_of(small, fickle), tmp_path)
        download.download(LABELS, source_of(small, fickle), tmp_path)
        assert landed(tmp_path) == {".lock": b"", f"{LABELS}.gz": small[f"{LABELS}.gz"]}
        monkeypatch.setenv("MNIST_CNN_MIRROR", fickle.url)  # asked in two folders
        monkeypatch.setitem(SOURCES, "mnist", source_of(small))
        assert read_published("mnist", None) == tuple(map(gzip.decompress, small.values()))


def test_progress_is_shown(tmp_path: Path, small: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    with mirror(small, unhurried) as slow:
        download.download(FILES[0], source_of(small, slow), tmp_path)
    assert "100%" in capsys.readouterr().err


CHILD = """
import json, sys
from mnist_cnn.download import read_published
from mnist_cnn.sources import SOURCES, Source
SOURCES["mnist"] = Source("MNIST", (sys.argv[1],), json.loads(sys.argv[2]))
read_published("mnist", None)
"""


def test_a_killed_download_is_in_nobodys_way(
    tmp_path: Path,
    small: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
    tried: Tried,
) -> None:
    kills = pytestconfig.getoption("--faults") // 5
    moments = np.random.default_rng(0)
    ends, left = [], []
    with mirror(small, unhurried) as slow, mirror(small, honest) as good:
        monkeypatch.setitem(SOURCES, "mnist", source_of(small, good))
        command = [sys.executable, "-c", CHILD, slow.url, json.dumps(source_of(small).hashes)]
        for kill in range(kills):
            folder = tmp_path / str(kill // 2)
            folder.mkdir(exist_ok=True)
            ends.append(killed(command, folder, slow, moments.uniform(0, 0.5)))
            files = landed(folder / "data")
            left += [files.pop(name) for name in [*files] if UNFINISHED.fullmatch(name)]
            assert files.items() <= ({".lock": b""} | small).items()
            if kill % 2:  # otherwise the next one meets what this one left
                monkeypatch.chdir(folder)
                assert read_published("mnist", None) == tuple(map(gzip.decompress, small.values()))
                assert landed(folder / "data") == {".lock": b""} | small
    assert set(ends) <= {0, -9}
    assert ends.count(-9) >= kills // 3
    assert any(left)
    tried("SIGKILL of a download", kills, 0)


def killed(command: list[str], folder: Path, slow: Mirror, seconds: float) -> int:
    """Kill a process some time after it began to download, if it is not done by then; return its exit code."""
    slow.requests.clear()
    with subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL) as process:
        while not slow.requests and process.poll() is None:
            time.sleep(0.005)
        time.sleep(seconds)
        process.kill()
    return process.returncode


def test_a_stalled_mirror_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MNIST_CNN_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(MirrorError, match="Timeout"):
            load_dataset("mnist")


def test_auto_falls_back_to_the_bundled_digits_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_dataset("auto").name == "digits"
    assert "using scikit-learn's 1,797 bundled digits, not MNIST" in capsys.readouterr().err


RACER = "from mnist_cnn.download import read_published; print(*map(len, read_published('mnist', None)))"


def test_processes_share_one_download(tmp_path: Path, mnist_data: Path) -> None:
    with serve(mnist_data) as (address, requests):
        command = [sys.executable, "-c", RACER]
        env = environment(MNIST_CNN_MIRROR=address)
        racers = [subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE) for _ in range(3)]
        assert [racer.communicate(timeout=120)[0].strip() for racer in racers] == [b"47040016 60008 7840016 10008"] * 3
    assert sorted(requests) == sorted(f"/MNIST/raw/{file}.gz" for file in FILES)


@pytest.mark.parametrize("program", NAMES)
def test_published_files_are_found_under_other_names_and_verified(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    unpacked = {file: gzip.decompress(small[f"{file}.gz"]) for file in FILES}
    sha256 = {file: hashlib.sha256(content).hexdigest() for file, content in unpacked.items()}
    packed = {file: hashlib.sha256(gzip.compress(content, mtime=0)).hexdigest() for file, content in unpacked.items()}
    monkeypatch.setitem(SOURCES, "mnist", Source("MNIST", (), {file: (packed[file], sha256[file]) for file in FILES}))
    (tmp_path / "own").mkdir()
    for file, content in unpacked.items():
        (tmp_path / "own" / file).write_bytes(content)
    data = renamed(tmp_path / "own", tmp_path / "data" / "MNIST" / "raw", program)
    assert read_published("mnist", None) == tuple(unpacked.values())
    damaged = data / NAMES[program](LABELS)
    damaged.write_bytes(b"wrong")
    with pytest.raises(InputError, match=f"{re.escape(str(damaged.relative_to(tmp_path)))} is damaged or another file"):
        read_published("mnist", None)


UNUSABLE = {
    "some": [f"{FILES[0]}.gz", f"{FILES[1]}.gz"],
    "an archive": ["archive.zip"],
    "a download under way": [f"{LABELS}.gz.crdownload", f"{FILES[0]}.gz.part"],
    "another format": ["mnist.npz", "mnist_train.csv"],
    "a wrong name": ["emnist-digits-train-images-idx3-ubyte.gz"],
    "a wrong folder": [f"mine/{file}.gz" for file in FILES],
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_looks_like_data_is_named_where_it_cannot_be_used(
    tmp_path: Path,
    small: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.setitem(SOURCES, "mnist", source_of(small))
    for name in UNUSABLE[kind]:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(small.get(name, b""))
    assert load_dataset("auto").name == "digits"
    said = capsys.readouterr().err
    with pytest.raises(
        MirrorError, match=re.escape(f"; missing: {', '.join(FILES[2 if kind == 'some' else 0 :])}; found ")
    ) as error:
        load_dataset("mnist")
    assert f"NOTE: {error.value}\n" in said
    for name in UNUSABLE[kind]:
        assert repr(str(Path("data", name))) in str(error.value)


def test_data_is_looked_for_in_order(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, env = tmp_path / "named", tmp_path / "env"
    shutil.copytree(raw, env)  # flat and packed
    monkeypatch.setenv("MNIST_CNN_DATA", str(env))
    assert len(load_dataset("mnist", named).test) == 10_000
    shutil.copytree(raw, named / "MNIST" / "raw")
    broken = named / "MNIST" / "raw" / f"{LABELS}.gz"
    broken.write_bytes(b"wrong")
    with pytest.raises(InputError, match="named"):
        load_dataset("mnist", named)
    broken.unlink()
    unpacked = gzip.decompress((raw / f"{LABELS}.gz").read_bytes())
    broken.with_name(LABELS).write_bytes(unpacked)
    assert len(load_dataset("mnist", named).test) == 10_000


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
def test_a_damaged_file_is_named_with_both_hashes_and_kept(tmp_path: Path, raw: Path, kind: str) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(raw, folder)
    path = folder / f"{LABELS}.gz"
    content = damaged(path.read_bytes())[kind]
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_dataset("mnist", folder)
    for word in (str(path), hashlib.sha256(content).hexdigest(), SOURCES["mnist"].hashes[LABELS][0]):
        assert word in str(error.value)
    assert path.read_bytes() == content


def test_a_damaged_file_ends_the_command_in_one_line(tmp_path: Path, raw: Path, program: Program) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(raw, folder)
    (folder / f"{LABELS}.gz").write_bytes(b"wrong")
    result = program("main.py", "--dataset", "mnist", "--data-dir", folder)
    assert_one_line_error(result, str(folder / f"{LABELS}.gz"), SOURCES["mnist"].hashes[LABELS][0])
    assert not (tmp_path / "saved_models").exists() or not list((tmp_path / "saved_models").iterdir())


def test_an_unpacked_file_has_a_hash_of_its_own(tmp_path: Path, raw: Path) -> None:
    unpacked = gzip.decompress((raw / f"{LABELS}.gz").read_bytes())
    path = tmp_path / LABELS
    path.write_bytes(unpacked)
    assert read_verified(path, SOURCES["mnist"].hashes[LABELS]) == [unpacked]
    path.write_bytes(unpacked[:-1] + b"\xff")
    with pytest.raises(InputError, match=SOURCES["mnist"].hashes[LABELS][1]):
        read_verified(path, SOURCES["mnist"].hashes[LABELS])


def test_unreachable_mirrors_end_the_command_in_one_line(program: Program, tmp_path: Path) -> None:
    result = program("main.py", "--dataset", "mnist")
    assert_one_line_error(result, "no mirror gave", "--data-dir", "$MNIST_CNN_MIRROR")
    assert not list(tmp_path.rglob("*.pth"))


def digits_of(digits: Dataset, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return real digits, 28x28, and their labels."""
    chosen = digits.train[torch.arange(40)] if split == "train" else digits.test[torch.arange(25)]
    return chosen.images[:, 0].numpy(), chosen.labels.numpy()


def as_libsvm(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> bytes:
    """Write the middle 16x16 pixels as LIBSVM's USPS does: labels from 1, values -1..1."""
    lines = []
    for image, label in zip(images[:, 6:22, 6:22] / 127.5 - 1, labels, strict=True):
        cells = " ".join(f"{index}:{value:.6g}" for index, value in enumerate(image.flatten(), start=1))
        lines.append(f"{label + 1} {cells}")
    return ("\n".join(lines) + "\n").encode()


def published(name: str, digits: Dataset) -> dict[str, bytes]:
    """Make small files in the format of a published dataset."""
    files = {}
    for split in ("train", "test"):
        images, labels = digits_of(digits, split)
        if name == "usps":
            files[{"train": "usps.bz2", "test": "usps.t.bz2"}[split]] = bz2.compress(as_libsvm(images, labels))
        elif name == "qmnist":
            extended = np.stack([labels, *[np.arange(len(labels))] * 7], axis=1).astype(">i4")
            header = b"\0\0\x0c\x02" + np.array(extended.shape, ">u4").tobytes()
            files[f"qmnist-{split}-labels-idx2-int.gz"] = gzip.compress(header + extended.tobytes())
            files[f"qmnist-{split}-images-idx3-ubyte.gz"] = gzip.compress(idx(images))
        else:
            prefix = {"kmnist": {"train": "train", "test": "t10k"}[split]}.get(name, f"gzip/emnist-digits-{split}")
            turned = images.transpose(0, 2, 1) if name == "emnist-digits" else images
            files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx(turned))
            files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels))
    if name != "emnist-digits":
        return files
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for path, content in files.items():
            members.writestr(path, content)
    return {"gzip.zip": archive.getvalue()}


def small_source(name: str, files: dict[str, bytes], url: str) -> Source:
    """Give a source the hashes of small files, of the kind that is published, and a mirror of them."""
    source, hashes = SOURCES[name], {}
    for file, (packed, _) in source.hashes.items():
        content = files[f"{file}{source.suffix}"]
        md5 = f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"
        hashes[file] = (md5 if packed.startswith("md5:") else hashlib.sha256(content).hexdigest(), "")
    return dataclasses.replace(source, mirrors=(url,), hashes=hashes)


@pytest.mark.parametrize("name", ["kmnist", "qmnist", "emnist-digits", "usps"])
def test_a_dataset_by_name_in_its_own_format(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files = published(name, digits)
    with mirror(files, honest) as good:
        monkeypatch.setitem(SOURCES, name, small_source(name, files, good.url))
        dataset = load_dataset(name)
        asked = len(good.requests)
        again = load_dataset(name)
        assert len(good.requests) == asked == len(files)
    assert again.name == dataset.name == name
    for split, found in (("train", dataset.train), ("test", dataset.test)):
        images, labels = digits_of(digits, split)
        assert found.labels.tolist() == labels.tolist()
        assert found.images.dtype == torch.uint8
        if name == "usps":  # scaled from 16 to 20 pixels: compare with Pillow's bicubic
            large = [Image.fromarray(image[6:22, 6:22]).resize((20, 20), Image.Resampling.BICUBIC) for image in images]
            difference = found.images[:, 0, 4:24, 4:24].numpy().astype(int) - np.stack(
                [np.asarray(one) for one in large]
            )
            assert np.abs(difference).mean() < 4
            assert not found.images[:, :, :4].any()
        else:
            assert np.array_equal(found.images[:, 0].numpy(), images)
    kana = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    assert dataset.classes == (kana if name == "kmnist" else digits.classes)
    raw = tmp_path / "data" / SOURCES[name].folder / "raw"
    damaged = next(path for path in raw.iterdir() if path.suffix == SOURCES[name].suffix)
    damaged.write_bytes(damaged.read_bytes() + b"!")
    kind = "MD5" if name in ("qmnist", "usps") else "SHA-256"
    with pytest.raises(InputError, match=f"is damaged or another file: its {kind} is [0-9a-f]+, expected [0-9a-f]+;"):
        load_dataset(name)


def test_files_of_unknown_hash_are_not_taken_for_published_ones(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = published("kmnist", digits)
    raw = tmp_path / "data" / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in files:
        (raw / name.removesuffix(".gz")).write_bytes(b"anything: no hash of the unpacked file is published")
    with mirror(files, honest) as good:
        monkeypatch.setitem(SOURCES, "kmnist", small_source("kmnist", files, good.url))
        assert len(load_dataset("kmnist").train) == 40
    assert len(good.requests) == 4


def test_a_flat_folder_of_another_dataset_is_not_taken_for_damaged(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch, small: dict[str, bytes]
) -> None:
    (tmp_path / "data").mkdir()
    for name, content in small.items():  # MNIST's files have the names of KMNIST's
        (tmp_path / "data" / name).write_bytes(content)
    monkeypatch.setitem(SOURCES, "mnist", source_of(small))
    files = published("kmnist", digits)
    with mirror(files, honest) as good:
        monkeypatch.setitem(SOURCES, "kmnist", small_source("kmnist", files, good.url))
        assert len(load_dataset("kmnist").train) == 40
    assert read_published("mnist", None) == tuple(map(gzip.decompress, small.values()))
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"KMNIST", *small}


def test_a_large_archive_may_have_more_bytes_and_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1 << 15)
    content = np.random.default_rng(0).bytes(1 << 17)
    expected = {"big": (hashlib.sha256(content).hexdigest(), "")}
    with mirror({"big.zip": content}, honest) as good:
        allowed = Source("BIG", (good.url,), expected, suffix=".zip", max_bytes=1 << 18)
        assert download.download("big", allowed, tmp_path).read_bytes() == content
        with pytest.raises(MirrorError, match="wrong SHA-256"):
            download.download("big", dataclasses.replace(allowed, folder="SMALL", max_bytes=None), tmp_path)
