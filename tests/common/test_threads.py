"""PyTorch gets a thread for each core that other programs leave free."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from mnist_cnn.common import threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc/stat is Linux's")
MOST = 4


@pytest.fixture(autouse=True)
def several_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(MOST)
    yield
    torch.set_num_threads(before)


def test_programs_that_take_every_core_leave_one_thread() -> None:
    with ExitStack() as programs:
        for _ in os.sched_getaffinity(0):
            program = programs.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            programs.callback(program.kill)
        time.sleep(0.2)
        with threads.free_cores() as adapt:
            adapt()
            assert torch.get_num_threads() == MOST, "it is too soon to tell"
            time.sleep(threads.INTERVAL)
            adapt()
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == MOST


def write_stat(path: Path, seconds: float) -> None:
    """Write what Linux says: user, nice, system, idle and more, in ticks; `seconds` on each of eight cores."""
    ticks = round(seconds * os.sysconf("SC_CLK_TCK"))
    cores = "".join(f"cpu{n} {ticks * 9 // 10} 7 {ticks // 10} 99 0 5 5 5 0 0\n" for n in range(8))
    path.write_text(f"cpu  1 2 3 4 0 0 0 0 0 0\n{cores}intr 5 0 0\nctxt 9\n")


@pytest.mark.parametrize(("share", "expected"), [(0, 4), (0.1, 4), (0.25, 4), (0.5, 4), (0.75, 2), (0.9, 1), (1, 1)])
def test_threads_are_the_cores_that_are_free(
    share: float, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight cores; a share of 0.5 leaves four."""
    monkeypatch.setattr(threads, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    write_stat(threads.STAT, 1000)
    start = time.perf_counter()
    with threads.free_cores() as adapt:
        time.sleep(threads.INTERVAL)
        write_stat(threads.STAT, 1000 + share * (time.perf_counter() - start))
        adapt()
        assert torch.get_num_threads() == expected


@pytest.mark.parametrize("how", ["fixed", "OMP_NUM_THREADS", "no file"])
def test_a_fixed_number_of_threads_stays(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "STAT", tmp_path / "stat")
    if how == "OMP_NUM_THREADS":
        monkeypatch.setenv(how, "4")
    if how != "no file":
        write_stat(threads.STAT, 1000)
    with threads.free_cores(fixed=how == "fixed") as adapt:
        time.sleep(threads.INTERVAL)
        write_stat(threads.STAT, 2000)
        adapt()
        assert torch.get_num_threads() == MOST
