"""Worker processes that prepare pictures under resource limits."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import TypeVar

import cv2
from pebble import ProcessExpired, ProcessPool

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.candidates import NamedPicture, Outcome, Search, prepare_all
from mnist_cnn.pictures.image_io import PictureSource, TooCostlyError
from mnist_cnn.pictures.pdf import PdfPage, count_pages, is_pdf

if sys.platform != "win32":
    import resource
    from multiprocessing.forkserver import ensure_running

MAX_WORKERS = 2
TIMEOUT = 60  # wall-clock seconds: for I/O, which takes no CPU time, and for systems without CPU limits
NICENESS = 10  # of the workers: small requests, answered by this process, go first

Result = TypeVar("Result")


class LostError(InputError):
    """The worker that read a picture was killed from outside."""


@dataclass(frozen=True)
class Limits:
    """Resource limits of a picture: CPU seconds (a PNG of 64 megapixels takes 1 to 2) and bytes of data."""

    cpu_seconds: int = 10
    memory: int = 3 << 29

    def exceeded(self, name: str) -> TooCostlyError:
        """Return the error for a picture that exceeds the limits."""
        limits = f"{self.cpu_seconds} s or {self.memory >> 20} MiB"
        return TooCostlyError(f"{name}: reading it takes more than {limits}; scale it down and save it anew")


class Sandbox(AbstractContextManager["Sandbox"]):
    """A pool of worker processes that prepare pictures, as a context manager; one that exceeds a limit is replaced."""

    def __init__(self, limits: Limits = Limits(), workers: int = MAX_WORKERS) -> None:
        """Create the pool; its workers start with the first picture, in the current working directory of now."""
        self.limits, self.workers, self.folder = limits, workers, Path.cwd()
        self.pool = self.new_pool()

    def new_pool(self) -> ProcessPool:
        """Create a pool whose workers have imported only what prepares pictures."""
        context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            context.set_forkserver_preload([prepare_all.__module__])
            # Workers inherit both: Ctrl-C is for this process, which ends them, and their exceptions reach it through
            # futures; all that they could print is the traceback of a worker that was ended while it started.
            previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            with stderr_to_devnull():
                ensure_running()
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        return ProcessPool(self.workers, initializer=initialize_worker, initargs=[self.folder], context=context)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End the workers, even busy ones."""
        self.end()

    def end(self) -> None:
        """End the workers of this pool."""
        self.pool.stop()
        self.pool.join()

    def start(self) -> None:
        """Start the workers, so that the first picture does not wait for them."""
        self.pool.schedule(os.getpid).result()

    def submit(self, source: PictureSource | Outcome, name: str, search: Search) -> Future[Outcome]:
        """Queue a picture, a path or the bytes of a file; pass the future to `outcome`."""
        return self.schedule(prepare_limited, source, name, search)

    def schedule(self, function: Callable[..., Result], *args: object) -> Future[Result]:
        """Queue a call whose last argument is the limits."""
        if not self.pool.active:  # an idle worker was killed from outside
            self.end()
            self.pool = self.new_pool()
        return self.pool.schedule(function, args=[*args, self.limits], timeout=TIMEOUT)

    def pages(self, source: str | Path | bytes, name: str) -> Sequence[PictureSource | InputError]:
        """Return the pages of a PDF of several, or its error; a picture or a PDF of one page itself."""
        if not is_pdf(source):
            return [source]
        count = self.outcome(self.schedule(count_limited, source, name), name)
        if isinstance(count, InputError):
            return [count]
        return [source] if count == 1 else [PdfPage(source, number) for number in range(1, count + 1)]

    def prepare_all(self, pictures: Sequence[NamedPicture], search: Search) -> list[Outcome]:
        """Do what `candidates.prepare_all` does, in the workers."""
        futures = [self.submit(*picture, search) for picture in pictures]
        return [self.outcome(future, name) for future, (_, name) in zip(futures, pictures, strict=True)]

    def outcome(self, future: Future[Result], name: str) -> Result | InputError:
        """Wait for a picture; return it prepared, or its error."""
        try:
            return future.result()
        except (ProcessExpired, FutureTimeoutError):
            return self.limits.exceeded(name)
        except BrokenExecutor:
            return LostError(f"{name}: the process that was to read it was killed; try again")


@contextmanager
def stderr_to_devnull() -> Iterator[None]:
    """Redirect file descriptor 2, which child processes inherit, to os.devnull inside the block."""
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def initialize_worker(folder: Path) -> None:
    """Set up a worker: working directory, low priority, exit on SIGTERM and with its parent."""
    os.chdir(folder)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)  # each thread takes memory
    Thread(target=exit_with_parent, daemon=True).start()
    if sys.platform != "win32":
        os.nice(NICENESS)


def exit_with_parent() -> None:
    """Exit when the parent process is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def prepare_limited(source: PictureSource | Outcome, name: str, search: Search, limits: Limits) -> Outcome:
    """Prepare a picture under resource limits."""
    return limited(lambda: prepare_all([(source, name)], search)[0], name, limits)


def count_limited(source: str | Path | bytes, name: str, limits: Limits) -> int | InputError:
    """Count the pages of a PDF under resource limits."""
    return limited(lambda: count_pages(source, name), name, limits)


def limited(function: Callable[[], Result], name: str, limits: Limits) -> Result | InputError:
    """Call a function under resource limits; beyond the CPU limit the kernel kills this process."""
    try:
        with resource_limits(limits):
            return function()
    except MemoryError:
        return limits.exceeded(name)
    except cv2.error as error:
        if error.code != cv2.Error.STS_NO_MEM:
            raise
        return limits.exceeded(name)


@contextmanager
def resource_limits(limits: Limits) -> Iterator[None]:
    """Limit this process's CPU time and data segment inside the block, as far as the system can."""
    if sys.platform == "win32":
        yield
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    new = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime) + 1 + limits.cpu_seconds,
        resource.RLIMIT_DATA: data_size() + limits.memory,
    }
    before = {kind: resource.getrlimit(kind) for kind in new}
    for kind, (soft, hard) in before.items():
        resource.setrlimit(kind, (new[kind] if soft == resource.RLIM_INFINITY else min(new[kind], soft), hard))
    try:
        yield
    finally:  # otherwise receiving the next picture could fail
        for kind, limit in before.items():
            resource.setrlimit(kind, limit)


def data_size() -> int:
    """Return the bytes of this process's data segment, about 100 MB per core; 0 on systems other than Linux."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[5]) * resource.getpagesize() if statm.exists() else 0
