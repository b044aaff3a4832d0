"""The training command: load, fit, save, evaluate once on the test split, draw the figures."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_cnn.common.signals import prepare_process

if __name__ == "__main__":
    prepare_process()

from mnist_cnn.common.console import exit_codes, parse, pluralize
from mnist_cnn.common.device import pick_device
from mnist_cnn.common.distributed import broadcast_object, process_group, rank
from mnist_cnn.common.names import printable
from mnist_cnn.evaluate import MODELS, check_output, evaluate_and_show
from mnist_cnn.models.checkpoint import save_checkpoint
from mnist_cnn.train import add_ood_detector, fit
from mnist_cnn.training.config import TrainConfig, run_name, with_enough_epochs
from mnist_cnn.training.dataset import load_training_data
from mnist_cnn.training.defaults import read_defaults
from mnist_cnn.training.tracking import log_figures


def run(config: TrainConfig, enough_epochs: bool = False) -> Path:
    """Train, save and evaluate a model, on all ranks if torchrun started several; return its path.

    Args:
        config: the settings.
        enough_epochs: whether to raise the epochs for a small dataset.
    """
    with process_group(config.worker_timeout):
        pick_device(config.device)
        if rank() == 0:
            check_output(config.output_dir)
        dataset = load_training_data(config)
        if enough_epochs:
            config = with_enough_epochs(config, len(dataset.train))
        images = pluralize(len(dataset.train), "image")
        print(f"training on {printable(dataset.name)}: {images}, test split held out until the end")
        checkpoint = fit(dataset, config)
        path = config.output_dir / MODELS / f"{run_name(dataset.name, config.preset, config.network)}_final.pth"
        checkpoint = broadcast_object(add_ood_detector(checkpoint, dataset) if rank() == 0 else checkpoint)
        if rank() == 0:
            save_checkpoint(checkpoint, path)
        seconds = sum(epoch["seconds"] for epoch in checkpoint.history)
        figures = evaluate_and_show(checkpoint, path, dataset, config.device, config.output_dir)
        if config.tensorboard and rank() == 0:
            log_figures(config, figures)
        print(f"\ntrained {pluralize(config.epochs, 'epoch')} in {seconds:.1f} s\nmodel: {printable(str(path))}")
    return path


def read_config(argv: Sequence[str] | None, prog: str) -> tuple[TrainConfig, bool]:
    """Parse the flags over the settings of `read_defaults`.

    Returns:
        The settings, and whether the epochs are the preset's, which may be raised for a small dataset.
    """
    defaults, enough_epochs = read_defaults(argv, prog)
    return parse(defaults, argv, prog), enough_epochs


def main(argv: Sequence[str] | None = None, prog: str = "main.py") -> None:
    """Run the command line."""
    with exit_codes():
        run(*read_config(argv, prog))


if __name__ == "__main__":
    main(sys.argv[1:])
