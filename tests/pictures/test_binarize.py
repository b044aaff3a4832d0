"""Binarization under uneven illumination, of both polarities, on ruled paper and beside boxes and specks."""

import cv2
import numpy as np
import pytest

from drawing import on_page, photo, shape
from mnist_cnn.pictures.binarize import Mask, bounding_box, estimate_noise, find_foreground
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.splits import Dataset


@pytest.fixture(scope="module")
def five(mnist: Dataset) -> Pixels:
    """The first training image, a 5, 200 pixels high."""
    return shape(mnist.train.images[0, 0].numpy(), 200)


def iou(found: Mask, page: Pixels) -> float:
    """Return the intersection over union."""
    truth = page > 127
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("shade", [0, 60, 110])
def test_uneven_illumination_and_both_polarities(five: Pixels, shade: float, inverted: bool) -> None:
    page = on_page([(five, 100, 150)], 420, 500)
    picture = photo(page, shade=shade)[:, :, 0]
    assert iou(find_foreground(255 - picture if inverted else picture).mask, page) > 0.85


def test_a_sharp_shadow_is_background(five: Pixels) -> None:
    page = on_page([(five, 100, 150)], 420, 500)
    picture = photo(page)[:, :, 0].astype(float)
    picture[:, 260:] *= 0.55
    assert iou(find_foreground(picture.astype(np.uint8)).mask, page) > 0.75


def test_ruled_and_squared_paper(five: Pixels) -> None:
    page = on_page([(five, 100, 150)], 420, 500)
    ruled = page.copy()
    for row in range(20, 420, 60):
        ruled[row : row + 2] = 160
    squared = ruled.copy()
    for column in range(15, 500, 60):
        squared[:, column : column + 2] = 160
    for lined in (ruled, squared):
        assert iou(find_foreground(photo(lined)[:, :, 0]).mask, page) > 0.8


def test_specks_scan_borders_and_boxes_are_removed(five: Pixels) -> None:
    page = on_page([(five, 100, 150)], 420, 500)
    dirty = page.copy()
    for x, y in np.random.default_rng(0).integers(0, 400, (40, 2)):
        dirty[y, x] = 255
    dirty[:4] = dirty[:, :4] = 255  # the scanner's edge
    cv2.rectangle(dirty, (100, 60), (400, 360), 255, 3)
    assert iou(find_foreground(photo(dirty)[:, :, 0]).mask, page) > 0.8


def test_disconnected_strokes_are_kept(five: Pixels) -> None:
    bar, stem = np.full((20, 120), 255, np.uint8), np.full((160, 20), 255, np.uint8)
    page = on_page([(bar, 100, 150), (stem, 140, 200)], 420, 500)
    assert iou(find_foreground(photo(page)[:, :, 0]).mask, page) > 0.85
    assert five.any()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_pages_have_no_foreground(level: int) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (300, 400))
    for blank in (np.full((300, 400), level), level + noise, np.linspace(level - 40, level + 40, 400) + noise):
        page = np.broadcast_to(blank, (300, 400)).clip(0, 255).astype(np.uint8)
        assert bounding_box(find_foreground(page).mask) is None


@pytest.mark.parametrize("size", [(300, 400), (600, 300)])
def test_ruled_paper_alone_has_no_foreground_and_a_row_of_ones_is_no_ruling(size: tuple[int, int]) -> None:
    ruled = np.zeros(size, np.uint8)
    ruled[20::30] = ruled[21::30] = 255
    squared = ruled.copy()
    squared[:, 15::30] = squared[:, 16::30] = 255
    ones = on_page([(np.full((size[0] * 3 // 4, 6), 255, np.uint8), 20, 40 + 40 * i) for i in range(6)], *size)
    for page, blank in ((ruled, True), (squared, True), (ones, False)):
        for picture in (photo(page)[:, :, 0], 255 - photo(page)[:, :, 0]):
            assert (bounding_box(find_foreground(picture).mask) is None) == blank


def test_noise_estimation_is_robust_to_strokes(five: Pixels) -> None:
    page = on_page([(five, 100, 150)], 420, 500)
    for sigma in (4, 12):
        noisy = 128 + 60 * (page > 0) + np.random.default_rng(0).normal(0, sigma, page.shape)
        assert estimate_noise(noisy.clip(0, 255).astype(np.uint8)) == pytest.approx(sigma, rel=0.15)


def test_bounding_box_by_hand() -> None:
    mask = np.zeros((9, 12), dtype=np.bool_)
    assert bounding_box(mask) is None
    mask[3:5, 6] = mask[4, 6:9] = True
    assert bounding_box(mask) == (6, 3, 3, 2)
