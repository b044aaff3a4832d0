"""The training loop: one step, one epoch, all epochs."""

import csv
import dataclasses
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from tqdm import tqdm

from mnist_cnn.augment import distort, serif_ones
from mnist_cnn.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.cnn_model import ModelConfig, build
from mnist_cnn.data_loader import DIGITS, Dataset, Split, batches, pixel_statistics, split_off
from mnist_cnn.device import pick_device, pick_dtype
from mnist_cnn.errors import InputError
from mnist_cnn.evaluate import MODELS, infer
from mnist_cnn.familiarity import fit_familiarity
from mnist_cnn.files import whole_file
from mnist_cnn.metrics import fit_temperature
from mnist_cnn.muon import Muon
from mnist_cnn.recipe import PRESETS, TrainConfig


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch; losses are mean cross-entropies in nats, the training one over distorted images."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Learner:
    """A model with what updates it."""

    model: nn.Module
    optimizers: tuple[Optimizer, ...]
    schedulers: tuple[LRScheduler, ...]
    generator: torch.Generator
    """CPU generator of the order of images and their distortions."""
    dtype: torch.dtype
    """Of the matrix work in a training step."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


def build_learner(model: nn.Module, config: TrainConfig, images: int) -> Learner:
    """Give a model its optimizers and one-cycle schedules (Smith 2018, arXiv 1708.07120) for `images` an epoch.

    Muon updates the filters of convolutions, AdamW all else.
    """
    device = pick_device(config.device)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    filters = [parameter for parameter in model.parameters() if parameter.ndim == 4]
    others = [parameter for parameter in model.parameters() if parameter.ndim != 4]
    optimizers: list[Optimizer] = [
        AdamW(others, config.learning_rate, weight_decay=config.weight_decay, fused=True),
        *([Muon(filters, config.filter_learning_rate, weight_decay=config.weight_decay)] if filters else []),
    ]
    steps = config.epochs * math.ceil(images / config.batch_size)
    schedulers = [
        OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], total_steps=steps, cycle_momentum=False)
        for optimizer in optimizers
    ]
    generator = torch.Generator().manual_seed(config.seed)
    return Learner(model, tuple(optimizers), tuple(schedulers), generator, pick_dtype(config.precision, device))


def train_step(learner: Learner, images: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Update the weights once.

    Args:
        learner: changed in place.
        images: [N, 1, 28, 28], raw pixels 0..255, on the model's device.
        labels: int64 [N].
        label_smoothing: 0..1.

    Returns:
        The logits before the update, float32 [N, classes].
    """
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=learner.dtype == torch.bfloat16):
        logits: Tensor = learner.model(images).float()
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    learner.model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer, scheduler in zip(learner.optimizers, learner.schedulers, strict=True):
        optimizer.step()
        scheduler.step()
    return logits.detach()


def train_epoch(learner: Learner, train: Split, config: TrainConfig, title: str) -> float:
    """Show every training image to the model once, in a new order; return the mean cross-entropy."""
    learner.model.train()
    loss = torch.zeros((), dtype=torch.float64)
    seconds = 0.1 if sys.stderr.isatty() else 5.0  # a log needs fewer updates than a terminal
    correct = seen = 0
    with tqdm(total=len(train), desc=title, unit=" images", unit_scale=True, mininterval=seconds) as bar:
        for batch in batches(train, config.batch_size, learner.generator):
            images = distort(batch.images, config.augment, learner.generator)
            logits = train_step(learner, images, batch.labels, config.label_smoothing)
            loss += F.cross_entropy(logits, batch.labels, reduction="sum").cpu()
            correct += int((logits.argmax(dim=1) == batch.labels).sum())
            seen += len(batch)
            bar.set_postfix(loss=f"{loss.item() / seen:.4f}", accuracy=f"{correct / seen:.2%}", refresh=False)
            bar.update(len(batch))
    return loss.item() / seen


def validate(model: nn.Module, val: Split) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy on the validation split."""
    logits = infer(model, val)
    labels = val.labels.cpu()
    correct = int((logits.argmax(dim=1) == labels).sum())
    return F.cross_entropy(logits, labels).item(), correct / len(val)


def fit(dataset: Dataset, config: TrainConfig, model: ModelConfig | None = None) -> Checkpoint:
    """Train on the dataset's train split less the validation images; the test split is not looked at.

    After each epoch `saved_models/checkpoints/NAME_cnn_epoch_N.pth` and `saved_models/NAME_cnn_history.csv` are
    written below `config.output_dir`. The network is that of `config.init_from`, or a new one: the preset's unless
    `model` is given, with classes, mean and standard deviation from the dataset.

    Returns:
        The last epoch's checkpoint, without training state, with a temperature fitted on the validation split.

    Raises:
        InputError: a setting does not fit the data or the machine, `resume` finds nothing to go on from,
            or the loss stops being a number.
        KeyboardInterrupt: Ctrl-C; its message says what is safe and how to go on.
    """
    make_deterministic(config.deterministic)
    train, val = split_off(dataset.train, config.val_size)
    mean, std = pixel_statistics(train.images)
    if dataset.classes == DIGITS:
        train = with_serifs(train, config)
    torch.manual_seed(config.seed)
    if config.init_from:
        network = load_checkpoint(config.init_from).build_model()
    else:
        shape = model or PRESETS[config.preset].model
        network = build(dataclasses.replace(shape, classes=len(dataset.classes), mean=mean, std=std))
    model_config = network.config
    learner = build_learner(network, config, len(train))
    train, val = train.to(learner.device), val.to(learner.device)
    models = config.output_dir / MODELS
    history = restore(learner, newest_checkpoint(models, dataset.name), config) if config.resume else []
    try:
        for epoch in range(len(history) + 1, config.epochs + 1):
            record = run_epoch(learner, train, val, config, epoch)
            path = save_progress(models, snapshot(learner, model_config, dataset, config, [*history, record]), epoch)
            history.append(record)
            remove_older(path, dataset.name)
    except KeyboardInterrupt:
        kept = f"epoch {len(history)} is safe: go on with --resume" if history else "no epoch was finished"
        raise KeyboardInterrupt(f"stopped in epoch {epoch} of {config.epochs}; {kept}") from None
    temperature = calibrate(learner.model, val)
    return dataclasses.replace(
        snapshot(learner, model_config, dataset, config, history), temperature=temperature, training_state=None
    )


def calibrate(model: nn.Module, val: Split) -> float:
    """Fit the temperature of a model's probabilities on the validation split."""
    return fit_temperature(infer(model, val).double().numpy(), val.labels.cpu().numpy())


