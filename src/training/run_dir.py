"""The files of a training run: history, the newest checkpoints, and a lock."""

import csv
import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, remove_partial_files
from mnist_cnn.models.checkpoint import MAX_FILE_BYTES, Checkpoint, is_intact, save_checkpoint

KEEP = 2  # checkpoints, in case the newest is damaged


class InUseError(InputError):
    """Another training is writing to the run directory."""


@dataclass(frozen=True)
class RunDir:
    """A folder of models; the names of a run's files begin with `name`."""

    models: Path
    name: str

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints for resuming."""
        return self.models / "checkpoints"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run against other trainings of this name, and remove the partial files of a killed one.

        Raises:
            InUseError: another training holds the lock.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.checkpoints / f".{self.name}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InUseError(
                f"another training of {self.name} is writing to {self.models}; "
                "wait for it, or name another folder with --output-dir"
            ) from None
        try:
            for folder in (self.models, self.checkpoints):
                remove_partial_files(folder)
            yield
        finally:
            lock.release()

    def newest_first(self) -> list[Path]:
        """List the checkpoints by epoch and step, the newest first."""
        pattern = re.compile(re.escape(self.name) + r"_epoch_(\d+)(?:_step_(\d+))?\.pth")
        found = [(match, path) for path in self.checkpoints.glob("*.pth") if (match := pattern.fullmatch(path.name))]
        found.sort(key=lambda item: (int(item[0][1]), float(item[0][2] or math.inf)), reverse=True)
        return [path for _, path in found]

    def read_newest(self) -> bytes | None:
        """Return the bytes of the newest intact checkpoint, None if there is none; report damaged ones on stderr."""
        for path in self.newest_first():
            if path.stat().st_size <= MAX_FILE_BYTES and is_intact(archive := path.read_bytes()):
                return archive
            print(f"NOTE: {path} is damaged (wrong SHA-256); trying the one before", file=sys.stderr)
        return None

    def save(self, checkpoint: Checkpoint, epoch: int, step: int) -> None:
        """Write history and checkpoint, after `step` steps of an epoch."""
        write_history(checkpoint.history, self.models / f"{self.name}_history")
        position = f"epoch_{epoch}_step_{step}" if step else f"epoch_{epoch - 1}"
        save_checkpoint(checkpoint, self.checkpoints / f"{self.name}_{position}.pth")
        self.prune(KEEP)

    def prune(self, keep: int) -> None:
        """Remove all checkpoints but the newest `keep`."""
        for path in self.newest_first()[keep:]:
            path.unlink()

    def archive_earlier(self) -> None:
        """Move the checkpoints of an earlier training to `checkpoints/earlier`, replacing those in it."""
        if paths := self.newest_first():
            earlier = RunDir(self.checkpoints / "earlier", self.name)
            earlier.checkpoints.mkdir(parents=True, exist_ok=True)
            for path in paths:
                path.replace(earlier.checkpoints / path.name)


def write_history(history: list[dict[str, Any]], path: Path) -> None:
    """Write a row per epoch as .csv and .jsonl."""
    if history:
        with atomic_write(path.with_suffix(".csv")) as temporary, temporary.open("w", newline="") as file:
            rows = csv.DictWriter(file, fieldnames=list(history[0]))
            rows.writeheader()
            rows.writerows(history)
        with atomic_write(path.with_suffix(".jsonl")) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in history))
