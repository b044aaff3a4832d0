"""Training examples, decoded again as the reader decodes the network's output."""

import numpy as np
import pytest
import torch

from mnist_cnn.pictures.contrast import local_contrast
from mnist_cnn.pictures.detections import logit, peaks
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.pages import SHAPES, Page, draw_page
from mnist_cnn.synthetic.sheet import Digit
from mnist_cnn.training.spotter_examples import DrawnBatches, collate


def test_targets_decode_to_the_digits_of_the_page() -> None:
    digits = (Digit(3, (4, 5, 24, 40), True, False), Digit(8, (60, 10, 77, 51), True, False))
    page = Page(np.zeros((60, 100), np.uint8), (*digits, Digit(1, (30, 8, 40, 20), False, True)))
    examples = collate([page], (64, 104))
    output = np.full((14, 16, 26), -9, np.float32)
    output[:10] = logit(np.clip(examples.heatmaps[0].numpy(), 1e-4, 0.999))
    for (_, _, row, column), box in zip(examples.centres.tolist(), examples.boxes.numpy(), strict=True):
        output[10:, row, column] = box
    found = sorted(peaks(output).tolist(), key=lambda row: row[10])
    assert [int(np.argmax(row[:10])) for row in found] == [3, 8]
    np.testing.assert_allclose([row[10:] for row in found], [one.box for one in digits], rtol=1e-4)


def test_the_mask_hides_ignored_digits_but_no_target() -> None:
    digits = (Digit(3, (4, 4, 24, 40), True, False), Digit(1, (8, 8, 40, 48), False, True))
    mask = collate([Page(np.zeros((64, 64), np.uint8), digits)], (64, 64)).mask[0]
    assert mask[5, 3] == 1, "the target's centre"
    assert mask[5, 4] == 0
    assert mask[2:13, 2:11].sum() == 1
    assert mask.sum() == 16 * 16 - 11 * 9 + 1


@pytest.mark.parametrize("number", range(3))
def test_a_batch_depends_on_its_number_only(glyphs: Glyphs, number: int) -> None:
    whole = DrawnBatches(glyphs, 5, 4, 0, 3)
    part = DrawnBatches(glyphs, 5, 4, number, 3)
    assert (len(whole), len(part)) == (3, 3 - number)
    for one, other in zip(whole[number], part[0], strict=True):
        assert torch.equal(one, other)
    page = draw_page(glyphs, 5, 4 * number + 2, SHAPES[number])
    height, width = page.grey.shape
    contrast = part[0].contrast[2, 0].numpy()
    np.testing.assert_array_equal(contrast[:height, :width], local_contrast(page.grey))
    assert not contrast[height:].any()
    assert not contrast[:, width:].any()
