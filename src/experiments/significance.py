"""Tests of whether two results differ by more than chance: over seeds, and over the images of one test split."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95  # of intervals
Z = float(stats.norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Difference:
    """How much a second result is above a first.

    Attributes:
        mean: second minus first.
        interval: 95 % confidence interval of it.
        p: two-sided p-value of no difference, 0..1.
        test: the test's name and its sample.
    """

    mean: float
    interval: tuple[float, float]
    p: float
    test: str


def welch(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Compare the means of two samples of any variances (Welch 1947, Biometrika 34).

    Returns:
        None where a sample has one value or neither has any spread, so that nothing can be tested.
    """
    if min(len(first), len(second)) < 2 or np.ptp(first) == np.ptp(second) == 0:
        return None
    result = stats.ttest_ind(second, first, equal_var=False)
    low, high = result.confidence_interval(LEVEL)
    mean = float(np.mean(second) - np.mean(first))
    test = f"Welch's t-test over {len(first)} and {len(second)} seeds"
    return Difference(mean, (float(low), float(high)), float(result.pvalue), test)


def mcnemar(first: Collection[int], second: Collection[int], count: int) -> Difference:
    """Compare the accuracies of two models on the same images.

    The p-value is that of McNemar's exact test (1947, Psychometrika 12), the interval Wald's with half an image added
    to each cell (Agresti and Min 2005, Statistics in Medicine 24, section 2).

    Args:
        first, second: indices of the images that each model misclassifies.
        count: number of images.
    """
    lost, won = len({*second} - {*first}), len({*first} - {*second})
    p = float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
    n, difference = count + 2, (won - lost) / (count + 2)
    half = Z * math.sqrt(((won + lost + 1) / n - difference**2) / n)
    test = f"McNemar's exact test, {won:,} images right only in the second, {lost:,} only in the first"
    return Difference((won - lost) / count, (max(-1.0, difference - half), min(1.0, difference + half)), p, test)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of two or more values (Student's t)."""
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)
