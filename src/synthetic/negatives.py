"""Negatives: 28x28 images of what is no digit, drawn in the styles of digits."""

from collections.abc import Callable

import cv2
import numpy as np

from mnist_cnn.pictures.contrast import Floats
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.synthetic.allographs import sample_template, scribble, segments
from mnist_cnn.synthetic.glyphs import crop_to_foreground
from mnist_cnn.synthetic.schools import School, pick
from mnist_cnn.synthetic.singles import HEIGHTS, prepare, write_digit
from mnist_cnn.synthetic.writing import Style, render_image, render_strokes, sample_style

HALVES = ((0, "top"), (0, "bottom"), (2, "bottom"), (3, "left"), (4, "top"), (5, "left"), (8, "left"))
"""Halves of digits that are no digits themselves."""
Draw = Callable[[np.random.Generator, School, Style], Pixels]


def draw_negative(rng: np.random.Generator, school: School) -> Pixels:
    """Draw what is no digit: uint8 [28, 28]."""
    if rng.random() < 0.25:
        drawn = pick(rng, TEXTURES)(rng)
        return np.asarray(np.clip(drawn, 0, 255).round(), dtype=np.uint8)
    style = sample_style(rng, school.glyphs, *HEIGHTS)
    return prepare(rng, CHARACTERS[rng.choice(len(CHARACTERS), p=WEIGHTS)](rng, school, style))


def letter(rng: np.random.Generator, school: School, style: Style) -> Pixels:
    """Write a letter or a printed symbol: uint8 [H, W], cropped."""
    if style.font is not None or rng.random() < 0.4:
        return render_image(rng, style, pick(rng, pick(rng, school.glyphs.distractors)))
    return render_strokes(rng, style, pick(rng, school.glyphs.distractor_strokes))


def sign(rng: np.random.Generator, school: School, style: Style) -> Pixels:
    """Write a sign by hand: uint8 [H, W], cropped."""
    return render_strokes(rng, style, sample_template(rng, pick(rng, school.signs)))


def scribbles(rng: np.random.Generator, _: School, style: Style) -> Pixels:
    """Scribble, in curves or with corners: uint8 [H, W], cropped."""
    parts = [scribble(rng) if rng.random() < 0.6 else zigzag(rng) for _ in range(rng.integers(1, 5))]
    return render_strokes(rng, style, np.concatenate(parts))


def smiley(rng: np.random.Generator, _: School, style: Style) -> Pixels:
    """Draw a face: uint8 [H, W], cropped."""
    left, right, level, size = 0.5 - rng.uniform(0.12, 0.25), 0.5 + rng.uniform(0.12, 0.25), 0.35, 0.04
    eyes = np.array([[[x, level - size], [x, level + size]] for x in (left, right)])
    start, bend = rng.uniform(0.1, 0.3), rng.choice([-1, 1], p=[0.3, 0.7])
    mouth = arc((0.5, 0.68 - 0.1 * bend), 0.25, (np.pi * start, np.pi * (1 - start)))
    mouth[..., 1] = 0.68 + bend * (mouth[..., 1] - 0.68)
    return render_strokes(rng, style, np.concatenate([ring(rng), eyes, mouth]).astype(np.float32))


def stamp(rng: np.random.Generator, school: School, style: Style) -> Pixels:
    """Draw letters in one or two rings or boxes: uint8 [H, W], cropped."""
    frame = ring(rng) if rng.random() < 0.5 else box(rng)
    frames = [frame, 0.5 + rng.uniform(0.75, 0.9) * (frame - 0.5)] if rng.random() < 0.5 else [frame]
    count = int(rng.integers(1, 4))
    width = 0.6 / count
    places = [(0.22 + 1.05 * width * number, 0.5 - width / 2) for number in range(count)]
    inside = [width * pick(rng, school.glyphs.distractor_strokes) + np.array(place) for place in places]
    return render_strokes(rng, style, np.concatenate([*frames, *inside]).astype(np.float32))


def half(rng: np.random.Generator, school: School, style: Style) -> Pixels:
    """Write half a digit: uint8 [H, W], cropped."""
    digit, side = pick(rng, HALVES)
    whole = write_digit(rng, school, style, digit)
    rows, columns = (round(length * rng.uniform(0.42, 0.52)) for length in whole.shape)
    part = {"top": whole[:rows], "bottom": whole[-rows:], "left": whole[:, :columns]}[side]
    return crop_to_foreground(np.ascontiguousarray(part)) if part.size else whole


def two_digits(rng: np.random.Generator, school: School, style: Style) -> Pixels:
    """Write two digits or more beside each other: uint8 [H, W], cropped."""
    digits = [write_digit(rng, school, style, int(rng.integers(10))) for _ in range(rng.choice([2, 3], p=[0.8, 0.2]))]
    height = max(len(digit) for digit in digits)
    gap = max(1, round(height * rng.uniform(0.02, 0.3)))
    row = [np.pad(digit, ((height - len(digit), 0), (0, gap))) for digit in digits]
    return crop_to_foreground(np.hstack(row))


