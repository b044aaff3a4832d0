"""The loss of a batch against the cross-entropies of its images."""

import pytest
import torch
from torch.nn import functional as F

from mnist_cnn.train import step_sums
from mnist_cnn.training.learner import NEGATIVE, batch_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_target_of_negatives_is_uniform(smoothing: float) -> None:
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, NEGATIVE, 0, 9, NEGATIVE, 3])
    known = labels >= 0
    digits = F.cross_entropy(logits[known], labels[known], label_smoothing=smoothing, reduction="sum")
    negatives = -logits[~known].log_softmax(dim=1).mean(dim=1).sum()
    torch.testing.assert_close(batch_loss(logits, labels, smoothing), (digits + negatives) / 6)
    without = F.cross_entropy(logits[known], labels[known], label_smoothing=smoothing)
    assert torch.equal(batch_loss(logits[known], labels[known], smoothing), without)


def test_the_sums_of_a_step_count_negatives_that_get_no_answer() -> None:
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [1, 1, 1], [9, 0, 0]])
    labels = torch.tensor([0, 2, NEGATIVE, NEGATIVE])
    loss, correct, stop = step_sums(logits, labels, 1.0, stop=True)
    uniform = torch.full((3,), 1 / 3)
    divergence = F.kl_div(logits[3].log_softmax(dim=0), uniform, reduction="sum")
    torch.testing.assert_close(loss, F.cross_entropy(logits[:2], labels[:2], reduction="sum") + divergence)
    assert (correct, stop) == (2, 1)
