"""Ink with several digits in it becomes one mask a digit, in reading order."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from mnist_cnn.pictures.binarize import Box, Mask, bounding_box
from mnist_cnn.pictures.preprocess import stroke_width

SMALL = 0.5  # of the usual height: what is smaller belongs to a digit beside it, or is no digit
WIDEST = 1.6  # of its height: no digit is wider
MOST_CUTS = 20  # of one component of ink
NARROW = 0.8  # of its height: what is wider may be digits that touch


Span = tuple[int, int]


@dataclass(frozen=True)
class Component:
    """The ink of one digit: its box in the picture and its mask, bool [height, width] of the box."""

    box: Box
    mask: Mask

    @property
    def middle(self) -> tuple[float, float]:
        """The centre of the box, x and y."""
        left, top, width, height = self.box
        return left + width / 2, top + height / 2


def find_digits(mask: Mask) -> list[list[Component]]:
    """Cut ink into digits: the strokes of one are joined, and lines are told apart.

    Args:
        mask: bool [H, W].

    Returns:
        Lines from top to bottom, the digits of each from left to right; digits that touch are one component.
    """
    strokes = connected(mask)
    if not strokes:
        return []
    usual = usual_height(strokes)
    return lines([component for component in join(strokes, usual) if component.box[3] >= SMALL * usual])


def connected(mask: Mask) -> list[Component]:
    """Take connected ink apart."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    components = []
    for label in range(1, count):
        left, top, width, height = (int(n) for n in stats[label, :4])
        components.append(
            Component((left, top, width, height), labels[top : top + height, left : left + width] == label)
        )
    return components


def usual_height(components: list[Component]) -> float:
    """Return the height of a digit: the median over strokes, each counting by its height."""
    heights = np.sort([component.box[3] for component in components])
    return float(heights[np.searchsorted(heights.cumsum(), heights.sum() / 2)])


def join(components: list[Component], usual: float) -> list[Component]:
    """Merge each small stroke with its nearest component, and strokes that overlap vertically within a digit."""
    joined = True
    while joined:
        joined = False
        for one in sorted(components, key=lambda component: component.box[3]):
            others = [other for other in components if other is not one and belong(one, other, usual)]
            if others:
                nearest = min(others, key=lambda other: distance(one.box, other.box))
                components = [
                    component for component in components if component is not one and component is not nearest
                ]
                components.append(union(one, nearest))
                joined = True
                break
    return components


def belong(one: Component, other: Component, usual: float) -> bool:
    """Tell whether two strokes are parts of one digit."""
    box = union_box(one.box, other.box)
    if box[3] > 1.35 * max(usual, one.box[3], other.box[3]) or box[2] > WIDEST * max(usual, box[3]):
        return False
    shared = min(one.box[0] + one.box[2], other.box[0] + other.box[2]) - max(one.box[0], other.box[0])
    above = shared > 0.5 * min(one.box[2], other.box[2])
    small = min(one.box[3], other.box[3]) < SMALL * usual
    return (above or small) and distance(one.box, other.box) < 0.25 * usual


def distance(one: Box, other: Box) -> float:
    """Return the gap between two boxes, in pixels; 0 where they overlap."""
    x = max(one[0], other[0]) - min(one[0] + one[2], other[0] + other[2])
    y = max(one[1], other[1]) - min(one[1] + one[3], other[1] + other[3])
    return float(np.hypot(max(x, 0), max(y, 0)))


def union_box(one: Box, other: Box) -> Box:
    """Return the smallest box around both."""
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top


def union(one: Component, other: Component) -> Component:
    """Put two components into one."""
    box = union_box(one.box, other.box)
    mask = np.zeros((box[3], box[2]), dtype=np.bool_)
    for component in (one, other):
        left, top = component.box[0] - box[0], component.box[1] - box[1]
        mask[top : top + component.box[3], left : left + component.box[2]] |= component.mask
    return Component(box, mask)


def spans(component: Component) -> list[tuple[Component, Span]]:
    """List what may be a digit in a component of ink: all of it, or what lies between places where it may be cut.

    Returns:
        Each part with the numbers of the edges it lies between; those from the first edge to the last, end to start,
        make up the component. The network is to choose among them (Casey and Lecolinet 1996, "A Survey of Methods and
        Strategies in Character Segmentation", section 4).
    """
    left, top, width, height = component.box
    edges = [0, *(cuts(component.mask) if width > NARROW * height else ()), width]
    parts = []
    for (first, start), (last, end) in itertools.combinations(enumerate(edges), 2):
        box = bounding_box(component.mask[:, start:end])
        if box is not None and (end - start <= WIDEST * height or last == first + 1 or end - start == width):
            x, y, w, h = box
            ink = component.mask[y : y + h, start + x : start + x + w]
            parts.append((Component((left + start + x, top + y, w, h), ink), (first, last)))
    return parts


def cuts(mask: Mask) -> list[int]:
    """Find the columns where touching digits may be parted: the least ink far and wide, and little of it."""
    height, width = mask.shape
    ink = mask.sum(axis=0)
    limit = 2.2 * stroke_width(255 * mask.astype(np.uint8))
    reach = max(1, round(0.12 * height))
    low = [x for x in range(reach, width - reach) if ink[x] <= limit and ink[x] == ink[x - reach : x + reach + 1].min()]
    groups = np.split(low, np.flatnonzero(np.diff(low) > reach) + 1) if low else []
    return [int(np.median(group)) for group in groups][:MOST_CUTS]


def lines(components: list[Component]) -> list[list[Component]]:
    """Sort components into lines of text, which may slope a little."""
    found: list[list[Component]] = []
    for component in sorted(components, key=lambda component: component.middle[0]):
        near = [line for line in found if beside(line[-1], component)]
        if near:
            min(near, key=lambda line: abs(line[-1].middle[1] - component.middle[1])).append(component)
        else:
            found.append([component])
    return sorted(found, key=lambda line: np.mean([component.middle[1] for component in line]))


def beside(one: Component, other: Component) -> bool:
    """Tell whether two components overlap in height by at least half of the lower one."""
    shared = min(one.box[1] + one.box[3], other.box[1] + other.box[3]) - max(one.box[1], other.box[1])
    return shared > 0.5 * min(one.box[3], other.box[3])
