"""How commands speak with a person: flags in, one line per error out, exit code 2."""

import functools
import io
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import NoReturn, TypeVar

import tyro

from mnist_cnn.errors import InputError, Stopped

Options = TypeVar("Options")


def parse(default: Options, argv: Sequence[str] | None, prog: str) -> Options:
    """Read flags, derived from the fields of a dataclass, over `default`, an instance of it.

    Raises:
        InputError: an unknown flag or a value that does not fit.
    """
    with one_line_errors(prog):
        return tyro.cli(type(default), args=argv, prog=prog, default=default)


def parse_call(function: Callable[..., None], argv: Sequence[str] | None, prog: str) -> Callable[[], None]:
    """Read flags, derived from a function's parameters, into a call of it that is yet to be made.

    Raises:
        InputError: an unknown flag or a value that does not fit.
    """

    @functools.wraps(function)
    def keep(**options: object) -> Callable[[], None]:
        return functools.partial(function, **options)

    with one_line_errors(prog):
        return tyro.cli(keep, args=argv, prog=prog)


@contextmanager
def one_line_errors(prog: str) -> Iterator[None]:
    """Turn the box that tyro draws before it exits into an InputError of one line."""
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
    return " ".join(rows[:end]).rstrip(".")


def counted(number: int, noun: str) -> str:
    """Say how many of something there are: 1 error, 2,000 errors."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the program with one line on stderr: code 2 on wrong input, 128 and the signal's number on a signal."""
    try:
        yield
    except InputError as error:
        stop(str(error), 2)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        stop(f"{error.strerror or error}{where}; check it, or name another place with --output-dir or --data-dir", 2)
    except Stopped as stopped:
        stop(str(stopped), 128 + stopped.number)
    except KeyboardInterrupt:
        stop("stopped", 128 + signal.SIGINT)


def stop(message: str, code: int) -> NoReturn:
    """Print one line on stderr and exit."""
    print(f"error: {message}" if code == 2 else f"\n{message}", file=sys.stderr)
    sys.exit(code)
