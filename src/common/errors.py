"""Exceptions that end a command with one line instead of a traceback."""

import signal


class InputError(ValueError):
    """Invalid input from outside: a flag, a file, a folder, a mirror.

    The message is one line: what is wrong, where, and what to do next. Commands print it and exit with code 2.
    """


class Stopped(KeyboardInterrupt):
    """A signal stopped the program; the message says what was saved and how to resume."""

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        """Store the signal's number, for the exit code."""
        super().__init__(message)
        self.number = number
