"""Contact sheets of pages with the boxes of their digits, to look at."""

import cv2
import numpy as np

from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.pages import Page, draw_page

GREEN, RED, BLUE, GREY = (0, 160, 0), (255, 0, 0), (0, 60, 255), (60, 90, 120)
GAP = 4  # pixels between pages
MAX_SIZE = (1000, 1700)  # pixels: height and width


def contact_sheet(glyphs: Glyphs, seed: int, shape: tuple[int, int]) -> Pixels:
    """Draw as many pages of a shape as fit: RGB, uint8 [H, W, 3].

    Boxes are green around targets, red around ignored digits, and blue around digits of another size.
    """
    rows, columns = (side // (length + GAP) for side, length in zip(MAX_SIZE, shape, strict=True))
    tiles = [with_boxes(draw_page(glyphs, seed, index, shape), shape) for index in range(rows * columns)]
    return np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])


def with_boxes(page: Page, shape: tuple[int, int]) -> Pixels:
    """Draw a page with boxes: RGB, uint8 [shape[0] + 4, shape[1] + 4, 3]."""
    image = cv2.cvtColor(page.grey, cv2.COLOR_GRAY2RGB)
    for one in page.digits:
        left, top, right, bottom = (round(side) for side in one.box)
        color = GREEN if one.target else RED if one.ignored else BLUE
        cv2.rectangle(image, (left, top), (right - 1, bottom - 1), color, 1)
    below, beside = (length + GAP - side for length, side in zip(shape, page.grey.shape, strict=True))
    framed = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=GREY)
    return np.asarray(framed, dtype=np.uint8)
