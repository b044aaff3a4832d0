"""Detections are put into lines in reading order."""

import math
import random

import numpy as np
import pytest

from mnist_cnn.pictures.detections import Detection
from mnist_cnn.pictures.lines import common_slope, text_lines, with_faint


def detection(label: int, x: float, y: float, height: float = 20) -> Detection:
    """Make a detection centred at x and y."""
    scores = np.full(10, 0.01, np.float32)
    scores[label] = 0.9
    return Detection(scores, (x - height / 3, y - height / 2, x + height / 3, y + height / 2))


def text(found: list[Detection]) -> str:
    """Read detections in any order."""
    random.Random(0).shuffle(found)
    return "/".join("".join(str(one.scores.argmax()) for one in line) for line in text_lines(found))


def test_nothing_is_no_line() -> None:
    assert text_lines([]) == []


@pytest.mark.parametrize("degrees", [-15, -8, 0, 3, 11, 15])
def test_sloping_rows_are_read_in_order(degrees: float) -> None:
    slope = math.tan(math.radians(degrees))
    found = [detection((row * 5 + n) % 10, 30 * n, 40 * row + slope * 30 * n) for row in range(3) for n in range(5)]
    assert common_slope(found) == pytest.approx(slope, abs=0.01)
    assert text(found) == "01234/56789/01234"


def test_a_column_is_read_from_top_to_bottom() -> None:
    assert text([detection(3 - n, 50, 90 - 30 * n) for n in range(4)]) == "0/1/2/3"


def test_digits_of_several_columns_that_are_level_are_one_line() -> None:
    found = [detection(label, x, y) for label, x, y in ((1, 0, 0), (2, 20, 1), (3, 150, 0), (4, 0, 40), (5, 151, 41))]
    assert text(found) == "123/45"


def test_digits_that_vary_in_height_are_one_line() -> None:
    assert text([detection(9, 20, 40, 50), detection(2, 60, 40, 60), detection(1, 100, 60, 20)]) == "921"


def test_level_rows_are_merged_unless_one_is_above_the_other() -> None:
    level = [detection(1, 0, 0, 40), detection(2, 30, 0, 40), detection(3, 60, 24, 40), detection(4, 90, 24, 40)]
    assert text(level) == "1234"
    above = [detection(1, 0, 0, 40), detection(2, 30, 0, 40), detection(3, 0, 36, 40), detection(4, 30, 36, 40)]
    assert text(above) == "12/34"


def test_faint_detections_join_the_lines_that_they_are_level_with() -> None:
    rows = text_lines([detection(n, 30 * n, 40 * row + 3 * n) for row in range(2) for n in (0, 1, 3, 4)])
    between, after, elsewhere = detection(2, 60, 6), detection(5, 150, 55), detection(7, 60, 150)
    longer = with_faint(rows, [after, elsewhere, between])
    assert ["".join(str(one.scores.argmax()) for one in row) for row in longer] == ["01234", "01345"]
    assert with_faint([], [between]) == []
    assert [len(row) for row in rows] == [4, 4]
