"""The reports of finished trainings: finding, naming and reading them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_cnn.common.errors import InputError
from mnist_cnn.evaluate import MODELS
from mnist_cnn.training.config import flatten

REPORTS = "*_final.json"
ASK = "name the --output-dir of a finished training, or a report, the .json beside a model"


@dataclass(frozen=True)
class Run:
    """The report of a training.

    Attributes:
        title: unique among the runs compared.
        dataset: name of the training dataset.
        settings: values by name, dots in the names of nested ones.
        results: by name, formatted.
        count: number of test images.
        misclassified: indices of the misclassified test images, None in reports of before.
        epochs: epoch numbers; an ensemble has none.
        val_loss: nats, per epoch.
        val_errors: error rate on the validation split, 0..1, per epoch.
    """

    title: str
    dataset: str
    settings: dict[str, Any]
    results: dict[str, str]
    count: int
    misclassified: list[int] | None
    epochs: list[int]
    val_loss: list[float]
    val_errors: list[float]


def find_report(run: Path) -> Path:
    """Return the report of a run, given as the file itself or as a training's output folder.

    Raises:
        InputError: there is none, or more than one.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise InputError(f"there is no {run}; {ASK}")
    reports = sorted((run / MODELS).glob(REPORTS))
    if not reports:
        raise InputError(f"no report {run / MODELS / REPORTS}; {ASK}")
    if len(reports) > 1:
        raise InputError(f"{run} has {len(reports)} reports; name one of {', '.join(map(str, reports))}")
    return reports[0]


def titles(reports: Sequence[Path]) -> list[str]:
    """Name runs after their output folders, or after their files if a folder has two or none is known."""
    files = [report.absolute() for report in reports]
    folders = [file.parents[1] if file.parent.name == MODELS.name else file for file in files]
    paths = [folder if folders.count(folder) == 1 else file for folder, file in zip(folders, files, strict=True)]
    return [shortest_suffix(path, paths) for path in paths]


def shortest_suffix(path: Path, paths: Sequence[Path]) -> str:
    """Return the fewest last parts of a path that no other path ends with."""
    suffixes = ((path.parts[-n:], [other.parts[-n:] for other in paths]) for n in range(1, len(path.parts) + 1))
    return str(Path(*next(suffix for suffix, others in suffixes if others.count(suffix) == 1)))


def read_run(path: Path, title: str) -> Run:
    """Read a report.

    Raises:
        InputError: the file is not JSON, or not a report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; {ASK}") from None
    try:
        wrong = report.get("misclassified")
        return Run(
            title,
            str(report["trained_on"]),
            settings(report),
            results(report),
            int(report["count"]),
            None if wrong is None else [int(index) for index in wrong],
            [int(epoch["epoch"]) for epoch in report["history"]],
            [float(epoch["val_loss"]) for epoch in report["history"]],
            [1 - float(epoch["val_accuracy"]) for epoch in report["history"]],
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path} is not a report of a training; {ASK}") from None


def settings(report: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a training."""
    parameters = f"{report['parameters']:,}"
    return {"trained on": report["trained_on"], "parameters": parameters, **flatten(report["train_config"])}


def results(report: dict[str, Any]) -> dict[str, str]:
    """Return the results of a training as text; an ensemble has no history."""
    low, high = report["interval"]
    scores = {
        "evaluated on": str(report["evaluated_on"]),
        "images": f"{report['count']:,}",
        "errors": f"{report['errors']:,}",
        "accuracy": f"{report['accuracy']:.2%}",
        "95 % interval": f"{low:.2%} to {high:.2%}",
        "loss": f"{report['loss']:.4f} nats",
        "calibration error": f"{report['calibration_error']:.2%}",
        "parameters": f"{report['parameters']:,}",
    }
    if not report["history"]:
        return scores
    last = report["history"][-1]
    return scores | {
        "epochs": f"{last['epoch']}",
        "seconds of training": f"{sum(epoch['seconds'] for epoch in report['history']):.1f}",
        "last validation loss": f"{last['val_loss']:.4f} nats",
        "last validation accuracy": f"{last['val_accuracy']:.2%}",
    }
