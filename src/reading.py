"""What a picture says: its digits, and the text they make."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from mnist_cnn.models.onnx_model import Floats
from mnist_cnn.pictures.binarize import Box
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.pictures.segment import Span

GAP = 2.0  # widths of a digit between two numbers of a line
EMPTY = "."  # a cell
Doubt = Literal["improbable", "out of distribution"]
IMPROBABLE: Doubt = "improbable"
OUT_OF_DISTRIBUTION: Doubt = "out of distribution"
NARROWEST = 0.5  # of its height: the width of a digit among thinner ones, such as ones


@dataclass(frozen=True)
class Prediction:
    """One digit, or that there is none.

    Attributes:
        digit: the most probable class, from 0, or the one that a constraint demands; None where no digit was found.
        label: the name of that class; None where no digit was found.
        probabilities: calibrated, float64 [classes]; empty where no digit was found.
        doubt: why it cannot be trusted: its probability, or with a constraint that of the line's number, is below the
            threshold; or else its out-of-distribution score is above. None if it can be.
        box: left, top, width and height of the digit, in pixels of the picture.
        line: index of the line of text or the row of the grid, from 0.
        image: the network's input, uint8 [28, 28].
        presence: probability that there is a digit, 0..1, see `fusion.combine`; 1 where the spotter was not asked.
    """

    digit: int | None
    label: str | None
    probabilities: Floats
    doubt: Doubt | None
    box: Box | None
    line: int
    image: Pixels
    presence: float = 1.0

    @property
    def probability(self) -> float:
        """Probability of `digit`, 0 where no digit was found."""
        return 0.0 if self.digit is None else float(self.probabilities[self.digit])

    @property
    def confident(self) -> bool:
        """Whether there is a digit without doubt."""
        return self.digit is not None and self.doubt is None


NO_DIGIT = Prediction(None, None, np.zeros(0), None, None, 0, np.zeros((SIDE, SIDE), np.uint8))


@dataclass(frozen=True)
class Alternative:
    """A possible number of a line.

    Attributes:
        line: index of the line, from 0.
        text: the number.
        probability: posterior, 0..1: given the constraint, and that this may be wrong once in a thousand.
    """

    line: int
    text: str
    probability: float


@dataclass(frozen=True)
class Reading:
    """The digits of a picture in reading order: lines from top to bottom, each from left to right.

    Attributes:
        digits: those found; of a constrained line those that its number is made of.
        written: the lines of text where a constraint or a grid says what they are; None where the digits do.
        alternatives: with a constraint, the most probable numbers of each line, the first being the one that is read.
        unmet: whether there is a line that no constraint fits; it is read without, and its digits are not confident.
        turned: degrees clockwise by which the picture was turned to be read: 0, 90, 180 or 270. Boxes lie in the
            picture as given.
    """

    digits: tuple[Prediction, ...]
    written: tuple[str, ...] | None = None
    alternatives: tuple[Alternative, ...] = ()
    unmet: bool = False
    turned: int = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The text of each line: spaces between numbers, and between names of more than one letter."""
        if self.written is not None:
            return self.written
        lines = itertools.groupby(self.digits, key=lambda one: one.line)
        return tuple(line_text(tuple(line), self.turned) for _, line in lines)

    @property
    def text(self) -> str:
        """The lines, separated by line breaks."""
        return "\n".join(self.lines)

    @property
    def probability(self) -> float:
        """The probability of the least probable digit, or of the least probable constrained line; 0 without digits."""
        numbers = {one.line: one.probability for one in reversed(self.alternatives)}
        return min((numbers.get(digit.line, digit.probability) for digit in self.digits), default=0.0)

    @property
    def confident(self) -> bool:
        """Whether there is a digit and every digit is confident."""
        return bool(self.digits) and all(digit.confident for digit in self.digits)

    @property
    def doubt(self) -> Doubt | None:
        """The doubt of the least probable digit that has one."""
        return min((one for one in self.digits if one.doubt), key=lambda one: one.probability, default=NO_DIGIT).doubt


def line_text(digits: Sequence[Prediction], turned: int = 0) -> str:
    """Join the digits of a line; those more than two digit widths apart belong to different numbers."""
    boxes = [turn_box(digit.box, turned) if digit.box else None for digit in digits]
    width = digit_width([box for box in boxes if box])
    numbers: list[list[str]] = [[]]
    for before, box, digit in zip((None, *boxes), boxes, digits, strict=False):
        if before and box and box[0] - before[0] - before[2] > GAP * width:
            numbers.append([])
        numbers[-1].append(digit.label or "")
    return " ".join(map(joined, numbers))


def turn_box(box: Box, turned: int) -> Box:
    """Return a box in the picture turned clockwise by some degrees, apart from a shift."""
    left, top, width, height = box
    for _ in range(turned // 90):
        left, top, width, height = -top - height, left, height, width
    return left, top, width, height


def grid_lines(digits: Sequence[Prediction], columns: Sequence[int], rows: int, width: int) -> tuple[str, ...]:
    """Write the rows of a grid, a point for each empty cell; spaces part the cells where one has several digits.

    Args:
        digits: of all cells; their lines are the rows.
        columns: of each digit, from 0.
        rows: of the grid.
        width: columns of the grid.
    """
    cells = [[""] * width for _ in range(rows)]
    for digit, column in zip(digits, columns, strict=True):
        cells[digit.line][column] += digit.label or ""
    return tuple(joined([cell or EMPTY for cell in row]) for row in cells)


def digit_width(boxes: Sequence[Box]) -> float:
    """Return the median width of digits, in pixels, but at least half of their median height; 0 without any."""
    if not boxes:
        return 0.0
    return max(median(box[2] for box in boxes), NARROWEST * median(box[3] for box in boxes))


def joined(labels: Sequence[str]) -> str:
    """Join labels to text: digits and letters without spaces, longer names with."""
    return ("" if all(len(label) == 1 for label in labels) else " ").join(labels)


def best_path(segments: list[tuple[Span, Prediction]]) -> list[Prediction]:
    """Choose the segmentation of the largest probability: dynamic programming over adjacent spans."""
    best: dict[int, tuple[float, list[Prediction]]] = {0: (0.0, [])}
    for (first, last), prediction in sorted(segments, key=lambda segment: segment[0]):
        if first not in best:
            continue
        probability = max(prediction.probability, 1e-9) * (1.0 if prediction.confident else 0.5)
        log_probability, path = best[first][0] + math.log(probability), [*best[first][1], prediction]
        if last not in best or log_probability > best[last][0]:
            best[last] = log_probability, path
    return best[max(best)][1]
