"""The ink of one digit becomes the 28x28 image that MNIST would have made of it.

MNIST scaled the box around the ink so that its longer side was 20 pixels, averaging areas, and placed it in
28x28 with its centre of mass in the middle (LeCun, Cortes, Burges, "The MNIST database"). Before that can be
imitated, ink has to be told from paper; afterwards a pen's width has to become that of NIST's forms.
"""

import cv2
import numpy as np

from mnist_cnn.pictures.binarize import Mask, bounding_box, frame
from mnist_cnn.pictures.image_io import Pixels

SIDE, DIGIT = 28, 20
FINE = 4  # strokes are widened or narrowed at so many times MNIST's resolution
STROKE = (2.0, 4.0)  # least and most width of strokes, pixels of 28x28; of 5,000 MNIST images 90 % have 1.6 to 3.6


def to_mnist(mask: Mask) -> Pixels:
    """Make the 28x28 image of the ink in a mask: uint8 [28, 28], blank where there is none."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((SIDE, SIDE), dtype=np.uint8)
    left, top, width, height = box
    shape = np.asarray(255 * mask[top : top + height, left : left + width].astype(np.uint8), dtype=np.uint8)
    scale = FINE * DIGIT / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    margin = 3 * FINE
    fine = cv2.resize(shape, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    thinnest = stroke_width(shape) * scale
    if thinnest < 1:  # averaged with its paper, a thin stroke would fade
        fine = 255 * (fine > 127 * thinnest).astype(np.uint8)
    fine = cv2.copyMakeBorder(fine, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    return centre(fit(usual_width(np.asarray(fine, dtype=np.uint8))))


def stroke_width(fine: Pixels) -> float:
    """Estimate the width of strokes from area and outline, in pixels."""
    outlines, _ = cv2.findContours((fine > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    return 2 * float((fine > 127).sum()) / max(length, 1.0)


def usual_width(fine: Pixels) -> Pixels:
    """Widen thin strokes and narrow thick ones to the widths found in MNIST."""
    width = stroke_width(fine)
    wanted = float(np.clip(width, FINE * STROKE[0], FINE * STROKE[1]))
    change = round(wanted - width)
    if change == 0:
        return fine
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(change) + 1, abs(change) + 1))
    changed = cv2.dilate(fine, brush) if change > 0 else cv2.erode(fine, brush)
    return np.asarray(changed, dtype=np.uint8)


def fit(fine: Pixels) -> Pixels:
    """Crop to the ink and scale the longer side to 20 pixels, averaging areas; the lightest becomes 255."""
    box = bounding_box(fine > 127)
    if box is None:
        return np.zeros((1, 1), dtype=np.uint8)
    left, top, width, height = box
    scale = DIGIT / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    digit = cv2.resize(fine[top : top + height, left : left + width], size, interpolation=cv2.INTER_AREA)
    stretched = np.asarray(digit, dtype=np.float32) * (255 / max(float(digit.max()), 1))
    return np.asarray(stretched.round(), dtype=np.uint8)


def centre(digit: Pixels) -> Pixels:
    """Place a digit of at most 20x20 in 28x28, its centre of mass in the middle as nearly as it fits."""
    height, width = digit.shape
    weight = max(float(digit.sum()), 1.0)
    x = (digit.sum(axis=0) @ np.arange(width)) / weight
    y = (digit.sum(axis=1) @ np.arange(height)) / weight
    left = int(np.clip(round(SIDE / 2 - 0.5 - x), 0, SIDE - width))
    top = int(np.clip(round(SIDE / 2 - 0.5 - y), 0, SIDE - height))
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    image[top : top + height, left : left + width] = digit
    return image


def is_mnist_style(images: Pixels) -> Mask:
    """Tell which 28x28 images the network should see as they are.

    That is a digit of MNIST's size in its place; and any with uneven paper, light or noise, which at this size
    training has taught the network to see through better than thresholds do. The rest are small drawings.

    Args:
        images: uint8 [N, 28, 28].

    Returns:
        bool [N].
    """
    values = images.astype(np.float32)
    low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    ink = (values - low) / np.maximum(high - low, 1)
    ring = frame((SIDE, SIDE), 2)
    ink = np.where(np.median(ink[:, ring], axis=1)[:, None, None] > 0.5, 1 - ink, ink)
    spread = np.percentile(ink[:, ring], 90, axis=1) - np.percentile(ink[:, ring], 10, axis=1)
    dark = ink > 0.5
    rows, columns = dark.any(axis=2), dark.any(axis=1)
    height = SIDE - rows.argmax(axis=1) - rows[:, ::-1].argmax(axis=1)
    width = SIDE - columns.argmax(axis=1) - columns[:, ::-1].argmax(axis=1)
    longest = np.maximum(height, width)
    place = np.arange(SIDE) - (SIDE - 1) / 2
    weight = np.maximum(ink.sum(axis=(1, 2)), 1e-6)
    x, y = (ink.sum(axis=1) @ place) / weight, (ink.sum(axis=2) @ place) / weight
    squares = dark[:, 1:, 1:] & dark[:, 1:, :-1] & dark[:, :-1, 1:] & dark[:, :-1, :-1]
    thick = squares.sum(axis=(1, 2)) > 0.1 * dark.sum(axis=(1, 2))
    centred = (longest >= 16) & (longest <= 22) & (np.hypot(x, y) < 1.5) & thick
    return np.asarray(centred | (spread > 0.08), dtype=np.bool_)
