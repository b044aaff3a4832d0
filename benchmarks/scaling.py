"""Seconds of a training epoch against images, batch size and threads."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from results import keep
from tqdm import tqdm

from mnist_cnn.cnn_model import CNN
from mnist_cnn.console import exit_codes, parse_call
from mnist_cnn.data_loader import Split, load
from mnist_cnn.learner import build_learner
from mnist_cnn.plots import BLUE, saved
from mnist_cnn.recipe import PRESETS
from mnist_cnn.study import surroundings
from mnist_cnn.train import Progress, train_steps

Point = tuple[str, float, int, int, int]  # axis, value on it, images, batch size, threads
AXES = {"images": "images", "batch size": "images in a step", "threads": "threads"}


def points(images: int) -> list[Point]:
    """List what is measured: each axis alone, the others at the recipe's values."""
    batch, threads = PRESETS["default"].train.batch_size, torch.get_num_threads()
    sizes = [int(images * share) for share in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)]
    return [
        *[("images", size, size, batch, threads) for size in sizes],
        *[("batch size", size, images, size, threads) for size in (32, 64, 128, 256, 512, 1024)],
        *[("threads", count, images, batch, count) for count in range(1, threads + 1)],
    ]


def seconds_of_an_epoch(train: Split, images: int, batch_size: int, threads: int) -> float:
    """Train one epoch of the default recipe on `images` of the split, repeated where it has fewer."""
    index = torch.arange(images) % len(train)
    config = dataclasses.replace(PRESETS["default"].train, batch_size=batch_size)
    learner = build_learner(CNN(PRESETS["default"].model), config, images)
    split = train[index].to(learner.device)
    all_threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    start = time.perf_counter()
    for _ in train_steps(learner, split, config, Progress(epoch=1)):
        pass
    seconds = time.perf_counter() - start
    torch.set_num_threads(all_threads)
    return seconds


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay out median and extremes of each point."""
    lines = ["| axis | value | n | seconds (median) | min to max | images a second |", "|---|---|---|---|---|---|"]
    for row in rows:
        middle = statistics.median(row["seconds"])
        lines.append(
            f"| {row['axis']} | {row['value']:,} | {len(row['seconds'])} | {middle:.2f} | "
            f"{min(row['seconds']):.2f} to {max(row['seconds']):.2f} | {row['images'] / middle:,.0f} |"
        )
    return "\n".join([*lines, "", f"One epoch of `default`, {rows[0]['hardware']}."]) + "\n"


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
            if axis == "threads":
                axes.set_xticks(values)
        figure.suptitle(f"Median and range of {len(rows[0]['seconds'])} epochs, {rows[0]['hardware']}")


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
    train = load("mnist", data_dir).train
    plan = points(images)
    seconds: list[list[float]] = [[] for _ in plan]
    for _ in tqdm(range(rounds), desc="rounds"):
        for (_axis, _value, count, batch_size, threads), measured in zip(plan, seconds, strict=True):
            measured.append(seconds_of_an_epoch(train, count, batch_size, threads))
    about = surroundings(PRESETS["default"].train)
    rows = [
        {"axis": axis, "value": value, "images": count, "batch_size": batch, "threads": threads, "seconds": s, **about}
        for (axis, value, count, batch, threads), s in zip(plan, seconds, strict=True)
    ]
    draw(rows, output / "scaling.png")
    keep(output, "scaling", rows, table(rows))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "scaling.py")()
