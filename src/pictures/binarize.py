"""Binarization: separates foreground (ink) from background and removes ruled lines, boxes and noise."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.image_io import Pixels

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]
"""Left, top, width and height, in pixels."""

SHADOW = 41  # of 128 pixels: no stroke fills a square of a third of the picture, a shadow does
NOISE_SAMPLES = 250  # rows and columns suffice to estimate noise
MIN_SIDE = 140  # pixels of a picture's longer side; smaller pictures are enlarged first
EDGE, BLUR, SURROUND = 6, 3, 11  # pixels: depth of a stroke's edge, blur around it, background beyond that to compare
ILLUMINATION = 97  # pixels over which illumination is even
MIN_CNR = 4.0  # contrast-to-noise ratio of visible strokes: of 3 to 5, the value that lost 1 % of faint drawn digits
MIN_NOISE = 2.0  # of 255: rounding and JPEG hide the paper's own variation
MAX_THICKNESS = 0.06  # of a ruled line, of the picture's height


@dataclass(frozen=True)
class Foreground:
    """A binarized picture.

    Attributes:
        contrast: difference from the background towards the foreground, float32 [H, W], 0..255, of the picture after
            small ones are enlarged.
        mask: which pixels are foreground, bool [H, W].
        zoom: side of the square of pixels that stands for one pixel of the input.
    """

    contrast: Floats
    mask: Mask
    zoom: int


def find_foreground(grey: Pixels) -> Foreground:
    """Binarize: estimate the background, find the polarity, threshold the contrast, remove lines, boxes and specks.

    The mask is empty if the picture is blank: what remains has too little contrast, or is ruling.
    """
    zoom = max(1, -(-MIN_SIDE // max(grey.shape)))
    if zoom > 1:
        size = (grey.shape[1] * zoom, grey.shape[0] * zoom)
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    background, is_dark = estimate_background(grey, constant=zoom > 2)
    span = np.maximum(background if is_dark else 255 - background, 32)
    # relative to the local background: the same ink has the same contrast in shadow
    contrast: Floats = (background - grey if is_dark else grey - background) * (np.float32(255) / span)
    noise = estimate_noise(grey) * 255 / float(np.median(span[::8, ::8]))
    if noise > 2:
        contrast = np.asarray(cv2.GaussianBlur(contrast, (0, 0), 1.0), dtype=np.float32)
    thresholded = threshold(contrast, noise)
    mask = remove_specks(remove_boxes(remove_ruled_lines(thresholded)))
    if not is_visible(contrast, mask, thresholded, zoom) or is_ruling(mask, thresholded):
        mask = np.zeros_like(mask)
    return Foreground(contrast.clip(0, 255), mask, zoom)


def estimate_background(grey: Pixels, constant: bool) -> tuple[Floats, bool]:
    """Estimate the picture without its foreground.

    One side of Otsu's threshold is the background: the one with most of the corners, the border and the area. If it
    is uniform and the other side has no broad shadow, or if `constant`, the estimate is its median. Otherwise
    illumination is uneven: a morphological closing (opening, if the foreground is light) removes what is thinner than
    a fifth of the picture and keeps the edges of shadows.

    Returns:
        The background, float32 [H, W], and whether the foreground is darker.
    """
    height, width = grey.shape
    shrink = 128 / max(height, width)
    size = max(round(width * shrink), 2), max(round(height * shrink), 2)  # at least 2, so that there are corners
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    otsu, _ = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    light = small > otsu
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    corners = light[:: len(light) - 1, :: light.shape[1] - 1]
    is_light = bool(corners.mean() + border.mean() + light.mean() > 1.5)
    background, rest = small[light == is_light], small[light != is_light]
    low, middle, high = np.percentile(background, (10, 50, 90))
    shadow = cv2.erode((light != is_light).astype(np.uint8), np.ones((SHADOW, SHADOW), np.uint8)).any()
    uniform = not shadow and rest.size and high - low < 0.25 * abs(float(np.median(rest)) - middle)
    if constant or uniform:
        return np.full(grey.shape, middle, dtype=np.float32), is_light
    deviation = small.astype(np.float32) - median_filter(small, 61)
    is_dark = bool((deviation**3).mean() < 0)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (27, 27))
    closed = cv2.morphologyEx(cv2.medianBlur(small, 3), cv2.MORPH_CLOSE if is_dark else cv2.MORPH_OPEN, kernel)
    smooth = cv2.GaussianBlur(closed.astype(np.float32), (0, 0), 1.5)
    smooth -= np.median(smooth - small)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32), is_dark


def median_filter(grey: Pixels, size: int) -> Pixels:
    """Apply a median filter of size x size pixels, with mirrored borders."""
    radius = size // 2
    padded = cv2.copyMakeBorder(grey, radius, radius, radius, radius, cv2.BORDER_REFLECT)
    return np.asarray(cv2.medianBlur(padded, size)[radius:-radius, radius:-radius], dtype=np.uint8)


def estimate_noise(grey: Pixels) -> float:
    """Estimate the standard deviation of noise (Immerkaer 1996, "Fast Noise Variance Estimation").

    The median instead of Immerkaer's mean is robust to strokes. The result is that of the noisiest quarter.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    step = max(1, max(grey.shape) // NOISE_SAMPLES)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))[::step, ::step]
    y, x = (side // 2 for side in response.shape)
    quarters = response[:y, :x], response[:y, x:], response[y:, :x], response[y:, x:]
    return max(float(np.median(quarter)) for quarter in quarters if quarter.size) / 0.6745 / 6


def threshold(contrast: Floats, noise: float) -> Mask:
    """Apply hysteresis thresholding: Otsu's threshold of the contrast above noise, and what is connected to it."""
    floor = max(12.0, 4 * noise)
    candidates = contrast[contrast > floor]
    if candidates.size < 8:
        return np.zeros(contrast.shape, dtype=np.bool_)
    values = candidates.clip(0, 255).astype(np.uint8).reshape(1, -1)
    otsu, _ = cv2.threshold(values, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    _, labels = cv2.connectedComponents((contrast > max(floor, 0.65 * otsu)).astype(np.uint8))
    strong = np.unique(labels[contrast > otsu])
    return np.isin(labels, strong[strong > 0])


def is_visible(contrast: Floats, mask: Mask, thresholded: Mask, zoom: int) -> bool:
    """Return whether the mask's contrast-to-noise ratio at its edges is that of strokes, not of texture or shadows.

    Just inside its outline a stroke differs from the background beside it by several of the background's standard
    deviations (Rose 1948, "The Sensitivity Performance of the Human Eye on an Absolute Scale": 3 to 5 are visible).
    Texture has a low ratio, and a shadow fades across its edge.
    """
    inside = cv2.distanceTransform(np.pad(mask, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    surround = (outside > BLUR * zoom) & (outside <= BLUR * zoom + SURROUND) & ~thresholded
    if not mask.any() or not surround.any():
        return bool(mask.any())
    weight, window = surround.astype(np.float32), (ILLUMINATION, ILLUMINATION)
    flat = contrast - cv2.blur(contrast * weight, window) / np.maximum(cv2.blur(weight, window), 1e-6)
    noise = max(float(flat[surround].std()), MIN_NOISE)
    return bool(flat[mask & (inside <= EDGE * zoom)].mean() > MIN_CNR * noise)


def horizontal_lines(binary: Pixels, opening: int, width: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Label what a horizontal opening leaves [H, W], and list the labels of thin lines of at least a width."""
    opened = cv2.morphologyEx(binary, cv2.MORPH_OPEN, np.ones((1, opening), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    thin = (stats[1:, cv2.CC_STAT_WIDTH] >= width) & (stats[1:, cv2.CC_STAT_HEIGHT] < MAX_THICKNESS * len(binary))
    return np.asarray(labels, dtype=np.int32), 1 + np.flatnonzero(thin)


def remove_ruled_lines(mask: Mask) -> Mask:
    """Remove the lines of ruled or squared paper: at least two across the picture, or one beside narrower strokes."""
    for _ in ("horizontal", "vertical"):
        lines = full_width_lines(mask)
        rest = mask & ~lines
        if lines.any() and rest.sum() > 0.2 * lines.sum():
            closed = cv2.morphologyEx(rest.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 1), np.uint8)) > 0
            mask = rest | (closed & lines)
        mask = mask.T
    return mask


def full_width_lines(mask: Mask) -> Mask:
    """Find thin horizontal lines from one side of a picture to the other."""
    width = mask.shape[1]
    labels, found = horizontal_lines(mask.astype(np.uint8), max(3, width // 4), int(0.95 * width) + 1)
    if len(found) == 1:
        rest = np.flatnonzero((mask & (labels != found[0])).any(axis=0))
        if rest.size == 0 or np.ptp(rest) > 0.7 * width:
            return np.zeros_like(mask)
    return np.isin(labels, found)


def is_ruling(mask: Mask, thresholded: Mask) -> bool:
    """Return whether most of a mask, or of its complement if that is smaller, lies on ruled or squared lines."""
    if mask.mean() > 0.5:
        mask, thresholded = ~mask, ~thresholded
    lines = ruling(thresholded)
    if lines.any():  # without horizontal lines, vertical ones may be a row of ones
        lines = lines | ruling(thresholded.T).T
    return bool((lines & mask).sum() > 0.5 * mask.sum())


def ruling(mask: Mask) -> Mask:
    """Find thin horizontal lines over half the picture's width; none if there are fewer than four."""
    dilated, half = cv2.dilate(mask.astype(np.uint8), np.ones((3, 1), np.uint8)), mask.shape[1] // 2
    labels, found = horizontal_lines(np.asarray(dilated, dtype=np.uint8), half, half)
    return np.isin(labels, found) if len(found) >= 4 else np.zeros_like(mask)


def remove_boxes(mask: Mask) -> Mask:
    """Remove boxes and grids drawn around other components: components that consist of long straight lines."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for label, (left, top, width, height, area) in enumerate(stats[1:], start=1):
        if area > 0.3 * width * height or min(width, height) < 0.2 * min(mask.shape):
            continue
        component = labels[top : top + height, left : left + width] == label
        enclosed = mask[top : top + height, left : left + width] & ~component
        if enclosed.sum() > 0.02 * area and (straight_lines(component) & component).sum() > 0.85 * area:
            mask = mask & (labels != label)
    return mask


def straight_lines(mask: Mask) -> Mask:
    """Find pixels on horizontal and vertical lines of at least half a mask's shorter side."""
    dilated = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    length = max(3, min(mask.shape) // 2)
    horizontal = cv2.morphologyEx(dilated, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    vertical = cv2.morphologyEx(dilated, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    return np.asarray((horizontal > 0) | (vertical > 0))


def remove_specks(mask: Mask) -> Mask:
    """Remove components that are too small for a stroke, and edges of other objects at the picture's border."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(stats) == 1:
        return mask
    height, width = mask.shape
    left, top, w, h, area = stats[1:].T
    inside = (left > 0) & (top > 0) & (left + w < width) & (top + h < height)
    band = max(1, round(0.05 * min(height, width)))
    at_border = np.bincount(labels[border_mask(mask.shape, band)], minlength=len(stats))[1:] / area
    weight = np.where(inside, area, area / 4) * (at_border < 0.7)
    kept = (weight >= 0.03 * weight.max()) & (area >= max(12, 2e-5 * mask.size))
    return np.isin(labels, 1 + np.flatnonzero(kept))


def border_mask(shape: tuple[int, int], band: int) -> Mask:
    """Mark the pixels within `band` of a picture's border."""
    mask = np.ones(shape, dtype=np.bool_)
    mask[band:-band, band:-band] = False
    return mask


def bounding_box(mask: Mask) -> Box | None:
    """Return the smallest box around the foreground, None if there is none."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (left, top, width, height) if width else None
