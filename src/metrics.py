"""Pure functions of (probabilities, labels): what a classifier got right, and how sure it was."""

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
WIDEST = 7  # characters of a class name above a column of the confusion matrix


@dataclass(frozen=True)
class ClassScore:
    """One class: shares in 0..1, and how many images it has."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Report:
    """The result of one evaluation.

    Attributes:
        count: images scored.
        errors: images whose most probable class is wrong.
        accuracy: share of right answers, 0..1.
        interval: 95 % Wilson interval of the accuracy.
        loss: mean negative log-likelihood, in nats.
        calibration_error: expected calibration error over 15 bins, 0..1.
        confusion_matrix: counts; row is the true class, column the predicted one.
        classes: the score of each class.
        trusted: share of answers to be trusted, 0..1; None where the model cannot tell.
    """

    count: int
    errors: int
    accuracy: float
    interval: tuple[float, float]
    loss: float
    calibration_error: float
    confusion_matrix: list[list[int]]
    classes: list[ClassScore]
    trusted: float | None = None


def score(probabilities: Floats, labels: Ints, classes: tuple[str, ...]) -> Report:
    """Compare probabilities [N, C] with labels [N]. A class never predicted has precision 0, an absent one recall 0."""
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
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Bound a share with 95 % confidence (Wilson 1927, "Probable inference")."""
    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def reliability(probabilities: Floats, labels: Ints, bins: int = 15) -> tuple[Floats, Floats, Ints]:
    """Sort answers into equal bins of their top probability.

    Returns:
        Mean top probability, accuracy and count of each bin; a bin without answers has zeros.
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
    """Ensemble |confidence - accuracy| over all answers (Guo et al. 2017, "On Calibration", equation 3)."""
    return float((np.abs(confidence - accuracy) * count).sum() / count.sum())


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Turn logits [N, C], divided by a temperature, into probabilities [N, C]."""
    return np.asarray(scipy.special.softmax(logits / temperature, axis=1), dtype=np.float64)


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Find the temperature in 0.05..20 of least loss (Guo et al. 2017, section 4.2); accuracy stays as it is."""
    indices = range(logits.shape[1])
    best = minimize_scalar(
        lambda log: log_loss(labels, softmax(logits, np.exp(log)), labels=indices),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
    )
    return float(np.exp(best.x))


def as_text(report: Report, title: str) -> str:
    """Write a report as the lines a terminal shows."""
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
    """Lay the confusion matrix out in columns; zeros are dots. Where names are too long, numbers head the columns."""
    names = [printable(score.name) for score in report.classes]
    heads = names
    if max(map(len, names)) > WIDEST:
        heads = [f"[{number}]" for number in range(len(names))]
        names = [f"{name} {head}" for name, head in zip(names, heads, strict=True)]
    first = max(map(len, names))
    width = max(map(len, [str(report.count), *heads])) + 1
    rows = zip(names, report.confusion_matrix, strict=True)
    return [
        " " * first + "".join(f"{head:>{width}}" for head in heads),
        *(f"{name:<{first}}" + "".join(f"{n or '.':>{width}}" for n in row) for name, row in rows),
    ]


def score_lines(report: Report) -> list[str]:
    """Lay the per-class scores out in columns."""
    names = [printable(score.name) for score in report.classes]
    first = max(map(len, ["class", *names]))
    head = f"{'class':<{first}}{'precision':>11}{'recall':>9}{'F1':>9}{'support':>9}"
    return [head] + [
        f"{name:<{first}}{s.precision:>11.4f}{s.recall:>9.4f}{s.f1:>9.4f}{s.support:>9,}"
        for name, s in zip(names, report.classes, strict=True)
    ]
