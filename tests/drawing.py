"""Pictures as people make them, drawn for tests from real handwriting: pens, paper, light."""

import cv2
import numpy as np

from mnist_cnn.pictures.binarize import Floats
from mnist_cnn.pictures.image_io import Pixels

SHEETS = ("plain", "fine grain", "coarse grain", "fibres", "crumpled", "lamp", "shadow", "ruled", "squared")


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
    rng = np.random.default_rng(seed)
    cover = cv2.GaussianBlur(page.astype(np.float32) / 255, (0, 0), 1.2)
    slope = np.linspace(0, 1, page.shape[1])[None, :] * np.linspace(0.5, 1, page.shape[0])[:, None]
    grey = (paper - shade * slope) * (1 - cover) + ink * cover + rng.normal(0, 3, page.shape)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def grain(rng: np.random.Generator, shape: tuple[int, int], size: float, depth: float) -> Floats:
    """Draw noise whose specks are about `size` pixels large and whose standard deviation is `depth`: float32 [H, W]."""
    noise = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), size)
    return np.asarray(noise * (depth / noise.std()), dtype=np.float32)


def sheet(kind: str, seed: int, height: int = 480, width: int = 640, paper: float = 215) -> Floats:
    """Draw paper with nothing written on it, one of `SHEETS`, as a camera sees it: float32 [H, W], 0..255."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    page, unit = np.full((height, width), paper, np.float32), max(height, width) / 640
    if kind in ("fine grain", "coarse grain"):
        page += grain(rng, page.shape, unit * (1.5 if kind == "fine grain" else 6), 5)
    if kind == "fibres":
        for start, way in zip(rng.uniform(0, (width, height), (40, 2)), rng.normal(0, 8 * unit, (40, 2)), strict=True):
            first, last = ((16 * point).astype(int).tolist() for point in (start, start + way))
            cv2.line(page, first, last, float(paper - rng.uniform(3, 12)), 1, cv2.LINE_AA, 4)
    if kind == "crumpled":
        for angle, place in rng.uniform(0, (np.pi, 1), (8, 2)):
            away = (x - place * width) * np.cos(angle) + (y - place * height) * np.sin(angle)
            page += np.sign(away) * 6 * np.exp(-np.abs(away) / (60 * unit))
    if kind == "lamp":
        page *= 1 - 0.4 * ((x / width - rng.random()) ** 2 + (y / height - rng.random()) ** 2)
    if kind == "shadow":
        page *= 1 - 0.3 / (1 + np.exp((x - rng.uniform(0.3, 0.7) * width + 0.3 * y) / (40 * unit)))
    if kind in ("ruled", "squared"):
        page[(y + seed) % (40 * unit) < 2 * unit] = 0.7 * paper
    if kind == "squared":
        page[(x + seed) % (40 * unit) < 2 * unit] = 0.7 * paper
    return np.asarray((cv2.GaussianBlur(page, (0, 0), 0.8) + rng.normal(0, 2, page.shape)).clip(0, 255), np.float32)
