"""How commands speak with a person: flags in, one line per error out, exit code 2."""

import functools
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import NoReturn, TypeVar

import tyro

from mnist_cnn.common.errors import InputError, Stopped
from mnist_cnn.common.signals import handle, handled, leave, raise_stopped

Options = TypeVar("Options")
NARROWEST = 60  # columns in which --help can be read
CONVERSIONS = {
    "invalid literal for int() with base 10": "not a whole number",
    "could not convert string to float": "not a number",
    "Expected 1 values": "Give one",
}
"""What Python says of a value that does not fit, and what a person understands."""
BROKEN_PIPE = 128 + 13  # what a shell reports of a program that SIGPIPE ended


def parse(default: Options, argv: Sequence[str] | None, prog: str) -> Options:
    """Read flags, derived from the fields of a dataclass, over `default`, an instance of it.

    Raises:
        InputError: an unknown flag or a value that does not fit.
    """
    with one_line_errors(prog):
        return tyro.cli(type(default), args=argv, prog=prog, default=default, config=(tyro.conf.DisallowNone,))


def parse_call(function: Callable[..., None], argv: Sequence[str] | None, prog: str) -> Callable[[], None]:
    """Read flags, derived from a function's parameters, into a call of it that is yet to be made.

    Raises:
        InputError: an unknown flag or a value that does not fit.
    """

    @functools.wraps(function)
    def keep(**options: object) -> Callable[[], None]:
        return functools.partial(function, **options)

    with one_line_errors(prog):
        return tyro.cli(keep, args=argv, prog=prog, config=(tyro.conf.DisallowNone,))


@contextmanager
def one_line_errors(prog: str) -> Iterator[None]:
    """Turn the box that tyro draws before it exits into an InputError of one line."""
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)
    message = io.StringIO()
    try:
        with redirect_stderr(message):
            yield
    except SystemExit as stop:
        if stop.code:
            raise InputError(f"{sentence(message.getvalue())}; see {prog} --help") from None
        raise


def sentence(box: str) -> str:
    """Take what is wrong out of the box that tyro draws: the rows between its title and its first rule."""
    rows = [row.strip("│ ") for row in box.splitlines()[1:]]
    end = next((i for i, row in enumerate(rows) if not row.strip("─╰╯")), len(rows))
    found = re.sub(r"^Error parsing (\w+: )?", "", " ".join(rows[:end]).rstrip("."))
    for words, plainer in CONVERSIONS.items():
        found = found.replace(words, plainer)
    return found


def printable(text: str) -> str:
    r"""Show what would move a terminal's cursor, turn its text round or begin a line as an escape: \x1b, \n, \u202e."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def pluralize(number: int, noun: str) -> str:
    """Say how many of something there are: 1 error, 2,000 errors."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the program with one line on stderr: code 2 on wrong input, 128 and the signal's number on a signal.

    Where the reader of a pipe is gone it ends without a line, with the code of SIGPIPE.
    """
    open_streams()
    try:  # around all, since a signal may come while its handler is being set
        with handled(raise_stopped):
            try:
                with errors_explained():
                    yield
            finally:
                handle(leave)
    except Stopped as stopped:
        handle(leave)
        say(f"\n{stopped}")
        sys.exit(128 + stopped.number)


def open_streams() -> None:
    """Open closed streams to nowhere, lest a file gets their number; show as an escape what an encoding cannot hold."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def errors_explained() -> Iterator[None]:
    """End the program where its input or its output does not work."""
    try:
        try:
            yield
        finally:
            flush_output()
    except InputError as error:
        stop(str(error))
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except OSError as error:  # what writes files names them, so it is print where nothing is named
        place = error.filename or "standard output"
        stop(f"{error.strerror or error}: {place}; free or mend it, or name another place")


def flush_output() -> None:
    """Print what is still to be printed; if that fails, send it nowhere, lest the interpreter fails with it once more.

    Raises:
        OSError: standard output takes no more, or nobody reads it.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def stop(message: str) -> NoReturn:
    """Print one line on stderr and exit with code 2."""
    say(f"error: {printable(message)}")
    sys.exit(2)


def say(line: str) -> None:
    """Print on stderr, if somebody reads it."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
