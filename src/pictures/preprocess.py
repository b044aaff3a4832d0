"""The binarized digit becomes a 28x28 image, preprocessed as MNIST's were.

MNIST scaled a digit's bounding box to a longer side of 20 pixels with anti-aliasing, and placed it in 28x28 with its
centre of mass at the centre (LeCun, Cortes, Burges, "The MNIST database"). Stroke widths are normalized, too, since
pens differ from those used on NIST's forms.
"""

import cv2
import numpy as np

from mnist_cnn.pictures.binarize import Mask, border_mask, bounding_box
from mnist_cnn.pictures.image_io import Pixels

SIDE, DIGIT = 28, 20
SUPERSAMPLING = 4  # the resolution, in MNIST's, at which stroke widths are normalized
STROKE_WIDTHS = (2.0, 4.0)  # range in pixels of 28x28; of 5,000 MNIST images 90 % have 1.6 to 3.6
LONGEST = (16, 22)  # pixels: range of the longer side of a digit in MNIST's style
OFF_CENTRE = 1.5  # pixels: of its centre of mass
THICK = 0.1  # share of its foreground that is at least two pixels wide both ways
TEXTURE = 0.08  # of the range of greys: spread of those at the border of an image with texture
GREYS = 0.02  # share of pixels neither black nor white; of MNIST's images 99.9 % have 0.03 or more


def to_mnist(mask: Mask) -> Pixels:
    """Convert a digit's mask to MNIST's style: uint8 [28, 28], blank if the mask is empty."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((SIDE, SIDE), dtype=np.uint8)
    left, top, width, height = box
    shape = np.asarray(255 * mask[top : top + height, left : left + width].astype(np.uint8), dtype=np.uint8)
    scale = SUPERSAMPLING * DIGIT / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    margin = 3 * SUPERSAMPLING
    fine = cv2.resize(shape, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    width_after = stroke_width(shape) * scale
    if width_after < 1:  # averaging with the background would fade a thin stroke
        fine = 255 * (fine > 127 * width_after).astype(np.uint8)
    fine = cv2.copyMakeBorder(fine, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    return centre(fit(normalize_stroke_width(np.asarray(fine, dtype=np.uint8))))


def stroke_width(fine: Pixels) -> float:
    """Estimate the stroke width from area and contour length, in pixels."""
    mask = (fine > 127).view(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(contour, True) for contour in contours)
    return 2 * cv2.countNonZero(mask) / max(length, 1.0)


def normalize_stroke_width(fine: Pixels) -> Pixels:
    """Dilate thin strokes and erode thick ones to the widths found in MNIST."""
    width = stroke_width(fine)
    low, high = (SUPERSAMPLING * limit for limit in STROKE_WIDTHS)
    change = round(min(max(width, low), high) - width)
    if change == 0:
        return fine
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(change) + 1, abs(change) + 1))
    changed = cv2.dilate(fine, kernel) if change > 0 else cv2.erode(fine, kernel)
    return np.asarray(changed, dtype=np.uint8)


def fit(fine: Pixels) -> Pixels:
    """Crop to the foreground, scale the longer side to 20 pixels by area averaging, and stretch the maximum to 255."""
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
    """Place a digit of at most 20x20 in 28x28 with its centre of mass at the centre, as nearly as it fits."""
    height, width = digit.shape
    columns, rows = digit.sum(axis=0), digit.sum(axis=1)
    weight = max(float(rows.sum()), 1.0)
    left = min(max(round(SIDE / 2 - 0.5 - columns @ np.arange(width) / weight), 0), SIDE - width)
    top = min(max(round(SIDE / 2 - 0.5 - rows @ np.arange(height) / weight), 0), SIDE - height)
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    image[top : top + height, left : left + width] = digit
    return image


def is_mnist_style(images: Pixels) -> Mask:
    """Return which 28x28 images should be classified without preprocessing.

    These are centred digits of MNIST's size, and images with a textured or unevenly lit background or noise, to which
    the trained network is more robust at this size than thresholding. The others are small drawings, and all that is
    black and white: the networks know smooth edges only.

    Args:
        images: uint8 [N, 28, 28].

    Returns:
        bool [N].
    """
    values = images.astype(np.float32)
    low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    intensity = (values - low) / np.maximum(high - low, 1)
    border = border_mask((SIDE, SIDE), 2)
    intensity = np.where(np.median(intensity[:, border], axis=1)[:, None, None] > 0.5, 1 - intensity, intensity)
    spread = np.percentile(intensity[:, border], 90, axis=1) - np.percentile(intensity[:, border], 10, axis=1)
    strong = intensity > 0.5
    rows, columns = strong.any(axis=2), strong.any(axis=1)
    height = SIDE - rows.argmax(axis=1) - rows[:, ::-1].argmax(axis=1)
    width = SIDE - columns.argmax(axis=1) - columns[:, ::-1].argmax(axis=1)
    longest = np.maximum(height, width)
    position = np.arange(SIDE) - (SIDE - 1) / 2
    weight = np.maximum(intensity.sum(axis=(1, 2)), 1e-6)
    x, y = (intensity.sum(axis=1) @ position) / weight, (intensity.sum(axis=2) @ position) / weight
    blocks = strong[:, 1:, 1:] & strong[:, 1:, :-1] & strong[:, :-1, 1:] & strong[:, :-1, :-1]
    thick = blocks.sum(axis=(1, 2)) > THICK * strong.sum(axis=(1, 2))
    centred = (longest >= LONGEST[0]) & (longest <= LONGEST[1]) & (np.hypot(x, y) < OFF_CENTRE) & thick
    smooth = ((intensity > 0.05) & (intensity < 0.95)).mean(axis=(1, 2)) >= GREYS
    return np.asarray(smooth & (centred | (spread > TEXTURE)), dtype=np.bool_)
