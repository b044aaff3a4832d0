"""Atomic writes, and checks of files and folders."""

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
    """Yield a temporary path beside `path`; if the block succeeds, fsync it and rename it to `path`.

    If the block fails, the temporary file is removed and an existing `path` stays unchanged.

    Raises:
        OSError: for example a full disk; its `filename` is `path`, or a parent folder that cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        with temporary.open("ab") as lock:
            try_lock(lock.fileno())
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


def read_model(path: Path, what: str, command: str, max_bytes: int) -> bytes:
    """Read the file of a trained model.

    Args:
        path: the file.
        what: the kind of file expected, for errors.
        command: that writes such files, for errors.
        max_bytes: limit of the file's size.

    Raises:
        InputError: there is no such file, it is a folder or a device, it is too large or cannot be read.
    """
    advice = f"make one with {command} or name one with --checkpoint"
    try:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise InputError(f"no {what} at {path}{f', which is {kind}' if path.exists() else ''}; {advice}")
        if path.stat().st_size > max_bytes:
            raise InputError(f"{path} has more than {max_bytes:,} bytes; {advice}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {advice}") from None


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; return False if another process holds the lock (never on Windows)."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of writers that were killed; those of running writers are locked and stay."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if UNFINISHED.fullmatch(path.name) and path.is_file():
            with path.open("ab") as file:
                abandoned = try_lock(file.fileno())
            if abandoned:
                with suppress(PermissionError):  # Windows cannot remove an open file
                    path.unlink(missing_ok=True)


def check_writable(folder: Path, flag: str = "--output-dir") -> None:
    """Create `folder` and write a file into it, so that a long run does not fail at its end.

    Args:
        folder: created if missing.
        flag: its command-line flag, for errors.

    Raises:
        InputError: the folder cannot be created or written to.
    """
    try:
        with atomic_write(folder / "writable") as temporary:
            temporary.write_bytes(bytes(4096))
        (folder / "writable").unlink()
        remove_partial_files(folder)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; name another place with {flag}") from None
