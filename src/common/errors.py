"""What a person did that the program cannot go on with."""

import signal


class InputError(ValueError):
    """Wrong input from outside: a flag, a file, a folder, a mirror.

    The message is one line that says what is wrong, where, and what to do next; commands print it and
    exit with code 2.
    """


class Stopped(KeyboardInterrupt):
    """A signal stopped the program; the message says what is safe and how to go on."""

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        """Keep the signal's number, for the exit code."""
        super().__init__(message)
        self.number = number
