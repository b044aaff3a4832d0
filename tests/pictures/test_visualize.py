"""Boxes and names are drawn where they hide nothing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawing import on_page, photo, shape
from mnist_cnn.pictures.visualize import DOUBTFUL, FONTS, SURE, Mark, draw_boxes
from mnist_cnn.splits import Dataset


@pytest.mark.parametrize("gap", [4, 60])
@pytest.mark.parametrize("top", [90, 2])
def test_no_ink_is_covered_and_doubt_has_a_colour(gap: int, top: int, digits: Dataset, tmp_path: Path) -> None:
    inks = [shape(digits.train.images[n, 0].numpy(), 80) for n in range(8)]
    places, marks, left = [], [], 40
    for number, ink in enumerate([*inks[:4], *inks[4:]]):
        if number == 4:
            left = 40
        height = top + (80 + gap) * (number // 4)
        places.append((ink, height, left))
        marks.append(Mark((left, height, ink.shape[1], ink.shape[0]), str(number), number % 3 > 0))
        left += ink.shape[1] + gap
    page = on_page(places, 380, 640)
    picture = photo(page)
    draw_boxes(picture, marks, tmp_path / "boxes.png")
    with Image.open(tmp_path / "boxes.png") as opened:
        drawn = np.asarray(opened.convert("RGB"))
    margin = (drawn.shape[0] - page.shape[0]) // 2
    assert margin == (0 if top > FONTS[0] + 8 else drawn.shape[1] - page.shape[1] - margin)
    inside = drawn[margin : margin + page.shape[0], margin : margin + page.shape[1]]
    np.testing.assert_array_equal(inside[page > 127], picture[page > 127])
    for colour in (SURE, DOUBTFUL):
        assert (drawn == colour).all(axis=2).sum() > 200


def test_small_digits_are_enlarged_until_their_names_can_be_read(tmp_path: Path) -> None:
    picture = np.full((40, 60), 200, np.uint8)
    picture[14:26, 20:26] = 30
    draw_boxes(picture, [Mark((20, 14, 6, 12), "1", True)], tmp_path / "boxes.png")
    draw_boxes(picture, [], tmp_path / "none.png")
    with Image.open(tmp_path / "boxes.png") as boxes, Image.open(tmp_path / "none.png") as none:
        assert boxes.height >= 4 * 40
        assert none.size == (60, 40)
