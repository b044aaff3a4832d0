"""Ctrl-C and SIGTERM at every stage of every command: exit code, one line at most, whole files."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import requests

import forked
from calls import CALLS, call, sayings, train_two
from conftest import ROOT, environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc when a process handles signals")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOMENTS = (0.02, 0.4, 0.8)  # of what a call takes undisturbed
MNIST_CNN = str(Path(sys.executable).with_name("mnist-cnn"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train_two(folder)
    return folder


def wait_for_handlers(pid: int) -> None:
    """Wait until a process handles SIGTERM, as the kernel tells; the interpreter itself does not."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        caught = re.search(r"SigCgt:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)
    pytest.fail("SIGTERM is not handled")


def unwarned(arguments: Sequence[str]) -> None:
    """Run `mnist-cnn` without the warnings of tests: a signal may come between a file's opening and its closing."""
    warnings.resetwarnings()
    warnings.simplefilter("ignore", ResourceWarning)
    forked.COMMANDS["mnist-cnn"](arguments)


def disturb(name: str, runs: Path, log: Path, delay: float, numbers: list[int]) -> BaseProcess:
    """Start a call and send it signals, the first after a delay."""
    process = call(CALLS[name], runs, log, unwarned)
    assert process.pid
    wait_for_handlers(process.pid)
    time.sleep(delay)
    for number in numbers:
        if process.is_alive():
            os.kill(process.pid, number)
    process.join(60)
    return process


QUICK = {"train", "read"}  # of the commands; the others take long


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.long)
        for name in sorted(CALLS.keys() - {"serve"})
    ],
)
def test_every_command_stops_at_any_moment_and_runs_again(runs: Path, tmp_path: Path, name: str) -> None:
    start = time.monotonic()
    whole = call(CALLS[name], runs, tmp_path)
    whole.join(200)
    seconds = time.monotonic() - start
    assert whole.exitcode == 0, (tmp_path / "err").read_text()
    printed = len((tmp_path / "out").read_text().splitlines())
    folder = runs / Path(CALLS[name][-1]).parts[0]
    files = {path.relative_to(folder) for path in folder.rglob("*")}
    for number, moment in enumerate(MOMENTS):
        shutil.rmtree(folder)
        for file in ("out", "err"):
            (tmp_path / file).unlink()
        sent = SIGNALS[number % 2]
        process = disturb(name, runs, tmp_path, moment * seconds, [sent] * (1 + number // 2))
        lines, out = sayings((tmp_path / "err").read_text()), (tmp_path / "out").read_text()
        assert process.exitcode in (128 + sent, 0), lines
        assert len(lines) <= 1, lines
        assert out.endswith("\n") or not out, "whole lines"
        assert len(out.splitlines()) <= printed
        folder.mkdir(exist_ok=True)
    again = call(CALLS[name], runs, tmp_path)
    again.join(200)
    assert again.exitcode == 0, (tmp_path / "err").read_text()
    assert {path.relative_to(folder) for path in folder.rglob("*") if "earlier" not in path.parts} == files


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "command",
    [
        [MNIST_CNN, "predict", "x.png"],
        [MNIST_CNN, "train", "--help"],
        [sys.executable, str(ROOT / "src" / "main.py"), "--help"],
        [sys.executable, str(ROOT / "src" / "evaluate.py"), "--help"],
    ],
    ids=lambda command: " ".join(Path(word).name for word in command[:3]),
)
def test_an_import_is_left_without_a_word(command: list[str], number: signal.Signals) -> None:
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_handlers(process.pid)
        time.sleep(0.1)
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 128 + number


@pytest.mark.parametrize("wait", [False, True], ids=["begun", "idle"])
@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]])
def test_serve_that_listens_ends_with_0_and_at_once_on_a_second_signal(
    runs: Path, tmp_path: Path, numbers: list[int], wait: bool
) -> None:
    process = call(CALLS["serve"], runs, tmp_path)
    while not (tmp_path / "out").exists() or not (tmp_path / "out").read_text():
        time.sleep(0.01)
    while wait:
        with suppress(requests.ConnectionError):
            wait = not requests.get(f"{(tmp_path / 'out').read_text().split()[0]}/readyz", timeout=30).ok
    assert process.pid
    for number in numbers:
        os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode in ([0] if len(numbers) == 1 else [0, *(128 + number for number in numbers)])
    assert sayings((tmp_path / "err").read_text()) == []


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_serve_that_does_not_listen_yet_ends_with_the_signals_number(
    runs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = disturb("serve", runs, tmp_path, 0, [number])
    assert process.exitcode == (0 if (tmp_path / "out").read_text() else 128 + number)
    assert len(sayings((tmp_path / "err").read_text())) <= 1
