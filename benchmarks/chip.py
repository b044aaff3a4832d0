"""Networks as C on a microcontroller: accuracy, flash, RAM, instructions and estimated milliseconds."""

import dataclasses
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from board import CORES, RISC_V, counted, flash, on_this_computer, risc_v_flash
from results import keep, percent
from tqdm import tqdm

from mnist_cnn.chip.c_export import CALIBRATION_IMAGES
from mnist_cnn.chip.c_source import c_files
from mnist_cnn.chip.packing import sizes_of
from mnist_cnn.chip.quantization import quantized
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.evaluate import infer
from mnist_cnn.experiments.study import Row, name_of_seed, run_seed
from mnist_cnn.models.checkpoint import load_checkpoint
from mnist_cnn.splits import Dataset
from mnist_cnn.training.config import PRESETS, TrainConfig

MEGAHERTZ = 48
LEVEL = "-O2"
BOARD_IMAGES = 100


def measured(dataset: Dataset, file: Path, boards: bool) -> Row:
    """Measure one model: every test image in C on this computer, `BOARD_IMAGES` of them on each core if `boards`.

    Raises:
        InputError: the C code's logits are not the reference's.
    """
    checkpoint = load_checkpoint(file)
    model = checkpoint.build_model()
    network = quantized(model, checkpoint.classes, dataset.train.images[:CALIBRATION_IMAGES], file)
    images, labels = dataset.test.images[:, 0].numpy(), dataset.test.labels.numpy()
    reference = network.infer(images)
    row: Row = {**dataclasses.asdict(sizes_of(network)), "bits": network.bits, "cores": {}}
    row["float_accuracy"] = float((infer(model, dataset.test).numpy().argmax(axis=1) == labels).mean())
    row["accuracy"] = float((reference.argmax(axis=1) == labels).mean())
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file_name, text in c_files(network, file.name).items():
            (folder / file_name).write_text(text, encoding="utf-8")
        check_same(on_this_computer(folder, images), reference, "gcc with sanitizers")
        for core_name, core in CORES.items() if boards else ():
            logits, counts = counted(folder, core, LEVEL, images[:BOARD_IMAGES])
            check_same(logits, reference[:BOARD_IMAGES], core_name)
            small = flash(folder, core, "-Os")
            row["cores"][core_name] = {**flash(folder, core, LEVEL), "flash_os": small["flash"], **counts}
        row["risc_v"] = {arch: risc_v_flash(folder, *how) for arch, how in RISC_V.items()} if boards else {}
    return row


def check_same(found: Any, expected: Any, where: str) -> None:
    """Check that logits are equal.

    Raises:
        InputError: one differs.
    """
    if not np.array_equal(found, expected):
        raise InputError(f"{where}: {int((found != expected).any(axis=1).sum())} of {len(expected)} images differ")


def training(row: Row) -> tuple[str, int, str | None]:
    """Return what trainings that differ only in their seed share: preset, epochs and teacher."""
    recipe = row["recipe"]
    return recipe["preset"], recipe["epochs"], recipe.get("teacher")


def table(rows: list[Row]) -> str:
    """Lay out each network, then BitNetMCU's figures."""
    lines = [
        (
            "| network | epochs | n | float, test % | C, test % | flash, bytes | RAM, bytes | multiply-adds | "
            "M0+: instructions | ms | M4: instructions | ms |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(map(training, rows)):
        own = [row for row in rows if training(row) == kind]
        name, epochs, teacher = kind
        first = next(row for row in own if row["cores"])
        small, large = first["cores"].values()
        times = [f"{core['instructions']:,.0f} | {core['cycles'] / MEGAHERTZ / 1e3:.0f}" for core in (small, large)]
        taught = f", taught by `{Path(teacher).stem}`" if teacher else ""
        shortened = "" if epochs == PRESETS[name].train.epochs else f" of {PRESETS[name].train.epochs}"
        shares = [percent([row[column] for row in own], 2) for column in ("float_accuracy", "accuracy")]
        lines.append(
            f"| `{name}`{taught} | {epochs}{shortened} | {len(own)} | {' | '.join(shares)} | "
            f"{small['flash']:,} | {small['ram']:,} | {first['multiply_adds']:,} | {' | '.join(times)} |"
        )
    lines.append("| BitNetMCU, as published | | 1 | | 99.55, picked on test | 11,000 | | | | 57, CH32V003 | | |")
    return "\n".join(lines) + "\n"


def command(
    only: tuple[str, ...] = ("chip", "fast", "tiny", "micro"),
    seeds: int = 5,
    first: int = 0,
    epochs: int | None = None,
    teacher: str | None = None,
    keep_models: Path = Path("runs/chip"),
    data_dir: Path | None = None,
    output: Path = Path("benchmarks"),
) -> None:
    """Train presets with several seeds, write each as C, check and measure it; go on where an earlier run stopped.

    Args:
        only: Which presets.
        seeds: How many of each.
        first: The first seed.
        epochs: Of each training instead of the preset's.
        teacher: Trained model whose probabilities are the targets, as with `mnist-cnn train`.
        keep_models: Folder for the trained models; what is there is not trained again.
        data_dir: Folder with MNIST, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets chip.json and .md.
    """
    path = output / "chip.json"
    dataset = load_dataset("mnist", data_dir)
    for seed, name in tqdm([(seed, name) for name in only for seed in range(first, first + seeds)], desc="networks"):
        rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        preset = PRESETS[name].train
        config = dataclasses.replace(preset, seed=seed, epochs=epochs or preset.epochs, teacher=teacher)
        if config.recipe() not in [row["recipe"] for row in rows]:
            taught = f"_by_{Path(teacher).stem}" if teacher else ""
            row = trained(dataset, config, keep_models / f"{config.epochs}_epochs{taught}")
            boards = training(row) not in map(training, rows)  # seeds do not differ in size
            measures = measured(dataset, Path(row.pop("file")), boards)
            rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
            keep(output, "chip", in_order([*rows, {**row, **measures}]), table(in_order([*rows, {**row, **measures}])))


def in_order(rows: list[Row]) -> list[Row]:
    """Sort rows by preset in the order of `PRESETS`, the trainings that are whole first, by teacher, then by seed."""
    names = list(PRESETS)

    def rank(row: Row) -> tuple[int, int, str, int]:
        """Return the place of a row."""
        name, epochs, teacher = training(row)
        return names.index(name), -epochs, teacher or "", row["recipe"]["seed"]

    return sorted(rows, key=rank)


def trained(dataset: Dataset, config: TrainConfig, models: Path) -> Row:
    """Train a seed, or find what is kept of it, with the name of the model's file."""
    file = models / f"{name_of_seed(dataset, config)}.pth"
    about = file.with_suffix(".json")
    if not about.exists():
        models.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix("")  # of one that was interrupted, to go on with
        row = run_seed(dataset, dataclasses.replace(config, output_dir=unfinished), keep=models)
        shutil.rmtree(unfinished)
        kept = ("dataset", "recipe", "parameters", "val_accuracy", "seconds", "hardware", "precision", "versions")
        about.write_text(json.dumps({name: row[name] for name in kept}), encoding="utf-8")
    found: Row = json.loads(about.read_text(encoding="utf-8"))
    return {**found, "file": str(file)}


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "chip.py")()
