"""The training command: load, fit, save, evaluate once on the test split, draw the figures."""

import argparse
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
from mnist_cnn.data_loader import Dataset, check_testable, load_dataset, rehearse, with_classes
from mnist_cnn.evaluate import MODELS, check_output, evaluate_and_show
from mnist_cnn.models.checkpoint import load_checkpoint, save_checkpoint
from mnist_cnn.train import add_ood_detector, fit
from mnist_cnn.training.config import PRESETS, TrainConfig, run_name, with_enough_epochs
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
        dataset = load_dataset(config.dataset, config.data_dir)
        check_testable(dataset)
        if config.init_from:
            dataset = with_rehearsal(config.init_from, dataset, config.data_dir)
        if enough_epochs:
            config = with_enough_epochs(config, len(dataset.train))
        images = pluralize(len(dataset.train), "image")
        print(f"training on {printable(dataset.name)}: {images}, test split held out until the end")
        checkpoint = fit(dataset, config)
        path = config.output_dir / MODELS / f"{run_name(dataset.name, config.preset)}_final.pth"
        checkpoint = broadcast_object(add_ood_detector(checkpoint, dataset) if rank() == 0 else checkpoint)
        if rank() == 0:
            save_checkpoint(checkpoint, path)
        seconds = sum(epoch["seconds"] for epoch in checkpoint.history)
        figures = evaluate_and_show(checkpoint, path, dataset, config.device, config.output_dir)
        if config.tensorboard and rank() == 0:
            log_figures(config, figures)
        print(f"\ntrained {pluralize(config.epochs, 'epoch')} in {seconds:.1f} s\nmodel: {printable(str(path))}")
    return path


def with_rehearsal(path: Path, dataset: Dataset, data_dir: Path | None) -> Dataset:
    """Map a dataset's classes to a model's, and mix in images that the model was trained on (rehearsal).

    Raises:
        InputError: one of the two datasets has classes that the model does not have.
    """
    model = load_checkpoint(path)
    dataset = with_classes(dataset, model.classes, path)
    return rehearse(dataset, with_classes(load_dataset(model.dataset, data_dir), model.classes, path))


def read_config(argv: Sequence[str] | None, prog: str) -> tuple[TrainConfig, bool]:
    """Parse the flags; the preset gives the defaults, `fine-tune` if --init-from is given.

    Returns:
        The settings, and whether the epochs are the preset's, which may be raised for a small dataset.
    """
    names = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--preset", "--init-from", "--epochs"):
        names.add_argument(name, nargs="?")  # `parse` rejects a flag without a value
    known = names.parse_known_args(argv)[0]
    preset = known.preset or ("fine-tune" if known.init_from else "default")
    return parse(PRESETS.get(preset, PRESETS["default"]).train, argv, prog), known.epochs is None


def main(argv: Sequence[str] | None = None, prog: str = "main.py") -> None:
    """Run the command line."""
    with exit_codes():
        run(*read_config(argv, prog))


if __name__ == "__main__":
    main(sys.argv[1:])
