"""`mnist-cnn COMMAND`: every command of the program under one name."""

import importlib
import sys
from collections.abc import Sequence

from mnist_cnn.common.signals import prepare_process

COMMANDS = {
    "train": ("mnist_cnn.main", "train", "train a model, evaluate it once, save it, draw the figures"),
    "evaluate": ("mnist_cnn.evaluate", "train", "evaluate a saved model on a test split"),
    "predict": ("mnist_cnn.predict", "", "read the digit in each of your own pictures"),
    "read": ("mnist_cnn.read", "", "read the numbers in your own pictures"),
    "serve": ("mnist_cnn.serving.app", "serve", "a web page to draw digits on, and a REST service"),
    "export": ("mnist_cnn.export", "export", "write a model as .onnx, which predicts without PyTorch"),
    "ensemble": ("mnist_cnn.experiments.ensemble", "train", "combine several models into one with averaged logits"),
    "compare": (
        "mnist_cnn.experiments.compare",
        "train",
        "trainings or studies side by side, with a test",
    ),
    "train-spotter": ("mnist_cnn.train_spotter", "export", "train the network that finds digits in pictures"),
    "study": ("mnist_cnn.experiments.study", "train", "train one recipe with many seeds: mean and spread"),
}
"""Each command's module, the extra that brings what it imports, and its purpose."""


def main(argv: Sequence[str] | None = None) -> None:
    """Hand the arguments after the command's name to its module, imported only now."""
    prepare_process()
    from mnist_cnn.common.console import exit_codes, exit_with_error  # not above: it takes longer than all of this file

    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name not in COMMANDS:
        with exit_codes():
            answer(name)
        return
    module, extra, _ = COMMANDS[name]
    try:
        command = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        exit_with_error(f"mnist-cnn {name} needs {error.name}: run pip install -e '.[{extra}]' in the checkout")
    command(rest, prog=f"mnist-cnn {name}")


def answer(name: str) -> None:
    """Answer what is asked of no command.

    Raises:
        InputError: it is no flag either.
    """
    from importlib.metadata import version

    from mnist_cnn.common.errors import InputError

    if name in ("-h", "--help"):
        lines = [f"  {command:<15}{purpose}" for command, (*_, purpose) in COMMANDS.items()]
        print("\n".join(["usage: mnist-cnn COMMAND [OPTIONS]", "", *lines, "", "mnist-cnn COMMAND --help tells more"]))
    elif name == "--version":
        print(version("mnist-cnn"))
    else:
        raise InputError(f"no command {name!r}; there are {', '.join(COMMANDS)}")
