"""Detections of digits: decoded from the spotter's heat maps, and merged by non-maximum suppression."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.contrast import Floats

CLASSES, STRIDE = 10, 4  # of the network, see `training.spotter_net`
MIN_SCORE = 0.1  # of a peak that takes part in suppression
MIN_PROBABILITY = 0.35  # of a detection beside a clearer one; others are faint
MIN_CLEAREST = 0.45  # of the clearest detection of a picture; below it the picture is blank
IDEAL_HEIGHT, WIDTH = 28.0, 0.55  # pixels: height of digits that the network reads best; log-normal width of that
SAME_DIGIT = 0.45  # intersection over union of two boxes of one digit
INSIDE = 0.7  # share of the smaller box that lies in the larger, of two boxes that cannot both be digits
MAX_RATIO = 2.2  # of the heights of digits that are read together
BANDWIDTH = 0.2  # standard deviation of the logarithm of height, in the density of heights
CLEAR = 0.6  # mean probability of a reading that needs no closer look

Sides = tuple[float, float, float, float]  # left, top, right, bottom; a `binarize.Box` has left, top, width, height


@dataclass(frozen=True)
class Detection:
    """A digit in a picture.

    Attributes:
        scores: of each class, independent sigmoids, float32 [10].
        box: left, top, right and bottom, in pixels.
    """

    scores: Floats
    box: Sides

    @property
    def probability(self) -> float:
        """Largest score, 0..1."""
        return float(self.scores.max())

    @property
    def faint(self) -> bool:
        """Whether it is a digit only if something else says so."""
        return is_faint(self.scores)

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box, x and y."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def height(self) -> float:
        """Height of the box."""
        return self.box[3] - self.box[1]


def clear(found: Sequence[Detection]) -> list[Detection]:
    """Leave out faint detections."""
    return [one for one in found if not one.faint]


def is_faint(scores: Floats) -> bool:
    """Return whether scores [10] are too low to be read without a reason."""
    return bool(scores.max() < MIN_PROBABILITY)


def logit(probability: Floats) -> Floats:
    """Return the log-odds, finite also for 0 and 1."""
    kept = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(kept / (1 - kept)))


def peaks(output: Floats) -> Floats:
    """Decode local maxima of the network's output, float32 [14, h, w] (CenterNet: Zhou et al. 2019, section 4.1).

    Returns:
        float32 [K, 14]: scores of each class; left, top, right and bottom in pixels of the input.
    """
    best = np.ascontiguousarray(output[:CLASSES].max(axis=0))
    around = cv2.dilate(best, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((best == around) & (best > logit(np.float32(MIN_SCORE))))
    values = output[:, rows, columns].T
    scores = 1 / (1 + np.exp(-values[:, :CLASSES]))
    centre = np.stack([columns, rows], axis=1) + 0.5 + values[:, 10:12]
    half = np.exp(np.clip(values[:, 12:14], -3, 6)) / 2
    return np.concatenate([scores, STRIDE * (centre - half), STRIDE * (centre + half)], axis=1).astype(np.float32)


def with_weights(found: Floats) -> Floats:
    """Append to peaks [K, 14] how well the network reads digits of their height, 0..1: float32 [K, 15]."""
    heights = found[:, 13] - found[:, 11]
    weights = np.exp(-((np.log(np.maximum(heights, 1) / IDEAL_HEIGHT) / WIDTH) ** 2) / 2)
    return np.concatenate([found, weights[:, None]], axis=1)


def mode_height(found: Floats) -> float:
    """Return the mode of the heights of weighted peaks [K, 15], in pixels, taller ones counting more; 0 without any."""
    if not len(found):
        return 0.0
    heights = np.log(np.maximum(found[:, 13] - found[:, 11], 1))
    weights = found[:, :CLASSES].max(axis=1) ** 2 * found[:, 14] * np.exp(heights)
    grid = np.arange(0, 9, BANDWIDTH / 4)
    density = np.exp(-(((grid[:, None] - heights) / BANDWIDTH) ** 2) / 2) @ weights
    return float(np.exp(grid[density.argmax()]))


def same_height(height: float, other: float) -> bool:
    """Return whether two heights differ by less than the bandwidth."""
    return bool(abs(np.log(max(height, 1e-3) / max(other, 1e-3))) < BANDWIDTH)


def of_height(found: Floats, height: float) -> Floats:
    """Keep weighted peaks [K, 15] of about a height: digits of a picture are alike, their parts are not."""
    heights = np.maximum(found[:, 13] - found[:, 11], 1e-3)
    return np.asarray(found[np.abs(np.log(heights / height)) < np.log(MAX_RATIO)])


def suppress(found: Floats) -> list[Detection]:
    """Merge weighted peaks [K, 15] of the same digit, faint ones too: greedy non-maximum suppression across classes."""
    found = found[np.argsort(found[:, 11], kind="stable")]  # by their tops: what overlaps is near
    best, alive = found[:, :CLASSES].max(axis=1) * found[:, 14], np.ones(len(found), np.bool_)
    tallest = (found[:, 13] - found[:, 11]).max(initial=0)
    kept = []
    for index in np.argsort(-best, kind="stable"):
        if not alive[index]:
            continue
        box = found[index, 10:14]
        first, last = np.searchsorted(found[:, 11], (box[1] - tallest, box[3]))
        around = first + np.flatnonzero(alive[first:last])
        same, near = overlapping(box, found[around, 10:14])
        merged = found[around[same]]
        weights = merged[:, 14:] * merged[:, :CLASSES].max(axis=1, keepdims=True)
        kept.append(Detection((merged[:, :CLASSES] * weights).sum(axis=0) / weights.sum(), (*box.tolist(),)))
        alive[around[near]] = False
    return kept


def overlapping(box: Floats, boxes: Floats) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which boxes [K, 4] show the same digit as `box`, one of them, and which it excludes."""
    width, height = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).T
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    same = (shared > SAME_DIGIT * (area + areas - shared)) | (boxes == box).all(axis=1)
    return same, same | (shared > INSIDE * np.minimum(area, areas))


def mean_probability(reading: Sequence[Detection]) -> float:
    """Return the mean probability of detections, 0 without any."""
    return float(np.mean([one.probability for one in reading])) if reading else 0.0


def union(readings: Sequence[list[Detection]]) -> list[Detection]:
    """Keep the reading with the largest total evidence, unless it is faint, and from others what is clear and apart."""
    ranked = sorted(readings, key=lambda reading: -sum(one.probability - MIN_PROBABILITY for one in reading))
    kept = list(ranked[0]) if ranked else []
    if max((one.probability for one in kept), default=0.0) < MIN_CLEAREST:
        return []
    for reading in ranked[1:]:
        boxes = [one.box for one in kept]
        kept += [
            one for one in reading if one.probability > CLEAR and not any(intersect(one.box, box) for box in boxes)
        ]
    return kept


def faint_beside(kept: Sequence[Detection], found: Sequence[Detection]) -> list[Detection]:
    """Return faint detections, the clearer ones first, that do not show the same digits as `kept` or as one another."""
    chosen: list[Detection] = []
    for one in sorted((one for one in found if one.faint), key=lambda one: -one.probability):
        boxes = np.array([one.box, *(other.box for other in (*kept, *chosen))])
        if kept and overlapping(boxes[0], boxes)[1].sum() == 1:  # itself
            chosen.append(one)
    return chosen


def intersect(box: Sides, other: Sides) -> bool:
    """Return whether two boxes share any area."""
    return max(box[0], other[0]) < min(box[2], other[2]) and max(box[1], other[1]) < min(box[3], other[3])
