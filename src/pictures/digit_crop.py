"""Each detected digit is cut out and binarized, for the classifier to read it again."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.binarize import Mask, bounding_box
from mnist_cnn.pictures.detections import Detection, Sides
from mnist_cnn.pictures.image_io import Pixels

HEIGHT = 72  # pixels: to which a digit is scaled before it is binarized
MARGIN = 0.2  # of its height: background around its box
MARGIN_ALONE = 1.0  # of its height: around the box of a picture's only digit, whose strokes may end outside
WIDEST_STROKE = 33  # pixels of that height
MIN_CONTRAST = 6  # grey levels between foreground and background
SLACK = 0.08  # of the digit's height: how far strokes may leave its box
WITHIN = 0.5  # share of a connected component that lies in the box, if it is part of the digit
SPECK = 0.1  # of the largest component's share in the box: smaller ones alone are no digit


def cut_out(grey: Pixels, detection: Detection, alone: bool = False) -> tuple[Mask, Sides]:
    """Cut a digit out of a picture, uint8 [H, W].

    Args:
        grey: the picture.
        detection: of the digit.
        alone: whether it is the only one, so that strokes that end outside its box are its own.

    Returns:
        Its foreground, bool [h, w], empty where there is none; and the left, top, right and bottom of the foreground
        in the picture, or of the detection where there is none.
    """
    left, top, right, bottom = detection.box
    margin = (MARGIN_ALONE if alone else MARGIN) * (bottom - top) + 1
    x0, y0 = max(int(left - margin), 0), max(int(top - margin), 0)
    x1, y1 = min(int(right + margin) + 1, grey.shape[1]), min(int(bottom + margin) + 1, grey.shape[0])
    if x1 <= x0 or y1 <= y0:
        return np.zeros((2, 2), np.bool_), detection.box
    scale = HEIGHT / (bottom - top)
    size = max(round((x1 - x0) * scale), 2), max(round((y1 - y0) * scale), 2)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    crop = np.asarray(cv2.resize(grey[y0:y1, x0:x1], size, interpolation=method), dtype=np.uint8)
    mask = foreground_within(crop, np.array([left - x0, top - y0, right - x0, bottom - y0]) * scale, alone)
    inner = bounding_box(mask)
    if inner is None:
        return mask, detection.box
    x, y, width, height = (side / scale for side in inner)
    return mask, (x0 + x, y0 + y, x0 + x + width, y0 + y + height)


def foreground_within(crop: Pixels, inner: npt.NDArray[np.float64], alone: bool) -> Mask:
    """Binarize a crop: top-hat transform, Otsu's threshold, and the connected components that lie in the digit's box.

    Args:
        crop: uint8 [H, W], the digit and some background.
        inner: left, top, right and bottom of its box in the crop.
        alone: whether components that end outside the box, not at the crop's edge as rulings do, stay whole.

    Returns:
        bool [H, W].
    """
    smooth = np.asarray(cv2.GaussianBlur(crop, (0, 0), 1.0), dtype=np.uint8)
    slack = SLACK * (inner[3] - inner[1])
    left, top = (max(int(side - slack), 0) for side in inner[:2])
    right, bottom = (max(int(side + slack) + 1, 0) for side in inner[2:])
    box = slice(top, bottom), slice(left, right)
    if background_is_light(smooth, box):
        smooth = 255 - smooth
    brush = cv2.getStructuringElement(cv2.MORPH_RECT, (WIDEST_STROKE, WIDEST_STROKE))
    contrast = cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, brush)
    mask = np.zeros(crop.shape, dtype=np.bool_)
    if contrast[box].max(initial=0) < MIN_CONTRAST:
        return mask
    level, _ = cv2.threshold(contrast[box], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((contrast > level).astype(np.uint8), connectivity=8)
    inside = np.bincount(labels[box].ravel(), minlength=count)
    belongs = inside > WITHIN * stats[:, cv2.CC_STAT_AREA]
    found = (belongs[1:] & (inside[1:] > SPECK * inside[1:].max(initial=0))).any()
    if not found:
        belongs[1:] = True
    belongs[0] = False
    if alone and found:
        whole = np.asarray(belongs[labels])
        if not (whole[[0, -1]].any() or whole[:, [0, -1]].any()):
            return whole
    mask[box] = belongs[labels[box]]
    return mask


def background_is_light(crop: Pixels, box: tuple[slice, slice]) -> bool:
    """Return whether the larger side of Otsu's threshold, in a digit's box and around it, is the lighter one."""
    level, _ = cv2.threshold(crop, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    light = crop > level
    return share(light[box]) + share(light) > 1


def share(mask: Mask) -> float:
    """Return the share of a mask that is true; NaN of an empty one."""
    return int(np.count_nonzero(mask)) / mask.size if mask.size else math.nan
