"""How long each recipe trains for its accuracy: ours and the peers', alternating, a process each."""

import dataclasses
import datetime
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from peers import PEERS, Result
from tqdm import tqdm

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.evaluate import evaluate
from mnist_cnn.experiments.study import Row, environment, read_rows, write_rows
from mnist_cnn.plots import BLUE, ORANGE, saved
from mnist_cnn.splits import Dataset, Split
from mnist_cnn.train import fit
from mnist_cnn.training.config import PRESETS, TrainConfig

OURS = ("fast", "default")
CONTESTANTS = (*OURS, *PEERS)
WARM_UP = 512  # images
COLUMNS = (
    *("recipe", "n", "accuracy %", "seconds", "times fast", "seconds to 99 %", "CPU seconds", "peak MiB"),
    *("parameters", "precision"),
)


def preset(dataset: Dataset, name: str, seed: int) -> Result:
    """Train a preset and score it, from raw images to accuracy; to 99 % is measured on its validation split."""
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        checkpoint = fit(dataset, dataclasses.replace(PRESETS[name].train, seed=seed, output_dir=Path(folder)))
    model = checkpoint.build_model()
    accuracy = evaluate(model, dataset.test, dataset.classes, checkpoint.temperature)[0].accuracy
    seconds = time.perf_counter() - start
    until = [i for i, epoch in enumerate(checkpoint.history, start=1) if epoch["val_accuracy"] >= 0.99]
    spent = [epoch["seconds"] for epoch in checkpoint.history]
    to_99 = seconds - sum(spent[until[0] :]) if until else seconds if accuracy >= 0.99 else None
    return Result(accuracy, seconds, to_99, model.parameter_count())


def compete(contestant: str, seed: int, dataset: Dataset) -> Result:
    """Train one contestant with one seed."""
    return PEERS[contestant](dataset, seed) if contestant in PEERS else preset(dataset, contestant, seed)


def run_alone(contestant: str, seed: int, images: int, data_dir: Path | None) -> Row:
    """Warm up, train and score a contestant; to be called in a process of its own."""
    everything = load_dataset("mnist", data_dir)
    dataset = first(everything, images)
    compete(contestant, seed, first(everything, WARM_UP))
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = compete(contestant, seed, dataset)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "dataset": dataset.name,
        "recipe": {"contestant": contestant, "seed": seed, "images": images},
        **dataclasses.asdict(result),
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": after.ru_maxrss / 1024,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        **environment(TrainConfig(precision="float32" if contestant in PEERS else "auto")),
    }


def first(dataset: Dataset, images: int) -> Dataset:
    """Keep the first training images, and test images in proportion."""
    tested = images * len(dataset.test) // len(dataset.train)
    train = Split(dataset.train.images[:images], dataset.train.labels[:images])
    return dataclasses.replace(
        dataset, train=train, test=Split(dataset.test.images[:tested], dataset.test.labels[:tested])
    )


def table(rows: Sequence[Row]) -> str:
    """Lay out medians over rounds; ratios are to `fast` in the same round."""
    fast = {row["recipe"]["seed"]: row["seconds"] for row in rows if row["recipe"]["contestant"] == "fast"}
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for name in CONTESTANTS:
        own = [row for row in rows if row["recipe"]["contestant"] == name]
        if not own:
            continue
        seconds = [row["seconds"] for row in own]
        accuracy = [100 * row["accuracy"] for row in own]
        spread = f" ± {statistics.stdev(accuracy):.2f}" if len(own) > 1 else ""
        ratios = [row["seconds"] / fast[row["recipe"]["seed"]] for row in own if row["recipe"]["seed"] in fast]
        to_99 = [row["seconds_to_99"] for row in own if row["seconds_to_99"] is not None]
        reached = f"{statistics.median(to_99):.1f} ({len(to_99)} of {len(own)})" if to_99 else "never"
        network = f"{own[0]['parameters']} | {own[0]['precision']}" if own[0]["parameters"] else "- | -"
        lines.append(
            f"| {name} | {len(own)} | {statistics.mean(accuracy):.2f}{spread} | {statistics.median(seconds):.1f} "
            f"({min(seconds):.1f} to {max(seconds):.1f}) | {f'{statistics.median(ratios):.1f}' if ratios else '-'} | "
            f"{reached} | {statistics.median(row['cpu_seconds'] for row in own):.1f} | "
            f"{statistics.median(row['peak_mib'] for row in own):.0f} | {network} |"
        )
    about = rows[0]
    versions = f"PyTorch {about['versions']['torch']}, Python {about['versions']['python']}"
    lines += ["", f"{about['hardware']}, {platform.system()}, {versions}, {about['date']}."]
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw accuracy against seconds, a dot a run."""
    with saved(path, (8, 4.5)) as figure:
        axes = figure.subplots()
        for name in CONTESTANTS:
            own = [row for row in rows if row["recipe"]["contestant"] == name]
            if own:
                seconds, accuracy = [row["seconds"] for row in own], [100 * row["accuracy"] for row in own]
                color = ORANGE if name in OURS else BLUE
                axes.plot(seconds, accuracy, "o", color=color, markersize=5, alpha=0.7)
                best = max(zip(accuracy, seconds, strict=True))[::-1]
                axes.annotate(name, best, xytext=(0, 5), textcoords="offset points", ha="center", color=color)
        axes.set(xscale="log", xlabel="seconds from raw images to test accuracy (log)", ylabel="test accuracy (%)")
        axes.margins(x=0.12, y=0.15)
        axes.set_title(f"Ours (orange) and others (blue), a dot a run\n{rows[0]['dataset']}, {rows[0]['hardware']}")


def command(
    rounds: int = 5,
    only: tuple[str, ...] = CONTESTANTS,
    images: int = 60_000,
    data_dir: Path | None = None,
    output: Path = Path("benchmarks"),
) -> None:
    """Run every recipe once per round, rounds times; go on where an earlier run stopped.

    Args:
        rounds: Trainings of each recipe, seeds 0 upwards.
        only: Which recipes.
        images: Training images to use.
        data_dir: Folder with MNIST, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets training_speed.jsonl, .md and .png.
    """
    path = output / "training_speed.jsonl"
    rows = read_rows(path)
    done = [row["recipe"] for row in rows]
    plan = [(name, seed) for seed in range(rounds) for name in CONTESTANTS if name in only]
    for name, seed in tqdm(plan, desc="runs", unit="run"):
        if {"contestant": name, "seed": seed, "images": images} not in done:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                rows.append(alone.submit(run_alone, name, seed, images, data_dir).result())
            write_rows(rows, path)
    (output / "training_speed.md").write_text(table(rows), encoding="utf-8")
    draw(rows, output / "training_speed.png")
    print(table(rows))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "training_speed.py")()
