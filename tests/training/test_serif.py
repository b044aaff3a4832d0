"""Flags of ones."""

import torch

from mnist_cnn.splits import Dataset
from mnist_cnn.training.serif import serif_ones


def test_ones_get_flags_to_their_left_and_keep_their_foreground(mnist: Dataset) -> None:
    ones = mnist.train.images[mnist.train.labels == 1][:300]
    assert torch.equal(serif_ones(ones, 0, torch.Generator()), ones)
    flagged = serif_ones(ones, 1, torch.Generator().manual_seed(0))
    assert flagged.dtype == torch.uint8
    assert (flagged >= ones).all()
    added = (flagged.int() - ones.int()).clamp(min=0)[:, 0, :12].sum(dim=(0, 1))  # upper part
    centre = (ones[:, 0, :12].sum(dim=(0, 1)) * torch.arange(28)).sum() / ones[:, 0, :12].sum()
    assert (added * torch.arange(28)).sum() / added.sum() < centre - 1
