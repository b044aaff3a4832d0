"""The rows of a study, read to be compared: one recipe, several seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_cnn.common.errors import InputError
from mnist_cnn.experiments.study import Row, read_rows
from mnist_cnn.training.config import flatten

SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Study:
    """The rows of one recipe.

    Attributes:
        title: unique among the studies compared.
        dataset: name of the dataset trained and evaluated on.
        settings: values by name, dots in the names of nested ones, without the seed.
        results: by name, formatted.
        count: number of test images, None where no row tells.
        accuracies: on the test split, 0..1, per seed.
        losses: on the test split, nats, per seed.
        misclassified: indices of the misclassified test images, per seed.
    """

    title: str
    dataset: str
    settings: dict[str, Any]
    results: dict[str, str]
    count: int | None
    accuracies: list[float]
    losses: list[float]
    misclassified: list[list[int]]


def read_study(path: Path, title: str) -> Study:
    """Read a study.

    Raises:
        InputError: the file does not hold the rows of a study of one recipe.
    """
    rows = read_rows(path)
    if not rows:
        raise InputError(f"{path} is missing or empty; name a file that mnist-cnn study --output wrote")
    try:
        recipes = [settings(row) for row in rows]
        differing = [name for name in recipes[0] if any(other.get(name) != recipes[0][name] for other in recipes)]
        if differing:
            raise InputError(f"{path} has rows of several recipes ({', '.join(differing)}); keep one recipe a file")
        return Study(
            title,
            str(rows[0]["dataset"]),
            recipes[0],
            results(rows),
            count(rows),
            [float(row["accuracy"]) for row in rows],
            [float(row["loss"]) for row in rows],
            [[int(index) for index in row["misclassified"]] for row in rows],
        )
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{path} lacks results of a study; name a file that mnist-cnn study --output wrote") from None


def settings(row: Row) -> dict[str, Any]:
    """Return what a row was trained on and with, but for the seed."""
    recipe = flatten(row["recipe"])
    del recipe["seed"]
    initial = {"init_from": row["init_from"]} if row.get("init_from") else {}
    return {"trained on": row["dataset"], "parameters": f"{row['parameters']:,}", **initial, **recipe}


def count(rows: Sequence[Row]) -> int | None:
    """Return the number of test images: rows of before tell it only by their share of errors."""
    counts = [row["count"] for row in rows if "count" in row]
    shares = [len(row["misclassified"]) / (1 - row["accuracy"]) for row in rows if row["misclassified"]]
    return round((counts or shares)[0]) if counts or shares else None


def results(rows: Sequence[Row]) -> dict[str, str]:
    """Return the results of a study as text: mean and standard deviation over its seeds."""
    seconds = [row["seconds"] for row in rows]
    images = count(rows)
    return {
        "evaluated on": f"{rows[0]['dataset']} test split",
        "images": f"{images:,}" if images else "-",
        "seeds": str(len(rows)),
        "errors": spread([len(row["misclassified"]) for row in rows], "{:.1f}"),
        "accuracy": spread([100 * row["accuracy"] for row in rows], "{:.3f}", "%"),
        "loss": spread([row["loss"] for row in rows], "{:.4f}", " nats"),
        "calibration error": spread([100 * row["calibration_error"] for row in rows], "{:.2f}", "%"),
        "validation accuracy": spread([100 * row["val_accuracy"] for row in rows], "{:.3f}", "%"),
        "median seconds of training": f"{statistics.median(seconds):.1f}",
    }


def spread(values: Sequence[float], template: str, unit: str = "") -> str:
    """Format mean and standard deviation, of one value only the value."""
    mean = template.format(statistics.mean(values))
    return mean + (f" +- {template.format(statistics.stdev(values))}" if len(values) > 1 else "") + unit
