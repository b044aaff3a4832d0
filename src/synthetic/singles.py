"""Single digits as 28x28 images: drawn at a size of their own, then prepared as pictures are, or scanned small."""

import cv2
import numpy as np

from mnist_cnn.pictures.binarize import Mask
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE, centre, to_mnist
from mnist_cnn.synthetic.allographs import sample_template
from mnist_cnn.synthetic.schools import School, pick
from mnist_cnn.synthetic.writing import Style, crossed, render_digit, render_image, render_strokes, sample_style

HEIGHTS = 10, 64  # pixels
CUT_OUT = 72  # pixels: height at which `pictures.digit_crop` binarizes
SCANS = 0.25  # share of images that are scans of few pixels
SCAN_SIDES = 8, 20  # pixels; digits of 8x8 and 16x16 are in use for teaching
RESIZING = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def draw_digit(rng: np.random.Generator, school: School, digit: int) -> Pixels:
    """Draw a digit: uint8 [28, 28], 255 is foreground."""
    style = sample_style(rng, school.glyphs, *HEIGHTS)
    return prepare(rng, write_digit(rng, school, style, digit))


def write_digit(rng: np.random.Generator, school: School, style: Style, digit: int) -> Pixels:
    """Write a digit in a style, from a template, traced strokes, an MNIST image or a font: uint8 [H, W], cropped."""
    if style.font is not None:
        return render_digit(rng, school.glyphs, style, digit)
    kind = rng.random()
    if kind < 0.5 or not school.glyphs.strokes[digit]:
        return render_strokes(rng, style, sample_template(rng, pick(rng, school.templates[digit])))
    if kind < 0.8:
        return render_strokes(rng, style, crossed(rng, digit, pick(rng, school.glyphs.strokes[digit])))
    images = school.glyphs.images[digit]
    return render_image(rng, style, images[rng.integers(len(images))])


def prepare(rng: np.random.Generator, ink: Pixels) -> Pixels:
    """Turn a rendered character, uint8 [H, W], into the network's input: uint8 [28, 28]."""
    return scan(rng, ink) if rng.random() < SCANS else to_mnist(binarize(rng, ink))


def binarize(rng: np.random.Generator, ink: Pixels) -> Mask:
    """Binarize a character at the height at which `digit_crop` does: bool [H, W]."""
    height, width = ink.shape
    scale = CUT_OUT / max(height, width)
    size = max(round(width * scale), 2), max(round(height * scale), 2)
    padded = cv2.copyMakeBorder(cv2.resize(ink, size, interpolation=cv2.INTER_CUBIC), 8, 8, 8, 8, cv2.BORDER_CONSTANT)
    smooth = cv2.GaussianBlur(padded, (0, 0), float(rng.uniform(0.5, 3)))
    return np.asarray(smooth > rng.uniform(0.35, 0.6) * max(int(smooth.max()), 1), dtype=np.bool_)


def scan(rng: np.random.Generator, ink: Pixels) -> Pixels:
    """Scan a character with few pixels, binary or grey, and enlarge it: uint8 [28, 28]."""
    side = int(rng.integers(SCAN_SIDES[0], SCAN_SIDES[1] + 1))
    height, width = ink.shape
    longest = max(height, width)
    stretched = rng.random() < 0.3  # to a square, as those of Semeion are
    shape = (side, side) if stretched else (max(side * width // longest, 2), max(side * height // longest, 2))
    small = np.asarray(cv2.resize(ink, shape, interpolation=cv2.INTER_AREA), dtype=np.float32)
    small = small * (255 / max(float(small.max()), 1.0))
    if rng.random() < 0.5:
        mean = float((small**2).sum()) / max(float(small.sum()), 1.0)  # of the foreground, weighted by itself
        level = rng.uniform(0.4, 0.8) * mean  # keeps strokes thinner than a pixel whole
        small = np.where(small > level, np.float32(255), np.float32(0))
    scale = rng.uniform(18, SIDE) / side
    size = (min(round(shape[0] * scale), SIDE), min(round(shape[1] * scale), SIDE))
    large = cv2.resize(small, size, interpolation=int(rng.choice(RESIZING)))
    return centre(np.asarray(np.clip(large, 0, 255).round(), dtype=np.uint8))
