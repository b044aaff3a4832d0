"""Ruled grids are found whatever stands in their cells and however they are photographed."""

import time

import cv2
import numpy as np
import pytest

from drawing import photo, sheet
from mnist_cnn.pictures.grid import NoGridError, find_grid
from mnist_cnn.pictures.image_io import Pixels

SIDE = 60


def ruled(rows: int, columns: int, thickness: int = 2, margin: int = 50) -> Pixels:
    """Draw a grid with a stroke in every third cell: 0 paper, 255 ink."""
    page = np.zeros((2 * margin + SIDE * rows, 2 * margin + SIDE * columns), np.uint8)
    for row in range(rows + 1):
        y = margin + SIDE * row
        cv2.line(page, (margin, y), (margin + SIDE * columns, y), 255, thickness)
    for column in range(columns + 1):
        x = margin + SIDE * column
        cv2.line(page, (x, margin), (x, margin + SIDE * rows), 255, thickness)
    for cell in range(0, rows * columns, 3):
        x, y = margin + SIDE * (cell % columns), margin + SIDE * (cell // columns)
        cv2.ellipse(page, (x + 30, y + 30), (12, 20), 0, 0, 360, 255, 4)
    return page


def warped(page: Pixels, corners: list[tuple[float, float]]) -> tuple[Pixels, np.ndarray]:
    """Photograph a page from an angle: its corners, as shares of the picture, and the matrix that does it."""
    height, width = page.shape
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (np.array(corners) * (width, height)).astype(np.float32))
    return np.asarray(cv2.warpPerspective(page, matrix, (width, height)), np.uint8), matrix


VIEWS = {
    "straight": [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)],
    "turned": [(0.08, 0.0), (1.0, 0.08), (0.92, 1.0), (0.0, 0.92)],
    "tilted": [(0.12, 0.05), (0.9, 0.0), (1.0, 1.0), (0.0, 0.93)],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("rows", "columns"), [(9, 9), (1, 5), (6, 2), (3, 3)])
def test_every_cell_is_where_it_was_drawn(view: str, rows: int, columns: int) -> None:
    page, matrix = warped(ruled(rows, columns), VIEWS[view])
    for picture in (photo(page)[:, :, 0], 255 - photo(page)[:, :, 0]):
        grid = find_grid(picture, rows, columns)
        for row in range(rows):
            for column in range(columns):
                middle = np.array([[[50 + SIDE * (column + 0.5), 50 + SIDE * (row + 0.5)]]], np.float32)
                x, y = cv2.perspectiveTransform(middle, matrix)[0, 0]
                assert grid.cell(float(x), float(y)) == (row, column)
        assert grid.cell(1, 1) is None


def test_lines_with_gaps_and_paper_ruled_beyond_the_grid() -> None:
    page = ruled(5, 5)
    page[:, 105::150][:, :1] = 0
    page[50 + SIDE, :] = page[50 + 3 * SIDE, :] = 255  # the paper's own lines go on
    assert find_grid(photo(page)[:, :, 0], 5, 5).cell(200, 200) == (2, 2)


@pytest.mark.parametrize(("rows", "columns"), [(8, 9), (9, 8), (10, 9), (3, 3), (100, 100)])
def test_a_grid_of_another_number_of_cells_is_none(rows: int, columns: int) -> None:
    with pytest.raises(NoGridError, match=f"a.jpg: no grid of {rows}x{columns} ruled cells found") as error:
        find_grid(photo(ruled(9, 9))[:, :, 0], rows, columns, "a.jpg")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["plain", "coarse grain", "crumpled", "ruled"])
def test_paper_without_cells_has_no_grid(kind: str) -> None:
    with pytest.raises(NoGridError):
        find_grid(sheet(kind, 0).astype(np.uint8), 9, 9)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2600), (9, 9), (1300, 2600)])
def test_any_picture_takes_bounded_time(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    start = time.process_time()
    with pytest.raises(NoGridError):
        find_grid(noise, 9, 9)
    assert time.process_time() - start < 9  # of the 10 that a picture may take
