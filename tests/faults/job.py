"""Trainings in processes that are forked when everything is imported, so that they can be killed by the hundred."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from mnist_cnn import main, study
from mnist_cnn.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.console import exit_codes
from mnist_cnn.data_loader import load
from mnist_cnn.interruption import raise_on_sigterm
from mnist_cnn.train import fit

DIGITS = ("--dataset", "digits", "--preset", "fast")
TRAIN = (*DIGITS, "--deterministic", "--device", "cpu")


def start(command: Callable[..., None], arguments: Sequence[str | Path], folder: Path) -> ForkServerProcess:
    """Run a command in a folder; what it says goes to the file `said` there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["job"])
    process = context.Process(target=work, args=(command, [str(argument) for argument in arguments], folder))
    process.start()
    return process


def work(command: Callable[..., None], arguments: list[str], folder: Path) -> None:
    """Be the process."""
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    torch.set_num_threads(1)
    command(arguments)


def fit_alone(arguments: list[str]) -> None:
    """Train as `mnist-cnn train` does, without what comes after: limits, evaluation, figures."""
    with exit_codes():
        raise_on_sigterm()
        checkpoint = fit(load("digits"), main.read_config(arguments, "train"))
        save_checkpoint(checkpoint, Path("saved_models", "digits_cnn_final.pth"))


def train(folder: Path, *arguments: str | Path) -> ForkServerProcess:
    """Start a training."""
    return start(fit_alone, [*TRAIN, *arguments], folder)


def run_study(folder: Path, *arguments: str | Path) -> ForkServerProcess:
    """Start `mnist-cnn study`."""
    return start(study.main, [*DIGITS, *arguments], folder)


def final(folder: Path) -> Checkpoint:
    """Load what a training ended with."""
    return load_checkpoint(folder / "saved_models" / "digits_cnn_final.pth")


def same_end(first: Checkpoint, second: Checkpoint) -> bool:
    """Tell whether weights and history agree to the last bit, but for the seconds."""
    history = [[{**epoch, "seconds": 0} for epoch in one.history] for one in (first, second)]
    weights = (torch.equal(first.state_dict[name], second.state_dict[name]) for name in first.state_dict)
    return history[0] == history[1] and all(weights)
