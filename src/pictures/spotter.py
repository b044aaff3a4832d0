"""The spotter finds the digits of a grey picture of any size, with a fully convolutional network in ONNX Runtime."""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from mnist_cnn.pictures.contrast import Floats, local_contrast
from mnist_cnn.pictures.detections import (
    CLEAR,
    IDEAL_HEIGHT,
    Detection,
    clear,
    mean_probability,
    mode_height,
    of_height,
    peaks,
    same_height,
    suppress,
    union,
    with_weights,
)
from mnist_cnn.pictures.image_io import Pixels

PACKAGED = Path(__file__).parents[1] / "spotter.onnx"
NEAR = 1.2  # ratio of two scales of which one need not be searched
MULTIPLE = 8  # the network's input sides are multiples of it
SMALLEST = 40  # pixels: height of the top of the image pyramid, which a lone digit fills
LARGEST = 2_600_000  # pixels of its base: a page of print
LOOKS = (IDEAL_HEIGHT, 36.0, 22.0)  # pixels: heights to which digits are scaled; the first look has to show any
FURTHER = 32.0  # pixels: such a look more, where the others give no clear reading
BUDGET = 1_200_000  # pixels of all these looks but the first
LARGE = 2_000_000  # pixels: a picture that would be larger at the first of these looks has only one, `FARTHER`
FARTHER = 25.0  # pixels
MOST = 8_000_000  # pixels of any picture that the network sees, which bounds time
STRIP = 2_000_000  # pixels that it sees at once
MARGIN = 64  # pixels, a multiple of `MULTIPLE`: what it sees around a strip
VISIBLE = 26.0  # pixels: digits of half to twice this height show how high they are
CLOSER = 2.0  # the last level of the pyramid is so many times as close as what was found needs


@functools.cache
def load_spotter(path: Path = PACKAGED) -> "Spotter":
    """Load the packaged spotter, once a process."""
    return Spotter(path)


class Spotter:
    """A trained spotter."""

    def __init__(self, path: Path) -> None:
        """Load an .onnx file that `mnist-cnn train-spotter` wrote."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def spot(self, grey: Pixels, several: bool = True) -> tuple[list[Detection], list[Detection]]:
        """Find all digits of a picture, uint8 [H, W], or, unless `several`, the tallest that are clear.

        An image pyramid is searched from its top. Where most detections have a height that the network reads well, the
        picture is read at that scale; when a reading is clear, one closer level is the last, or none if one digit is
        sought. A level less than twice as close is only for a picture in which nothing is read before.

        Returns:
            The digits, and the detections of all readings, faint ones too.
        """
        pyramid = image_pyramid(grey)
        readings: list[list[Detection]] = []
        everything: list[Detection] = []
        before, height = np.zeros((0, 15), dtype=np.float32), 0.0
        scales = search_scales(grey.shape)
        for scale, closer in zip(scales, [*scales[1:], 0.0], strict=True):
            is_last = closer < 2 * scale
            found = self.detect(pyramid, scale)
            mode = mode_height(np.concatenate([before, found]))
            before = found
            if mode > VISIBLE / scale / (8 if is_last else 2) and not same_height(mode, height):
                height = mode
                detections = self.read(pyramid, height)
                everything += detections
                readings.append(clear(detections))
            is_clear = max(map(mean_probability, readings), default=0.0) > CLEAR
            is_close = not several or scale * height > VISIBLE * CLOSER
            if any(readings) and (is_last or (is_clear and is_close)):
                break
        return union(readings), everything

    def read(self, pyramid: Sequence[Pixels], height: float) -> list[Detection]:
        """Detect digits of about a height, in pixels, at several scales, and merge the detections."""
        found, budget = np.zeros((0, 15), dtype=np.float32), BUDGET
        for look in LOOKS if pyramid[0].size * (LOOKS[0] / height) ** 2 < LARGE else (FARTHER,):
            scale = look / height
            budget -= round(pyramid[0].size * scale**2)
            if not len(found):
                found = self.detect(pyramid, scale)
                reading = suppress(of_height(found, height))
                if not clear(reading):
                    return reading
            elif budget >= 0:
                found = np.concatenate([found, self.detect(pyramid, scale)])
        reading = suppress(of_height(found, height))
        further = FURTHER / height
        if budget < pyramid[0].size * further**2 or mean_probability(clear(reading)) > CLEAR:
            return reading
        return suppress(of_height(np.concatenate([found, self.detect(pyramid, further)]), height))

    def detect(self, pyramid: Sequence[Pixels], scale: float) -> Floats:
        """Detect digits in a scaled picture: weighted peaks, float32 [K, 15], with boxes in pixels of the picture."""
        scale = min(scale, (MOST / pyramid[0].size) ** 0.5)
        height, width = (max(round(side * scale), 1) for side in pyramid[0].shape)
        nearest = min((level for level in pyramid if len(level) >= height), key=len, default=pyramid[0])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        contrast = local_contrast(np.asarray(cv2.resize(nearest, (width, height), interpolation=method), np.uint8))
        found = with_weights(np.concatenate([self.detect_in(contrast, *strip) for strip in strips(height, width)]))
        found[:, 10:14] *= np.array([pyramid[0].shape[1] / width, pyramid[0].shape[0] / height] * 2, dtype=np.float32)
        return found

    def detect_in(self, contrast: Floats, first: int, last: int) -> Floats:
        """Detect the digits whose centres lie in some rows of a picture's local contrast: peaks, float32 [K, 14]."""
        top = max(first - MARGIN, 0)
        rows = contrast[top : last + MARGIN]
        padded = np.pad(rows, [(0, -side % MULTIPLE) for side in rows.shape])
        (output,) = self.session.run(None, {"contrast": padded[None, None]})
        found = peaks(output[0])
        found[:, [11, 13]] += top
        middle = found[:, [11, 13]].mean(axis=1)
        return np.asarray(found[(middle >= first) & (middle < last)])


def strips(height: int, width: int) -> list[tuple[int, int]]:
    """Divide the rows of a picture into strips that the network sees one at a time, which bounds memory."""
    count = -(-height * width // STRIP)
    edges = [round(height * number / count / MULTIPLE) * MULTIPLE for number in range(count)]
    edges.append(height + MARGIN)
    return list(itertools.pairwise(edges))


def image_pyramid(grey: Pixels) -> list[Pixels]:
    """Halve a picture, uint8 [H, W], repeatedly, down to the smallest level that is searched."""
    levels = [grey]
    while min(levels[-1].shape) >= 4 and len(levels[-1]) >= 2 * SMALLEST:
        height, width = (-(-side // 2) for side in levels[-1].shape)
        levels.append(np.asarray(cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8))
    return levels


def search_scales(shape: tuple[int, ...]) -> list[float]:
    """List the scales at which a picture of a shape is searched: doubling, and its own size or the largest."""
    first = SMALLEST / shape[0]
    own = min(1.0, (LARGEST / (shape[0] * shape[1])) ** 0.5)
    last = max(own, 2 * first if shape[0] < 3 * SMALLEST else 0)
    scales = [first * 2**n for n in range(12) if first * 2**n <= last * NEAR or n == 0]
    return [*scales, own] if own > scales[-1] * NEAR else scales
