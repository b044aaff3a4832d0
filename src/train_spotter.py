"""Trains the spotter, which finds digits in pictures, on pages that are drawn from MNIST's training images."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError, Stopped
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.common.names import printable
from mnist_cnn.common.signals import StopRequest, deferred_signals
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.pictures.spotter import Spotter
from mnist_cnn.splits import Split, fingerprint
from mnist_cnn.synthetic.glyphs import Glyphs, make_glyphs
from mnist_cnn.synthetic.pages import SHAPES
from mnist_cnn.synthetic.samples import contact_sheet
from mnist_cnn.training.spotter_checkpoint import save, start_or_resume
from mnist_cnn.training.spotter_examples import DrawnBatches, draw_batches
from mnist_cnn.training.spotter_export import to_onnx
from mnist_cnn.training.spotter_run import SpotterConfig, SpotterRun, batch_loss, train_step
from mnist_cnn.training.spotter_validation import report, validate

VAL_SIZE = 5000  # the last of MNIST's training images
VAL_TRACED = 2000
VAL_SEED, VAL_BATCHES = 1_000_003, 24
CHECKPOINT_EVERY = 500  # steps


def split_glyphs(split: Split, size: int = VAL_SIZE) -> tuple[Glyphs, Glyphs]:
    """Make glyphs for training, and for validation those of the last `size` images."""
    images, labels = split.images[:, 0].numpy(), split.labels.numpy().astype(np.uint8)
    return make_glyphs(images[:-size], labels[:-size]), make_glyphs(images[-size:], labels[-size:], VAL_TRACED)


def train_steps(run: SpotterRun, glyphs: Glyphs, request: StopRequest) -> Iterator[float]:
    """Train until the last step or a stop request, yielding the loss of each step.

    Raises:
        InputError: the loss is not finite.
    """
    config = run.config
    batches = DrawnBatches(glyphs, config.seed, config.batch_size, run.step, config.steps)
    for examples in draw_batches(batches):
        loss = train_step(run, examples)
        if not math.isfinite(loss):
            raise InputError(f"the loss is {loss} in step {run.step}; try another --seed")
        yield loss
        if request.number:
            return


@torch.no_grad()
def validation_loss(run: SpotterRun, glyphs: Glyphs) -> float:
    """Return the mean loss of the averaged weights on validation pages."""
    batches = DrawnBatches(glyphs, VAL_SEED, run.config.batch_size, 0, VAL_BATCHES)
    return float(np.mean([batch_loss(run.averaged, batches[number]).item() for number in range(VAL_BATCHES)]))


def progress_bar(run: SpotterRun) -> "tqdm[NoReturn]":
    """Open a progress bar over steps; its estimate ignores those done before."""
    interval = 0.1 if sys.stderr.isatty() else 5.0
    return tqdm(total=run.config.steps, initial=run.step, unit=" steps", mininterval=interval, miniters=1)


def fit(
    config: SpotterConfig, split: Split, glyphs: tuple[Glyphs, Glyphs], path: Path, every: int = CHECKPOINT_EVERY
) -> SpotterRun:
    """Train on drawn pages, resuming from the checkpoint `path` if there is one.

    Args:
        config: the settings.
        split: the images that the glyphs were made of.
        glyphs: for training and for validation.
        path: the checkpoint, written every so many steps.
        every: these steps.

    Raises:
        InputError: the checkpoint is of another training or damaged, or the loss is not finite.
        Stopped: Ctrl-C or SIGTERM; the progress is saved.
    """
    torch.set_num_threads(max(torch.get_num_threads() - 1, 1))  # one core draws
    data_sha256, mean = fingerprint(split), 0.0
    run = start_or_resume(config, data_sha256, path)
    with deferred_signals() as request, progress_bar(run) as bar:
        for count, loss in enumerate(train_steps(run, glyphs[0], request), 1):
            mean += (loss - mean) / min(count, 100)
            bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
            bar.update()
            if run.step % every == 0 or run.step == config.steps:
                save(run, data_sha256, path)
                text = f"step {run.step}: loss {mean:.4f}, validation {validation_loss(run, glyphs[1]):.4f}"
                tqdm.write(text, file=sys.stderr)
        if request.number:
            save(run, data_sha256, path)
            text = f"stopped after step {run.step} of {config.steps}; progress is saved, repeat the command to continue"
            raise Stopped(text, request.number)
    return run


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a checkpoint against another training.

    Raises:
        InputError: another training holds the lock.
    """
    try:
        with FileLock(path.with_name(f".{path.stem}.lock"), timeout=0):
            yield
    except Timeout:
        raise InputError(f"another training is writing {path}; wait for it, or name another --output") from None


def train(config: SpotterConfig, split: Split, glyphs: tuple[Glyphs, Glyphs], output: Path, val_pages: int) -> None:
    """Train a spotter, export it, validate the exported file, and print error rates and calibration.

    Args:
        config, split, glyphs: as in `fit`.
        output: the .onnx file; the checkpoint is beside it.
        val_pages: number of drawn pages for validation.
    """
    checkpoint = output.with_suffix(".pth")
    with locked(checkpoint):
        run = fit(config, split, glyphs, checkpoint)
        metadata = {"steps": str(config.steps), "seed": str(config.seed), "data_sha256": fingerprint(split)}
        content = to_onnx(run.averaged, metadata)
        with atomic_write(output) as temporary:
            temporary.write_bytes(content)
    print(f"{printable(str(output))}: {len(content):,} bytes", flush=True)
    print(report(validate(Spotter(output), glyphs[1], val_pages)))


def show(glyphs: Glyphs, seed: int, folder: Path) -> None:
    """Write a contact sheet of pages of each shape."""
    for height, width in SHAPES:
        path = folder / f"pages_{width}x{height}.png"
        with atomic_write(path) as temporary:
            Image.fromarray(contact_sheet(glyphs, seed, (height, width))).save(temporary)
        print(printable(str(path)))


def command(
    output: Path = Path("runs") / "spotter.onnx",
    steps: int = SpotterConfig.steps,
    seed: int = SpotterConfig.seed,
    data_dir: Path | None = None,
    show_samples: Path | None = None,
    val_pages: int = 1500,
) -> None:
    """Train the network that finds digits in pictures, on pages drawn from MNIST's training images; write it as .onnx.

    After Ctrl-C the same command resumes from the checkpoint beside the output.

    Args:
        output: The .onnx file to write; the checkpoint beside it has the same name and ends in .pth.
        steps: Batches of 48 pages.
        seed: Seed of initial weights and pages.
        data_dir: Folder with the data, searched before $MNIST_CNN_DATA and ./data.
        show_samples: Folder for pictures of drawn pages with the boxes of their digits, instead of training.
        val_pages: Drawn pages on which error rates are measured at the end.
    """
    config = SpotterConfig(steps=steps, seed=seed)
    if output.suffix != ".onnx":
        raise InputError(f"--output is {output}; its name must end in .onnx")
    if val_pages < 1:
        raise InputError(f"--val-pages is {val_pages}; it must be 1 or more")
    check_writable(show_samples or output.parent, "--show-samples" if show_samples else "--output")
    split = load_dataset("mnist", data_dir).train
    glyphs = split_glyphs(split)
    if show_samples:
        show(glyphs[0], seed, show_samples)
        return
    train(config, split, glyphs, output, val_pages)


def main(argv: Sequence[str] | None = None, prog: str = "train_spotter.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
