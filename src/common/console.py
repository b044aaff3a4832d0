"""The command line: flags in, one line per error on stderr, exit codes."""

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
from mnist_cnn.common.names import printable
from mnist_cnn.common.signals import exit_immediately, raise_stopped, set_handler, signal_handler

Options = TypeVar("Options")
MIN_COLUMNS = 60  # of --help: narrower text is unreadable
PLAIN_WORDS = {
    "invalid literal for int() with base 10": "not a whole number",
    "could not convert string to float": "not a number",
    "Expected 1 values": "Give one",
}
"""Python's messages about invalid values, and plainer ones."""
SIGPIPE_EXIT_CODE = 128 + 13  # as a shell reports it


def parse(default: Options, argv: Sequence[str] | None, prog: str) -> Options:
    """Parse flags, derived from the fields of a dataclass, over the instance `default`.

    Raises:
        InputError: an unknown flag or an invalid value.
    """
    with one_line_errors(prog):
        return tyro.cli(type(default), args=argv, prog=prog, default=default, config=(tyro.conf.DisallowNone,))


def parse_call(function: Callable[..., None], argv: Sequence[str] | None, prog: str) -> Callable[[], None]:
    """Parse flags, derived from a function's parameters, and bind them to the function without calling it.

    Raises:
        InputError: an unknown flag or an invalid value.
    """

    @functools.wraps(function)
    def bind(**options: object) -> Callable[[], None]:
        return functools.partial(function, **options)

    with one_line_errors(prog):
        return tyro.cli(bind, args=argv, prog=prog, config=(tyro.conf.DisallowNone,))


@contextmanager
def one_line_errors(prog: str) -> Iterator[None]:
    """Convert the error box that tyro prints before it exits to an InputError of one line."""
    if shutil.get_terminal_size().columns < MIN_COLUMNS:
        os.environ["COLUMNS"] = str(MIN_COLUMNS)
    stderr = io.StringIO()
    try:
        with redirect_stderr(stderr):
            yield
    except SystemExit as error:
        if error.code:
            raise InputError(f"{extract_message(stderr.getvalue())}; see {prog} --help") from None
        raise


def extract_message(box: str) -> str:
    """Extract the message from tyro's error box: the rows between its title and its first horizontal rule.

    Similar flags, which follow that rule, are added.
    """
    rows = [row.strip("│ ") for row in box.splitlines()[1:]]
    end = next((i for i, row in enumerate(rows) if not row.strip("─╰╯")), len(rows))
    message = re.sub(r"^Error parsing (\w+: )?", "", " ".join(rows[:end]).rstrip("."))
    similar = re.search(r"Perhaps you meant:(.*?)─", " ".join(rows[end:]))
    if similar and (flags := re.findall(r"--[\w.-]+", similar[1])):
        message += f"; perhaps you meant {' or '.join(dict.fromkeys(flags))}"
    message = re.sub(r"no type matching INT could be instantiated from \[(.*)\]", r"not a whole number: \1", message)
    for words, plainer in PLAIN_WORDS.items():
        message = message.replace(words, plainer)
    return message


def pluralize(number: int, noun: str) -> str:
    """Format a count with its noun: 1 error, 2,000 errors."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def exit_codes() -> Iterator[None]:
    """End a command with one line on stderr: exit code 2 for invalid input, 128 + its number for a signal.

    If the reader of a pipe is gone, the command exits silently, with SIGPIPE's code.
    """
    fix_streams()
    try:  # around everything, since a signal may arrive while its handler is being set
        with signal_handler(raise_stopped):
            try:
                with explained_errors():
                    yield
            finally:
                set_handler(exit_immediately)
    except Stopped as stopped:
        set_handler(exit_immediately)
        print_error(f"\n{stopped}")
        sys.exit(128 + stopped.number)


def fix_streams() -> None:
    """Open closed streams on os.devnull, so that no file gets their descriptor; escape what an encoding lacks."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def explained_errors() -> Iterator[None]:
    """Exit with one line on invalid input and on failing input or output."""
    try:
        try:
            yield
        finally:
            flush_stdout()
    except InputError as error:
        exit_with_error(str(error))
    except BrokenPipeError:
        sys.exit(SIGPIPE_EXIT_CODE)
    except OSError as error:  # atomic_write names its file; an error without a name comes from print
        place = error.filename or "standard output"
        exit_with_error(f"{error.strerror or error}: {place}; free space, fix permissions, or name another path")


def flush_stdout() -> None:
    """Flush stdout; if that fails, redirect it to os.devnull, so that the interpreter's own flush does not fail again.

    Raises:
        OSError: stdout is full or closed.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def exit_with_error(message: str) -> NoReturn:
    """Print one line on stderr and exit with code 2."""
    print_error(f"error: {printable(message)}")
    sys.exit(2)


def print_error(line: str) -> None:
    """Print on stderr, ignoring a closed or full one."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
