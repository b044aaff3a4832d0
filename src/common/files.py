"""Files that are written whole or not at all."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_cnn.common.errors import InputError

if sys.platform != "win32":
    import fcntl

UNFINISHED = re.compile(r"\..+\.\d+\.unfinished(\.\w+)?")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds, sync it to disk and rename it to `path`.

    If the block fails, the temporary file goes away and an older `path` stays as it was.

    Raises:
        OSError: the disk is full, say; its `filename` is `path`, or a folder above that cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        with temporary.open("ab") as mine:
            in_use(mine.fileno())
            yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if str(error.filename) in (str(None), str(temporary)):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_model(path: Path, what: str, source: str, most: int) -> bytes:
    """Read the file of a trained model.

    Args:
        path: the file.
        what: it should be.
        source: the command that writes such files.
        most: bytes it may have.

    Raises:
        InputError: there is none, it is a folder or a device, it has more bytes, or it may not be read.
    """
    advice = f"make one with {source} or name one with --checkpoint"
    try:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise InputError(f"no {what} at {path}{f', which is {kind}' if path.exists() else ''}; {advice}")
        if path.stat().st_size > most:
            raise InputError(f"{path} has more than {most:,} bytes; {advice}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {advice}") from None


def in_use(file: int) -> bool:
    """Mark an open file as being written to, until it is closed; say whether another process had marked it."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of writers that were killed, and of no writer that is alive."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if UNFINISHED.fullmatch(path.name) and path.is_file():
            with path.open("ab") as file:
                dead = not in_use(file.fileno())
            if dead:
                with suppress(PermissionError):  # Windows removes no open file
                    path.unlink(missing_ok=True)


def check_writable(folder: Path, flag: str = "--output-dir") -> None:
    """Create `folder` and write one file into it, so that a long run does not fail at its end.

    Args:
        folder: is made if it is not there.
        flag: names it on the command line.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    try:
        with atomic_write(folder / "writable") as probe:
            probe.write_bytes(bytes(4096))
        (folder / "writable").unlink()
        remove_partial_files(folder)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; name another place with {flag}") from None
