"""Ctrl-C and SIGTERM wait until what was computed is saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mnist_cnn.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    here = threading.current_thread() is threading.main_thread()
    former = {number: signal.signal(number, request.note) for number in SIGNALS} if here else {}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def raise_on_sigterm() -> None:
    """Let SIGTERM end the program as Ctrl-C does: with what it was doing undone."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped("stopped", number)

    signal.signal(signal.SIGTERM, stop)
