"""Detections become lines of text in reading order, also where lines slope."""

from collections.abc import Sequence
from statistics import median

import numpy as np

from mnist_cnn.pictures.detections import Detection

MAX_SLOPE = 0.35
MAX_OFFSET = 0.55  # heights: of a digit from the line through those before it
REACH = 8.0  # heights: distance of neighbours that tell a line's slope
BESIDE = 0.2  # heights: least distance of neighbours, and how far one may be above the other on a level line
MEMORY = 4  # digits that tell where the next one is expected
LEVEL = 0.3  # share of the lower row's height that two parts of one row share
ABOVE = 0.25  # share of the narrower digit's width that two digits above each other share


def text_lines(found: Sequence[Detection]) -> list[list[Detection]]:
    """Sort detections into lines, from top to bottom, and each line from left to right."""
    rows: list[list[Detection]] = []
    ends: list[tuple[float, float]] = []
    slope = common_slope(found)
    for one in sorted(found, key=lambda one: one.centre[0]):
        number = nearest(ends, one, slope)
        if number is None:
            rows.append([one])
            ends.append(level_and_height([one], slope))
        else:
            rows[number].append(one)
            ends[number] = level_and_height(rows[number][-MEMORY:], slope)
    rows = merge_level_rows(rows, slope)
    return sorted(rows, key=lambda row: float(np.mean([level(one, slope) for one in row])))


def with_faint(rows: Sequence[list[Detection]], faint: Sequence[Detection]) -> list[list[Detection]]:
    """Insert faint detections into lines, each where it is level with the nearest digits; others are left out."""
    slope = common_slope([one for row in rows for one in row]) if faint else 0.0
    longer = [list(row) for row in rows]
    for one in faint:
        closest = [sorted(row, key=lambda other: abs(other.centre[0] - one.centre[0]))[:MEMORY] for row in rows]
        number = nearest([level_and_height(some, slope) for some in closest], one, slope)
        if number is not None:
            longer[number].append(one)
    return [sorted(row, key=lambda one: one.centre[0]) for row in longer]


def common_slope(found: Sequence[Detection]) -> float:
    """Estimate the slope of lines, dy/dx: the median over each digit and its nearest neighbour to the right."""
    slopes = []
    centres = np.array([one.centre for one in found])
    for one, (x, y) in zip(found, centres, strict=True):
        right, rise = centres[:, 0] - x, centres[:, 1] - y
        beside = right > BESIDE * one.height
        beside &= (right < REACH * one.height) & (np.abs(rise) < MAX_SLOPE * right + BESIDE * one.height)
        if beside.any():
            nearest = np.flatnonzero(beside)[right[beside].argmin()]
            slopes.append(float(np.clip(rise[nearest] / right[nearest], -MAX_SLOPE, MAX_SLOPE)))
    return float(np.median(slopes)) if len(slopes) > 1 else 0.0


def level(one: Detection, slope: float) -> float:
    """Return where a line through a digit's centre meets the picture's left side."""
    return one.centre[1] - slope * one.centre[0]


def level_and_height(some: Sequence[Detection], slope: float) -> tuple[float, float]:
    """Return the median level and the median height of digits of a line."""
    return median(level(one, slope) for one in some), median(one.height for one in some)


def nearest(ends: Sequence[tuple[float, float]], one: Detection, slope: float) -> int | None:
    """Return which of the lines, given by level and height, a digit is on; None if it is above or below all."""
    if not ends:
        return None
    levels, heights = np.array(ends).T
    offsets = np.abs(level(one, slope) - levels) / np.maximum(heights, one.height)
    number = int(offsets.argmin())
    return number if offsets[number] < MAX_OFFSET else None


def merge_level_rows(rows: Sequence[list[Detection]], slope: float) -> list[list[Detection]]:
    """Merge rows at the same level that stand beside each other: the digits of one line vary in height."""
    merged: list[tuple[float, float, list[Detection]]] = []
    for row in rows:
        top = min(one.box[1] - slope * one.centre[0] for one in row)
        bottom = max(one.box[3] - slope * one.centre[0] for one in row)
        for number, (high, low, other) in enumerate(merged):
            is_level = min(bottom, low) - max(top, high) > LEVEL * min(bottom - top, low - high)
            if is_level and not any(above(one, two) for one in row for two in other):
                both = sorted([*other, *row], key=lambda one: one.centre[0])
                merged[number] = min(top, high), max(bottom, low), both
                break
        else:
            merged.append((top, bottom, row))
    return [row for _, _, row in merged]


def above(one: Detection, other: Detection) -> bool:
    """Return whether one digit stands above or below another, rather than beside it."""
    shared = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    return shared > ABOVE * min(one.box[2] - one.box[0], other.box[2] - other.box[0])
