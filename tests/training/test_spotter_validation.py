"""Validation counts what is missed, wrong and false, and calibrates."""

import numpy as np
import pytest

from mnist_cnn.pictures.detections import Detection, Sides
from mnist_cnn.synthetic.sheet import Digit
from mnist_cnn.training.spotter_validation import Validation, calibrate, compare, report, total


def detection(label: int, box: Sides, probability: float = 0.9) -> Detection:
    scores = np.full(10, 0.01, np.float32)
    scores[label] = probability
    return Detection(scores, box)


PLACES: list[Sides] = [(10, 10, 30, 40), (40, 10, 60, 40), (70, 10, 90, 40), (100, 10, 120, 40)]


def test_detections_are_counted_as_right_wrong_false_or_missed() -> None:
    digits = [Digit(label, box, True, False) for label, box in enumerate(PLACES)]
    found = [detection(0, PLACES[0]), detection(7, PLACES[1], 0.8), detection(5, (200, 10, 220, 40), 0.7)]
    result = compare(digits, found)
    assert (result.digits, result.missed, result.wrong, result.false) == (4, 2, 1, 1)
    probabilities, right = zip(*result.outcomes, strict=True)
    assert probabilities == pytest.approx((0.9, 0.8, 0.7))
    assert right == (True, False, False)


def test_a_digit_that_is_no_target_counts_neither_way() -> None:
    digits = [Digit(4, PLACES[0], False, True), Digit(5, PLACES[1], False, False)]
    for found in ([], [detection(4, PLACES[0])], [detection(1, PLACES[1])], [detection(1, PLACES[1])] * 2):
        assert compare(digits, found) == Validation(0, 0, 0, 0, ())


def test_a_second_detection_of_a_digit_is_false() -> None:
    result = compare([Digit(4, PLACES[0], True, False)], [detection(4, PLACES[0])] * 2)
    assert (result.digits, result.missed, result.wrong, result.false) == (1, 0, 0, 1)


def test_overlapping_digits_are_matched_by_label() -> None:
    digits = [Digit(4, PLACES[0], True, False), Digit(6, (13, 10, 33, 40), True, False)]
    result = compare(digits, [detection(6, (11, 10, 31, 40)), detection(4, (12, 10, 32, 40))])
    assert (result.missed, result.wrong, result.false) == (0, 0, 0)


def test_calibration_finds_slope_and_intercept() -> None:
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 2, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * log_odds - 0.5)))
    outcomes = list(zip((1 / (1 + np.exp(-log_odds))).tolist(), right.tolist(), strict=True))
    assert calibrate(outcomes) == pytest.approx((1.5, -0.5), abs=0.06)


def test_rates_are_shares_of_the_digits() -> None:
    parts = [Validation(3, 1, 0, 2, ((0.9, True), (0.5, False))), Validation(5, 0, 1, 0, ((0.8, True),))]
    lines = report(total(parts)).splitlines()
    assert lines[0] == "missed 12.50%, wrong 12.50%, false 25.00% of 8 digits on drawn pages"
    assert lines[1].startswith("calibration: slope ")
    assert report(Validation(0, 0, 0, 0, ())).endswith("too few to calibrate")
