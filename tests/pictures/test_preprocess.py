"""Preprocessed digits have MNIST's size, position and stroke width."""

import cv2
import numpy as np
import pytest

from drawing import on_page, shape
from mnist_cnn.pictures.binarize import find_foreground
from mnist_cnn.pictures.preprocess import DIGIT, SIDE, is_mnist_style, stroke_width, to_mnist
from mnist_cnn.splits import Dataset


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    total = image.sum()
    return float((image.sum(axis=1) @ np.arange(SIDE)) / total), float((image.sum(axis=0) @ np.arange(SIDE)) / total)


def test_size_place_and_range_are_mnists(mnist: Dataset) -> None:
    for digit in mnist.train.images[:100, 0].numpy():
        prepared = to_mnist(on_page([(shape(digit, 300), 50, 20)], 500, 600) > 127)
        rows, columns = np.flatnonzero(prepared.any(axis=1)), np.flatnonzero(prepared.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(DIGIT, abs=1)
        assert prepared.max() == 255
        assert centre_of_mass(prepared) == pytest.approx((13.5, 13.5), abs=0.51)


def test_an_enlarged_mnist_digit_comes_back(mnist: Dataset) -> None:
    digits = mnist.train.images[:300, 0].numpy()
    prepared = np.stack([to_mnist(on_page([(shape(d, 240), 40, 40)], 400, 420) > 127) for d in digits])
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # MNIST's centres were rounded otherwise
    likeness = [
        max(np.corrcoef(np.roll(a, shift, (0, 1)).ravel(), b.ravel())[0, 1] for shift in shifts)
        for a, b in zip(digits, prepared, strict=True)
    ]
    assert np.median(likeness) > 0.9


def test_a_blank_mask_gives_a_blank_image() -> None:
    assert not to_mnist(np.zeros((50, 60), dtype=np.bool_)).any()


def test_stroke_width_of_bars_by_hand() -> None:
    for width in (4, 9, 15):
        bar = np.zeros((200, 200), np.uint8)
        bar[20:180, 90 : 90 + width] = 255
        assert stroke_width(bar) == pytest.approx(width, rel=0.15)


@pytest.mark.parametrize("pen", [1, 3, 9, 25, 60])
def test_any_stroke_width_is_normalized_to_mnists(pen: int) -> None:
    page = np.zeros((500, 500), np.uint8)
    cv2.polylines(page, [np.array([(150, 100), (350, 100), (220, 400)])], False, 255, pen)  # a 7
    prepared = to_mnist(page > 127)
    assert 1.3 < stroke_width(np.kron(prepared, np.ones((4, 4), np.uint8))) / 4 < 4.7


def test_mnist_images_are_recognized_and_small_drawings_are_not(mnist: Dataset) -> None:
    digits = mnist.train.images[:2000, 0].numpy()
    assert is_mnist_style(digits).mean() > 0.98
    assert is_mnist_style(255 - digits).mean() > 0.98
    noisy = (digits[:200] + np.random.default_rng(0).normal(0, 60, (200, SIDE, SIDE))).clip(0, 255).astype(np.uint8)
    assert is_mnist_style(noisy).all()
    drawing = np.full((SIDE, SIDE), 255, np.uint8)
    cv2.polylines(drawing, [np.array([(3, 2), (24, 2), (10, 27)])], False, 0, 1)
    assert not is_mnist_style(drawing[None]).any()
    assert find_foreground(drawing).mask.any()
