"""Processes that are forked when everything is imported: each spares the seconds that importing PyTorch takes."""

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from mnist_cnn import cli, evaluate, export, main, predict, read, train_spotter
from mnist_cnn.experiments import compare, ensemble, study
from mnist_cnn.serving import app

Command = Callable[[Sequence[str]], None]
SCRIPTS = (ensemble, compare, evaluate, export, main, predict, read, app, study, train_spotter)
COMMANDS: dict[str, Command] = {
    "mnist-cnn": cli.main,
    **{f"{module.__name__.rpartition('.')[2]}.py": module.main for module in SCRIPTS},
}
if sys.platform == "win32":
    FORKING = multiprocessing.get_context("spawn")
else:
    FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([*(command.__module__ for command in COMMANDS.values()), "torch._dynamo", "pytest"])


def start(
    command: Command,
    arguments: Sequence[str | Path],
    folder: Path,
    environment: dict[str, str],
    out: Path,
    err: Path,
) -> BaseProcess:
    """Run a command in a folder; what it says is added to the files `out` and `err`. Windows starts it afresh."""
    texts = [str(argument) for argument in arguments]
    process = FORKING.Process(target=work, args=(command, texts, folder, environment, out, err))
    process.start()
    return process


def work(
    command: Command,
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    out: Path,
    err: Path,
) -> None:
    """Be the process."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, "utf-8", closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.simplefilter("error")
    command(arguments)
