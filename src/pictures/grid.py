"""Finds a ruled grid in a picture: tables, forms, sudokus."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.image_io import Pixels

BLOCK, DARKER = 80, 7  # shorter sides of the picture, over the threshold's radius; grey levels below the mean there
SMALLEST = 50  # pixels of a cell
GAPS = (1, 3, 7)  # pixels: gaps of the ruling that are closed, in turn
ALIKE = 2.5  # times larger or smaller: cells of a grid
BETWEEN = 0.35  # sides of a cell: largest distance of two cells of a grid
FOUND = 0.5  # share of a grid's cells that are found by their ruling
CENTRED = 0.17  # sides of a cell: mean distance of found cells' centres from where the grid has them
FULL = 0.9  # share of a group of cells that its corners span

Points = npt.NDArray[np.float32]


class NoGridError(InputError):
    """A picture has no such grid."""


class Grid:
    """A grid of cells in a picture."""

    def __init__(self, corners: Points, rows: int, columns: int) -> None:
        """Create a grid.

        Args:
            corners: x and y of the upper left, upper right, lower right and lower left one, float32 [4, 2].
            rows: of cells.
            columns: of cells.
        """
        self.rows, self.columns = rows, columns
        sides = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], dtype=np.float32)
        self.matrix = cv2.getPerspectiveTransform(corners, sides)

    def places(self, points: Points) -> Points:
        """Map points of the picture, x and y [N, 2], to columns and rows of the grid, float32 [N, 2]."""
        return np.asarray(cv2.perspectiveTransform(points.reshape(-1, 1, 2), self.matrix)[:, 0], dtype=np.float32)

    def cell(self, x: float, y: float) -> tuple[int, int] | None:
        """Return row and column of the cell around a point of the picture; None outside of the grid."""
        ((column, row),) = self.places(np.array([(x, y)], dtype=np.float32))
        inside = 0 <= row < self.rows and 0 <= column < self.columns
        return (int(row), int(column)) if inside else None


def find_grid(grey: Pixels, rows: int, columns: int, name: str = "picture") -> Grid:
    """Find the largest ruled grid of so many cells in a picture, uint8 [H, W], lines dark on light or light on dark.

    Raises:
        NoGridError: there is none.
    """
    for areas in enclosed_areas(grey):
        cells = alike(areas, rows * columns)
        corners = outer_corners(areas, cells)
        if corners is not None:
            grid = Grid(corners, rows, columns)
            if fits(grid, areas, cells):
                return grid
    raise NoGridError(
        f"{name}: no grid of {rows}x{columns} ruled cells found; show all of it, flat and sharp, or read it without"
    )


@dataclass(frozen=True)
class Areas:
    """Areas of a picture that lines enclose: labels of the pixels, int32 [H, W]; their sizes [N] and centres [N, 2]."""

    labels: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]
    centres: Points


def enclosed_areas(grey: Pixels) -> Iterator[Areas]:
    """Yield the areas that lines enclose, dark lines first, then light ones, with ever larger gaps of them closed."""
    block = max(min(grey.shape) // BLOCK, 5) * 2 + 1
    for picture in (grey, 255 - grey):
        lines = cv2.adaptiveThreshold(picture, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, block, DARKER)
        for gap in GAPS:
            paper = cv2.bitwise_not(cv2.dilate(lines, np.ones((gap, gap), dtype=np.uint8)))
            _, labels, stats, centres = cv2.connectedComponentsWithStats(paper, connectivity=4)
            sizes = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
            sizes[0] = 0  # the lines
            sizes[np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))] = 0  # not enclosed
            yield Areas(np.asarray(labels, dtype=np.int32), sizes, centres.astype(np.float32))


def alike(areas: Areas, cells: int) -> npt.NDArray[np.bool_]:
    """Choose areas of one size, enough for a grid of so many cells, and of these the ones that cover most: bool [N]."""
    chosen = np.zeros(len(areas.sizes), dtype=np.bool_)
    for size in np.geomspace(SMALLEST, areas.labels.size, 50):
        near = (areas.sizes > size / ALIKE) & (areas.sizes < size * ALIKE)
        if near.sum() >= FOUND * cells and areas.sizes[near].sum() > areas.sizes[chosen].sum():
            chosen = near
    return chosen


def outer_corners(areas: Areas, cells: npt.NDArray[np.bool_]) -> Points | None:
    """Return the corners of the largest group of neighbouring cells, float32 [4, 2]; None if it is no quadrilateral."""
    if not cells.any():
        return None
    side = round(BETWEEN * float(np.median(areas.sizes[cells])) ** 0.5) | 1
    brush = np.ones((side, side), dtype=np.uint8)
    joined = cv2.morphologyEx(cells[areas.labels].astype(np.uint8), cv2.MORPH_CLOSE, brush)
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(max(contours, key=cv2.contourArea))
    for tolerance in np.arange(0.01, 0.1, 0.01) * cv2.arcLength(hull, closed=True):
        corners = cv2.approxPolyDP(hull, float(tolerance), closed=True)[:, 0].astype(np.float32)
        if len(corners) == 4 and cv2.contourArea(corners) > FULL * cv2.contourArea(hull):
            around = corners - corners.mean(axis=0)
            corners = corners[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]
            return np.asarray(np.roll(corners, -int(corners.sum(axis=1).argmin()), axis=0))
    return None


def fits(grid: Grid, areas: Areas, cells: npt.NDArray[np.bool_]) -> bool:
    """Return whether areas lie where a grid has its cells."""
    places, sizes = grid.places(areas.centres[cells]), areas.sizes[cells]
    inside = ((places >= 0) & (places < (grid.columns, grid.rows))).all(axis=1)
    if len(np.unique(np.floor(places[inside]), axis=0)) < FOUND * grid.rows * grid.columns:
        return False
    off = np.average(np.abs(places[inside] % 1 - 0.5), axis=0, weights=sizes[inside])
    return bool((off < CENTRED).all())
