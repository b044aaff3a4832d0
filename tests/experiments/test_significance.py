"""Tests of significance against simulation and against values worked out by hand."""

import math

import numpy as np
import pytest
import scipy.stats

from mnist_cnn.experiments.significance import mcnemar, mean_interval, welch


def test_welch_agrees_with_its_formula() -> None:
    first, second = [0.990, 0.991, 0.992], [0.9940, 0.9945, 0.9935, 0.9948]
    variances = [np.var(sample, ddof=1) / len(sample) for sample in (first, second)]
    error = math.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / sum(v**2 / (len(s) - 1) for v, s in zip(variances, (first, second), strict=True))
    mean = np.mean(second) - np.mean(first)
    found = welch(first, second)
    assert found
    assert found.mean == pytest.approx(mean)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(mean) / error, freedom))
    half = scipy.stats.t.ppf(0.975, freedom) * error
    assert found.interval == pytest.approx((mean - half, mean + half))
    assert found.test == "Welch's t-test over 3 and 4 seeds"


@pytest.mark.parametrize(("first", "second"), [([0.9], [0.8, 0.9]), ([0.8, 0.9], [0.9]), ([0.9, 0.9], [0.8, 0.8])])
def test_nothing_is_tested_without_spread(first: list[float], second: list[float]) -> None:
    assert welch(first, second) is None


def test_mcnemar_counts_the_images_of_one_model_alone() -> None:
    found = mcnemar([1, 2, 3, 4, 5, 6, 7], [7, 8], 100)
    assert found.mean == pytest.approx(0.05)
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7), "six to one: 0 or 1 heads of 7, both sides"
    assert found.test == "McNemar's exact test, 6 images right only in the second, 1 only in the first"
    turned = mcnemar([7, 8], [1, 2, 3, 4, 5, 6, 7], 100)
    assert turned.p == found.p
    assert turned.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_models_with_the_same_errors_do_not_differ() -> None:
    found = mcnemar([1, 2], [2, 1], 50)
    assert (found.mean, found.p) == (0, 1)
    assert found.interval[0] == pytest.approx(-found.interval[1])


def test_the_paired_interval_covers_the_truth() -> None:
    """Simulated pairs of models, 3 and 2 % of errors of which half are shared, on 1,000 images."""
    generator, covered, rounds = np.random.default_rng(0), 0, 400
    for _ in range(rounds):
        kind = generator.choice(4, size=1000, p=[0.96, 0.01, 0.02, 0.01])
        first, second = np.flatnonzero((kind == 1) | (kind == 2)), np.flatnonzero((kind == 1) | (kind == 3))
        low, high = mcnemar(first.tolist(), second.tolist(), 1000).interval
        covered += low <= 0.01 <= high
    assert 0.93 <= covered / rounds <= 0.97


def test_the_interval_of_a_mean_is_that_of_its_t_test() -> None:
    values = [0.1, 0.4, 0.35, 0.8]
    assert mean_interval(values) == pytest.approx(tuple(scipy.stats.ttest_1samp(values, 0).confidence_interval()))
