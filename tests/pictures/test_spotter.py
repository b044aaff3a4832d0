"""The spotter finds small digits on large pages, strip by strip, and each digit once."""

import itertools

import cv2
import numpy as np
import pytest

from mnist_cnn import Classifier
from mnist_cnn.pictures import spotter
from mnist_cnn.pictures.binarize import bounding_box
from mnist_cnn.pictures.candidates import Candidate, as_choices
from mnist_cnn.pictures.contrast import local_contrast
from mnist_cnn.pictures.image_io import Pixels

ROW = "4071952863"


def page(shape: tuple[int, int], height: int, rows: int) -> Pixels:
    """Print rows of digits of a height in pixels on grainy paper: uint8 [H, W]."""
    paper = np.full(shape, 235, np.uint8)
    for top in np.linspace(0.05, 0.92, rows) * shape[0]:
        place = 100 + int(top) % 97, int(top) + height
        cv2.putText(paper, ROW, place, cv2.FONT_HERSHEY_SIMPLEX, height / 21, 60, max(height // 12, 1), cv2.LINE_AA)
    noise = np.random.default_rng(0).normal(0, 3, shape)
    return (paper + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("height", [14, 18, 24])
def test_small_digits_on_a_large_page_are_read(height: int) -> None:
    assert Classifier.load().read(page((2500, 1960), height, 12)).lines == (ROW,) * 12


def test_where_one_digit_is_sought_only_the_tallest_is_found() -> None:
    paper = np.full((400, 700), 235, np.uint8)
    for text, corner, size in (("4", (40, 320), 12), ("712368", (320, 120), 3)):
        cv2.putText(paper, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, 60, 2 * size, cv2.LINE_AA)
    every, lone = (spotter.load_spotter().spot(paper, several)[0] for several in (True, False))
    assert sorted(int(one.scores.argmax()) for one in every) == [1, 2, 3, 4, 6, 7, 8]
    assert [int(one.scores.argmax()) for one in lone] == [4]


def test_strips_give_the_peaks_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    contrast, reader = local_contrast(page((700, 600), 24, 9)), spotter.load_spotter()
    whole = reader.detect_in(contrast, 0, 700)
    monkeypatch.setattr(spotter, "STRIP", 100_000)
    pieces = spotter.strips(700, 600)
    assert len(pieces) == 5
    parts = np.concatenate([reader.detect_in(contrast, *strip) for strip in pieces])
    assert len(whole) >= 9 * len(ROW)
    np.testing.assert_allclose(parts[:, :10], whole[:, :10], atol=0.01, err_msg="scores")
    np.testing.assert_allclose(parts[:, 10:], whole[:, 10:], atol=0.1, err_msg="boxes, in pixels")


@pytest.mark.parametrize("shape", [(1, 1), (3000, 2600), (17, 5000), (9000, 900)])
def test_strips_cover_every_row_once(shape: tuple[int, int]) -> None:
    pieces = spotter.strips(*shape)
    assert pieces[0][0] == 0
    assert pieces[-1][1] > shape[0], "a centre may lie beyond the edge"
    assert all(last == first for (_, last), (first, _) in itertools.pairwise(pieces))
    assert max(last - first for first, last in pieces[:-1] or [(0, 0)]) * shape[1] <= spotter.STRIP + shape[1]


def test_neighbours_with_the_foreground_of_one_digit_are_the_clearer() -> None:
    def candidate(left: int, score: float) -> Candidate:
        scores = np.full(10, score, np.float32)
        return Candidate((np.zeros((28, 28), np.uint8),), (left, 5, 20, 30), 0, scores=scores)

    found = [candidate(0, 0.6), candidate(2, 0.9), candidate(40, 0.7), candidate(41, 0.5), candidate(52, 0.4)]
    assert [choice[0].box[0] for choice in as_choices(found)] == [2, 40, 52]


def test_the_box_of_a_mask_is_that_of_its_foreground() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        mask = rng.random(rng.integers(1, 30, 2)) < rng.choice([0, 0.01, 0.2])
        rows, columns = np.nonzero(mask)
        left, top, width, height = bounding_box(mask) or (0, 0, 0, 0)
        assert bool(width) == mask.any()
        if width:
            assert (left, top) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
