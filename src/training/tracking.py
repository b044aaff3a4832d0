"""Experiment tracking with TensorBoard, and profiling."""

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
TOP_OPERATIONS = 10
SKIPPED_STEPS = 2  # before those that are profiled


@contextmanager
def open_writer(folder: Path) -> Iterator[Any]:  # TensorBoard is an extra
    """Open the TensorBoard log of a run.

    Raises:
        InputError: TensorBoard is not installed.
        OSError: the log cannot be written; `filename` is the folder.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs tensorboard: run pip install -e '.[tensorboard]' in the checkout"
        ) from None
    former, threading.excepthook = (
        threading.excepthook,
        lambda _: None,
    )  # the writer thread's errors are raised here too
    try:
        with SummaryWriter(folder) as writer:
            yield writer
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), error.filename or str(folder)) from error
    finally:
        threading.excepthook = former


@contextmanager
def tensorboard_log(config: TrainConfig) -> Iterator[Callable[[Any], None]]:
    """Yield a function that logs an epoch, a dataclass of scalars; it does nothing unless `config.tensorboard`."""
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
    """Log the confusion matrix and the misclassified images."""
    with open_writer(config.output_dir / TENSORBOARD) as writer:
        for name in ("confusion_matrix", "misclassified"):
            pixels = np.asarray(Image.open(figures / f"{name}.png").convert("RGB"))
            writer.add_image(name, pixels, config.epochs, dataformats="HWC")


@contextmanager
def profiled(config: TrainConfig) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each step; if `config.profile`, ten early steps are profiled."""
    if not config.profile or rank() > 0:
        yield lambda: None
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences its messages about start and stop
    steps = schedule(wait=1, warmup=SKIPPED_STEPS - 1, active=10, repeat=1)
    show = functools.partial(show_profile, config.output_dir / "profile.json")
    with profile(schedule=steps, on_trace_ready=show) as profiler:
        yield profiler.step
    if profiler.step_num < SKIPPED_STEPS:
        print("no profile: the training has too few steps; choose a smaller --batch-size")


def show_profile(path: Path, profiler: profile) -> None:
    """Write the trace, for chrome://tracing or ui.perfetto.dev, and print the most expensive operations."""
    write_trace(profiler, path)
    operations = [event for event in profiler.key_averages() if not event.key.startswith("ProfilerStep")]
    rows = [(event.key, event.self_cpu_time_total + event.self_device_time_total, event.count) for event in operations]
    rows.sort(key=lambda row: -row[1])
    total = sum(microseconds for _, microseconds, _ in rows)
    width = max(len(name) for name, *_ in rows[:TOP_OPERATIONS])
    print(f"\n{'operation':<{width}}{'share':>8}{'ms':>10}{'calls':>8}")
    for name, microseconds, count in rows[:TOP_OPERATIONS]:
        print(f"{name:<{width}}{microseconds / total:>8.1%}{microseconds / 1000:>10.1f}{count:>8}")
    print(f"trace: {path}")


def write_trace(profiler: profile, path: Path) -> None:
    """Write a trace atomically; on a full disk the profiler itself reports no error and leaves a truncated file.

    Raises:
        OSError: the disk is full.
    """
    with TemporaryDirectory() as folder:
        trace = Path(folder) / path.name
        profiler.export_chrome_trace(str(trace))
        try:
            json.loads(trace.read_bytes())
        except (OSError, ValueError):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{trace}, which becomes {path}") from None
        with atomic_write(path) as temporary:
            shutil.copyfile(trace, temporary)
