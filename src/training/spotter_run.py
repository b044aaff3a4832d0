"""A training of the spotter: its settings, its state and its steps."""

import math
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_cnn.common.device import pick_dtype
from mnist_cnn.common.errors import InputError
from mnist_cnn.training.spotter_examples import Examples
from mnist_cnn.training.spotter_net import SpotterNet, spotter_loss

BETAS = (0.9, 0.98)  # of AdamW
WARM_UP = 20  # the first one in so many steps warms up
MAX_NORM = 5.0  # of the gradient


@dataclass(frozen=True, kw_only=True)
class SpotterConfig:
    """How the spotter is trained.

    Attributes:
        steps: batches.
        batch_size: pages per batch.
        learning_rate: the highest.
        weight_decay: of AdamW.
        averaging: decay of the moving average of the weights, 0..1, without 1.
        seed: of initial weights and pages.
    """

    steps: int = 8000
    batch_size: int = 48
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    averaging: float = 0.998
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges of what a person can set."""
        if self.steps < 1:
            raise InputError(f"--steps is {self.steps}; it must be 1 or more")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed is {self.seed}; it must be 0 to 4294967295")


@dataclass
class SpotterRun:
    """The state of a training: the network, its moving average, the optimizer, and the steps that are done."""

    config: SpotterConfig
    net: SpotterNet
    averaged: SpotterNet
    optimizer: torch.optim.Optimizer
    step: int = 0


def start(config: SpotterConfig) -> SpotterRun:
    """Start a training."""
    torch.manual_seed(config.seed)
    net = SpotterNet()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=config.weight_decay, betas=BETAS)
    return SpotterRun(config, net, deepcopy(net).eval(), optimizer)


def learning_rate(config: SpotterConfig, step: int) -> float:
    """Return the learning rate of a step: a linear warm-up, then half a cosine to 0 (Loshchilov, Hutter 2017)."""
    warm_up = max(config.steps // WARM_UP, 1)
    share = (step - warm_up) / max(config.steps - warm_up, 1)
    return config.learning_rate * ((step + 1) / warm_up if step < warm_up else 0.5 + 0.5 * math.cos(math.pi * share))


def train_step(run: SpotterRun, examples: Examples) -> float:
    """Train on a batch; return its loss."""
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.config, run.step)
    loss = batch_loss(run.net.train(), examples)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.net.parameters(), MAX_NORM)
    run.optimizer.step()
    run.step += 1
    update_average(run)
    return loss.item()


def batch_loss(net: SpotterNet, examples: Examples) -> Tensor:
    """Return the loss of a batch, computed in bfloat16 if the processor supports it."""
    contrast = examples.contrast.contiguous(memory_format=torch.channels_last)
    dtype = pick_dtype("auto", contrast.device)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = net(contrast)
    return spotter_loss(output.float(), *examples[1:])


@torch.no_grad()
def update_average(run: SpotterRun) -> None:
    """Move the averaged weights towards the current ones, faster in the first steps."""
    decay = min(run.config.averaging, (1 + run.step) / (10 + run.step))
    for mean, current in zip(run.averaged.state_dict().values(), run.net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(current, 1 - decay)
        else:
            mean.copy_(current)
