"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_cnn.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds, sync it to disk and rename it to `path`.

    If the block fails, the temporary file goes away and an older `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Create `folder` and write one file into it, so that a long run does not fail at its end.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    try:
        with whole_file(folder / "writable") as probe:
            probe.write_bytes(bytes(4096))
        (folder / "writable").unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror}; free it or name another with --output-dir"
        ) from None
