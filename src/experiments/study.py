"""Trains one recipe with many seeds: a row of results per seed, then mean and standard deviation."""

import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch
import tyro
from filelock import FileLock, Timeout
from tqdm import tqdm
from tyro.conf import arg

from mnist_cnn.cnn_model import ModelConfig
from mnist_cnn.common.console import exit_codes, parse
from mnist_cnn.common.device import pick_device, pick_dtype
from mnist_cnn.common.errors import InputError, Stopped
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.evaluate import MODELS, evaluate
from mnist_cnn.models.checkpoint import save_checkpoint
from mnist_cnn.own_network import class_of
from mnist_cnn.splits import Dataset
from mnist_cnn.train import fit
from mnist_cnn.training.config import TrainConfig, run_name, with_enough_epochs
from mnist_cnn.training.dataset import load_training_data
from mnist_cnn.training.defaults import read_defaults
from mnist_cnn.training.run_dir import RunDir

Row = dict[str, Any]
POLL_SECONDS = 0.2
OF_ONE_RUN = ("output_dir", "resume", "tensorboard", "profile")
"""Settings of a training that a study decides itself."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Train one recipe with several seeds, evaluate each once on the test split, print mean and standard deviation.

    Processes started by torchrun or by hand, on machines that share the folder, share the seeds.
    """

    output: Path
    """JSONL file with a row per seed; seeds already in it are not trained again."""
    seeds: int = 5
    """Number of seeds, from --seed on."""
    keep: Path | None = None
    """Folder to save the models in, for `mnist-cnn ensemble`; without it they are not saved."""
    train: Annotated[TrainConfig, arg(name="")]
    """The training of each seed."""

    def __post_init__(self) -> None:
        """Check the number of seeds, and that no setting is for a single run."""
        if self.seeds < 1:
            raise InputError(f"--seeds is {self.seeds}; it must be 1 or more")
        for name in OF_ONE_RUN:
            if getattr(self.train, name) != getattr(TrainConfig(), name):
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is for a single training; leave it out, or use mnist-cnn train")


def run_seed(dataset: Dataset, config: TrainConfig, model: ModelConfig | None = None, keep: Path | None = None) -> Row:
    """Train one seed and evaluate it once on the test split; resumes an unfinished training in `config.output_dir`.

    Args:
        dataset: the data.
        config: settings, with an output folder for this seed only.
        model: the architecture, by default the preset's.
        keep: folder to save the model in.
    """
    run_dir = RunDir(config.output_dir / MODELS, run_name(dataset.name, config.preset, config.network))
    checkpoint = fit(dataset, dataclasses.replace(config, resume=bool(run_dir.newest_first())), model)
    if keep:
        save_checkpoint(checkpoint, keep / f"{name_of_seed(dataset, config)}.pth")
    network = checkpoint.build_model().to(pick_device(config.device))
    report, _ = evaluate(network, dataset.test, dataset.classes, checkpoint.temperature)
    return {
        "dataset": dataset.name,
        "init_from": name_of(config.init_from),
        "recipe": config.recipe(),
        "count": report.count,
        "parameters": network.parameter_count(),
        "accuracy": report.accuracy,
        "loss": report.loss,
        "calibration_error": report.calibration_error,
        "val_accuracy": checkpoint.history[-1]["val_accuracy"],
        "seconds": sum(epoch["seconds"] for epoch in checkpoint.history),
        "misclassified": report.misclassified,
        **environment(config),
    }


def name_of_seed(dataset: Dataset, config: TrainConfig) -> str:
    """Return the name of a seed's model."""
    network = [class_of(config.network)] if config.network else []
    return "_".join([dataset.name, config.preset, *network, f"seed_{config.seed}"])


