"""A digit is cut out at its box; a picture's only digit keeps the strokes that end outside."""

import cv2
import numpy as np
import pytest

from mnist_cnn.pictures.detections import Detection
from mnist_cnn.pictures.digit_crop import cut_out

LOOP = (100, 120, 160, 200)  # left, top, right and bottom of what the spotter takes for the digit
SCORES = np.full(10, 0.1, np.float32)


def drawing(end: tuple[int, int]) -> np.ndarray:
    """A loop and a stroke from its top to somewhere, black on white."""
    page = np.full((320, 320), 255, np.uint8)
    cv2.ellipse(page, (130, 160), (24, 34), 0, 0, 360, 0, 10, cv2.LINE_AA)
    cv2.line(page, (140, 130), end, 0, 10, cv2.LINE_AA)
    return page


@pytest.mark.parametrize("alone", [False, True])
def test_a_stroke_that_ends_outside_the_box_belongs_to_the_only_digit(alone: bool) -> None:
    mask, sides = cut_out(drawing((210, 230)), Detection(SCORES, LOOP), alone)
    assert sides == pytest.approx((100, 120, 215, 235) if alone else (100, 120, 167, 200), abs=4)
    assert mask.any()


@pytest.mark.parametrize("end", [(319, 130), (319, 300)])
def test_a_ruling_that_leaves_the_crop_is_cut_off_at_the_box(end: tuple[int, int]) -> None:
    ruled, detection = drawing(end), Detection(SCORES, LOOP)
    _, sides = cut_out(ruled, detection, alone=True)
    assert sides == pytest.approx(cut_out(ruled, detection)[1], abs=2)
    assert sides[2] < 172
