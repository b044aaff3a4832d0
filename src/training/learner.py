"""A model with its optimizers, and the training step."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from mnist_cnn.common.device import pick_device, pick_dtype
from mnist_cnn.common.distributed import wrap_ddp
from mnist_cnn.own_network import OwnNetwork
from mnist_cnn.training.config import TrainConfig
from mnist_cnn.training.muon import Muon

NEGATIVE = -1  # label of images of no class


@dataclass(frozen=True)
class Learner:
    """A network with its optimizers and learning rate schedules."""

    network: nn.Module
    model: nn.Module
    """The network, wrapped in DistributedDataParallel if several processes train it."""
    optimizers: tuple[Optimizer, ...]
    schedulers: tuple[LRScheduler, ...]
    dtype: torch.dtype
    """Of the forward pass in a training step."""
    teacher: nn.Module | None = None
    """A trained network whose probabilities are the targets, in eval mode on the same device."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.network.parameters()).device

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, for all parameters but the filters."""
        return float(self.schedulers[0].get_last_lr()[0])

    def state(self) -> dict[str, Any]:
        """Return the state of optimizers and schedulers."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
        }

    def load_state(self, weights: dict[str, Tensor], state: dict[str, Any], longer: bool = False) -> None:
        """Restore weights and the `state` of an earlier step.

        Args:
            weights: of the network.
            state: as `state` returned it.
            longer: whether the schedules are planned for more steps than those of the `state`: they stay as planned,
                at its step.
        """
        self.network.load_state_dict(weights)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            before = {name: saved[name] - 1 for name in ("last_epoch", "_step_count")}  # counts of steps
            scheduler.load_state_dict(scheduler.state_dict() | before if longer else saved)
            if longer:
                scheduler.step()  # sets the optimizer's learning rate


def build_learner(network: nn.Module, config: TrainConfig, images: int, teacher: nn.Module | None = None) -> Learner:
    """Build optimizers and one-cycle schedules (Smith 2018, arXiv 1708.07120) for epochs of `images` images.

    Muon updates the filters of convolutions, AdamW all other parameters. A network from outside keeps its memory
    layout, on which its code may rely.
    """
    device = pick_device(config.device)
    layout = torch.preserve_format if isinstance(network, OwnNetwork) else torch.channels_last
    network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    filters = [parameter for parameter in parameters if parameter.ndim == 4]
    others = [parameter for parameter in parameters if parameter.ndim != 4]
    optimizers: list[Optimizer] = [
        *([AdamW(others, config.learning_rate, weight_decay=config.weight_decay, fused=True)] if others else []),
        *([Muon(filters, config.filter_learning_rate, weight_decay=config.weight_decay)] if filters else []),
    ]
    steps = config.epochs * math.ceil(images / config.batch_size)
    schedulers = [
        OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], total_steps=steps, cycle_momentum=False)
        for optimizer in optimizers
    ]
    dtype = pick_dtype(config.precision, device)
    if teacher:
        teacher.to(device)
    return Learner(network, wrap_ddp(network), tuple(optimizers), tuple(schedulers), dtype, teacher)


def train_step(
    learner: Learner,
    images: Tensor,
    labels: Tensor,
    label_smoothing: float,
    weight: float = 1.0,
    has_negatives: bool = False,
) -> Tensor:
    """Update the weights with one batch; nothing is read back from the device.

    Args:
        learner: updated in place.
        images: [N, 1, 28, 28], raw pixels 0..255, on the model's device.
        labels: int64 [N], those of negatives `NEGATIVE`.
        label_smoothing: 0..1.
        weight: factor of the loss for this rank's shard of the batch, as `distributed.shard` returns it.
        has_negatives: whether there may be negatives.

    Returns:
        The logits before the update, float32 [N, classes].
    """
    with torch.autocast(images.device.type, learner.dtype) if learner.dtype == torch.bfloat16 else nullcontext():
        logits: Tensor = learner.model(images).float()
        taught = None if learner.teacher is None else probabilities(learner.teacher, images)
    loss = weight * batch_loss(logits, labels, label_smoothing, has_negatives, taught)
    for optimizer in learner.optimizers:
        optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer, scheduler in zip(learner.optimizers, learner.schedulers, strict=True):
        optimizer.step()
        scheduler.step()
    return logits.detach()


@torch.no_grad()
def probabilities(teacher: nn.Module, images: Tensor) -> Tensor:
    """Return what a teacher says of augmented images: float32 [N, classes] (Hinton et al. 2015, arXiv 1503.02531).

    The temperature is 1; a higher one was tried (docs/LOG.md).
    """
    logits: Tensor = teacher(images)
    return logits.float().softmax(dim=1)


def batch_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float, has_negatives: bool, taught: Tensor | None = None
) -> Tensor:
    """Return the mean cross-entropy of a batch, arguments as in `train_step`.

    The target of negatives is uniform (outlier exposure: Hendrycks et al. 2019, arXiv 1812.04606, section 4), that of
    the others `taught`, a teacher's probabilities [N, classes], where there is one.
    """
    if taught is None and not has_negatives:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    classes = logits.shape[1]
    targets = F.one_hot(labels.clamp(min=0), classes) if taught is None else taught
    uniform = torch.where(labels == NEGATIVE, 1.0, label_smoothing)[:, None]  # share of each target
    return F.cross_entropy(logits, (1 - uniform) * targets + uniform / classes)
