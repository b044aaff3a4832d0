"""Pages: synthetic pictures of any content that the spotter may meet, with the digits in them."""

from dataclasses import dataclass

import cv2
import numpy as np

from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.backgrounds import noise_texture, photograph, sample_background, sample_illumination
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.layouts import fill
from mnist_cnn.synthetic.sheet import Digit, Points, Sheet

SHAPES = ((64, 208), (112, 120), (160, 88))  # height and width, in pixels, of the pages of a batch
MIN_HEIGHT, MIN_WIDTH = 20, 16  # pixels
SMALLER = 0.3  # share of pages that are smaller than their shape
TIGHT = 0.3  # share of pages that are cropped to their digits


@dataclass(frozen=True)
class Page:
    """A page, uint8 [H, W], and the digits on it."""

    grey: Pixels
    digits: tuple[Digit, ...]


def draw_page(glyphs: Glyphs, seed: int, index: int, shape: tuple[int, int]) -> Page:
    """Draw page number `index` of a seed, of at most `shape` (height, width); it depends on nothing else."""
    rng = np.random.default_rng((seed, index))
    height, width = shape
    if rng.random() < SMALLER:
        height, width = (int(side * rng.uniform(0.3, 1)) for side in shape)
    sheet = Sheet(max(height, MIN_HEIGHT), max(width, MIN_WIDTH))
    fill(rng, glyphs, sheet)
    boxes = [one.box for one in sheet.digits if one.target or one.ignored]
    if boxes and rng.random() < TIGHT:
        sheet = crop_to_digits(rng, sheet, np.array(boxes, dtype=np.float64))
    return Page(render(rng, sheet), tuple(sheet.digits))


def crop_to_digits(rng: np.random.Generator, sheet: Sheet, boxes: Points) -> Sheet:
    """Crop a sheet to the boxes of its digits, [K, 4], with small, some of them negative margins."""
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    margins = height * rng.uniform(-0.06, rng.choice([0.1, 0.5]), 4)
    left, top = np.floor(boxes[:, :2].min(axis=0) - margins[:2]).astype(int).tolist()
    right, bottom = np.ceil(boxes[:, 2:].max(axis=0) + margins[2:]).astype(int).tolist()
    return sheet.cropped(left, top, right, bottom)


def render(rng: np.random.Generator, sheet: Sheet) -> Pixels:
    """Put a sheet's ink and ruling on a background, illuminate and photograph it: uint8 [H, W]."""
    height, width = sheet.ink.shape
    ink = (sheet.ink * np.float32(rng.uniform(0.2, 1) ** 0.6 / 255)).astype(np.float32)
    if rng.random() < 0.15:  # a pencil or a dry pen
        gaps = np.float32(rng.uniform(0.1, 0.5)) * np.abs(noise_texture(rng, height, width, 1.0))
        ink *= np.clip(1 - gaps, 0, 1)
    ruling = (sheet.ruling * np.float32(rng.uniform(0.1, 1) / 255)).astype(np.float32)
    scene = sample_background(rng, height, width) * (1 - ruling) * (1 - ink)
    if rng.random() < 0.04:  # the ink of the back shines through
        scene *= 1 - 0.15 * cv2.GaussianBlur(np.ascontiguousarray(ink[:, ::-1]), (0, 0), 2)
    return photograph(rng, (scene * sample_illumination(rng, height, width)).astype(np.float32))
