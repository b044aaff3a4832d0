"""A reading's text, and the best path through a segmentation."""

import numpy as np

from mnist_cnn.pictures.binarize import Box
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.reading import Alternative, Prediction, Reading, best_path, grid_lines

IMAGE = np.zeros((SIDE, SIDE), np.uint8)


def digit(label: str, box: Box | None, line: int = 0, probability: float = 0.9) -> Prediction:
    return Prediction(1, label, np.array([1 - probability, probability]), None, box, line, IMAGE)


def row(text: str, *lefts: int, width: int = 20, line: int = 0) -> list[Prediction]:
    return [digit(label, (left, 0, width, 30), line) for label, left in zip(text, lefts, strict=True)]


def text(digits: list[Prediction]) -> str:
    return Reading(tuple(digits)).text


def test_digits_more_than_two_widths_apart_are_two_numbers() -> None:
    assert text(row("1234", 0, 25, 84, 110)) == "1234"
    assert text(row("1234", 0, 25, 86, 112)) == "12 34"
    assert text(row("123", 0, 100, 200)) == "1 2 3"
    assert text(row("12", 0, 25) + row("34", 0, 90, line=1)) == "12\n3 4"


def test_ones_are_thin_but_not_far_apart() -> None:
    assert text(row("111", 0, 32, 64, width=4)) == "111"
    assert text(row("111", 0, 32, 68, width=4)) == "11 1"


def test_names_of_more_than_one_letter_keep_their_spaces() -> None:
    bags = [digit("Bag", (0, 0, 20, 20)), digit("Coat", (25, 0, 20, 20)), digit("Bag", (200, 0, 20, 20))]
    assert text(bags) == "Bag Coat Bag"
    assert text([digit("4", None), digit("2", None)]) == "42"


def test_rows_of_a_grid_have_a_point_for_each_empty_cell() -> None:
    digits = [*row("53", 0, 40), *row("6", 0, line=2)]
    assert grid_lines(digits, [0, 2, 1], 3, 3) == ("5.3", "...", ".6.")
    assert grid_lines([*digits, *row("7", 60, line=2)], [0, 2, 1, 1], 3, 3) == ("5.3", "...", ". 67 .")
    written = Reading(tuple(digits), ("5.3", "...", ".6."))
    assert (written.lines, written.text) == (("5.3", "...", ".6."), "5.3\n...\n.6.")


def test_the_probability_is_that_of_the_weakest_digit_or_number() -> None:
    digits = (digit("1", None, 0, 0.8), digit("2", None, 1, 0.6), digit("3", None, 1, 0.95))
    assert Reading(digits).probability == 0.6
    numbers = (Alternative(1, "23", 0.97), Alternative(1, "33", 0.02))
    assert Reading(digits, alternatives=numbers).probability == 0.8
    assert Reading(()).probability == 0
    assert digit("7", None).probability == 0.9
    demanded = Prediction(0, "0", np.array([0.3, 0.7]), None, None, 0, IMAGE)
    assert demanded.probability == 0.3


def test_the_best_path_is_chosen() -> None:
    whole, left, right = (digit("1", None, 0, probability) for probability in (0.6, 0.9, 0.9))
    assert best_path([((0, 2), whole), ((0, 1), left), ((1, 2), right)]) == [left, right]
    assert best_path([((0, 2), whole), ((0, 1), left), ((1, 2), digit("1", None, 0, 0.55))]) == [whole]
    assert best_path([((0, 2), whole), ((1, 2), right)]) == [whole]