def environment(config: TrainConfig) -> Row:
    """Return the hardware, precision, versions and commit of a measurement."""
    device = pick_device(config.device)
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        cores = "1 core" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} cores"
        hardware = f"{cores} of {torch.cpu.get_capabilities().get('cpu_name', device.type)}"
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "hardware": hardware,
        "precision": str(pick_dtype(config.precision, device)).removeprefix("torch."),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "commit": commit.stdout.strip() or None,
    }


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a study, none if the file is missing.

    Raises:
        InputError: the file holds something else.
    """
    if not path.exists():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row["dataset"] and row["recipe"]]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} does not hold the rows of a study; name a file of mnist-cnn study --output") from None


def write_rows(rows: list[Row], path: Path) -> None:
    """Write all rows, one JSON object per line."""
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def study(dataset: Dataset, configs: list[TrainConfig], output: Path, keep: Path | None = None) -> list[Row]:
    """Train every config without a row in `output`; several processes, on any machines, share the work.

    A lock file assigns each seed to one process. If that process dies, its lock is released and another process resumes
    from its last checkpoint. Locks and unfinished trainings are in a hidden folder beside `output`.
    """
    work = output.parent / f".{output.stem}"
    done = len(configs) - len(pending_configs(configs, dataset, output))
    with progress_bar(len(configs), done) as bar:
        while pending := pending_configs(configs, dataset, output):
            bar.update(len(configs) - len(pending) - bar.n)
            for config in pending:
                with suppress(Timeout), FileLock(work / f"seed_{config.seed}.lock", timeout=0):
                    if pending_configs([config], dataset, output):
                        folder = work / name_of_seed(dataset, config)
                        row = run_seed(dataset, dataclasses.replace(config, output_dir=folder), keep=keep)
                        with FileLock(work / "rows.lock"):
                            write_rows([*read_rows(output), row], output)
                        shutil.rmtree(folder)
                        bar.update()
            time.sleep(POLL_SECONDS)
    shutil.rmtree(work, ignore_errors=True)
    rows = read_rows(output)
    return [found for config in configs if (found := row_of(config, dataset, rows))]


def progress_bar(seeds: int, done: int) -> "tqdm[NoReturn]":
    """Open a progress bar over seeds; its estimate ignores those done before."""
    return tqdm(total=seeds, initial=done, desc="seeds", unit="seed", disable=None)


def pending_configs(configs: list[TrainConfig], dataset: Dataset, output: Path) -> list[TrainConfig]:
    """Return the configs without a row in `output`."""
    rows = read_rows(output)
    return [config for config in configs if row_of(config, dataset, rows) is None]


def row_of(config: TrainConfig, dataset: Dataset, rows: list[Row]) -> Row | None:
    """Return the row of a config, None if it has none."""
    wanted = dataset.name, config.recipe(), name_of(config.init_from)
    return next((row for row in rows if (row["dataset"], row["recipe"], row.get("init_from")) == wanted), None)


def name_of(model: Path | None) -> str | None:
    """Return the path of the model that a training starts from, as rows record it."""
    return None if model is None else str(model)


def summary(rows: list[Row]) -> str:
    """Format mean, standard deviation and training time of rows."""
    accuracy = [100 * row["accuracy"] for row in rows]
    seconds = [row["seconds"] for row in rows]
    name = f"{rows[0]['recipe']['preset']} on {rows[0]['dataset']}: {statistics.mean(accuracy):.3f}"
    training = f"{statistics.median(seconds):.1f} s of training"
    if len(rows) == 1:
        return f"{name} % (n = 1), {training} on {rows[0]['hardware']}"
    return (
        f"{name} +- {statistics.stdev(accuracy):.3f} % (n = {len(rows)}, {min(accuracy):.2f} to {max(accuracy):.2f}), "
        f"{training} (median) on {rows[0]['hardware']}"
    )


def command(options: StudyOptions, enough_epochs: bool) -> None:
    """Run a study and print its summary.

    Args:
        options: the study.
        enough_epochs: whether to raise the epochs for a small dataset.
    """
    check_writable(options.output.parent, "--output")
    if options.keep:
        check_writable(options.keep, "--keep")
    read_rows(options.output)
    data = load_training_data(options.train)
    config = with_enough_epochs(options.train, len(data.train)) if enough_epochs else options.train
    configs = [dataclasses.replace(config, seed=config.seed + number) for number in range(options.seeds)]
    try:
        rows = study(data, configs, options.output, options.keep)
    except Stopped as stopped:
        advice = f"repeat the command to complete {options.output}"
        raise Stopped(f"stopped; progress is saved: {advice}", stopped.number) from None
    if os.environ.get("RANK", "0") == "0":
        print(summary(rows))


def read_options(argv: Sequence[str] | None, prog: str) -> tuple[StudyOptions, bool]:
    """Parse the flags; a study is of MNIST unless they, or the file of --config, say otherwise.

    Returns:
        The study, and whether the epochs are the preset's, which may be raised for a small dataset.
    """
    train, enough_epochs = read_defaults(argv, prog)
    if train.dataset == "auto":
        train = dataclasses.replace(train, dataset="mnist")
    return parse(StudyOptions(output=tyro.MISSING, train=train), argv, prog), enough_epochs


def main(argv: Sequence[str] | None = None, prog: str = "study.py") -> None:
    """Run the command line."""
    with exit_codes():
        command(*read_options(argv, prog))


if __name__ == "__main__":
    main(sys.argv[1:])
