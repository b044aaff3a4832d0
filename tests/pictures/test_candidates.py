"""Which ways of preparing a 28x28 image are tried."""

import cv2
import numpy as np
import pytest

from mnist_cnn.pictures.candidates import AUGMENTATIONS, Search, prepare_all
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.splits import Dataset


def ways(image: Pixels) -> int:
    """Count the images shown to the classifier, or the ways in which they were prepared if there are several."""
    [prepared] = prepare_all([(image, "an image")], Search())
    [[candidate]] = prepared.choices  # type: ignore[union-attr]
    return len(candidate.images) // AUGMENTATIONS


@pytest.fixture
def digit(mnist: Dataset) -> Pixels:
    image: Pixels = mnist.train.images[0, 0].numpy().copy()
    return image


def test_a_digit_in_mnists_style_is_read_once_as_it_is(digit: Pixels) -> None:
    assert ways(digit) == 0


def test_a_small_digit_is_binarized_too(digit: Pixels) -> None:
    assert ways(np.pad(cv2.resize(digit, (16, 16), interpolation=cv2.INTER_AREA), 6)) == 2


def test_a_line_across_a_digit_is_not_scaled_down_with_it(digit: Pixels) -> None:
    cv2.line(digit, (1, 14), (SIDE - 2, 16), 255, 1, cv2.LINE_AA)
    assert ways(digit) == 1


def test_black_and_white_pixels_get_smooth_edges(digit: Pixels) -> None:
    filled = cv2.resize(digit[4:24, 4:24], (SIDE, SIDE))
    assert ways(np.where(filled > 127, 255, 0).astype(np.uint8)) == 2
