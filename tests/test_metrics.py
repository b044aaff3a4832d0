"""Metrics against scikit-learn, numpy and values worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import classification_report, confusion_matrix, log_loss

from mnist_cnn.metrics import (
    Floats,
    Ints,
    as_text,
    calibration_error,
    fit_temperature,
    reliability,
    score,
    softmax,
    wilson_interval,
)

NAMES = ("zero", "one", "two")


def random_answers(seed: int, count: int, classes: int) -> tuple[Floats, Ints]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(classes), size=count), generator.integers(classes, size=count)


def test_report_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.3, 0.7, 0.0]])
    report = score(probabilities, np.array([0, 1, 1, 2]), NAMES)
    assert (report.count, report.errors, report.accuracy) == (4, 2, 0.5)
    assert report.confusion_matrix == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    zero, one, two = report.classes
    assert (zero.precision, zero.recall, zero.support) == (0.5, 1.0, 1)
    assert (one.precision, one.recall, one.f1, one.support) == (0.5, 0.5, 0.5, 2)
    assert (two.precision, two.recall, two.f1, two.support) == (0.0, 0.0, 0.0, 1)  # never predicted


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 200), classes=st.integers(2, 12))
def test_report_agrees_with_scikit_learn(seed: int, count: int, classes: int) -> None:
    probabilities, labels = random_answers(seed, count, classes)
    names = tuple(f"class {i}" for i in range(classes))
    report = score(probabilities, labels, names)
    predicted = probabilities.argmax(axis=1)
    indices = range(classes)
    oracle = classification_report(
        labels, predicted, labels=indices, target_names=names, output_dict=True, zero_division=0
    )
    assert report.confusion_matrix == confusion_matrix(labels, predicted, labels=indices).tolist()
    assert report.loss == pytest.approx(log_loss(labels, probabilities, labels=indices))
    for row in report.classes:
        expected = oracle[row.name]
        assert (row.precision, row.recall, row.f1, row.support) == (
            expected["precision"], expected["recall"], expected["f1-score"], expected["support"],
        )  # fmt: skip


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 100))
def test_calibration_error_agrees_with_a_loop_over_bins(seed: int, count: int) -> None:
    probabilities, labels = random_answers(seed, count, 4)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(*reliability(probabilities, labels)) == pytest.approx(expected, abs=1e-12)


def test_probability_one_falls_into_the_last_bin() -> None:
    confidence, accuracy, count = reliability(np.array([[1.0, 0.0]]), np.array([0]))
    assert (confidence[-1], accuracy[-1], count[-1]) == (1.0, 1.0, 1)


def test_wilson_interval_by_formula() -> None:
    successes, trials, z = 9969, 10000, 1.959963984540054
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    assert wilson_interval(successes, trials) == pytest.approx((centre - half, centre + half))


def test_softmax_agrees_with_torch_and_survives_large_logits() -> None:
    logits = np.random.default_rng(0).normal(scale=300, size=(20, 5))
    expected = torch.from_numpy(logits / 2.5).softmax(dim=1).numpy()
    np.testing.assert_allclose(softmax(logits, 2.5), expected, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_fitted_temperature_recovers_the_one_that_made_the_labels(temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=3, size=(20_000, 4))
    labels = np.array([generator.choice(4, p=row) for row in softmax(logits, temperature)])
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_text_shows_every_number_a_person_asks_for() -> None:
    probabilities, labels = random_answers(0, 50, 3)
    report = score(probabilities, labels, NAMES)
    text = as_text(report, "title")
    assert text.startswith(f"title: 50 images, {report.errors} errors")
    assert f"{report.interval[0]:.2%} to {report.interval[1]:.2%}" in text
    for row in report.classes:
        assert f"{row.precision:.4f}" in text
        assert f"{row.support}" in text


def test_one_image_and_one_error_are_singular_and_names_are_whole() -> None:
    names = ("T-shirt/top and more", "a\x1b[31m", "Bag")
    text = as_text(score(np.eye(3)[[1]] * 0.7 + 0.1, np.array([0]), names), "title")
    assert text.startswith("title: 1 image, 1 error\n")
    lines = [line.split() for line in text.splitlines()]
    assert ["[0]", "[1]", "[2]"] in lines
    assert ["T-shirt/top", "and", "more", "[0]", ".", "1", "."] in lines
    assert text.count("T-shirt/top and more") == 2
    assert "\x1b" not in text
