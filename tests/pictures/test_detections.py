"""Peaks of heat maps are decoded, and become one detection per digit."""

import numpy as np
import pytest

from mnist_cnn.pictures.contrast import Floats
from mnist_cnn.pictures.detections import (
    Detection,
    Sides,
    faint_beside,
    intersect,
    logit,
    mean_probability,
    mode_height,
    of_height,
    peaks,
    same_height,
    suppress,
    union,
    with_weights,
)


def peak(scores: dict[int, float], box: Sides, weight: float = 1) -> Floats:
    """Make a weighted peak, float32 [15]."""
    row = np.zeros(15, np.float32)
    for label, score in scores.items():
        row[label] = score
    row[10:14], row[14] = box, weight
    return row


def detection(label: int, box: Sides, probability: float = 0.9) -> Detection:
    return Detection(peak({label: probability}, box)[:10], box)


def labels(found: list[Detection]) -> list[int]:
    return [int(one.scores.argmax()) for one in found]


def test_a_peak_is_decoded() -> None:
    output = np.full((14, 6, 9), -8, np.float32)
    output[7, 2, 3] = 2
    output[7, 2, 4] = 1.5  # no maximum
    output[1, 2, 3] = -1
    output[10:, 2, 3] = 0.25, -0.25, np.log(4), np.log(5)
    (found,) = peaks(output)
    assert found[7] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found[1] == pytest.approx(1 / (1 + np.exp(1)))
    assert found[10:].tolist() == pytest.approx([4 * (3.75 - 2), 4 * (2.25 - 2.5), 4 * (3.75 + 2), 4 * (2.25 + 2.5)])


def test_cells_without_a_digit_have_no_peak() -> None:
    assert peaks(np.full((14, 4, 4), -8, np.float32)).shape == (0, 14)
    assert suppress(np.zeros((0, 15), np.float32)) == []
    assert mode_height(np.zeros((0, 15), np.float32)) == 0


def test_peaks_of_the_ideal_height_weigh_most() -> None:
    found = np.stack([peak({1: 0.5}, (0, 0, 10, height))[:14] for height in (7, 14, 28, 56, 112)])
    weights = with_weights(found)[:, 14]
    assert weights.argmax() == 2
    assert weights[2] == pytest.approx(1)
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-5)


def test_the_same_digit_detected_twice_is_one_and_its_scores_are_averaged() -> None:
    rows = np.stack(
        [peak({3: 0.9}, (10, 10, 30, 40)), peak({8: 0.5}, (12, 11, 31, 41)), peak({1: 0.8}, (60, 10, 70, 40))]
    )
    first, second = suppress(rows)
    assert labels([first, second]) == [3, 1]
    assert first.box == pytest.approx((10, 10, 30, 40))
    assert first.scores[3] == pytest.approx(0.9 * 0.9 / 1.4)
    assert first.scores[8] == pytest.approx(0.5 * 0.5 / 1.4)


def test_a_part_of_a_digit_is_suppressed_and_a_neighbour_is_not() -> None:
    whole, part, beside = (10, 10, 40, 50), (15, 25, 30, 45), (34, 10, 64, 50)
    rows = np.stack([peak({0: 0.9}, whole), peak({1: 0.6}, part), peak({4: 0.7}, beside)])
    assert labels(suppress(rows)) == [0, 4]


def test_improbable_detections_are_faint_and_kept_where_no_other_digit_is() -> None:
    (faint,) = suppress(peak({5: 0.3}, (0, 0, 10, 20))[None])
    assert faint.faint
    assert not detection(5, (0, 0, 10, 20)).faint
    part, nearby, fainter = (detection(n, (x, 5, x + 8, 18), 0.3 - n / 100) for n, x in ((1, 1), (2, 30), (3, 31)))
    clear = detection(5, (0, 0, 10, 20))
    assert labels(faint_beside([clear], [fainter, part, clear, nearby])) == [2]
    assert faint_beside([], [nearby]) == []


def test_heights_that_most_digits_have_are_kept() -> None:
    rows = np.stack([peak({n: 0.9}, (20 * n, 0, 20 * n + 15, 30 + n % 3)) for n in range(8)])
    rows = np.concatenate([rows, peak({1: 0.9}, (0, 50, 4, 60))[None]])
    height = mode_height(rows)
    assert height == pytest.approx(31, rel=0.06)
    assert len(of_height(rows, height)) == 8
    assert same_height(30, 33)
    assert not same_height(30, 40)


def test_the_best_reading_is_completed_by_what_is_clear_and_elsewhere() -> None:
    best = [detection(1, (0, 0, 10, 20)), detection(2, (20, 0, 30, 20))]
    other = [detection(7, (5, 0, 15, 20), 0.95), detection(4, (50, 0, 60, 20), 0.7), detection(5, (80, 0, 90, 20), 0.5)]
    assert labels(union([best, other[:1]])) == [1, 2]
    assert sorted(labels(union([other[1:], best]))) == [1, 2, 4]
    assert union([]) == []
    assert mean_probability(best) == pytest.approx(0.9)
    assert mean_probability([]) == 0


def test_boxes_that_touch_do_not_intersect() -> None:
    assert intersect((0, 0, 10, 10), (9, 9, 20, 20))
    assert not intersect((0, 0, 10, 10), (10, 0, 20, 10))


def test_log_odds_are_finite() -> None:
    values = logit(np.array([0, 0.5, 1], np.float32))
    assert np.isfinite(values).all()
    assert values[1] == 0
