"""Ink told from paper: uneven light, ruled lines, boxes and specks removed from a grey picture."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.image_io import Pixels

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]
"""Left, top, width and height, in pixels."""

BROAD = 41  # of 128 pixels: no stroke fills a square a third of the picture wide, a shadow does
SAMPLED = 250  # rows and columns are enough to measure noise
SMALLEST = 140  # working size in pixels: smaller pictures are enlarged first
EDGE, SOFT, BESIDE = 6, 3, 11  # pixels: ink up to so deep is its edge; a blur and the paper beside it reach so far
LIGHT = 97  # pixels: over so many light is even
ROSE = 4.0  # least contrast, in standard deviations of the paper: of 3 to 5, what lost 1 % of faint drawn digits
LEAST_NOISE = 2.0  # of 255: rounding and JPEG hide what paper varies by


@dataclass(frozen=True)
class Foreground:
    """Ink told from paper.

    Attributes:
        contrast: how far each pixel of the picture, enlarged if it was small, differs from its paper towards ink,
            float32 [H, W], 0..255.
        mask: which pixels are ink, bool [H, W].
        zoom: how many pixels stand for one of the picture given.
    """

    contrast: Floats
    mask: Mask
    zoom: int


def find_foreground(grey: Pixels) -> Foreground:
    """Tell ink from paper: remove uneven light, find out which of light and dark is ink, threshold, drop specks.

    There is none on a blank sheet: where what is left is not seen against its paper, or is its ruling.
    """
    zoom = max(1, -(-SMALLEST // max(grey.shape)))
    if zoom > 1:
        size = (grey.shape[1] * zoom, grey.shape[0] * zoom)
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    ground, dark_ink = paper(grey, even=zoom > 2)
    span = np.maximum(ground if dark_ink else 255 - ground, 32)
    contrast: Floats = (ground - grey if dark_ink else grey - ground) * (np.float32(255) / span)  # as much in shadow
    noise = noise_level(grey) * 255 / float(np.median(span[::8, ::8]))
    if noise > 2:
        contrast = np.asarray(cv2.GaussianBlur(contrast, (0, 0), 1.0), dtype=np.float32)
    standing_out = threshold(contrast, noise)
    mask = without_specks(without_boxes(without_rules(standing_out)))
    if not is_seen(contrast, mask, standing_out, zoom) or is_ruling(mask, standing_out):
        mask = np.zeros_like(mask)
    return Foreground(contrast.clip(0, 255), mask, zoom)


def paper(grey: Pixels, even: bool) -> tuple[Floats, bool]:
    """Estimate what the picture would look like without ink.

    One side of Otsu's threshold is the paper: that which fills most of the corners, the border and the whole. Where
    it is even and the other side no broad shadow, or where the picture is tiny, its median is the paper. Else light
    is uneven, and closing (opening, if ink is light) removes what is thinner than a fifth of the picture and keeps the
    edges of shadows.

    Returns:
        The paper, float32 [H, W], and whether ink is darker than it.
    """
    height, width = grey.shape
    shrink = 128 / max(height, width)
    size = max(round(width * shrink), 2), max(round(height * shrink), 2)  # however thin: it has corners
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    level, _ = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    light = small > level
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    corners = light[:: len(light) - 1, :: light.shape[1] - 1]
    light_paper = bool(corners.mean() + border.mean() + light.mean() > 1.5)
    ground, rest = small[light == light_paper], small[light != light_paper]
    low, middle, high = np.percentile(ground, (10, 50, 90))
    broad = cv2.erode((light != light_paper).astype(np.uint8), np.ones((BROAD, BROAD), np.uint8)).any()
    if even or (not broad and rest.size and high - low < 0.25 * abs(float(np.median(rest)) - middle)):
        return np.full(grey.shape, middle, dtype=np.float32), light_paper
    away = small.astype(np.float32) - median(small, 61)
    dark_ink = bool((away**3).mean() < 0)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (27, 27))
    shape = cv2.morphologyEx(cv2.medianBlur(small, 3), cv2.MORPH_CLOSE if dark_ink else cv2.MORPH_OPEN, brush)
    smooth = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.5)
    smooth -= np.median(smooth - small)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32), dark_ink


def median(grey: Pixels, window: int) -> Pixels:
    """Replace each pixel by the median of the window around it; the picture is mirrored at its borders."""
    reach = window // 2
    framed = cv2.copyMakeBorder(grey, reach, reach, reach, reach, cv2.BORDER_REFLECT)
    return np.asarray(cv2.medianBlur(framed, window)[reach:-reach, reach:-reach], dtype=np.uint8)


def noise_level(grey: Pixels) -> float:
    """Estimate the standard deviation of a picture's noise (Immerkaer 1996, "Fast Noise Variance Estimation").

    The median in place of Immerkaer's mean keeps strokes out of it; the noisiest quarter of the picture counts.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    step = max(1, max(grey.shape) // SAMPLED)
    away = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))[::step, ::step]
    y, x = (side // 2 for side in away.shape)
    quarters = away[:y, :x], away[:y, x:], away[y:, :x], away[y:, x:]
    return max(float(np.median(quarter)) for quarter in quarters if quarter.size) / 0.6745 / 6


def threshold(contrast: Floats, noise: float) -> Mask:
    """Take as ink what Otsu's threshold takes among the pixels that stand out from noise, with all that joins it."""
    floor = max(12.0, 4 * noise)
    standing_out = contrast[contrast > floor]
    if standing_out.size < 8:
        return np.zeros(contrast.shape, dtype=np.bool_)
    values = standing_out.clip(0, 255).astype(np.uint8).reshape(1, -1)
    level, _ = cv2.threshold(values, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    weak = (contrast > max(floor, 0.65 * level)).astype(np.uint8)
    _, labels = cv2.connectedComponents(weak, connectivity=8)
    strong = np.unique(labels[contrast > level])
    return np.isin(labels, strong[strong > 0])


def is_seen(contrast: Floats, mask: Mask, standing_out: Mask, zoom: int) -> bool:
    """Tell ink from paper's grain, creases and shadows by the contrast-to-noise ratio at its edges.

    Just inside its outline, ink differs from the paper beside it by several times that paper's standard deviation
    (Rose 1948, "The Sensitivity Performance of the Human Eye on an Absolute Scale": 3 to 5 times, to be seen). Grain
    differs as much as its neighbours let it, and a shadow fades across its edge.
    """
    depth = cv2.distanceTransform(np.pad(mask, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    beside = (away > SOFT * zoom) & (away <= SOFT * zoom + BESIDE) & ~standing_out
    if not mask.any() or not beside.any():
        return bool(mask.any())
    weight, window = beside.astype(np.float32), (LIGHT, LIGHT)
    flat = contrast - cv2.blur(contrast * weight, window) / np.maximum(cv2.blur(weight, window), 1e-6)
    noise = max(float(flat[beside].std()), LEAST_NOISE)
    return bool(flat[mask & (depth <= EDGE * zoom)].mean() > ROSE * noise)


def without_rules(mask: Mask) -> Mask:
    """Drop the lines of ruled or squared paper: at least two that run right across, or one beside smaller ink."""
    for axis in (0, 1):
        lines = across(mask if axis == 0 else mask.T)
        lines = lines if axis == 0 else lines.T
        rest = mask & ~lines
        if lines.any() and rest.sum() > 0.2 * lines.sum():
            gap = np.ones((5, 1) if axis == 0 else (1, 5), np.uint8)
            healed = cv2.morphologyEx(rest.astype(np.uint8), cv2.MORPH_CLOSE, gap) > 0
            mask = rest | (healed & lines)
    return mask


def across(mask: Mask) -> Mask:
    """Find thin horizontal lines that run from one side of a picture to the other."""
    height, width = mask.shape
    reach = np.ones((1, max(3, width // 4)), np.uint8)
    level = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, reach)
    if not level.any():
        return level > 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(level, connectivity=8)
    found = [
        label
        for label in range(1, count)
        if stats[label, cv2.CC_STAT_WIDTH] > 0.95 * width and stats[label, cv2.CC_STAT_HEIGHT] < 0.06 * height
    ]
    if len(found) == 1:
        rest = np.flatnonzero((mask & (labels != found[0])).any(axis=0))
        if rest.size == 0 or np.ptp(rest) > 0.7 * width:
            return np.zeros_like(mask)
    return np.isin(labels, found)


def is_ruling(mask: Mask, standing_out: Mask) -> bool:
    """Tell whether most of a mask, or of the rest where that is less, lies on the lines of ruled or squared paper."""
    if mask.mean() > 0.5:
        mask, standing_out = ~mask, ~standing_out
    lines = ruling(standing_out)
    if lines.any():  # without level lines, upright ones may be a row of ones
        lines = lines | ruling(standing_out.T).T
    return bool((lines & mask).sum() > 0.5 * mask.sum())


def ruling(mask: Mask) -> Mask:
    """Find thin level lines wider than half the picture; none where they are fewer than four."""
    height, width = mask.shape
    thick = cv2.dilate(mask.astype(np.uint8), np.ones((3, 1), np.uint8))
    level = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, width // 2), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(level, connectivity=8)
    thin = (stats[:, cv2.CC_STAT_WIDTH] >= width // 2) & (stats[:, cv2.CC_STAT_HEIGHT] < 0.06 * height)
    return np.isin(labels, np.flatnonzero(thin)) if thin.sum() >= 4 else np.zeros_like(mask)


def without_boxes(mask: Mask) -> Mask:
    """Drop boxes and grids that are drawn around other ink: connected ink, nearly all in long straight lines."""
    if cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] < 3:  # the ground counts as one
        return mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        left, top, width, height, area = stats[label]
        if area > 0.3 * width * height or min(width, height) < 0.2 * min(mask.shape):
            continue
        own = labels[top : top + height, left : left + width] == label
        inside = mask[top : top + height, left : left + width] & ~own
        if inside.sum() > 0.02 * area and (straight(own) & own).sum() > 0.85 * area:
            mask = mask & (labels != label)
    return mask


def straight(mask: Mask) -> Mask:
    """Find what lies on horizontal and vertical lines of at least half a mask's shorter side."""
    thick = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    length = max(3, min(mask.shape) // 2)
    level = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    upright = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    return np.asarray((level > 0) | (upright > 0))


def without_specks(mask: Mask) -> Mask:
    """Drop what is too small for a stroke, and edges of other things that reach in from the frame."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 1:
        return mask
    height, width = mask.shape
    area = stats[1:, cv2.CC_STAT_AREA]
    left, top = stats[1:, cv2.CC_STAT_LEFT], stats[1:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[1:, cv2.CC_STAT_WIDTH], top + stats[1:, cv2.CC_STAT_HEIGHT]
    inside = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    band = max(1, round(0.05 * min(height, width)))
    at_frame = np.bincount(labels[frame(mask.shape, band)], minlength=count)[1:] / area
    weight = np.where(inside, area, area / 4) * (at_frame < 0.7)
    largest = weight.max()
    kept = (weight >= 0.03 * largest) & (area >= max(12, 2e-5 * mask.size))
    return np.isin(labels, 1 + np.flatnonzero(kept))


def frame(shape: tuple[int, int], band: int) -> Mask:
    """Mark the pixels that are at most `band` from a picture's side."""
    marked = np.ones(shape, dtype=np.bool_)
    marked[band:-band, band:-band] = False
    return marked


def bounding_box(mask: Mask) -> Box | None:
    """Find the smallest box around all ink, None where there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
