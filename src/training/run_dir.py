"""What a training keeps in its folder: history, the newest checkpoints, and a lock."""

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

KEPT = 2  # checkpoints: if the newest was damaged, the one before is there


class InUseError(InputError):
    """Another process trains in the folder."""


@dataclass(frozen=True)
class RunDir:
    """The files of a training, all of whose names begin with `name`, below a folder of models."""

    models: Path
    name: str

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.models / "checkpoints"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings of this name out, and remove what a killed one left half-written.

        Raises:
            InUseError: one is running.
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
        """List the checkpoints by how far the training was, whatever the clock said."""
        pattern = re.compile(re.escape(self.name) + r"_epoch_(\d+)(?:_step_(\d+))?\.pth")
        found = [(match, path) for path in self.checkpoints.glob("*.pth") if (match := pattern.fullmatch(path.name))]
        found.sort(key=lambda one: (int(one[0][1]), float(one[0][2] or math.inf)), reverse=True)
        return [path for _, path in found]

    def read_newest(self) -> bytes | None:
        """Read the newest whole checkpoint, None if there is none; say which ones are damaged."""
        for path in self.newest_first():
            if path.stat().st_size <= MAX_FILE_BYTES and is_intact(archive := path.read_bytes()):
                return archive
            print(f"NOTE: {path} is damaged (wrong SHA-256); looking for an older one", file=sys.stderr)
        return None

    def save(self, checkpoint: Checkpoint, epoch: int, step: int) -> None:
        """Write history and checkpoint of a training that is `step` steps into an epoch."""
        write_history(checkpoint.history, self.models / f"{self.name}_history")
        place = f"epoch_{epoch}_step_{step}" if step else f"epoch_{epoch - 1}"
        save_checkpoint(checkpoint, self.checkpoints / f"{self.name}_{place}.pth")
        self.keep(KEPT)

    def keep(self, count: int) -> None:
        """Remove all checkpoints but the newest."""
        for path in self.newest_first()[count:]:
            path.unlink()

    def set_aside(self) -> None:
        """Move an earlier training's checkpoints out of the way, in place of those moved before."""
        if paths := self.newest_first():
            earlier = RunDir(self.checkpoints / "earlier", self.name)
            earlier.checkpoints.mkdir(parents=True, exist_ok=True)
            for path in paths:
                path.replace(earlier.checkpoints / path.name)


def write_history(history: list[dict[str, Any]], path: Path) -> None:
    """Write a row per epoch as .csv and as .jsonl."""
    if history:
        with atomic_write(path.with_suffix(".csv")) as temporary, temporary.open("w", newline="") as file:
            rows = csv.DictWriter(file, fieldnames=list(history[0]))
            rows.writeheader()
            rows.writerows(history)
        with atomic_write(path.with_suffix(".jsonl")) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in history))
