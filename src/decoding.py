"""Decodes a line of detections into its most probable numbers: of a length, of at least a value, or of a list.

The model: detection i is a digit d with probability joint[i, d], and none with probability absent[i]; detections are
independent. A reading chooses for each of them; its probability is the product. What is found here is exact (list
Viterbi: Seshadri and Sundberg 1994, "List Viterbi decoding algorithms with applications").
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CLASSES = 10
MISSED = 0.01 / CLASSES  # probability of a digit of a listed number that leaves no detection, not even a faint one
DOUBT = 1e-3  # weight of readings that a constraint rules out, beside those it allows: the constraint may be wrong
IMPOSSIBLE = 1e-4  # probability of all allowed readings together, below which a constraint counts as not met

Floats = npt.NDArray[np.float64]
State = tuple[int, int]  # digits used, up to those that matter; sign of their number minus the bound's last digits
Partial = tuple[float, str, tuple[int, ...]]  # logarithm of the probability, text, and the detections used


@dataclass(frozen=True)
class Hypothesis:
    """A possible number.

    Attributes:
        text: its digits.
        used: index of each digit's detection; None for a digit that has none.
        probability: posterior, 0..1, given the constraint, which itself is doubted by `DOUBT`.
    """

    text: str
    used: tuple[int | None, ...]
    probability: float


def decode(joint: Floats, absent: Floats, length: int | None, at_least: int | None, count: int) -> list[Hypothesis]:
    """Find the most probable numbers of a line: dynamic programming from its last detection to its first.

    Args:
        joint: float64 [N, 10], above 0.
        absent: float64 [N], above 0.
        length: digits of the number; None for any, one at least.
        at_least: smallest value; None for any.
        count: how many to find, of different texts.

    Returns:
        The most probable first; none where the constraint cannot be met.
    """
    bound = [int(digit) for digit in reversed(str(at_least))] if at_least is not None else []
    enough = length if length is not None else max(len(bound), 1)
    lists: dict[State, list[Partial]] = {(0, 0): [(0.0, "", ())]}
    mass: dict[State, float] = {(0, 0): 1.0}
    log_joint, log_absent = np.log(joint).tolist(), np.log(absent).tolist()
    for place in reversed(range(len(joint))):
        moves = [(state, *move) for state in lists for move in steps(state, bound, enough, length is not None)]
        sources: dict[State, list[Iterator[Partial]]] = defaultdict(list)
        masses: dict[State, float] = defaultdict(float)
        for before, after, digit in moves:
            step = log_absent[place] if digit is None else log_joint[place][digit]
            sources[after].append(extended(lists[before], step, digit, place))
            masses[after] += mass[before] * float(absent[place] if digit is None else joint[place, digit])
        lists, mass = {state: best(several, count) for state, several in sources.items()}, masses
    reached = [state for state in lists if state[0] == enough and state[1] >= 0] if enough >= len(bound) else []
    total = sum(mass[state] for state in reached)
    found = best([iter(lists[state]) for state in reached], count)
    return [
        Hypothesis(text, used, posterior(logarithm, total)) for logarithm, text, used in found if total > IMPOSSIBLE
    ]


def steps(state: State, bound: Sequence[int], enough: int, exactly: bool) -> Iterator[tuple[State, int | None]]:
    """Yield the states after one more detection, each with its digit: None where the detection is no digit."""
    used, sign = state
    yield state, None
    if exactly and used == enough:
        return
    limit = bound[used] if used < len(bound) else 0
    for digit in range(CLASSES):
        yield (min(used + 1, enough), int(np.sign(digit - limit)) or sign if bound else 0), digit


def extended(partials: Sequence[Partial], step: float, digit: int | None, place: int) -> Iterator[Partial]:
    """Yield readings with one more detection to their left."""
    for logarithm, text, used in partials:
        yield (logarithm + step, text, used) if digit is None else (logarithm + step, f"{digit}{text}", (place, *used))


def best(several: Sequence[Iterator[Partial]], count: int) -> list[Partial]:
    """Merge lists, each with its most probable reading first, and keep `count` readings of different texts."""
    kept: dict[str, Partial] = {}
    for partial in heapq.merge(*several, key=lambda partial: -partial[0]):
        kept.setdefault(partial[1], partial)
        if len(kept) == count:
            break
    return list(kept.values())


def posterior(logarithm: float, total: float) -> float:
    """Return a reading's posterior from its log-probability and the probability of all that are allowed, 0..1."""
    return float(np.exp(logarithm) / (total + DOUBT * max(1 - total, 0.0)))


def choose(joint: Floats, absent: Floats, numbers: Sequence[str], count: int) -> list[Hypothesis]:
    """Find the most probable of listed numbers.

    Args:
        joint: float64 [N, 10], above 0.
        absent: float64 [N], above 0.
        numbers: texts of digits.
        count: how many to find.

    Returns:
        The most probable first; none where the line has none of them. A number's probability is that of its best
        alignment with the detections, in which a digit may also be missed.
    """
    lengths = np.array([len(number) for number in numbers])
    digits = np.array([[int(digit) for digit in number.ljust(lengths.max(), "0")] for number in numbers])
    *_, last = alignments(joint, absent, digits)
    scores = last[lengths, np.arange(len(numbers))]
    total = float(np.exp(scores).sum())
    if total <= IMPOSSIBLE:
        return []
    places = np.argsort(-scores, kind="stable")[:count]
    return [
        Hypothesis(numbers[place], align(joint, absent, numbers[place]), posterior(float(scores[place]), total))
        for place in places
    ]


def alignments(joint: Floats, absent: Floats, digits: npt.NDArray[np.int64]) -> Iterator[Floats]:
    """Yield for each number of detections, from 0, the log-probabilities of the best alignments.

    Args:
        joint: float64 [N, 10].
        absent: float64 [N].
        digits: of M numbers, int64 [M, L].

    Yields:
        float64 [L + 1, M], row j for the first j digits of each number.
    """
    row = np.zeros((digits.shape[1] + 1, len(digits)))
    row[1:] = np.cumsum(np.full_like(row[1:], np.log(MISSED)), axis=0)
    yield row
    for log_joint, log_absent in zip(np.log(joint), np.log(absent), strict=True):
        before, row = row, row + log_absent
        row[1:] = np.maximum(row[1:], before[:-1] + log_joint[digits.T])
        for place in range(1, len(row)):
            row[place] = np.maximum(row[place], row[place - 1] + np.log(MISSED))
        yield row


def align(joint: Floats, absent: Floats, number: str) -> tuple[int | None, ...]:
    """Return the index of each digit's detection in a number's best alignment, None for a digit without one."""
    rows = [row[:, 0] for row in alignments(joint, absent, np.array([[int(digit) for digit in number]]))]
    used: list[int | None] = []
    detections, length = len(joint), len(number)
    while length:
        score = rows[detections][length]
        if score == rows[detections][length - 1] + np.log(MISSED):
            used.append(None)
            length -= 1
        else:
            detections -= 1
            if score != rows[detections][length] + np.log(absent[detections]):
                used.append(detections)
                length -= 1
    return tuple(reversed(used))
