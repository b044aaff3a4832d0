"""How many threads PyTorch computes with, beside other programs."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

INTERVAL = 0.5  # seconds; a tick of /proc/stat is a hundredth
STAT = Path("/proc/stat")  # Linux only (its manual page, proc_stat(5))


@contextmanager
def free_cores(fixed: bool = False) -> Iterator[Callable[[], None]]:
    """Give PyTorch a thread for each core that other programs leave free, as they come and go, inside the block.

    Threads wait for each other after every operation, GCC's OpenMP library by spinning (its manual, GOMP_SPINCOUNT), so
    all wait for one whose core another program has. The number of threads changes how sums are rounded.

    Args:
        fixed: whether the number of threads stays, as it also does without /proc/stat and if OMP_NUM_THREADS is set.

    Yields:
        What adapts the number, if `INTERVAL` has passed since it last did; to be called often.
    """
    if fixed or "OMP_NUM_THREADS" in os.environ or not os.access(STAT, os.R_OK):
        yield lambda: None
        return
    most, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    before, taken_before = time.perf_counter(), seconds_of_others(cores)

    def adapt() -> None:
        """Measure what other programs took since the last time."""
        nonlocal before, taken_before
        now = time.perf_counter()
        if now < before + INTERVAL:
            return
        taken = seconds_of_others(cores)
        free = len(cores) - (taken - taken_before) / (now - before)
        torch.set_num_threads(min(most, max(1, round(free))))
        before, taken_before = now, taken

    try:
        yield adapt
    finally:
        torch.set_num_threads(most)


def seconds_of_others(cores: set[int]) -> float:
    """Return the processor time that other processes have had on some cores, in seconds since the system's start."""
    names = {f"cpu{core}" for core in cores}
    lines = map(str.split, STAT.read_text(encoding="ascii").splitlines())
    fields = [line for line in lines if line[0] in names]
    ticks = sum(int(user) + int(system) for name, user, _, system, *_ in fields)
    own = os.times()
    return ticks / os.sysconf("SC_CLK_TCK") - own.user - own.system
