"""Thinning keeps what strokes are connected to, and traces where they are."""

import cv2
import numpy as np
import pytest

from mnist_cnn.pictures.binarize import Mask
from mnist_cnn.splits import Dataset
from mnist_cnn.synthetic.glyphs import upsampled
from mnist_cnn.synthetic.thinning import thin, trace


def components(mask: Mask, connectivity: int) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)[0]


def test_a_thick_stroke_is_thinned_to_its_middle() -> None:
    mask = np.zeros((1, 30, 30), np.bool_)
    mask[0, 5:25, 12:17] = True
    line = thin(mask)[0]
    assert (line.sum(axis=1) <= 1).all()
    assert set(np.nonzero(line)[1]) <= {13, 14, 15}
    strokes = trace(line)
    assert np.ptp(strokes[:, :, 1]) == pytest.approx(1)
    assert np.ptp(strokes[:, :, 0]) < 0.2


def test_digits_keep_their_parts_and_holes(digits: Dataset) -> None:
    masks = np.pad(upsampled(digits.train.images[:300, 0].numpy()), ((0, 0), (2, 2), (2, 2)))
    lines = thin(masks)
    assert not (lines & ~masks).any()
    assert lines.sum() < 0.5 * masks.sum()
    for mask, line in zip(masks, lines, strict=True):
        assert components(line, 8) == components(mask, 8)
        assert components(~line, 4) == components(~mask, 4)


def test_what_has_no_line_has_no_strokes() -> None:
    assert thin(np.zeros((0, 9, 9), np.bool_)).shape == (0, 9, 9)
    point = np.zeros((9, 9), np.bool_)
    assert trace(point).shape == (0, 2, 2)
    point[4, 4] = True
    assert trace(point).shape == (0, 2, 2)
