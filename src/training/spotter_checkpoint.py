"""The checkpoint of a training of the spotter: saved atomically, verified when it is read, and resumed from."""

import dataclasses
from pathlib import Path
from typing import Any

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.names import printable
from mnist_cnn.models.checkpoint import FORMAT_VERSION, MAX_FILE_BYTES, is_intact, write_archive
from mnist_cnn.models.torch_archive import ArchiveError, open_archive
from mnist_cnn.training.spotter_run import SpotterConfig, SpotterRun, start

ADVICE = "remove it to start afresh, or name another file with --output"


def save(run: SpotterRun, data_sha256: str, path: Path) -> None:
    """Write a checkpoint atomically, with its SHA-256 and that of the training images."""
    content = {
        "data_sha256": data_sha256,
        "spotter_config": dataclasses.asdict(run.config),
        "step": run.step,
        "net": run.net.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": run.optimizer.state_dict(),
    }
    write_archive(content, path)


def start_or_resume(config: SpotterConfig, data_sha256: str, path: Path) -> SpotterRun:
    """Resume from a checkpoint if there is one, else start.

    Raises:
        InputError: the file is damaged or of another program, or its settings or data differ.
    """
    run = start(config)
    if not path.exists():
        return run
    content = read(path)
    try:
        old = {"data": content["data_sha256"], **content["spotter_config"]}
        new = {"data": data_sha256, **dataclasses.asdict(config)}
        if different := [name for name in old | new if old.get(name) != new.get(name)]:
            changes = "; ".join(f"{name} was {old.get(name)} and is {new.get(name)}" for name in different)
            raise InputError(f"cannot resume from {path}: {printable(changes, 300)}; use the same settings, {ADVICE}")
        run.net.load_state_dict(content["net"])
        run.averaged.load_state_dict(content["averaged"])
        run.optimizer.load_state_dict(content["optimizer"])
        run.step = int(content["step"])
    except InputError:
        raise
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a checkpoint of a spotter ({printable(error, 100)}); {ADVICE}") from None
    return run


def read(path: Path) -> Any:
    """Read a checkpoint without executing code from the file.

    Raises:
        InputError: it is no file, too large, damaged, or of another program or version.
    """
    if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} is not a file of at most {MAX_FILE_BYTES:,} bytes; {ADVICE}")
    archive = path.read_bytes()
    try:
        return open_archive(archive, FORMAT_VERSION, is_intact(archive))
    except ArchiveError as error:
        raise InputError(f"{path} {error}; {ADVICE}") from None
