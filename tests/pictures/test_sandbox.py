"""Resource limits of worker processes: each picture is read or refused by name, and the next one is read."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, environment
from hostile import FILES, digits_page, encoded
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.candidates import Outcome, Prepared, Search
from mnist_cnn.pictures.image_io import PictureSource, TooCostlyError
from mnist_cnn.pictures.pdf import PdfPage
from mnist_cnn.pictures.sandbox import Limits, Sandbox

PHOTO = ROOT / "images" / "own_digit.jpg"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no CPU seconds and has no such signals")


@pytest.fixture(scope="module")
def quick() -> Iterator[Sandbox]:
    with Sandbox(Limits(cpu_seconds=1)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def usual() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def read(sandbox: Sandbox, source: PictureSource | InputError, several: bool = False) -> Outcome:
    return sandbox.outcome(sandbox.submit(source, "that", Search(several)), "that")


@pytest.mark.parametrize("name", FILES)
def test_a_file_made_to_cost_is_read_or_refused_by_name_and_the_next_is_read(name: str, quick: Sandbox) -> None:
    content = FILES[name]()
    start = time.monotonic()
    result = read(quick, content, several=True)
    assert time.monotonic() - start < 40  # 2 CPU seconds, beside whatever else runs
    assert isinstance(result, Prepared) or str(result).startswith("that: ")
    assert isinstance(read(quick, PHOTO), Prepared)


def test_too_much_cpu_time_and_too_many_candidates_are_too_costly(quick: Sandbox, usual: Sandbox) -> None:
    for sandbox, picture, words in (
        (quick, digits_page(52), "more than 1 s or 1536 MiB"),
        (usual, digits_page(60), "more than 3,000 digits"),
    ):
        result = read(sandbox, picture, several=True)
        assert isinstance(result, TooCostlyError)
        assert words in str(result)
    assert isinstance(read(usual, digits_page(60)), Prepared)  # as one digit it costs little


def large_pictures() -> dict[str, Callable[[], bytes]]:
    """Make pictures of 63 megapixels, of all kinds that people have."""
    part = np.random.default_rng(0).integers(0, 256, (80, 79, 4)).astype(np.uint8)
    pixels = np.kron(part, np.ones((100, 100, 1), np.uint8))
    rgba, turned = Image.fromarray(pixels), Image.Exif()
    turned[0x0112] = 6
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    wide = np.asarray(grey).astype(np.uint16) * np.uint16(200)
    return {
        "PNG with alpha, turned": lambda: encoded(rgba, "PNG", compress_level=1, exif=turned),
        "PNG of 16 bits": lambda: encoded(Image.fromarray(wide), "PNG", compress_level=1),
        "WebP": lambda: encoded(rgb, "WEBP", method=0),
        "BMP": lambda: encoded(rgb, "BMP"),
        "TIFF of floats": lambda: encoded(Image.fromarray(np.asarray(grey).astype(np.float32)), "TIFF"),
        "TIFF of inks": lambda: encoded(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    }


@pytest.mark.long
def test_the_largest_pictures_are_read_and_memory_is_limited(usual: Sandbox, tmp_path: Path) -> None:
    refused = set()
    with Sandbox(Limits(memory=60 << 20)) as tight:
        for name, write in large_pictures().items():
            (tmp_path / name).write_bytes(write())
            assert isinstance(read(usual, tmp_path / name), Prepared), name
            result = read(tight, tmp_path / name)
            if not isinstance(result, Prepared):
                assert str(tmp_path / name) in str(result)
                refused.add(name)
            assert isinstance(read(tight, PHOTO), Prepared), name
    assert refused >= {"PNG with alpha, turned", "BMP", "TIFF of floats", "TIFF of inks", "WebP"}


def tree(process: int) -> set[int]:
    """Return a process and its descendants."""
    below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return {process}.union(*(tree(int(child)) for child in below))


def alive(processes: set[int]) -> set[int]:
    """Return which of some processes are still running."""
    found = set()
    for process in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(process)
    return found


def in_time(done: Callable[[], object], seconds: float = 30) -> bool:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not (is_done := bool(done())) and time.monotonic() < end:
        time.sleep(0.05)
    return is_done


def workers() -> list[int]:
    """List the worker processes of this test's sandboxes."""
    return sorted(process.pid for process in multiprocessing.active_children() if process.pid)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "working"])
@pytest.mark.parametrize("all_of_them", [False, True], ids=["one", "both"])
def test_killed_workers_are_replaced(busy: bool, all_of_them: bool) -> None:
    others = set(workers())
    with Sandbox(Limits(cpu_seconds=2)) as sandbox:
        sandbox.start()
        own = [process for process in workers() if process not in others]
        waiting = [sandbox.submit(digits_page(52), "that", Search(several=True)) for _ in range(2 * busy)]
        if busy:
            assert in_time(lambda: all(future.running() for future in waiting))
        for process in own[: 1 + all_of_them]:
            os.kill(process, signal.SIGKILL)
        if waiting:
            results = [sandbox.outcome(future, "that") for future in waiting]  # either may have been the killed one's
            assert sum(isinstance(result, TooCostlyError) for result in results) >= 1 + all_of_them
        assert in_time(lambda: isinstance(read(sandbox, PHOTO), Prepared))
        assert in_time(lambda: not alive(set(own[: 1 + all_of_them])))
        assert in_time(lambda: isinstance(read(sandbox, PHOTO), Prepared) and len(set(workers()) - others) == 2)
    assert not set(workers()) - others


def test_pages_are_counted_under_the_limits_too(quick: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(FILES["PDF of 500 pages"]())
    pages = quick.pages(tmp_path / "scan.pdf", "that")
    assert pages == [PdfPage(tmp_path / "scan.pdf", number) for number in range(1, 501)]
    assert isinstance(read(quick, pages[499]), Prepared)
    (error,) = quick.pages(b"%PDF-", "that")
    assert str(error) == "that: a damaged PDF; export it again"
    assert quick.pages(PHOTO, "that") == [PHOTO]


WORKER = """
import os, sys
from mnist_cnn.pictures.sandbox import Sandbox
with Sandbox(workers=1) as sandbox:
    print(sandbox.pool.schedule(os.readlink, args=["/proc/self/fd/2"]).result(), file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/self/fd")
def test_workers_print_to_devnull_and_their_parent_to_stderr() -> None:
    result = subprocess.run([sys.executable, "-c", WORKER], env=environment(), capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "/dev/null\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the children of a process in /proc")
@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
@pytest.mark.parametrize("many", [False, True], ids=["working on one", "many waiting"])
def test_no_process_is_left_behind_by_read(number: signal.Signals | None, many: bool, tmp_path: Path) -> None:
    (tmp_path / "digits.png").write_bytes(digits_page(52))
    files = ["digits.png"] * 200 if many else ["digits.png"]
    files = files if number else [str(PHOTO)] * 100
    command = [sys.executable, "-m", "mnist_cnn.read", *files]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as own:
        processes = 3 + min(len(files), 2)  # the command, a resource tracker, a fork server, the workers
        assert in_time(lambda: len(tree(own.pid)) >= processes or own.poll() is not None)
        begun = tree(own.pid) if own.poll() is None else set()
        if number:
            time.sleep(1)
            os.killpg(own.pid, number) if number == signal.SIGINT else os.kill(own.pid, number)
        said = own.communicate(timeout=60)[1].decode()
        assert in_time(lambda: not alive(begun), 7)  # a picture may take 10 CPU seconds
        if number != signal.SIGKILL:
            assert own.returncode == (128 + number if number else 0)
            assert said.strip() == ("stopped" if number else "")
