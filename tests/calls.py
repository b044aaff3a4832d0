"""One call of every command, for tests of what all of them do."""

import re
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked
from conftest import ROOT, environment
from mnist_cnn.cli import COMMANDS

PHOTO = str(ROOT / "images" / "own_digit.jpg")
FAST = ("--dataset", "digits", "--preset", "fast", "--device", "cpu")
MODELS = [f"{run}/saved_models/digits_fast_final.pth" for run in "ab"]
CALLS: dict[str, list[str]] = {
    "train": ["train", *FAST, "--output-dir", "trained"],
    "evaluate": ["evaluate", "--checkpoint", MODELS[0], "--output-dir", "evaluated"],
    "predict": ["predict", *[PHOTO] * 40, "--show-steps", "steps"],
    "read": ["read", *[PHOTO] * 40, "--annotate", "boxes"],
    "serve": ["serve", "--port", "0"],
    "export": ["export", "--checkpoint", MODELS[0], "--output", "exported/model.onnx"],
    "ensemble": ["ensemble", *MODELS, "--output", "ensembled/model.pth"],
    "compare": ["compare", "a", "b", "--output", "compared/curves.png"],
    "study": ["study", *FAST, "--seeds", "2", "--output", "studied/rows.jsonl"],
}
HELP = {"help": ["--help"], "version": ["--version"], **{f"{name} --help": [name, "--help"] for name in COMMANDS}}


def call(
    arguments: list[str], folder: Path, said: Path, command: forked.Command = forked.COMMANDS["mnist-cnn"]
) -> BaseProcess:
    """Start a command in a folder; what it prints is added to the files `out` and `err` in the folder `said`."""
    return forked.start(command, arguments, folder, environment(), said / "out", said / "err")


def train_two(folder: Path) -> None:
    """Train what the calls need: the runs a and b."""
    for seed, run in enumerate("ab"):
        process = call(["train", *FAST, "--seed", str(seed), "--output-dir", run], folder, folder)
        process.join(200)
        assert process.exitcode == 0, (folder / "err").read_text()


def sayings(errors: str) -> list[str]:
    """Return the lines of stderr that are no progress."""
    lines = errors.replace("\r", "\n").splitlines()
    return [line for line in lines if line.strip() and not re.search(r"images/s|validation: |seed/s", line)]