def zigzag(rng: np.random.Generator) -> Floats:
    """Connect random points by straight lines: float32 [M, 2, 2], within a square one high."""
    return segments(rng.uniform(0, 1, (int(rng.integers(4, 9)), 2)).astype(np.float32))


def arc(middle: tuple[float, float], radius: float, angles: tuple[float, float]) -> Floats:
    """Draw an arc between two angles, in radians: float32 [24, 2, 2]."""
    angle = np.linspace(*angles, 25)
    points = np.array(middle) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return segments(points.astype(np.float32))


def ring(rng: np.random.Generator) -> Floats:
    """Draw a closed ellipse, one high: float32 [24, 2, 2]."""
    return np.asarray((arc((0, 0), 0.5, (0, 2 * np.pi)) * [rng.uniform(0.85, 1.2), 1]) + 0.5, dtype=np.float32)


def box(rng: np.random.Generator) -> Floats:
    """Draw a rectangle, one high: float32 [4, 2, 2]."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], np.float32)
    return segments(np.asarray(0.5 + (corners - 0.5) * [rng.uniform(0.8, 1.3), 1], dtype=np.float32))


def garment(rng: np.random.Generator) -> Floats:
    """Draw clothes and shoes in grey, perhaps with stripes: float32 [28, 28]."""
    image = trousers(rng) if rng.random() < 0.3 else polygons(rng)
    period, angle = rng.uniform(2, 9), rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    y, x = np.mgrid[:SIDE, :SIDE]
    phase = 2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y)
    stripes = 1 + rng.choice([0, rng.uniform(0, 0.5)]) * np.sin(phase)
    grained = image * stripes * (1 + rng.uniform(0, 0.2) * rng.normal(0, 1, image.shape))
    return np.asarray(cv2.GaussianBlur(grained, (0, 0), float(rng.uniform(0.3, 1))), dtype=np.float32)


def polygons(rng: np.random.Generator) -> Floats:
    """Fill polygons, symmetric or lopsided, one above the other: float32 [28, 28]."""
    image, symmetric = np.zeros((SIDE, SIDE), np.float32), rng.random() < 0.7
    for _ in range(rng.integers(1, 5)):
        grey, count = float(rng.uniform(60, 255)), int(rng.integers(4, 8))
        heights = np.sort(rng.uniform(0, SIDE, count))
        edge = np.stack([rng.uniform(0, 12, count), heights], axis=1)
        other = edge * [-1, 1] + [SIDE - 1, 0] if symmetric else np.stack([rng.uniform(12, 28, count), heights], axis=1)
        cv2.fillPoly(image, [np.concatenate([edge, other[::-1]]).round().astype(np.int32)], grey)
    return image


def trousers(rng: np.random.Generator) -> Floats:
    """Fill two legs, joined above: float32 [28, 28]."""
    image, middle = np.zeros((SIDE, SIDE), np.float32), SIDE / 2
    top, crotch, bottom = rng.uniform(0, 4), rng.uniform(5, 15), rng.uniform(23, SIDE)
    waist, hips, hem = rng.uniform(3, 7), rng.uniform(3.5, 8), rng.uniform(3, 9)
    gap, sway = rng.uniform(0.3, 0.6) * hem, rng.normal(0, 0.7)
    for side in (-1, 1):
        leg = [[0, top], [waist, top], [hips, crotch], [hem, bottom], [gap, bottom], [rng.uniform(0, 1), crotch]]
        points = np.array([middle + sway, 0]) + np.array(leg) * [side, 1]
        cv2.fillPoly(image, [(16 * points).round().astype(np.int32)], float(rng.uniform(80, 255)), cv2.LINE_8, 4)
    return image


def noise(rng: np.random.Generator) -> Floats:
    """Draw noise of some grain, of an even or a normal distribution or of two values: float32 [28, 28]."""
    side = int(rng.integers(3, SIDE + 1))
    grain = np.asarray(rng.normal(128, 50, (side, side)) if rng.random() < 0.5 else rng.uniform(0, 255, (side, side)))
    if rng.random() < 0.3:
        grain = np.where(grain > rng.uniform(100, 230), 255.0, 0.0)
    large = cv2.resize(grain.astype(np.float32), (SIDE, SIDE), interpolation=int(rng.integers(3)))
    return np.asarray(large, dtype=np.float32)


def blank(rng: np.random.Generator) -> Floats:
    """Draw blank paper, evenly lit or not, with some grain: float32 [28, 28]."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    light = rng.uniform(0, 255) + rng.choice([0, rng.uniform(0, 80)]) * (rng.normal() * x + rng.normal() * y)
    return np.asarray(light + rng.choice([0, rng.uniform(0, 12)]) * rng.normal(0, 1, (SIDE, SIDE)), dtype=np.float32)


TEXTURES = (garment, garment, garment, noise, blank)
CHARACTERS: tuple[Draw, ...] = (letter, sign, scribbles, smiley, stamp, half, two_digits)
WEIGHTS = (0.32, 0.14, 0.2, 0.06, 0.07, 0.07, 0.14)
