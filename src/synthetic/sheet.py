"""A sheet: the masks of what is written and ruled on it, and the digits among it."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.detections import Sides
from mnist_cnn.pictures.image_io import Pixels

Points = npt.NDArray[np.float64]

MIN_VISIBLE, MIN_KNOWN = 0.78, 0.4  # visible share of a digit's box: from these on it is a target, or ignored
MIN_HEIGHT, MAX_HEIGHT = 13.0, 60.0  # pixels: of targets
HEIGHT_SLACK = 1.25  # up to this factor beyond these heights, a digit is ignored
MIN_SIDE = 8  # pixels: of a cropped sheet
FRACTION_BITS = 4  # of coordinates in OpenCV's drawing


@dataclass(frozen=True)
class Digit:
    """A digit on a page. One that is neither target nor ignored has another size, and is background at this scale.

    Attributes:
        label: 0..9.
        box: of its visible part, in pixels.
        target: whether it is to be detected.
        ignored: whether it does not matter if it is detected.
    """

    label: int
    box: Sides
    target: bool
    ignored: bool


class Sheet:
    """Masks of the ink and the ruling, uint8 [H, W], 255 is foreground, and the digits."""

    def __init__(self, height: int, width: int) -> None:
        """Start with a blank sheet."""
        self.ink: Pixels = np.zeros((height, width), dtype=np.uint8)
        self.ruling: Pixels = np.zeros((height, width), dtype=np.uint8)
        self.digits: list[Digit] = []

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.ink.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.ink.shape[1])

    def put(self, image: Pixels, left: float, top: float, label: int | None = None) -> None:
        """Put a character, uint8 [h, w], on the sheet, cut off at its edges; with a label it is a digit."""
        x, y = round(left), round(top)
        height, width = image.shape
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, self.width), min(y + height, self.height)
        if x1 <= x0 or y1 <= y0:
            return
        target = self.ink[y0:y1, x0:x1]
        np.maximum(target, image[y0 - y : y1 - y, x0 - x : x1 - x], out=target)
        visible = (x1 - x0) * (y1 - y0) / (width * height)
        if label is not None and visible >= MIN_KNOWN:
            near = MIN_HEIGHT / HEIGHT_SLACK <= height <= MAX_HEIGHT * HEIGHT_SLACK
            is_target = visible >= MIN_VISIBLE and MIN_HEIGHT <= height <= MAX_HEIGHT
            self.digits.append(Digit(label, (x0, y0, x1, y1), is_target, near and not is_target))

    def cropped(self, left: int, top: int, right: int, bottom: int) -> "Sheet":
        """Crop the sheet, to at least 8 x 8 pixels; digits of which too little stays visible are no longer targets."""
        left, top = max(min(left, self.width - MIN_SIDE), 0), max(min(top, self.height - MIN_SIDE), 0)
        right, bottom = min(max(right, left + MIN_SIDE), self.width), min(max(bottom, top + MIN_SIDE), self.height)
        part = Sheet(0, 0)
        part.ink = np.ascontiguousarray(self.ink[top:bottom, left:right])
        part.ruling = np.ascontiguousarray(self.ruling[top:bottom, left:right])
        for one in self.digits:
            x0, y0, x1, y1 = one.box
            box = max(x0 - left, 0), max(y0 - top, 0), min(x1, right) - left, min(y1, bottom) - top
            visible = max(box[2] - box[0], 0) * max(box[3] - box[1], 0) / ((x1 - x0) * (y1 - y0))
            if visible >= MIN_KNOWN and box[2] > box[0] and box[3] > box[1]:
                target = one.target and visible >= MIN_VISIBLE
                part.digits.append(Digit(one.label, box, target, one.ignored or (one.target and not target)))
        return part

    def rule(self, points: Points, width: float, darkness: float = 1.0, closed: bool = False) -> None:
        """Draw a line through points [N, 2], `width` pixels wide and of a darkness in 0..1, into the ruling."""
        fixed = (points * (1 << FRACTION_BITS)).round().astype(np.int32)
        level = 255 * darkness * min(width, 1.0)
        cv2.polylines(self.ruling, [fixed], closed, level, max(1, round(width)), cv2.LINE_AA, FRACTION_BITS)
