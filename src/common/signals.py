"""Handlers of SIGINT (Ctrl-C) and SIGTERM: exit without a traceback, or finish the current step first."""

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


def set_handler(handler: Handler) -> dict[int, Any]:
    """Set the handler of SIGINT and SIGTERM, which only the main thread can; return the previous handlers."""
    is_main = threading.current_thread() is threading.main_thread()
    return {number: signal.signal(number, handler) for number in SIGNALS} if is_main else {}


def exit_immediately(number: int, _frame: FrameType | None) -> None:
    """Handle a signal by exiting without cleanup or output."""
    os._exit(128 + number)


def prepare_process() -> None:
    """Make slow imports interruptible without a traceback; call this before them.

    Also silences matplotlib's and ONNX Runtime's warnings about a home directory without a place for their files.
    """
    set_handler(exit_immediately)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import logging  # not at the top: a signal during that import would print a traceback

    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def raise_stopped(number: int, _frame: FrameType | None) -> None:
    """Handle a signal by raising Stopped; a second signal exits immediately."""
    set_handler(exit_immediately)
    raise Stopped("stopped", number)


@contextmanager
def signal_handler(handler: Handler) -> Iterator[None]:
    """Set the handler of SIGINT and SIGTERM inside the block."""
    previous = set_handler(handler)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


class StopRequest:
    """Whether a signal asked the program to stop.

    Attributes:
        number: of the signal, 0 if none arrived.
    """

    def __init__(self) -> None:
        """Start without a request."""
        self.number = 0

    def record(self, number: int, _frame: FrameType | None) -> None:
        """Handle the first signal by recording it, a second one by raising Stopped."""
        if self.number:
            raise Stopped("stopped at once", number)
        self.number = number


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a stop request inside the block (in the main thread)."""
    request = StopRequest()
    with signal_handler(request.record):
        yield request
