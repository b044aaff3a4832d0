"""Rows of numbers, with punctuation, words and symbols between them."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.sheet import FRACTION_BITS, Sheet
from mnist_cnn.synthetic.writing import Style, render_digit, render_distractor, sample_style


@dataclass(frozen=True)
class RowStyle:
    """How the characters of a row are chosen and placed. Lengths are in heights of a digit.

    Attributes:
        characters: how all but zeros are written.
        zeros: how zeros are written: some people write them smaller.
        gap, gap_deviation: mean and standard deviation of the gaps between characters; negative gaps overlap.
        kerning: how far slanted digits reach over and under each other, 0 not at all to 1 as far as the gap allows.
        distractors: share of characters that are no digits.
        punctuation: share of digits that are followed by a punctuation mark.
        connected: whether the pen stays on the paper between digits.
        deviation: standard deviation of the baseline.
        is_round: whether every second digit is a zero.
        digit: the only one of the row, or None.
    """

    characters: Style
    zeros: Style
    gap: float
    gap_deviation: float
    kerning: float
    distractors: float
    punctuation: float
    connected: bool
    deviation: float
    is_round: bool
    digit: int | None


def sample_row_style(rng: np.random.Generator, style: Style) -> RowStyle:
    """Sample the style of a row whose characters have a given style."""
    handwritten = style.font is None
    gaps = rng.uniform(-0.16, 0.05), rng.uniform(0.02, 0.35), rng.uniform(0.3, 2.5)
    row = RowStyle(
        characters=style,
        zeros=style,
        gap=float(rng.choice(gaps, p=[0.35, 0.5, 0.15])),
        gap_deviation=rng.uniform(0.02, 0.12),
        kerning=float(rng.choice([0, rng.uniform(0.4, 1)])) if handwritten else 0.0,
        distractors=float(rng.choice([0, rng.uniform(0, 0.3)])),
        punctuation=float(rng.choice([0, rng.uniform(0, 0.3)])),
        connected=bool(handwritten and rng.random() < 0.12),
        deviation=float(rng.choice([0.6 * style.jitter, 0.35], p=[0.9, 0.1])) if handwritten else 0.0,
        is_round=bool(rng.random() < 0.12),
        digit=None,
    )
    if handwritten and rng.random() < 0.18:
        aspect = style.aspect * rng.uniform(0.9, 1.5)
        zeros = replace(style, height=style.height * rng.uniform(0.38, 0.85), aspect=aspect)
        row = replace(row, zeros=zeros, connected=bool(rng.random() < 0.4))
    return replace(row, digit=int(rng.integers(10))) if rng.random() < 0.08 else row


def sample_digit(rng: np.random.Generator, row: RowStyle) -> int:
    """Sample a digit of a row."""
    digit = int(rng.integers(10)) if row.digit is None else row.digit
    return 0 if row.is_round and rng.random() < 0.5 else digit


def draw_rows(rng: np.random.Generator, glyphs: Glyphs, sheet: Sheet, low: float, high: float) -> None:
    """Write one or several rows of digits, `low` to `high` pixels high; they may begin and end off the sheet."""
    style = sample_style(rng, glyphs, low, high)
    pitch = style.height * rng.uniform(1.05, 2.2)
    slope = float(rng.normal(0, 0.05)) if rng.random() < 0.6 else 0.0
    top = rng.uniform(-0.1, 1) * (sheet.height - style.height)
    if rng.random() < 0.35:
        top = rng.uniform(-0.5, 0.5) * style.height
    single = rng.random() < 0.4
    while top < sheet.height - 0.3 * style.height:
        draw_row(rng, glyphs, sheet, style, top, slope)
        top += pitch
        if single:
            break


def draw_row(rng: np.random.Generator, glyphs: Glyphs, sheet: Sheet, style: Style, top: float, slope: float) -> None:
    """Write one row whose digits begin at `top`, in pixels, and which slopes by `slope`, dy/dx."""
    row = sample_row_style(rng, style)
    x = rng.uniform(-0.6, 0.6) * style.height if rng.random() < 0.6 else rng.uniform(0, 0.6) * sheet.width
    end = sheet.width if rng.random() < 0.6 else x + rng.uniform(1, 8) * style.height
    if rng.random() < 0.12:
        x = draw_word(rng, glyphs, sheet, style, x, top)
    previous: tuple[float, float] | None = None
    last: Pixels | None = None
    while x < min(end, sheet.width):
        y = top + slope * x + rng.normal(0, row.deviation + 1e-9) * style.height
        digit = sample_digit(rng, row)
        if rng.random() < row.distractors:
            image = render_distractor(rng, glyphs, style)
            sheet.put(image, x, y + (style.height - image.shape[0]) * rng.uniform(0.3, 1))
        else:
            image = render_digit(rng, glyphs, style if digit else row.zeros, digit)
            if last is not None:
                x -= row.kerning * overhang(last, image)
            sheet.put(image, x, y + style.height - image.shape[0], digit)
            if row.connected and previous is not None:
                connect(rng, sheet, style, previous, (x, y))
            previous = x + image.shape[1], y
        last = image
        x += image.shape[1] + style.height * (row.gap + rng.normal(0, row.gap_deviation))
        if rng.random() < row.punctuation:
            x += punctuate(rng, sheet, style, x, y)
            last = None
        if rng.random() < 0.04:
            x += style.height * rng.uniform(0.5, 2)
            last = None
    for _ in range(rng.choice([0, 1, 2], p=[0.7, 0.15, 0.15])):  # ".-" and "=" end an amount
        x += punctuate(rng, sheet, style, x, top + slope * x) + style.height * rng.uniform(0, 0.3)


def overhang(left: Pixels, right: Pixels) -> int:
    """Return by how many pixels `right` can move into `left` before they touch: images, uint8, of a common baseline."""
    height = min(len(left), len(right))
    before, after = left[-height:, ::-1] > 0, right[-height:] > 0
    slack = before.argmax(axis=1) + after.argmax(axis=1)
    shared = before.any(axis=1) & after.any(axis=1)
    return int(slack[shared].min()) if shared.any() else 0


def draw_word(rng: np.random.Generator, glyphs: Glyphs, sheet: Sheet, style: Style, x: float, top: float) -> float:
    """Write letters and symbols from x on; return where they end."""
    for _ in range(rng.integers(1, 8)):
        image = render_distractor(rng, glyphs, style)
        sheet.put(image, x, top + style.height - image.shape[0])
        x += image.shape[1] + style.height * rng.uniform(-0.05, 0.25)
    return x


def connect(
    rng: np.random.Generator, sheet: Sheet, style: Style, start: tuple[float, float], end: tuple[float, float]
) -> None:
    """Draw a stroke from the top right corner of one digit's box, x and y, to the top left corner of the next one's."""
    height = style.height * rng.choice([rng.uniform(0, 0.2), rng.uniform(0.8, 1.0)])
    overlap = rng.uniform(0, 0.25, 2) * style.height
    first = round(start[0] - overlap[0]), round(start[1] + height)
    second = round(end[0] + overlap[1]), round(end[1] + height)
    cv2.line(sheet.ink, first, second, 230, max(1, round(style.stroke * style.height * 0.8)), cv2.LINE_AA)


def punctuate(rng: np.random.Generator, sheet: Sheet, style: Style, x: float, y: float) -> float:
    """Write a point, a comma, a dash, a colon or an equals sign after a digit whose top is y; return its width."""
    width = max(style.stroke * style.height * rng.uniform(0.8, 1.6), 1.0)
    base, kind = y + style.height * rng.uniform(0.85, 1.0), rng.random()
    start, stroke = np.array([x + width / 2, base]), np.zeros(2)
    if kind < 0.35:  # a comma
        stroke = np.array([-rng.uniform(0, 0.2), rng.uniform(0.08, 0.4)]) * style.height
    elif kind < 0.55:  # a dash
        start[1] = y + style.height * rng.uniform(0.35, 0.7)
        stroke = np.array([rng.uniform(0.15, 1.4), rng.normal(-0.12, 0.25)]) * style.height
    ends = ((1 << FRACTION_BITS) * np.stack([start, start + stroke])).round().astype(np.int32)
    cv2.polylines(sheet.ink, [ends], False, 255, max(1, round(width)), cv2.LINE_AA, FRACTION_BITS)
    if kind > 0.93 or 0.48 < kind < 0.55:  # a second point or dash above it
        ends[:, 1] -= round((1 << FRACTION_BITS) * rng.uniform(0.2, 0.45) * style.height)
        cv2.polylines(sheet.ink, [ends], False, 255, max(1, round(width)), cv2.LINE_AA, FRACTION_BITS)
    return float(max(stroke[0], 0) + width + style.height * rng.uniform(0, 0.15))
