"""Metrics as pure functions of probabilities and labels: accuracy, calibration, confusion matrix, F1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from mnist_cnn.common.console import pluralize
from mnist_cnn.common.names import printable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAX_HEADER = 7  # characters of a class name above a column of the confusion matrix


@dataclass(frozen=True)
class ClassScore:
    """The metrics of one class, 0..1, and its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Report:
    """The result of one evaluation.

    Attributes:
        count: number of images.
        errors: number of images whose most probable class is wrong.
        accuracy: fraction of correct predictions, 0..1.
        interval: 95 % Wilson interval of the accuracy.
        loss: mean negative log-likelihood, in nats.
        calibration_error: expected calibration error over 15 bins, 0..1.
        confusion_matrix: counts; row is the true class, column the predicted one.
        classes: the metrics of each class.
        misclassified: indices of the errors; None in reports of before.
        trusted: fraction of confident predictions, 0..1; None if the model has no thresholds.
    """

    count: int
    errors: int
    accuracy: float
    interval: tuple[float, float]
    loss: float
    calibration_error: float
    confusion_matrix: list[list[int]]
    classes: list[ClassScore]
    misclassified: list[int] | None = None
    trusted: float | None = None


def score(probabilities: Floats, labels: Ints, classes: tuple[str, ...]) -> Report:
    """Evaluate probabilities [N, C] and labels [N]. A class never predicted has precision 0, an absent one recall 0."""
    predicted = probabilities.argmax(axis=1)
    indices = list(range(len(classes)))
    correct = int((predicted == labels).sum())
    matrix = confusion_matrix(labels, predicted, labels=indices)
    per_class = precision_recall_fscore_support(labels, predicted, labels=indices, zero_division=0)
    return Report(
        count=len(labels),
        errors=len(labels) - correct,
        accuracy=correct / len(labels),
        interval=wilson_interval(correct, len(labels)),
        loss=float(log_loss(labels, probabilities, labels=indices)),
        calibration_error=calibration_error(*reliability(probabilities, labels)),
        confusion_matrix=matrix.tolist(),
        classes=[
            ClassScore(name, float(precision), float(recall), float(f1), int(support))
            for name, precision, recall, f1, support in zip(classes, *per_class, strict=True)
        ],
        misclassified=np.flatnonzero(predicted != labels).tolist(),
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a proportion (Wilson 1927, "Probable inference")."""
    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def reliability(probabilities: Floats, labels: Ints, bins: int = 15) -> tuple[Floats, Floats, Ints]:
    """Group predictions into bins of equal width by confidence, their highest probability.

    Returns:
        Mean confidence, accuracy and count of each bin; zeros for an empty bin.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    divisor = np.maximum(count, 1)
    mean_confidence = np.bincount(bin_of, weights=confidence, minlength=bins) / divisor
    accuracy = np.bincount(bin_of, weights=correct, minlength=bins) / divisor
    return mean_confidence, accuracy, count


def calibration_error(confidence: Floats, accuracy: Floats, count: Ints) -> float:
    """Return the expected calibration error (Guo et al. 2017, "On Calibration", equation 3)."""
    return float((np.abs(confidence - accuracy) * count).sum() / count.sum())


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Convert logits [N, C], divided by a temperature, to probabilities [N, C]."""
    return np.asarray(scipy.special.softmax(logits / temperature, axis=1), dtype=np.float64)


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Find the temperature in 0.05..20 with the lowest loss (Guo et al. 2017, section 4.2)."""
    own = logits[np.arange(len(logits)), labels]
    best = minimize_scalar(
        lambda log: (scipy.special.logsumexp(logits / np.exp(log), axis=1) - own / np.exp(log)).mean(),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
    )
    return float(np.exp(best.x))


def as_text(report: Report, title: str) -> str:
    """Format a report for a terminal."""
    low, high = report.interval
    return "\n".join(
        [
            f"{printable(title)}: {pluralize(report.count, 'image')}, {pluralize(report.errors, 'error')}",
            f"accuracy {report.accuracy:.2%} (95 % Wilson interval {low:.2%} to {high:.2%})",
            f"loss {report.loss:.4f} nats, expected calibration error {report.calibration_error:.2%}",
            "",
            "confusion matrix (row: true, column: predicted)",
            *matrix_lines(report),
            "",
            *score_lines(report),
        ]
    )


def matrix_lines(report: Report) -> list[str]:
    """Format the confusion matrix; zeros are dots. If class names are too long, numbers head the columns."""
    names = [printable(score.name) for score in report.classes]
    headers = names
    if max(map(len, names)) > MAX_HEADER:
        headers = [f"[{number}]" for number in range(len(names))]
        names = [f"{name} {header}" for name, header in zip(names, headers, strict=True)]
    first = max(map(len, names))
    width = max(map(len, [str(report.count), *headers])) + 1
    rows: list[Sequence[str | int]] = [headers, *report.confusion_matrix]
    return [
        f"{name:<{first}}" + "".join(f"{cell or '.':>{width}}" for cell in row)
        for name, row in zip(["", *names], rows, strict=True)
    ]


def score_lines(report: Report) -> list[str]:
    """Format the metrics of each class."""
    names = [printable(score.name) for score in report.classes]
    first = max(map(len, ["class", *names]))
    header = f"{'class':<{first}}{'precision':>11}{'recall':>9}{'F1':>9}{'support':>9}"
    return [header] + [
        f"{name:<{first}}{s.precision:>11.4f}{s.recall:>9.4f}{s.f1:>9.4f}{s.support:>9,}"
        for name, s in zip(names, report.classes, strict=True)
    ]
