"""Documents: pictures of numbers with their text, drawn for measuring and as samples; no spotter trains on them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.backgrounds import guilloche
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.pages import render
from mnist_cnn.synthetic.rows import punctuate
from mnist_cnn.synthetic.ruling import draw_grid, draw_shapes, rule_sheet
from mnist_cnn.synthetic.sheet import Sheet
from mnist_cnn.synthetic.writing import Style, render_digit, sample_style

HEIGHTS = 24.0, 60.0  # pixels, of digits
MARGIN = 20  # pixels
RULING = 55.0  # pixels between the lines of a page


@dataclass(frozen=True)
class Document:
    """A picture, uint8 [H, W], and its text; line breaks separate lines."""

    grey: Pixels
    text: str


def handwriting(rng: np.random.Generator, glyphs: Glyphs, low: float = HEIGHTS[0], high: float = HEIGHTS[1]) -> Style:
    """Sample a style whose digits are MNIST images, slanted, scaled and drawn with some pen."""
    style = sample_style(rng, glyphs, low, high)
    return replace(style, font=None, image_share=1.0, european=False, outlined=False, jitter=float(rng.uniform(0, 0.1)))


def write(
    rng: np.random.Generator,
    glyphs: Glyphs,
    sheet: Sheet,
    style: Style,
    corner: tuple[float, float],
    count: int,
    amount: bool = False,
) -> str:
    """Write digits from the top left corner, x and y, on, in an amount with points between thousands; return them."""
    x, y = corner
    gap = rng.uniform(0.0, 0.4)
    digits = [int(digit) for digit in rng.integers(10, size=count)]
    for number, digit in enumerate(digits):
        image = render_digit(rng, glyphs, style, digit)
        sheet.put(image, x, y + style.height - len(image) + rng.normal(0, 0.03) * style.height, digit)
        x += image.shape[1] + style.height * (gap + rng.normal(0, 0.03))
        if amount and (count - number) % 3 == 1:
            x += punctuate(rng, sheet, style, x, y)
    return "".join(map(str, digits))


def cropped(sheet: Sheet) -> Sheet:
    """Crop a sheet to its digits and a margin."""
    boxes = np.array([digit.box for digit in sheet.digits])
    left, top = (boxes[:, :2].min(axis=0) - MARGIN).astype(int).tolist()
    right, bottom = (boxes[:, 2:].max(axis=0) + MARGIN).astype(int).tolist()
    return sheet.cropped(left, top, right, bottom)


def draw_row(rng: np.random.Generator, glyphs: Glyphs) -> Document:
    """Draw three to eight handwritten digits."""
    sheet = Sheet(160, 1200)
    text = write(rng, glyphs, sheet, handwriting(rng, glyphs), (MARGIN, 50), int(rng.integers(3, 9)))
    return Document(render(rng, cropped(sheet)), text)


def draw_amount(rng: np.random.Generator, glyphs: Glyphs) -> Document:
    """Draw an amount on security paper."""
    sheet = Sheet(160, 1200)
    text = write(rng, glyphs, sheet, handwriting(rng, glyphs), (MARGIN, 50), int(rng.integers(3, 8)), amount=True)
    sheet = cropped(sheet)
    pattern = 120 * guilloche(rng, *sheet.ink.shape)
    sheet.ruling = np.asarray(pattern, dtype=np.uint8)
    return Document(render(rng, sheet), text)


def draw_form(rng: np.random.Generator, glyphs: Glyphs) -> Document:
    """Draw three to ten cells with a digit each."""
    style, count = handwriting(rng, glyphs), int(rng.integers(3, 11))
    side = style.height * rng.uniform(1.3, 1.9)
    sheet = Sheet(round(side) + 2 * MARGIN, round(count * side) + 2 * MARGIN)
    digits = [int(digit) for digit in rng.integers(10, size=count)]
    for number, digit in enumerate(digits):
        image = render_digit(rng, glyphs, style, digit)
        slack = np.maximum(side - np.array(image.shape[::-1]), 0)
        left, top = MARGIN + slack * np.clip(rng.normal(0.5, 0.12, 2), 0.05, 0.95)
        sheet.put(image, left + number * side, top, digit)
    draw_grid(rng, sheet, np.array([MARGIN, MARGIN], dtype=np.float64), (side, side), (count, 1))
    return Document(render(rng, sheet), "".join(map(str, digits)))


def draw_page(rng: np.random.Generator, glyphs: Glyphs) -> Document:
    """Draw a ruled or squared page with a handwritten number on each of ten lines."""
    sheet, style = Sheet(round(11 * RULING), 700), handwriting(rng, glyphs, 24, 40)
    rule_sheet(rng, sheet, RULING)
    corners = [(rng.uniform(20, 120), number * RULING - style.height) for number in range(1, 11)]
    lines = [write(rng, glyphs, sheet, style, corner, int(rng.integers(2, 9))) for corner in corners]
    return Document(render(rng, sheet), "\n".join(lines))


def draw_printed(rng: np.random.Generator, glyphs: Glyphs) -> Document:
    """Draw three to eight digits in one of the fonts."""
    style = replace(sample_style(rng, glyphs, *HEIGHTS), font=int(rng.integers(len(glyphs.fonts))), jitter=0.0)
    sheet = Sheet(160, 1200)
    style = replace(style, slant=0.0, outlined=False)
    text = write(rng, glyphs, sheet, style, (MARGIN, 50), int(rng.integers(3, 9)))
    return Document(render(rng, cropped(sheet)), text)


def draw_blank(rng: np.random.Generator, _glyphs: Glyphs) -> Document:
    """Draw paper without digits: plain, ruled or squared, or with shapes."""
    sheet = Sheet(int(rng.integers(100, 500)), int(rng.integers(100, 700)))
    if rng.random() < 0.5:
        rule_sheet(rng, sheet, float(rng.uniform(20, 90)))
    elif rng.random() < 0.5:
        draw_shapes(rng, sheet)
    return Document(render(rng, sheet), "")


DOCUMENTS: dict[str, Callable[[np.random.Generator, Glyphs], Document]] = {
    "handwritten row": draw_row,
    "amount on security paper": draw_amount,
    "cells of a form": draw_form,
    "ruled page of ten lines": draw_page,
    "printed row": draw_printed,
    "blank paper": draw_blank,
}
"""Functions that draw a document of each kind."""
