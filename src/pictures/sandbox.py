"""Pictures are prepared in processes of their own, and given up where they cost too much time or memory."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType

import cv2
from pebble import ProcessExpired, ProcessPool

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.candidates import Outcome, Prepared, prepare_all
from mnist_cnn.pictures.image_io import TooCostlyError

if sys.platform != "win32":
    import resource
    from multiprocessing.forkserver import ensure_running

PROCESSES = 2
SECONDS = 60  # by the clock: for what is waited for without computing, and where CPU seconds cannot be limited
NICENESS = 10  # of the processes: whoever waits for a small picture goes first
MOST_CANDIDATES = 3000  # of a picture; a page full of the smallest digits that can be read has 400, some in parts


class LostError(InputError):
    """Somebody killed the process that was to read a picture."""


@dataclass(frozen=True)
class Limits:
    """What a picture may cost: CPU seconds (a PNG of 64 megapixels takes 1 to 2) and bytes of data."""

    cpu_seconds: int = 10
    memory: int = 3 << 29

    def exceeded(self, name: str) -> TooCostlyError:
        """Say that a picture costs more."""
        most = f"{self.cpu_seconds} s or {self.memory >> 20} MiB"
        return TooCostlyError(f"{name}: reading it takes more than {most}; scale it down and save it anew")


class Sandbox:
    """Two processes that prepare pictures; one that exceeds a limit is replaced. Use it as a context."""

    def __init__(self, limits: Limits = Limits()) -> None:
        """Plan the processes: they start with the first picture, in the folder that is the current one now."""
        self.limits, self.folder = limits, Path.cwd()
        self.pool = self.new_pool()

    def new_pool(self) -> ProcessPool:
        """Plan two processes that know of nothing but preparing pictures."""
        context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            context.set_forkserver_preload([prepare_all.__module__])
            former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is not for them: we end them
            ensure_running()
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        return ProcessPool(PROCESSES, initializer=begin_process, initargs=[self.folder], context=context)

    def __enter__(self) -> "Sandbox":
        """Begin."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End the processes, whatever they are doing."""
        self.end()

    def end(self) -> None:
        """End the processes of this pool."""
        self.pool.stop()
        self.pool.join()

    def start(self) -> None:
        """Start the processes, so that the first picture need not wait for them."""
        self.pool.schedule(os.getpid).result()

    def submit(self, source: object, name: str, several: bool) -> Future[Outcome]:
        """Queue a picture: a path or the bytes of a file; `outcome` tells what came of it."""
        if not self.pool.active:  # somebody killed a process while it was idle
            self.end()
            self.pool = self.new_pool()
        return self.pool.schedule(prepare_bounded, args=[source, name, several, self.limits], timeout=SECONDS)

    def prepare_all(self, pictures: Sequence[tuple[object, str]], several: bool = False) -> list[Outcome]:
        """Do what `candidates.prepare_all` does."""
        futures = [self.submit(*picture, several) for picture in pictures]
        return [self.outcome(future, name) for future, (_, name) in zip(futures, pictures, strict=True)]

    def outcome(self, future: Future[Outcome], name: str) -> Outcome:
        """Wait for a picture; return what it became, or what is wrong with it."""
        try:
            return future.result()
        except (ProcessExpired, FutureTimeoutError):
            return self.limits.exceeded(name)
        except BrokenExecutor:
            return LostError(f"{name}: the process that was to read it was killed; try again")


def begin_process(folder: Path) -> None:
    """Go to a folder, let other processes go first, and end at once when told to or when left alone."""
    os.chdir(folder)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)  # each further one would take memory
    Thread(target=end_with_parent, daemon=True).start()
    if sys.platform != "win32":
        os.nice(NICENESS)


def end_with_parent() -> None:
    """End this process when the one that began it is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def prepare_bounded(source: object, name: str, several: bool, limits: Limits) -> Outcome:
    """Prepare a picture; the system ends this process where that takes too long."""
    try:
        with held_to(limits):
            outcome = prepare_all([(source, name)], several)[0]
    except MemoryError:
        return limits.exceeded(name)
    except cv2.error as error:
        if error.code != cv2.Error.STS_NO_MEM:
            raise
        return limits.exceeded(name)
    if isinstance(outcome, Prepared) and sum(map(len, outcome.choices)) > MOST_CANDIDATES:
        return TooCostlyError(f"{name}: more than {MOST_CANDIDATES:,} strokes that may be digits; cut it into parts")
    return outcome


@contextmanager
def held_to(limits: Limits) -> Iterator[None]:
    """Let this process compute and allocate no more than it may, as far as the system can hold it to that."""
    if sys.platform == "win32":
        yield
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime) + 1 + limits.cpu_seconds,
        resource.RLIMIT_DATA: data_in_use() + limits.memory,
    }
    before = {kind: resource.getrlimit(kind) for kind in most}
    for kind, (soft, hard) in before.items():
        resource.setrlimit(kind, (lower(most[kind], soft), hard))
    try:
        yield
    finally:  # or the next picture could not even be received
        for kind, limit in before.items():
            resource.setrlimit(kind, limit)


def data_in_use() -> int:
    """Return how many bytes of data this process has, 100 MB of it for each core; 0 where only Linux could tell."""
    sizes = Path("/proc/self/statm")
    return int(sizes.read_text().split()[5]) * resource.getpagesize() if sizes.exists() else 0


def lower(limit: int, before: int) -> int:
    """Return the lower of two limits, the second of which may be none."""
    return limit if before == resource.RLIM_INFINITY else min(limit, before)
