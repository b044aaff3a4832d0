"""Pictures are prepared in processes of their own, and given up where they cost too much time or memory."""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from pebble import ProcessExpired, ProcessPool

from mnist_cnn.candidates import Outcome, prepare_all
from mnist_cnn.errors import InputError

if sys.platform != "win32":
    import resource

PROCESSES = 2
CPU_SECONDS = 10  # a PNG of 64 megapixels takes 1 to 2
SECONDS = 60  # by the clock: for what is waited for without computing, and where CPU seconds cannot be limited
MOST_MEMORY = 3 << 29  # bytes of data in each process
NICENESS = 10  # of the processes: whoever waits for a small picture goes first


class TooCostlyError(InputError):
    """A picture takes more time or memory than it may."""


class Sandbox:
    """Two processes that prepare pictures; one that exceeds a limit is replaced. Use it as a context."""

    def __init__(self) -> None:
        """Plan the processes: they start with the first picture, in the folder that is the current one now."""
        self.folder = Path.cwd()
        self.pool = self.new_pool()

    def new_pool(self) -> ProcessPool:
        """Plan two processes that know of nothing but preparing pictures."""
        context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            context.set_forkserver_preload([prepare_all.__module__])
        return ProcessPool(PROCESSES, initializer=begin_process, initargs=[self.folder], context=context)

    def __enter__(self) -> "Sandbox":
        """Begin."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End the processes, whatever they are doing."""
        self.pool.stop()
        self.pool.join()

    def start(self) -> None:
        """Start the processes, so that the first picture need not wait for them."""
        self.pool.schedule(os.getpid).result()

    def submit(self, source: object, name: str, several: bool) -> Future[Outcome]:
        """Queue a picture: a path or the bytes of a file; `outcome` tells what came of it."""
        try:
            return self.pool.schedule(prepare_bounded, args=[source, name, several], timeout=SECONDS)
        except RuntimeError:  # somebody killed a process while it was idle
            self.pool = self.new_pool()
            return self.pool.schedule(prepare_bounded, args=[source, name, several], timeout=SECONDS)

    def prepare_all(self, pictures: Sequence[tuple[object, str]], several: bool = False) -> list[Outcome]:
        """Do what `candidates.prepare_all` does."""
        futures = [self.submit(*picture, several) for picture in pictures]
        return [outcome(future, name) for future, (_, name) in zip(futures, pictures, strict=True)]


def outcome(future: Future[Outcome], name: str) -> Outcome:
    """Wait for a picture; return what it became, or what is wrong with it."""
    try:
        return future.result()
    except (ProcessExpired, BrokenExecutor, FutureTimeoutError):
        limits = f"{CPU_SECONDS} s or {MOST_MEMORY >> 20} MiB"
        return TooCostlyError(f"{name}: decoding takes more than {limits}; scale it down and save it anew")


def begin_process(folder: Path) -> None:
    """Go to a folder, and let other processes go first."""
    os.chdir(folder)
    if sys.platform != "win32":
        os.nice(NICENESS)


def prepare_bounded(source: object, name: str, several: bool) -> Outcome:
    """Prepare a picture; the system ends this process where that takes too long."""
    with limits():
        return prepare_all([(source, name)], several)[0]


@contextmanager
def limits() -> Iterator[None]:
    """Let this process compute and allocate no more than it may, as far as the system can hold it to that."""
    if sys.platform == "win32":
        yield
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS,
        resource.RLIMIT_DATA: MOST_MEMORY,
    }
    before = {kind: resource.getrlimit(kind) for kind in most}
    for kind, (soft, hard) in before.items():
        resource.setrlimit(kind, (lower(most[kind], soft), hard))
    try:
        yield
    finally:  # or the next picture could not even be received
        for kind, limit in before.items():
            resource.setrlimit(kind, limit)


def lower(limit: int, before: int) -> int:
    """Return the lower of two limits, the second of which may be none."""
    return limit if before == resource.RLIM_INFINITY else min(limit, before)
