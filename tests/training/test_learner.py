"""The loss of a batch against the cross-entropies of its images."""

import pytest
import torch
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from mnist_cnn.cnn_model import CNN, ModelConfig
from mnist_cnn.splits import Split
from mnist_cnn.train import READ_EVERY, step_sums, train_steps
from mnist_cnn.training.augment import AugmentConfig
from mnist_cnn.training.config import TrainConfig
from mnist_cnn.training.learner import NEGATIVE, Learner, batch_loss
from mnist_cnn.training.muon import Muon
from mnist_cnn.training.resume import Progress


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_target_of_negatives_is_uniform(smoothing: float) -> None:
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, NEGATIVE, 0, 9, NEGATIVE, 3])
    known = labels >= 0
    digits = F.cross_entropy(logits[known], labels[known], label_smoothing=smoothing, reduction="sum")
    negatives = -logits[~known].log_softmax(dim=1).mean(dim=1).sum()
    torch.testing.assert_close(batch_loss(logits, labels, smoothing, has_negatives=True), (digits + negatives) / 6)
    without = F.cross_entropy(logits[known], labels[known], label_smoothing=smoothing)
    assert torch.equal(batch_loss(logits[known], labels[known], smoothing, has_negatives=False), without)


def test_the_target_of_digits_is_what_a_teacher_says_and_that_of_negatives_stays_uniform() -> None:
    logits, other = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0))
    labels, taught = torch.tensor([3, NEGATIVE, 0, 9, NEGATIVE, 3]), other.softmax(dim=1)
    targets = torch.where(labels[:, None] == NEGATIVE, 0.1, taught)
    loss = batch_loss(logits, labels, 0.0, has_negatives=True, taught=taught)
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets))
    smoothed = batch_loss(logits, labels.clamp(min=0), 0.1, has_negatives=False, taught=taught)
    torch.testing.assert_close(smoothed, F.cross_entropy(logits, taught, label_smoothing=0.1))


def test_the_sums_of_a_step_count_negatives_that_get_no_answer() -> None:
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [1, 1, 1], [9, 0, 0]])
    labels = torch.tensor([0, 2, NEGATIVE, NEGATIVE])
    loss, correct, stop = step_sums(logits, labels, 1.0, stop=True)
    uniform = torch.full((3,), 1 / 3)
    divergence = F.kl_div(logits[3].log_softmax(dim=0), uniform, reduction="sum")
    torch.testing.assert_close(loss, F.cross_entropy(logits[:2], labels[:2], reduction="sum") + divergence)
    assert (correct, stop) == (2, 1)


@pytest.fixture(params=["meta", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Name a device: one that computes nothing, so that reading it back is an error, and a real one if there is one."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    return torch.device(request.param)


def test_no_step_on_an_accelerator_is_waited_for(device: torch.device) -> None:
    augment = AugmentConfig(degrade=0.5, severe=0.5)
    config = TrainConfig(batch_size=4, augment=augment, drawn_negatives=1, epochs=1, device="cpu")
    images = torch.zeros(4 * (READ_EVERY + 2), 1, 28, 28, dtype=torch.uint8, device=device)
    train = Split(images, torch.zeros(len(images), dtype=torch.int64, device=device))
    learner = learner_on(device, len(train))
    steps = train_steps(learner, train, config, Progress(epoch=1))
    next(steps)  # copies constants to the device, once
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(2, READ_EVERY):
            progress, stop = next(steps)
            assert (progress.step, progress.loss, stop) == (number, 0.0, False)
        with pytest.raises((NotImplementedError, RuntimeError)):  # here the sums are read
            next(steps)
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def learner_on(device: torch.device, images: int) -> Learner:
    """Build a learner as `build_learner` does, on a device that `pick_device` may not know."""
    network = CNN(ModelConfig(stages=((4,), (8,)))).to(device)
    filters = [parameter for parameter in network.parameters() if parameter.ndim == 4]
    others = [parameter for parameter in network.parameters() if parameter.ndim != 4]
    optimizers: tuple[Optimizer, ...] = (AdamW(others, fused=device.type == "cuda"), Muon(filters, 0.01))
    schedulers = tuple(OneCycleLR(optimizer, 0.01, total_steps=images) for optimizer in optimizers)
    return Learner(network, network, optimizers, schedulers, torch.bfloat16 if device.type == "cuda" else torch.float32)
