"""Segmentation: a mask of several digits becomes one mask per digit, in reading order."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from mnist_cnn.pictures.binarize import Box, Mask, bounding_box
from mnist_cnn.pictures.preprocess import stroke_width

SMALL = 0.5  # of the typical height: smaller components are parts of a digit nearby, or no digits
WIDEST = 1.6  # of its height: no digit is wider
MAX_CUTS = 20  # of one component
NARROW = 0.8  # of its height: wider components may be touching digits

Span = tuple[int, int]


@dataclass(frozen=True)
class Component:
    """A connected component, or several of one digit: its box in the picture and its mask, bool [height, width]."""

    box: Box
    mask: Mask

    @property
    def middle(self) -> tuple[float, float]:
        """The centre of the box, x and y."""
        left, top, width, height = self.box
        return left + width / 2, top + height / 2


def find_digits(mask: Mask) -> list[list[Component]]:
    """Find the digits of a mask: join the strokes of each, and group the digits into lines.

    Args:
        mask: bool [H, W].

    Returns:
        Lines from top to bottom, the digits of each from left to right; touching digits are one component.
    """
    strokes = connected(mask)
    if not strokes:
        return []
    height = typical_height(strokes)
    return lines([component for component in join(strokes, height) if component.box[3] >= SMALL * height])


def connected(mask: Mask) -> list[Component]:
    """Find the 8-connected components."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    components = []
    for label in range(1, count):
        left, top, width, height = (int(n) for n in stats[label, :4])
        components.append(
            Component((left, top, width, height), labels[top : top + height, left : left + width] == label)
        )
    return components


def typical_height(components: list[Component]) -> float:
    """Return the typical height of a digit: the median over strokes, weighted by height."""
    heights = np.sort([component.box[3] for component in components])
    return float(heights[np.searchsorted(heights.cumsum(), heights.sum() / 2)])


def join(components: list[Component], height: float) -> list[Component]:
    """Merge each small stroke with its nearest component, and strokes that overlap vertically within a digit."""
    joined = True
    while joined:
        joined = False
        for one in sorted(components, key=lambda component: component.box[3]):
            others = [other for other in components if other is not one and belong(one, other, height)]
            if others:
                nearest = min(others, key=lambda other: distance(one.box, other.box))
                components = [
                    component for component in components if component is not one and component is not nearest
                ]
                components.append(union(one, nearest))
                joined = True
                break
    return components


def belong(one: Component, other: Component, height: float) -> bool:
    """Return whether two strokes are parts of one digit, given the typical height of digits."""
    box = union_box(one.box, other.box)
    if box[3] > 1.35 * max(height, one.box[3], other.box[3]) or box[2] > WIDEST * max(height, box[3]):
        return False
    shared = min(one.box[0] + one.box[2], other.box[0] + other.box[2]) - max(one.box[0], other.box[0])
    above = shared > 0.5 * min(one.box[2], other.box[2])
    small = min(one.box[3], other.box[3]) < SMALL * height
    return (above or small) and distance(one.box, other.box) < 0.25 * height


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
    """Merge two components."""
    box = union_box(one.box, other.box)
    mask = np.zeros((box[3], box[2]), dtype=np.bool_)
    for component in (one, other):
        left, top = component.box[0] - box[0], component.box[1] - box[1]
        mask[top : top + component.box[3], left : left + component.box[2]] |= component.mask
    return Component(box, mask)


def spans(component: Component) -> list[tuple[Component, Span]]:
    """List the possible digits of a component: all of it, and the parts between possible cuts.

    Returns:
        Each part with the numbers of the two edges it lies between: a path of parts from the first edge to the last
        covers the component. The network's best path decides (oversegmentation: Casey and Lecolinet 1996, "A Survey
        of Methods and Strategies in Character Segmentation", section 4).
    """
    left, top, width, height = component.box
    edges = [0, *(cuts(component.mask) if width > NARROW * height else ()), width]
    parts = []
    for (first, start), (last, end) in itertools.combinations(enumerate(edges), 2):
        box = bounding_box(component.mask[:, start:end])
        if box is not None and (end - start <= WIDEST * height or last == first + 1 or end - start == width):
            x, y, w, h = box
            mask = component.mask[y : y + h, start + x : start + x + w]
            parts.append((Component((left + start + x, top + y, w, h), mask), (first, last)))
    return parts


def cuts(mask: Mask) -> list[int]:
    """Find the columns where touching digits may be separated: low local minima of the vertical projection."""
    height, width = mask.shape
    projection = mask.sum(axis=0)
    limit = 2.2 * stroke_width(255 * mask.astype(np.uint8))
    reach = max(1, round(0.12 * height))
    low = [
        x
        for x in range(reach, width - reach)
        if projection[x] <= min(limit, projection[x - reach : x + reach + 1].min())
    ]
    groups = np.split(low, np.flatnonzero(np.diff(low) > reach) + 1) if low else []
    return [int(np.median(group)) for group in groups][:MAX_CUTS]


def lines(components: list[Component]) -> list[list[Component]]:
    """Group components into lines of text, which may be slightly slanted."""
    found: list[list[Component]] = []
    for component in sorted(components, key=lambda component: component.middle[0]):
        near = [line for line in found if beside(line[-1], component)]
        if near:
            min(near, key=lambda line: abs(line[-1].middle[1] - component.middle[1])).append(component)
        else:
            found.append([component])
    return sorted(found, key=lambda line: np.mean([component.middle[1] for component in line]))


def beside(one: Component, other: Component) -> bool:
    """Return whether two components overlap vertically by more than half of the lower one's height."""
    shared = min(one.box[1] + one.box[3], other.box[1] + other.box[3]) - max(one.box[1], other.box[1])
    return shared > 0.5 * min(one.box[3], other.box[3])
