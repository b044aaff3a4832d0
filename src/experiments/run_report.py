"""What a finished training left behind: its report found, named and read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_cnn.common.errors import InputError
from mnist_cnn.evaluate import MODELS
from mnist_cnn.training.config import flat

REPORTS = "*_final.json"
ASK = "name the --output-dir of a finished training, or a report, the .json beside a model"


@dataclass(frozen=True)
class Run:
    """What the report of a training says.

    Attributes:
        title: tells the run from the others.
        dataset: what it was trained on.
        settings: values by name, dotted where nested.
        results: by name, as they are printed.
        interval: 95 % interval of the accuracy, 0..1.
        epochs: of the curves; an average of networks has none.
        val_loss: nats, an epoch a value.
        val_errors: share of the validation images read wrong, 0..1, an epoch a value.
    """

    title: str
    dataset: str
    settings: dict[str, Any]
    results: dict[str, str]
    interval: tuple[float, float]
    epochs: list[int]
    val_loss: list[float]
    val_errors: list[float]


def find_report(run: Path) -> Path:
    """Find the report of a run: the file itself, or the one in a training's output folder.

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
    """Name runs after their folders, and after their files where a folder has two or is not a training's."""
    files = [report.absolute() for report in reports]
    folders = [file.parents[1] if file.parent.name == MODELS.name else file for file in files]
    places = [folder if folders.count(folder) == 1 else file for folder, file in zip(folders, files, strict=True)]
    return [shortest(place, places) for place in places]


def shortest(place: Path, places: Sequence[Path]) -> str:
    """Return the last parts of a path, as many as no other path ends with."""
    tails = ((place.parts[-n:], [other.parts[-n:] for other in places]) for n in range(1, len(place.parts) + 1))
    return str(Path(*next(tail for tail, others in tails if others.count(tail) == 1)))


def read_run(path: Path, title: str) -> Run:
    """Read a report.

    Raises:
        InputError: the file is not JSON, or JSON of something else.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; {ASK}") from None
    try:
        low, high = map(float, report["interval"])
        return Run(
            title,
            str(report["trained_on"]),
            settings(report),
            results(report),
            (low, high),
            [int(epoch["epoch"]) for epoch in report["history"]],
            [float(epoch["val_loss"]) for epoch in report["history"]],
            [1 - float(epoch["val_accuracy"]) for epoch in report["history"]],
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path} is not a report: the JSON is of something else; {ASK}") from None


def settings(report: dict[str, Any]) -> dict[str, Any]:
    """Gather what was there before the training."""
    parameters = f"{report['parameters']:,}"
    return {"trained on": report["trained_on"], "parameters": parameters, **flat(report["train_config"])}


def results(report: dict[str, Any]) -> dict[str, str]:
    """Gather what came of a training, as text; an average of networks has no history."""
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
