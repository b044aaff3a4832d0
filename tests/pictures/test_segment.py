"""Segmentation: digits are found, sorted into lines, joined and separated."""

import numpy as np
import pytest

from drawing import on_page, shape
from mnist_cnn.pictures.binarize import Mask
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.segment import Component, cuts, find_digits, spans
from mnist_cnn.splits import Dataset


@pytest.fixture(scope="module")
def digits(mnist: Dataset) -> list[Pixels]:
    """A clean digit of each class, 100 pixels high."""
    first = [int((mnist.train.labels == digit).nonzero()[3]) for digit in range(10)]
    return [shape(mnist.train.images[index, 0].numpy(), 100) for index in first]


def boxes(mask: Mask) -> list[list[tuple[int, int, int, int]]]:
    return [[component.box for component in line] for line in find_digits(mask)]


def test_nothing_is_found_on_an_empty_page() -> None:
    assert find_digits(np.zeros((50, 50), dtype=np.bool_)) == []


def test_lines_are_read_from_the_top_and_from_the_left(digits: list[Pixels]) -> None:
    places = [(20, 30), (26, 200), (15, 400), (180, 60), (185, 260), (360, 500)]
    page = on_page([(digits[i], top, left) for i, (top, left) in enumerate(places)], 520, 700)
    expected = [(left, top, digits[i].shape[1], digits[i].shape[0]) for i, (top, left) in enumerate(places)]
    assert boxes(page > 127) == [expected[:3], expected[3:5], expected[5:]]


def test_a_sloping_line_stays_one_line(digits: list[Pixels]) -> None:
    page = on_page([(digits[i], 20 + 12 * i, 20 + 130 * i) for i in range(8)], 300, 1100)
    assert [len(line) for line in boxes(page > 127)] == [8]


def test_strokes_of_one_digit_are_joined() -> None:
    page = np.zeros((200, 300), np.uint8)
    page[50:150, 40:52] = 255  # a one
    page[40:52, 140:200] = page[62:150, 140:152] = 255  # the bar of a five, and its stem beneath it
    found = boxes(page > 127)
    assert found == [[(40, 50, 12, 100), (140, 40, 60, 110)]]


def test_digits_below_each_other_are_not_joined(digits: list[Pixels]) -> None:
    page = on_page([(digits[5], 10, 50), (digits[7], 130, 50)], 260, 200)
    assert [len(line) for line in boxes(page > 127)] == [1, 1]


def test_touching_digits_can_be_separated_where_they_touch(digits: list[Pixels]) -> None:
    left, right = digits[0], digits[2]
    page = on_page([(left, 20, 20), (right, 20, 30 + left.shape[1])], 160, 300)
    page[66:72, 5 + left.shape[1] : 25 + left.shape[1] + right.shape[1]] = 255  # a bridge
    (line,) = find_digits(page > 127)
    (component,) = line
    places = cuts(component.mask)
    assert min(abs(place - left.shape[1] - 5) for place in places) < 12
    parts = spans(component)
    edges = len(places) + 1
    assert {(first, last) for _, (first, last) in parts} >= {(0, edges), *((i, i + 1) for i in range(edges))}
    whole = np.zeros_like(component.mask)
    for part, (first, last) in parts:
        if last == first + 1:
            x, y = part.box[0] - component.box[0], part.box[1] - component.box[1]
            whole[y : y + part.box[3], x : x + part.box[2]] |= part.mask
    np.testing.assert_array_equal(whole, component.mask)


def test_a_narrow_digit_is_not_cut(digits: list[Pixels]) -> None:
    mask = digits[1] > 127
    assert [span for _, span in spans(Component((0, 0, mask.shape[1], mask.shape[0]), mask))] == [(0, 1)]
