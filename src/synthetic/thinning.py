"""Thins images of characters to lines one pixel wide, and traces the lines as segments that any pen can draw."""

import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.binarize import Mask
from mnist_cnn.pictures.contrast import Floats

Indices = npt.NDArray[np.int64]

MAX_ITERATIONS = 40  # each removes a pixel from either side of a stroke
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # dy and dx of half of the eight neighbours
BATCH_SIZE = 256  # images thinned at once: they fit the cache


def thin(masks: Mask) -> Mask:
    """Thin foreground to lines one pixel wide (Zhang, Suen 1984, "A fast parallel algorithm ...").

    Args:
        masks: bool [N, H, W]; the outermost pixels are taken as background.

    Returns:
        bool [N, H, W].
    """
    batches = [masks[start : start + BATCH_SIZE].copy() for start in range(0, len(masks), BATCH_SIZE)]
    for batch in batches:
        batch[:, [0, -1]] = batch[:, :, [0, -1]] = False
        for _ in range(MAX_ITERATIONS):
            if not sum(remove_boundary(batch, second) for second in (False, True)):
                break
    return np.concatenate(batches) if batches else masks


def remove_boundary(masks: Mask, second: bool) -> int:
    """Run one of the two subiterations in place on masks [N, H, W]; return the number of pixels removed."""
    north, south = masks[:, :-2, 1:-1], masks[:, 2:, 1:-1]
    west, east = masks[:, 1:-1, :-2], masks[:, 1:-1, 2:]
    ring = (north, masks[:, :-2, 2:], east, masks[:, 2:, 2:], south, masks[:, 2:, :-2], west, masks[:, :-2, :-2])
    neighbours = sum(pixel.astype(np.uint8) for pixel in ring)
    transitions = sum((~one & other).astype(np.uint8) for one, other in zip(ring, (*ring[1:], ring[0]), strict=True))
    first, last = (west, north) if second else (east, south)
    others = (east, south) if second else (north, west)
    corner = ~(others[0] & first & last) & ~(others[1] & first & last)
    removed = masks[:, 1:-1, 1:-1] & (neighbours >= 2) & (neighbours <= 6) & (transitions == 1) & corner
    masks[:, 1:-1, 1:-1] &= ~removed
    return int(removed.sum())


def trace(line: Mask, smoothing: int = 3) -> Floats:
    """Connect neighbouring pixels of a thinned image by segments, and smooth these.

    Args:
        line: bool [H, W], as `thin` returns it.
        smoothing: how often each point moves halfway to the mean of its neighbours.

    Returns:
        float32 [M, 2, 2]: start and end of each segment, x and y in units of the height of their bounding box.
    """
    edges = neighbour_pairs(line)
    if not len(edges):
        return np.zeros((0, 2, 2), dtype=np.float32)
    rows, columns = np.nonzero(line)
    points = smoothed(np.stack([columns, rows], axis=1).astype(np.float32), edges, smoothing)
    height = max(float(np.ptp(points[:, 1])), 1.0)
    return np.asarray(((points - points.min(axis=0)) / height)[edges], dtype=np.float32)


def neighbour_pairs(line: Mask) -> Indices:
    """Return the pairs of neighbouring pixels, int64 [M, 2], as indices into `np.nonzero(line)`.

    Two pixels that touch at a corner are no pair if a third one is next to both.
    """
    rows, columns = np.nonzero(line)
    index = np.full(np.add(line.shape, 2), -1, dtype=np.int64)
    index[rows + 1, columns + 1] = np.arange(len(rows))
    pairs = []
    for dy, dx in NEIGHBOURS:
        other = index[rows + 1 + dy, columns + 1 + dx]
        bridged = (index[rows + 1 + dy, columns + 1] >= 0) | (index[rows + 1, columns + 1 + dx] >= 0)
        joined = (other >= 0) & ~(bridged & (dy != 0) & (dx != 0))
        pairs.append(np.stack([np.flatnonzero(joined), other[joined]], axis=1))
    return np.concatenate(pairs)


def smoothed(points: Floats, edges: Indices, times: int) -> Floats:
    """Move points, float32 [N, 2], halfway to the mean of their neighbours; the ends of lines stay."""
    degree = np.bincount(edges.ravel(), minlength=len(points))
    inner = (degree > 1)[:, None]
    for _ in range(times):
        total = np.zeros_like(points)
        np.add.at(total, edges.ravel(), points[edges[:, ::-1].ravel()])
        points = np.where(inner, (points + total / np.maximum(degree, 1)[:, None]) / 2, points)
    return points
