"""Seconds of a training epoch against images, batch size and threads, and against what the machine could do."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matrix import matrix_rate
from results import keep
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from mnist_cnn.cnn_model import CNN
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.device import pick_dtype
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.experiments.study import environment
from mnist_cnn.plots import BLUE, saved
from mnist_cnn.splits import Split
from mnist_cnn.train import train_steps
from mnist_cnn.training.config import PRESETS, TrainConfig
from mnist_cnn.training.learner import Learner, build_learner, train_step
from mnist_cnn.training.resume import Progress

AXES = {"images": "images", "batch size": "images in a step", "threads": "threads"}


@dataclass(frozen=True)
class Point:
    """An epoch to measure, and which value on which axis it stands for."""

    axis: str
    value: int | str
    images: int
    batch_size: int
    threads: int
    preset: str = "default"


def points(images: int) -> list[Point]:
    """List what is measured: each axis alone, the others at the values of `default`; and every preset."""
    batch, threads = PRESETS["default"].train.batch_size, torch.get_num_threads()
    sizes = [int(images * share) for share in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)]
    presets = [(name, PRESETS[name].train.batch_size) for name in ("fast", "micro", "tiny", "default", "best")]
    return [
        *[Point("images", size, size, batch, threads) for size in sizes],
        *[Point("batch size", size, images, size, threads) for size in (32, 64, 128, 256, 512, 1024)],
        *[Point("threads", count, images, batch, count) for count in range(1, threads + 1)],
        *[Point("preset", name, images // 4, size, threads, name) for name, size in presets],
    ]


def start(point: Point, train: Split) -> tuple[Learner, Split, TrainConfig]:
    """Prepare an epoch of the point's preset on its number of images, repeated where the split has fewer."""
    index = torch.arange(point.images) % len(train)
    config = dataclasses.replace(PRESETS[point.preset].train, batch_size=point.batch_size)
    learner = build_learner(CNN(PRESETS[point.preset].model), config, point.images)
    return learner, train[index].to(learner.device), config


def seconds_of_an_epoch(point: Point, train: Split) -> float:
    """Train one epoch."""
    learner, split, config = start(point, train)
    all_threads = torch.get_num_threads()
    torch.set_num_threads(point.threads)
    begun = time.perf_counter()
    for _ in train_steps(learner, split, config, Progress(epoch=1)):
        pass
    seconds = time.perf_counter() - begun
    torch.set_num_threads(all_threads)
    return seconds


def operations_of_an_image(point: Point, train: Split) -> float:
    """Count the floating-point operations of a training step's convolutions and matrix products, an image's share."""
    learner, split, config = start(point, train)
    batch = split[torch.arange(min(config.batch_size, len(split)))]
    with FlopCounterMode(display=False) as counter:
        train_step(learner, batch.images, batch.labels, config.label_smoothing)
    return int(counter.get_total_flops()) / len(batch)


def table(rows: Sequence[dict[str, Any]], rate: float) -> str:
    """Lay out median and extremes of each point, and how far from the machine's matrix rate the presets are."""
    lines = ["| axis | value | n | seconds (median) | min to max | images a second |", "|---|---|---|---|---|---|"]
    floors = [
        "| preset | MFLOP an image | at the matrix rate, µs | measured, µs | times as long |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        middle = statistics.median(row["seconds"])
        if row["axis"] == "preset":
            floor, measured = 1e6 * row["operations"] / rate, 1e6 * middle / row["images"]
            floors.append(
                f"| {row['value']} | {row['operations'] / 1e6:.1f} | {floor:,.0f} | {measured:,.0f} | "
                f"{measured / floor:.1f} |"
            )
        else:
            lines.append(
                f"| {row['axis']} | {row['value']:,} | {len(row['seconds'])} | {middle:.2f} | "
                f"{min(row['seconds']):.2f} to {max(row['seconds']):.2f} | {row['images'] / middle:,.0f} |"
            )
    hardware = f"One epoch of `default`, {rows[0]['hardware']}, {rows[0]['precision']}."
    floor_note = f"A 2048x2048 product runs at {rate / 1e9:,.0f} GFLOP/s; distortions are in the time measured."
    return "\n".join([*lines, "", hardware, "", *floors, "", floor_note]) + "\n"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw seconds against each axis."""
    with saved(path, (11, 3.8)) as figure:
        for axes, (axis, label) in zip(figure.subplots(1, 3), AXES.items(), strict=True):
            own = [row for row in rows if row["axis"] == axis]
            values = [row["value"] for row in own]
            middle = [statistics.median(row["seconds"]) for row in own]
            axes.plot(values, middle, color=BLUE, marker="o")
            low, high = [min(row["seconds"]) for row in own], [max(row["seconds"]) for row in own]
            axes.fill_between(values, low, high, color=BLUE, alpha=0.2)
            axes.set(xlabel=label, ylabel="seconds an epoch", ylim=(0, None))
            if axis == "batch size":
                axes.set_xscale("log", base=2)
            marked = values[-3:] if axis == "images" else values
            axes.set_xticks(marked, [f"{value:,}" for value in marked])
        about = f"{rows[0]['hardware']}, {rows[0]['precision']}"
        figure.suptitle(f"An epoch of `default`: median and range of {len(rows[0]['seconds'])}, {about}")


def command(
    rounds: int = 5, images: int = 60_000, data_dir: Path | None = None, output: Path = Path("benchmarks")
) -> None:
    """Time one epoch at each point, once per round, and compare medians.

    Args:
        rounds: Epochs per point.
        images: Training images that count as x1.
        data_dir: Folder with MNIST, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets scaling.json, .md and .png.
    """
    train = load_dataset("mnist", data_dir).train
    plan = points(images)
    seconds: list[list[float]] = [[] for _ in plan]
    for _ in tqdm(range(rounds), desc="rounds"):
        for point, measured in zip(plan, seconds, strict=True):
            measured.append(seconds_of_an_epoch(point, train))
    about = environment(PRESETS["default"].train)
    rows = [{**dataclasses.asdict(point), "seconds": s, **about} for point, s in zip(plan, seconds, strict=True)]
    for point, row in zip(plan, rows, strict=True):
        if point.axis == "preset":
            row["operations"] = operations_of_an_image(point, train)
    rate = matrix_rate(rounds, pick_dtype("auto", torch.device("cpu")))
    draw(rows, output / "scaling.png")
    keep(output, "scaling", {"matrix_rate": rate, "rows": rows}, table(rows, rate))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "scaling.py")()
