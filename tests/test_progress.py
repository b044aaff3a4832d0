"""The time left that a progress bar shows is what is left, whatever happened before."""

import os
import re
import select
import struct
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest

from mnist_cnn import train
from mnist_cnn.experiments import study

if TYPE_CHECKING:
    from tqdm import tqdm

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)

import fcntl
import termios


def shown(monkeypatch: pytest.MonkeyPatch, work: Callable[[], "tqdm[NoReturn]"]) -> str:
    """Return what a bar leaves on a terminal's line."""
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))
    with os.fdopen(terminal, "w") as stderr, os.fdopen(master) as screen:
        monkeypatch.setattr(sys, "stderr", stderr)
        bar = work()
        stderr.flush()
        said = ""
        while select.select([screen], [], [], 0.5)[0]:
            said += os.read(master, 65536).decode()
        monkeypatch.undo()
        bar.close()
    return said.rpartition("\r")[2]


def test_seeds_that_were_trained_before_took_no_time_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> "tqdm[NoReturn]":
        bar = study.progress_bar(20, 15)
        time.sleep(1.5)
        bar.update()
        return bar

    line = shown(monkeypatch, work)
    assert "16/20 [00:01<00:06" in line or "16/20 [00:01<00:05" in line, line


def test_a_machine_that_gets_busy_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> "tqdm[NoReturn]":
        bar = train.progress_bar("epoch", 100_000, 0)
        for _ in range(20):
            time.sleep(0.02)
            bar.update(1000)
        time.sleep(1)
        bar.update(256)
        return bar

    line = shown(monkeypatch, work)
    assert "20.3k/100k" in line, line
    left = re.search(r"<00:(\d\d)", line)
    assert left, line
    assert int(left[1]) >= 2
