"""Pictures as people make them, drawn for tests from real handwriting: pens, paper, light."""

import cv2
import numpy as np

from mnist_cnn.picture import Pixels


def shape(digit: Pixels, size: int) -> Pixels:
    """Enlarge a digit of a dataset, smoothly, to ink of 0 or 255 about `size` pixels high."""
    large = cv2.resize(digit, (size * 28 // 20, size * 28 // 20), interpolation=cv2.INTER_CUBIC)
    ink = (cv2.GaussianBlur(large, (0, 0), size / 60) > 127).astype(np.uint8) * 255
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return np.asarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], dtype=np.uint8)


def on_page(inks: list[tuple[Pixels, int, int]], height: int, width: int) -> Pixels:
    """Lay inks, each with its top and left, on an empty page: 0 paper, 255 ink."""
    page = np.zeros((height, width), dtype=np.uint8)
    for ink, top, left in inks:
        part = page[top : top + ink.shape[0], left : left + ink.shape[1]]
        np.maximum(part, ink, out=part)
    return page


def photo(page: Pixels, paper: float = 200, ink: float = 40, shade: float = 60, seed: int = 0) -> Pixels:
    """Photograph a page: dark ink, light that falls off across it, soft edges, noise; uint8 [H, W, 3]."""
    dice = np.random.default_rng(seed)
    cover = cv2.GaussianBlur(page.astype(np.float32) / 255, (0, 0), 1.2)
    slope = np.linspace(0, 1, page.shape[1])[None, :] * np.linspace(0.5, 1, page.shape[0])[:, None]
    grey = (paper - shade * slope) * (1 - cover) + ink * cover + dice.normal(0, 3, page.shape)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
