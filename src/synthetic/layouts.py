"""Layouts: a sheet is filled with rows of numbers, a grid of cells, one digit, distractors, or nothing."""

import numpy as np

from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.rows import draw_rows, draw_word
from mnist_cnn.synthetic.ruling import draw_frame, draw_grid, draw_shapes, rule_sheet
from mnist_cnn.synthetic.sheet import MAX_HEIGHT, MIN_HEIGHT, Sheet
from mnist_cnn.synthetic.writing import render_digit, sample_style

TALLEST = 54.0  # pixels: digits in rows and cells, before their jitter
SMALL, HUGE = (5.0, 9.0), (90.0, 260.0)  # pixels: digits of sizes that other levels of the image pyramid show


def fill(rng: np.random.Generator, glyphs: Glyphs, sheet: Sheet) -> None:
    """Fill a sheet in a random layout; 3 % stay blank but for shapes and ruling."""
    kind = rng.random()
    low, high = MIN_HEIGHT, min(TALLEST, 0.95 * sheet.height)
    if kind < 0.02:
        low, high = SMALL
    elif kind > 0.96:
        low, high = HUGE
    if kind < 0.55 or kind > 0.98:
        draw_rows(rng, glyphs, sheet, low, max(high, low + 1))
    elif kind < 0.75 or kind > 0.96:
        draw_cells(rng, glyphs, sheet, low, max(0.9 * high, low + 1))
    elif kind < 0.87:
        draw_single(rng, glyphs, sheet)
    elif kind < 0.93:
        draw_distractors(rng, glyphs, sheet)
    if rng.random() < (0.06 if kind < 0.75 else 0.4 if kind > 0.87 else 0):
        draw_shapes(rng, sheet)
    if rng.random() < (0.35 if kind < 0.55 else 0.6 if kind > 0.87 else 0):
        rule_sheet(rng, sheet, float(np.exp(rng.uniform(np.log(10), np.log(120)))))


def draw_cells(rng: np.random.Generator, glyphs: Glyphs, sheet: Sheet, low: float, high: float) -> None:
    """Write digits that are `low` to `high` pixels high into the cells of a grid, of which the sheet shows a part."""
    style = sample_style(rng, glyphs, low, high)
    width, height = style.height * rng.uniform(0.75, 2.4), style.height * rng.uniform(1.02, 2.2)
    if rng.random() < 0.4:
        width = height * rng.uniform(0.9, 1.1)
    origin = rng.uniform(-1, 0.3, 2) * (width, height)
    if rng.random() < 0.4:
        origin = rng.uniform(-0.2, 0.3, 2) * (width, height)
    filled = float(rng.choice([1.0, rng.uniform(0.3, 1)]))
    only = int(rng.integers(10)) if rng.random() < 0.1 else None
    columns, rows = int((sheet.width - origin[0]) / width) + 1, int((sheet.height - origin[1]) / height) + 1
    if rng.random() < 0.3:
        columns, rows = int(rng.integers(1, columns + 1)), int(rng.integers(1, rows + 1))
    for row, column in np.ndindex(rows, columns):
        if rng.random() > filled:
            continue
        digit = int(rng.integers(10)) if only is None else only
        image = render_digit(rng, glyphs, style, digit)
        size = np.array(image.shape[::-1])
        centre = origin + (np.array([column, row]) + 0.5) * (width, height)
        slack = np.maximum(np.array([width, height]) - size, 0)
        left, top = centre - size / 2 + np.clip(rng.normal(0, 0.25, 2), -0.6, 0.6) * slack
        sheet.put(image, left, top, digit)
    draw_grid(rng, sheet, origin, (width, height), (columns, rows))


def draw_single(rng: np.random.Generator, glyphs: Glyphs, sheet: Sheet) -> None:
    """Write one digit that fills much of the sheet, in some cases in a frame."""
    side = min(sheet.height, sheet.width)
    high = min(side * 1.05, 1.25 * MAX_HEIGHT)
    style = sample_style(rng, glyphs, min(max(0.35 * side, MIN_HEIGHT), high - 1), high)
    digit = int(rng.integers(10))
    image = render_digit(rng, glyphs, style, digit)
    slack = np.array([sheet.width - image.shape[1], sheet.height - image.shape[0]])
    left, top = slack * np.clip(rng.normal(0.5, 0.2, 2), 0, 1)
    sheet.put(image, left, top, digit)
    if rng.random() < 0.45:
        draw_frame(rng, sheet, (left, top, left + image.shape[1], top + image.shape[0]), style.height)


def draw_distractors(rng: np.random.Generator, glyphs: Glyphs, sheet: Sheet) -> None:
    """Write what is no digit to be found: words, symbols, scribbles, parts of huge characters."""
    for _ in range(rng.integers(1, 5)):
        style = sample_style(rng, glyphs, 8, 70)
        x, y = rng.uniform(-0.2, 0.9, 2) * (sheet.width, sheet.height)
        draw_word(rng, glyphs, sheet, style, x, y)
    if rng.random() < 0.3:
        style = sample_style(rng, glyphs, 130, 300)
        image = render_digit(rng, glyphs, style, int(rng.integers(10)))
        left, top = rng.uniform(-0.8, 0.6) * image.shape[1], rng.uniform(-0.8, 0.3) * image.shape[0]
        sheet.put(image, left, top)
