"""Pages become batches of training examples: the network's input, and the targets of its loss."""

import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mnist_cnn.common.signals import SIGNALS
from mnist_cnn.pictures.contrast import Floats, local_contrast
from mnist_cnn.pictures.detections import CLASSES, STRIDE, Sides
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.pages import SHAPES, Page, draw_page
from mnist_cnn.synthetic.sheet import Digit

SIGMA = 0.1  # standard deviation of the heat around a centre, in sizes of the digit
MIN_SIGMA, MAX_SIGMA = 0.6, 1.6  # cells


class Examples(NamedTuple):
    """A batch: the network's input, float32 [N, 1, H, W], and targets as in `spotter_loss`."""

    contrast: Tensor
    heatmaps: Tensor
    mask: Tensor
    centres: Tensor
    boxes: Tensor


class DrawnBatches(Dataset[Examples]):
    """Batches of pages. Each depends on seed, size and its number only, so that a training can resume anywhere."""

    def __init__(self, glyphs: Glyphs, seed: int, batch_size: int, first: int, last: int) -> None:
        """Offer batches number `first` to `last - 1`."""
        self.glyphs, self.seed, self.batch_size = glyphs, seed, batch_size
        self.first, self.last = first, last

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.last - self.first

    def __getitem__(self, index: int) -> Examples:
        """Draw a batch."""
        number = self.first + index
        shape = SHAPES[number % len(SHAPES)]
        start = number * self.batch_size
        pages = [draw_page(self.glyphs, self.seed, start + n, shape) for n in range(self.batch_size)]
        return collate(pages, shape)


def draw_batches(batches: DrawnBatches) -> Iterator[Examples]:
    """Draw batches in a process of their own, the worker."""
    loader = DataLoader(
        batches,
        batch_size=None,
        num_workers=1,
        prefetch_factor=6,
        worker_init_fn=prepare_worker,
        multiprocessing_context="fork" if sys.platform == "linux" else None,  # a fork needs no copy of the glyphs
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about a fork while PyTorch's threads wait
        return iter(loader)


def prepare_worker(_number: int) -> None:
    """Leave signals to the main process, and use one thread, as OpenCV's do not survive a fork."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)


def collate(pages: Sequence[Page], shape: tuple[int, int]) -> Examples:
    """Make a batch of pages, padded to `shape` (height, width) at their right and below."""
    count, cells = len(pages), (shape[0] // STRIDE, shape[1] // STRIDE)
    contrast = np.zeros((count, 1, *shape), dtype=np.float32)
    heatmaps = np.zeros((count, CLASSES, *cells), dtype=np.float32)
    mask = np.ones((count, *cells), dtype=np.float32)
    centres: list[tuple[int, int, int, int]] = []
    boxes: list[Sides] = []
    for number, page in enumerate(pages):
        height, width = page.grey.shape
        contrast[number, 0, :height, :width] = local_contrast(page.grey)
        for one in page.digits:
            if one.target:
                row, column, box = encode(one)
                add_heat(heatmaps[number, one.label], one, row, column)
                centres.append((number, one.label, row, column))
                boxes.append(box)
            elif one.ignored:
                left, top, right, bottom = (round(side / STRIDE) for side in one.box)
                mask[number, top : bottom + 1, left : right + 1] = 0
    for number, _, row, column in centres:
        mask[number, row, column] = 1
    arrays = np.array(centres, dtype=np.int64).reshape(-1, 4), np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Examples(*(torch.from_numpy(array) for array in (contrast, heatmaps, mask, *arrays)))


def encode(digit: Digit) -> tuple[int, int, Sides]:
    """Return row and column of the cell of a digit's centre, and the target of the last four channels there."""
    left, top, right, bottom = (side / STRIDE for side in digit.box)
    x, y = (left + right) / 2, (top + bottom) / 2
    width, height = np.log(right - left), np.log(bottom - top)
    return int(y), int(x), (x - int(x) - 0.5, y - int(y) - 0.5, float(width), float(height))


def add_heat(heatmap: Floats, digit: Digit, row: int, column: int) -> None:
    """Draw a digit into the heat map of its class, float32 [h, w], in place: a Gaussian that is 1 at its centre."""
    left, top, right, bottom = digit.box
    sigma = np.clip(SIGMA * np.sqrt((right - left) * (bottom - top)) / STRIDE, MIN_SIGMA, MAX_SIGMA)
    radius = int(3 * sigma)
    y0, y1 = max(row - radius, 0), min(row + radius + 1, heatmap.shape[0])
    x0, x1 = max(column - radius, 0), min(column + radius + 1, heatmap.shape[1])
    squares = (np.arange(y0, y1) - row)[:, None] ** 2 + (np.arange(x0, x1) - column)[None] ** 2
    target = heatmap[y0:y1, x0:x1]
    np.maximum(target, np.exp(-squares / (2 * sigma**2)), out=target, casting="same_kind")
