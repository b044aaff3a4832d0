"""Trainings in forked processes, so that they can be killed by the hundred."""

from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from conftest import environment
from forked import start
from mnist_cnn import main
from mnist_cnn.common.console import exit_codes
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.experiments import study
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.train import fit

DIGITS = ("--dataset", "digits", "--preset", "fast")
TRAIN = (*DIGITS, "--deterministic", "--device", "cpu")


def fit_alone(arguments: Sequence[str]) -> None:
    """Train as `mnist-cnn train` does, without what comes after: limits, evaluation, figures."""
    with exit_codes():
        checkpoint = fit(load_dataset("digits"), main.read_config(arguments, "train")[0])
        save_checkpoint(checkpoint, Path("saved_models", "digits_fast_final.pth"))


def train(folder: Path, *arguments: str | Path) -> BaseProcess:
    """Start a training; what it says goes to the file `log` in its folder."""
    return start(fit_alone, [*TRAIN, *arguments], folder, environment(), folder / "log", folder / "log")


def run_study(folder: Path, *arguments: str | Path) -> BaseProcess:
    """Start `mnist-cnn study`, likewise."""
    return start(study.main, [*DIGITS, *arguments], folder, environment(), folder / "log", folder / "log")


def final(folder: Path) -> Checkpoint:
    """Load what a training ended with."""
    return load_checkpoint(folder / "saved_models" / "digits_fast_final.pth")


def same_end(first: Checkpoint, second: Checkpoint) -> bool:
    """Tell whether weights and history agree to the last bit, but for the seconds."""
    history = [[{**epoch, "seconds": 0} for epoch in one.history] for one in (first, second)]
    weights = (torch.equal(first.state_dict[name], second.state_dict[name]) for name in first.state_dict)
    return history[0] == history[1] and all(weights)
