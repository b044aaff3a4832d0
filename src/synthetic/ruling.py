"""Lines printed or drawn on a sheet: ruled and squared paper, grids of cells, boxes, geometric shapes."""

import numpy as np

from mnist_cnn.pictures.detections import Sides
from mnist_cnn.synthetic.sheet import Points, Sheet

Point = tuple[float, float]


def curved_line(rng: np.random.Generator, start: Point, end: Point, amplitude: float) -> Points:
    """Return points [8, 2] from start to end on a line that deviates by `amplitude` pixels from a straight one."""
    share = np.linspace(0, 1, 8)[:, None]
    line = np.array(start) * (1 - share) + np.array(end) * share
    normal = np.array([start[1] - end[1], end[0] - start[0]])
    normal = normal / max(float(np.hypot(*normal)), 1)
    return line + normal * amplitude * np.sin(np.pi * share * rng.uniform(0.5, 2) + rng.uniform(0, 3))


def rule_sheet(rng: np.random.Generator, sheet: Sheet, pitch: float) -> None:
    """Rule or square the whole sheet with lines `pitch` pixels apart, a little sloping and curved."""
    width, darkness = rng.uniform(0.5, 2.2), rng.uniform(0.3, 1)
    amplitude = float(rng.choice([0, rng.uniform(0, 3)]))
    slope = float(rng.normal(0, 0.04))
    y = rng.uniform(-pitch, pitch)
    while y < 1.3 * sheet.height:
        line = curved_line(rng, (-5, y), (sheet.width + 5, y + slope * sheet.width), amplitude)
        sheet.rule(line, width, darkness)
        y += pitch
    if rng.random() < 0.5:
        x = rng.uniform(-pitch, pitch)
        while x < 1.3 * sheet.width:
            line = curved_line(rng, (x, -5), (x - slope * sheet.height, sheet.height + 5), amplitude)
            sheet.rule(line, width, darkness)
            x += pitch


def draw_grid(rng: np.random.Generator, sheet: Sheet, origin: Points, cell: Point, count: tuple[int, int]) -> None:
    """Draw the borders of a grid.

    Args:
        rng: random numbers.
        sheet: to draw on.
        origin: x and y of the grid's top left corner, [2].
        cell: width and height of a cell.
        count: columns and rows.
    """
    width, bold, amplitude = rng.uniform(0.5, 3), rng.uniform(1, 2.5), float(rng.choice([0, rng.uniform(0, 1.5)]))
    period = int(rng.choice([0, 3, 3, 5]))  # each third line of a sudoku is bold
    horizontal, vertical, double = rng.random() < 0.93, rng.random() < 0.93, rng.random() < 0.15
    right, bottom = origin + np.array(cell) * count
    over = rng.uniform(-3, 6) if rng.random() < 0.5 else 0.0
    offsets = (0.0, 3 * width) if double else (0.0,)
    for number in range(count[1] + 1 if horizontal else 0):
        for offset in offsets:
            y = origin[1] + number * cell[1] + offset
            tilt = 0.0 if offset else rng.normal(0, 0.5)
            line = curved_line(rng, (origin[0] - over, y), (right + over, y + tilt), amplitude)
            sheet.rule(line, width * (bold if period and number % period == 0 else 1))
    for number in range(count[0] + 1 if vertical else 0):
        for offset in offsets:
            x = origin[0] + number * cell[0] + offset
            tilt = 0.0 if offset else rng.normal(0, 0.5)
            line = curved_line(rng, (x, origin[1] - over), (x + tilt, bottom + over), amplitude)
            sheet.rule(line, width * (bold if period and number % period == 0 else 1))


def draw_shapes(rng: np.random.Generator, sheet: Sheet) -> None:
    """Draw circles, triangles, squares and other polygons of any size."""
    for _ in range(rng.integers(1, 4)):
        corners = int(rng.choice([3, 4, 4, 5, 24]))
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.choice([0, np.pi / 4, rng.uniform(0, 7)])
        radii = np.exp(rng.uniform(np.log(8), np.log(120))) * np.exp(rng.normal(0, 0.2, 2))
        centre = rng.uniform(-0.1, 1.1, 2) * (sheet.width, sheet.height)
        outline = centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        sheet.rule(outline + rng.normal(0, 0.02, outline.shape) * radii, rng.uniform(0.6, 4), closed=True)


def draw_frame(rng: np.random.Generator, sheet: Sheet, inner: Sides, height: float) -> None:
    """Draw some sides of a frame around `inner`, or a circle, triangle or diamond; `height` is the digit's inside."""
    width = rng.uniform(0.6, 4)
    left, top, right, bottom = np.array(inner) + rng.uniform(-0.05, 0.5, 4) * height * (-1, -1, 1, 1)
    kind = rng.random()
    if kind < 0.2:
        angles = np.linspace(0, 2 * np.pi, int(rng.choice([4, 5, 25]))) - np.pi / 2
        centre, radius = ((left + right) / 2, (top + bottom) / 2), np.hypot(right - left, bottom - top) / 2
        sheet.rule(centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), width)
        return
    drawn = rng.random(4) < (0.95 if kind < 0.5 else 0.45)
    over = rng.uniform(-0.1, 0.6) * height if rng.random() < 0.7 else sheet.width
    sides = (
        *(((left - over, y), (right + over, y)) for y in (top, bottom)),
        *(((x, top - over), (x, bottom + over)) for x in (left, right)),
    )
    for is_drawn, (start, end) in zip(drawn, sides, strict=True):
        if is_drawn:
            sheet.rule(curved_line(rng, start, end, rng.uniform(0, 0.6)), width)
