"""Ctrl-C and SIGTERM wait until what was computed is saved."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mnist_cnn.common.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], Any]


def handle(handler: Handler) -> dict[int, Any]:
    """Handle SIGINT and SIGTERM, which only the main thread can; return what handled them before."""
    here = threading.current_thread() is threading.main_thread()
    return {number: signal.signal(number, handler) for number in SIGNALS} if here else {}


def leave(number: int, _frame: FrameType | None) -> None:
    """End the process at once and without a word, from wherever it is: nothing has to be undone."""
    os._exit(128 + number)


def begin() -> None:
    """Come first in a program: a signal then ends it without a traceback while it imports what takes seconds.

    Where a home has no place for them, matplotlib's cache and ONNX Runtime's telemetry are not worth a warning.
    """
    handle(leave)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import logging  # not above: until here there is a traceback

    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def raise_stopped(number: int, _frame: FrameType | None) -> None:
    """End what is under way, undone; a second signal does not wait for that."""
    handle(leave)
    raise Stopped("stopped", number)


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Handle SIGINT and SIGTERM for as long as the block runs."""
    former = handle(handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


class Request:
    """Whether somebody asked the program to stop.

    Attributes:
        number: of the signal, 0 if there was none.
    """

    def __init__(self) -> None:
        """Begin without one."""
        self.number = 0

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Remember the first signal; a second one does not wait."""
        if self.number:
            raise Stopped("stopped at once", number)
        self.number = number


@contextmanager
def deferred() -> Iterator[Request]:
    """Turn SIGINT and SIGTERM into a request, for as long as the block runs; only the main thread can."""
    request = Request()
    with handled(request.note):
        yield request
