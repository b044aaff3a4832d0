"""Looking at a training while it runs: TensorBoard's logs, and where the time goes."""

import dataclasses
import errno
import functools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from torch.profiler import profile, schedule

from mnist_cnn.common.distributed import rank
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write
from mnist_cnn.training.config import TrainConfig

TENSORBOARD = Path("tensorboard")
COSTLIEST = 10
SKIPPED = 2  # steps before those that are measured


@contextmanager
def open_writer(folder: Path) -> Iterator[Any]:  # TensorBoard is an extra
    """Open TensorBoard's log of a run.

    Raises:
        InputError: TensorBoard is not installed.
        OSError: the log cannot be written; its `filename` is the folder.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs tensorboard: pip install 'mnist-cnn[tensorboard]'") from None
    former, threading.excepthook = threading.excepthook, lambda _: None  # the writer's thread: it raises here as well
    try:
        with SummaryWriter(folder) as writer:
            yield writer
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), error.filename or str(folder)) from error
    finally:
        threading.excepthook = former


@contextmanager
def board(config: TrainConfig) -> Iterator[Callable[[Any], None]]:
    """Yield what logs a finished epoch, a dataclass with its number and scalars; nothing unless asked for."""
    if not config.tensorboard or rank() > 0:
        yield lambda _: None
        return
    with open_writer(config.output_dir / TENSORBOARD) as writer:

        def log(record: Any) -> None:
            for name, value in dataclasses.asdict(record).items():
                if name != "epoch":
                    writer.add_scalar(name, value, record.epoch)
            writer.flush()

        yield log


def log_figures(config: TrainConfig, figures: Path) -> None:
    """Add the confusion matrix and the sample errors to the log."""
    with open_writer(config.output_dir / TENSORBOARD) as writer:
        for name in ("confusion_matrix", "misclassified"):
            pixels = np.asarray(Image.open(figures / f"{name}.png").convert("RGB"))
            writer.add_image(name, pixels, config.epochs, dataformats="HWC")


@contextmanager
def profiled(config: TrainConfig) -> Iterator[Callable[[], None]]:
    """Yield what is to be called after each step; ten early ones are measured if asked for."""
    if not config.profile or rank() > 0:
        yield lambda: None
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # above that of the lines which tell when it starts and stops
    steps = schedule(wait=1, warmup=SKIPPED - 1, active=10, repeat=1)
    with profile(schedule=steps, on_trace_ready=functools.partial(show, config.output_dir / "profile.json")) as one:
        yield one.step
    if one.step_num < SKIPPED:
        print("no profile: the training has too few steps; take a smaller --batch-size")


def show(path: Path, measured: profile) -> None:
    """Write the trace, for chrome://tracing or ui.perfetto.dev, and print the costliest operations."""
    write_trace(measured, path)
    operations = [one for one in measured.key_averages() if not one.key.startswith("ProfilerStep")]
    rows = [(one.key, one.self_cpu_time_total + one.self_device_time_total, one.count) for one in operations]
    rows.sort(key=lambda row: -row[1])
    everything = sum(microseconds for _, microseconds, _ in rows)
    first = max(len(name) for name, *_ in rows[:COSTLIEST])
    print(f"\n{'operation':<{first}}{'share':>8}{'ms':>10}{'calls':>8}")
    for name, microseconds, count in rows[:COSTLIEST]:
        print(f"{name:<{first}}{microseconds / everything:>8.1%}{microseconds / 1000:>10.1f}{count:>8}")
    print(f"trace: {path}")


def write_trace(measured: profile, path: Path) -> None:
    """Write a trace whole or not at all: the profiler itself says nothing of a full disk, and leaves what it began.

    Raises:
        OSError: the disk is full.
    """
    with TemporaryDirectory() as folder:
        trace = Path(folder) / path.name
        measured.export_chrome_trace(str(trace))
        try:
            json.loads(trace.read_bytes())
        except (OSError, ValueError):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{trace}, which becomes {path}") from None
        with atomic_write(path) as temporary:
            shutil.copyfile(trace, temporary)
