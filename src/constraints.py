"""What is known of the numbers in a picture, and the most probable reading that agrees with it."""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnist_cnn.common.errors import InputError
from mnist_cnn.decoding import Hypothesis, choose, decode
from mnist_cnn.fusion import LEAST
from mnist_cnn.models.onnx_model import Floats
from mnist_cnn.reading import IMPROBABLE, Alternative, Doubt, Prediction, Reading

LONGEST = 20  # digits of a number
MOST_LISTED = 100_000
MOST_ALTERNATIVES = 20
MOST_ROWS = 100  # and columns of a grid
TINY = 1e-12  # least probability of which a logarithm is taken


@dataclass(frozen=True)
class Constraint:
    """What is known of a picture's numbers: each line is one number, or the picture shows a grid of cells.

    Attributes:
        length: digits of the number.
        among: the numbers that it may be, texts of digits; leading zeros count.
        at_least: smallest value.
        alternatives: how many of the most probable numbers to give. Without, the number alone, or with `among` the next
            one too.
        grid: rows and columns of cells.

    Raises:
        InputError: a value is out of range, or two of them exclude each other.
    """

    length: int | None = None
    among: Sequence[str] | None = None
    at_least: int | None = None
    alternatives: int | None = None
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value, least, most in (
            ("length", self.length, 1, LONGEST),
            ("at-least", self.at_least, 0, 10**LONGEST - 1),
            ("alternatives", self.alternatives, 1, MOST_ALTERNATIVES),
            *(("grid", side, 1, MOST_ROWS) for side in self.grid or ()),
        ):
            if value is not None and not least <= value <= most:
                raise InputError(f"{name} is {str(value)[:40]}; it must be {least} to {most}")
        if self.length and self.at_least is not None and self.at_least >= 10**self.length:
            raise InputError(f"no number of length {self.length} is at least {self.at_least}; change one of the two")
        others = [name for name in ("length", "among", "at_least", "alternatives") if getattr(self, name) is not None]
        if self.grid and others:
            raise InputError(f"grid excludes {others[0].replace('_', '-')}; choose one")
        if self.among is not None:
            if self.length is not None or self.at_least is not None:
                raise InputError("among excludes length and at-least; choose one, or list fewer numbers")
            check_numbers(self.among)

    @property
    def decodes(self) -> bool:
        """Whether the most probable number of each line is sought."""
        return any(one is not None for one in (self.length, self.among, self.at_least, self.alternatives))

    def __str__(self) -> str:
        """Say what a number must be."""
        known = [f"{self.length} digits"] if self.length else []
        known += ["one of the list"] if self.among else []
        known += [f"{self.at_least} or more"] if self.at_least is not None else []
        return " and ".join(known) or "a number"

    def hypotheses(self, digits: Sequence[Prediction]) -> list[Hypothesis]:
        """Find the numbers that a line's detections, faint ones too, most probably are; none if none agrees."""
        joint, absent = evidence(digits)
        if self.among is not None:
            return choose(joint, absent, tuple(dict.fromkeys(self.among)), self.alternatives or 2)
        return decode(joint, absent, self.length, self.at_least, self.alternatives or 1)


UNKNOWN = Constraint()
"""Nothing is known."""


def check_numbers(numbers: Sequence[str]) -> None:
    """Check the list of numbers that a number may be.

    Raises:
        InputError: it is empty, too long, or holds something else.
    """
    if not 1 <= len(numbers) <= MOST_LISTED:
        raise InputError(f"the list of numbers has {len(numbers):,}; give 1 to {MOST_LISTED:,}")
    for place, number in enumerate(numbers, 1):
        if not isinstance(number, str) or not re.fullmatch(f"[0-9]{{1,{LONGEST}}}", number):
            raise InputError(f"number {place} of the list is {repr(number)[:30]}; give 1 to {LONGEST} digits, as text")


def read_list(path: Path) -> tuple[str, ...]:
    """Read a list of numbers from a text file, one a line; empty lines are skipped.

    Raises:
        InputError: it cannot be read, is too large, is no text, or a line is no number.
    """
    advice = f"give a text file of 1 to {MOST_LISTED:,} numbers, one a line"
    try:
        if not path.is_file():
            raise InputError(f"{path} is {'no file' if path.exists() else 'not there'}; {advice}")
        with path.open("rb") as file:
            content = file.read(MOST_LISTED * (LONGEST + 2) + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {advice}") from None
    if len(content) > MOST_LISTED * (LONGEST + 2):
        raise InputError(f"{path} is too large; {advice}")
    try:
        numbers = tuple(line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip())
        check_numbers(numbers)
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text; {advice}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return numbers


def parse_grid(text: str) -> tuple[int, int]:
    """Read rows and columns of a grid, such as 9x9.

    Raises:
        InputError: it is something else.
    """
    found = re.fullmatch(r"(\d{1,4})[xX](\d{1,4})", text, re.ASCII)
    if not found:
        raise InputError(f"grid is {repr(text)[:30]}; give ROWSxCOLUMNS, such as 9x9")
    return int(found[1]), int(found[2])


def evidence(digits: Sequence[Prediction]) -> tuple[Floats, Floats]:
    """Split the probabilities of N detections into those of being each digit, [N, 10], and no digit, [N]."""
    present = np.array([digit.presence for digit in digits])
    probabilities = np.array([digit.probabilities for digit in digits])
    classes = probabilities - probabilities.min(axis=1, keepdims=True) + LEAST  # without what `combine` spreads evenly
    joint = present[:, None] * classes / classes.sum(axis=1, keepdims=True)
    return np.maximum(joint, TINY), np.maximum(1 - present, TINY)


def constrain(reading: Reading, plain: Reading, constraint: Constraint, threshold: float) -> Reading:
    """Read each line of a picture as the most probable number that agrees with a constraint.

    Args:
        reading: all detections of the picture, faint ones too.
        plain: without the faint ones: what is read where the constraint cannot be met.
        constraint: one that `decodes`.
        threshold: of the posterior of a confident number. The digits' out-of-distribution scores do not count: it is
            known that they are digits.
    """
    digits: list[Prediction] = []
    written: list[str] = []
    alternatives: list[Alternative] = []
    unmet = False
    for line, group in itertools.groupby(reading.digits, key=lambda digit: digit.line):
        found = tuple(group)
        hypotheses = constraint.hypotheses(found)
        if hypotheses:
            doubt = None if hypotheses[0].probability >= threshold else IMPROBABLE
            digits += used_digits(found, hypotheses[0], doubt)
            written.append(hypotheses[0].text)
            alternatives += [Alternative(line, one.text, one.probability) for one in hypotheses]
        else:
            own = tuple(dataclasses.replace(one, doubt=IMPROBABLE) for one in plain.digits if one.line == line)
            digits += own
            written += dataclasses.replace(plain, digits=own).lines
            unmet = True
    return dataclasses.replace(
        reading, digits=tuple(digits), written=tuple(written), alternatives=tuple(alternatives), unmet=unmet
    )


def used_digits(found: Sequence[Prediction], number: Hypothesis, doubt: Doubt | None) -> list[Prediction]:
    """Return the detections that make up a number, each as its digit."""
    return [
        dataclasses.replace(found[place], digit=int(label), label=label, doubt=doubt)
        for label, place in zip(number.text, number.used, strict=True)
        if place is not None
    ]