def learn_limits(checkpoint: Checkpoint, dataset: Dataset) -> Checkpoint:
    """Add to a trained model which of its answers to trust, measured on train and validation images."""
    train, val = split_off(dataset.train, checkpoint.train_config["val_size"])
    familiarity = fit_familiarity(checkpoint.build_model(), train, val, checkpoint.temperature)
    return dataclasses.replace(checkpoint, familiarity=familiarity)


def with_serifs(train: Split, config: TrainConfig) -> Split:
    """Give some of the ones a flag."""
    images, ones = train.images.clone(), train.labels == DIGITS.index("1")
    images[ones] = serif_ones(images[ones], config.augment.serif, torch.Generator().manual_seed(config.seed))
    return Split(images, train.labels)


def make_deterministic(deterministic: bool) -> None:
    """Choose, for this process, whether operations may differ from run to run."""
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS refuses without


def run_epoch(learner: Learner, train: Split, val: Split, config: TrainConfig, epoch: int) -> EpochRecord:
    """Train and validate once.

    Raises:
        InputError: the loss is not a number any more.
    """
    start = time.perf_counter()
    train_loss = train_epoch(learner, train, config, f"epoch {epoch}/{config.epochs}")
    if not math.isfinite(train_loss):
        raise InputError(f"the loss is {train_loss} in epoch {epoch}; try a lower --learning-rate")
    val_loss, val_accuracy = validate(learner.model, val)
    learning_rate = float(learner.schedulers[0].get_last_lr()[0])
    seconds = time.perf_counter() - start
    tqdm.write(f"validation: loss {val_loss:.4f}, accuracy {val_accuracy:.2%} ({seconds:.1f} s)", file=sys.stderr)
    return EpochRecord(epoch, train_loss, val_loss, val_accuracy, learning_rate, seconds)


def snapshot(
    learner: Learner, model_config: ModelConfig, dataset: Dataset, config: TrainConfig, history: list[EpochRecord]
) -> Checkpoint:
    """Gather what a checkpoint holds."""
    return Checkpoint(
        dataset=dataset.name,
        classes=dataset.classes,
        model_config=model_config,
        state_dict={name: tensor.cpu().contiguous() for name, tensor in learner.model.state_dict().items()},
        train_config=config.recipe(),
        history=[dataclasses.asdict(record) for record in history],
        temperature=1.0,
        training_state={
            "optimizers": [optimizer.state_dict() for optimizer in learner.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in learner.schedulers],
            "generator": learner.generator.get_state(),
        },
    )


def save_progress(models: Path, checkpoint: Checkpoint, epoch: int) -> Path:
    """Write history and checkpoint; return where the checkpoint is."""
    name = f"{checkpoint.dataset}_cnn"
    with whole_file(models / f"{name}_history.csv") as temporary, temporary.open("w", newline="") as file:
        rows = csv.DictWriter(file, fieldnames=list(checkpoint.history[0]))
        rows.writeheader()
        rows.writerows(checkpoint.history)
    path = models / "checkpoints" / f"{name}_epoch_{epoch}.pth"
    save_checkpoint(checkpoint, path)
    return path


def remove_older(path: Path, dataset: str) -> None:
    """Remove a dataset's other checkpoints once the one at `path` is safe."""
    for older in path.parent.glob(f"{dataset}_cnn_epoch_*.pth"):
        if older != path:
            older.unlink()


def newest_checkpoint(models: Path, dataset: str) -> Path:
    """Find the checkpoint to go on from.

    Raises:
        InputError: there is none.
    """
    pattern = f"checkpoints/{dataset}_cnn_epoch_*.pth"
    files = sorted(models.glob(pattern), key=lambda file: file.stat().st_mtime_ns)
    if not files:
        raise InputError(f"nothing to resume: no {models / pattern}; leave out --resume to start afresh")
    return files[-1]


def restore(learner: Learner, path: Path, config: TrainConfig) -> list[EpochRecord]:
    """Put a checkpoint's state into a learner and return its history.

    Raises:
        InputError: the checkpoint is of another recipe.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.train_config != config.recipe() or checkpoint.training_state is None:
        changed = [name for name, value in config.recipe().items() if checkpoint.train_config.get(name) != value]
        raise InputError(f"{path} was trained with another {', '.join(changed)}; resume with the same flags")
    learner.model.load_state_dict(checkpoint.state_dict)
    for optimizer, state in zip(learner.optimizers, checkpoint.training_state["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    for scheduler, state in zip(learner.schedulers, checkpoint.training_state["schedulers"], strict=True):
        scheduler.load_state_dict(state)
    learner.generator.set_state(checkpoint.training_state["generator"])
    return [EpochRecord(**record) for record in checkpoint.history]
