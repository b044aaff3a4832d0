"""The training loop: one epoch, all epochs, and how to go on with some of them."""

import dataclasses
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mnist_cnn.cnn_model import ModelConfig, build
from mnist_cnn.common.distributed import all_reduce_sum, broadcast_object, rank, shard, was_restarted
from mnist_cnn.common.errors import InputError, Stopped
from mnist_cnn.common.names import printable
from mnist_cnn.common.signals import StopRequest, deferred_signals
from mnist_cnn.data_loader import DIGITS, Dataset, Split, fingerprint, pixel_statistics, split_off
from mnist_cnn.evaluate import MODELS, infer_distributed
from mnist_cnn.metrics import fit_temperature
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint, parse_checkpoint
from mnist_cnn.models.ood import fit_ood_detector
from mnist_cnn.training.augment import distort, serif_ones
from mnist_cnn.training.config import PRESETS, TrainConfig, flat, run_name
from mnist_cnn.training.counter_rng import CounterRNG, epoch_order
from mnist_cnn.training.learner import Learner, build_learner, train_step
from mnist_cnn.training.run_dir import RunDir
from mnist_cnn.training.tracking import board, profiled


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
class Progress:
    """How far the epoch under way is; of the images seen, the sum of losses and the count of right answers."""

    epoch: int
    step: int = 0
    seen: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Training:
    """What stays the same from a training's first step to its last."""

    learner: Learner
    train: Split
    val: Split
    config: TrainConfig
    folder: RunDir
    untrained: Checkpoint
    """What its checkpoints say about it besides weights and history."""


def fit(dataset: Dataset, config: TrainConfig, model: ModelConfig | None = None) -> Checkpoint:
    """Train on the dataset's train split less the validation images; the test split is not looked at.

    After each epoch `saved_models/checkpoints/NAME_epoch_N.pth` and `saved_models/NAME_history.csv` and `.jsonl` are
    written below `config.output_dir`, NAME as in `run_name`. The network is that of `config.init_from`, or a new one:
    the preset's unless `model` is given, with classes, mean and standard deviation from the dataset.

    Returns:
        The last epoch's checkpoint, without training state, with a temperature fitted on the validation split.

    Raises:
        InputError: a setting does not fit the data or the machine, `resume` finds nothing to go on from, another
            training is writing to the folder, or the loss stops being a number.
        Stopped: Ctrl-C or SIGTERM; what was learned is saved.
    """
    make_deterministic(config.deterministic)
    training = prepare(dataset, config, model)
    lock = training.folder.locked() if rank() == 0 else nullcontext()
    with lock, deferred_signals() as request, board(config) as log, profiled(config) as tick:
        history, progress = begin(training)
        while progress.epoch <= config.epochs:
            history.append(run_epoch(training, history, progress, request, tick))
            progress = Progress(progress.epoch + 1)
            save(training, history, progress)
            log(history[-1])
        if rank() == 0:
            training.folder.keep(1)
    if request.number:
        raise Stopped("stopped after the last epoch, which is safe; go on with --resume", request.number)
    temperature = calibrate(training.learner.network, training.val)
    return dataclasses.replace(snapshot(training, history), temperature=temperature)


def prepare(dataset: Dataset, config: TrainConfig, model: ModelConfig | None) -> Training:
    """Split the data and build the network, its optimizers and all else that a training needs.

    Raises:
        InputError: there is nothing to resume from.
    """
    folder = RunDir(config.output_dir / MODELS, run_name(dataset.name, config.preset))
    if config.resume and rank() == 0 and not folder.newest_first():
        raise InputError(f"nothing to resume in {folder.checkpoints}; leave out --resume to start afresh")
    train, val = split_off(dataset.train, config.val_size)
    mean, std = pixel_statistics(train.images)
    if dataset.classes == DIGITS and config.augment.serif:
        train = with_serifs(train, config)
    torch.manual_seed(config.seed)
    if config.init_from:
        network = load_checkpoint(config.init_from).build_model()
    else:
        shape = model or PRESETS[config.preset].model
        network = build(dataclasses.replace(shape, classes=len(dataset.classes), mean=mean, std=std))
    untrained = Checkpoint(
        dataset=dataset.name,
        classes=dataset.classes,
        model_config=network.config,
        state_dict={},
        train_config=config.recipe(),
        data_sha256=fingerprint(dataset.train),
        history=[],
        temperature=1.0,
    )
    learner = build_learner(network, config, len(train))
    return Training(learner, train.to(learner.device), val.to(learner.device), config, folder, untrained)


def begin(training: Training) -> tuple[list[EpochRecord], Progress]:
    """Start afresh, or go on from the newest checkpoint if that was asked for or torchrun started us again.

    Raises:
        InputError: none is whole, or it is of another training.
    """
    folder, resume = training.folder, training.config.resume
    if was_restarted() or resume:
        archive = broadcast_object(folder.read_newest() if rank() == 0 else None)
        if archive:
            return restore(training, parse_checkpoint(archive, f"the newest checkpoint in {folder.checkpoints}"))
        if resume:
            raise InputError(f"no whole checkpoint in {folder.checkpoints}; leave out --resume to start afresh")
    elif rank() == 0:
        folder.set_aside()
    return [], Progress(epoch=1)


def restore(training: Training, checkpoint: Checkpoint) -> tuple[list[EpochRecord], Progress]:
    """Put a checkpoint's state into the learner.

    Raises:
        InputError: the checkpoint is of another recipe, network or data, or has no state, or not that of a training.
    """
    if differences := differing(checkpoint, training.untrained):
        raise InputError(
            f"cannot go on in {training.folder.checkpoints}: {'; '.join(differences)}; "
            "resume with the same flags and data, or leave out --resume"
        )
    try:
        state = checkpoint.training_state or {}
        training.learner.load_state(checkpoint.state_dict, state)
        return [EpochRecord(**record) for record in checkpoint.history], Progress(**state["progress"])
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"cannot go on in {training.folder.checkpoints}: the newest checkpoint does not say how far training was "
            f"({printable(error, 300)}); remove it, or leave out --resume"
        ) from None


def differing(before: Checkpoint, now: Checkpoint) -> list[str]:
    """Name what two trainings do not have in common."""
    old, new = (
        flat({"data": c.data_sha256, "network": dataclasses.asdict(c.model_config), **c.train_config})
        for c in (before, now)
    )
    names = [name for name in old | new if old.get(name) != new.get(name)]
    return [f"{name} was {old.get(name)} and is {new.get(name)}" for name in names]


def run_epoch(
    training: Training, history: list[EpochRecord], begun: Progress, request: StopRequest, tick: Callable[[], None]
) -> EpochRecord:
    """Train what is left of an epoch, saving where asked to, and validate.

    Raises:
        InputError: the loss is not a number any more.
        Stopped: somebody asked for it; the last step is saved.
    """
    every, epochs = training.config.checkpoint_every_steps, training.config.epochs
    progress = begun
    for progress, stopping in train_steps(training.learner, training.train, training.config, begun, request):
        tick()
        if stopping or (every and progress.step % every == 0):
            save(training, history, progress)
        if stopping:
            place = f"epoch {progress.epoch} of {epochs}, after step {progress.step}"
            raise Stopped(f"stopped in {place}, which is safe; go on with --resume", request.number or signal.SIGTERM)
    start = time.perf_counter()
    val_loss, val_accuracy = validate(training.learner.network, training.val)
    check_finite(val_loss, progress, training.learner)
    seconds = progress.seconds + time.perf_counter() - start
    if rank() == 0:
        report = f"validation: loss {val_loss:.4f} nats, accuracy {val_accuracy:.2%} ({seconds:.1f} s)"
        tqdm.write(report, file=sys.stderr)
    train_loss = progress.loss / progress.seen
    return EpochRecord(progress.epoch, train_loss, val_loss, val_accuracy, training.learner.learning_rate, seconds)


def train_steps(
    learner: Learner, train: Split, config: TrainConfig, progress: Progress, request: StopRequest | None = None
) -> Iterator[tuple[Progress, bool]]:
    """Show each training image to the model once in an epoch, in an order of its own; begin after those already seen.

    Yields:
        After each step, how far the epoch is, and whether any process was asked to stop.

    Raises:
        InputError: the loss is not a number any more.
    """
    learner.model.train()
    start = time.perf_counter() - progress.seconds
    order = epoch_order(config.seed, progress.epoch, len(train)).to(learner.device)
    with progress_bar(f"epoch {progress.epoch}/{config.epochs}", len(train), progress.seen) as bar:
        for first in range(progress.seen, len(train), config.batch_size):
            index = order[first : first + config.batch_size]
            mine, weight = shard(index)
            batch = train[mine]
            images = distort(batch.images, config.augment, CounterRNG.for_images(config.seed, progress.epoch, mine))
            logits = train_step(learner, images, batch.labels, config.label_smoothing, weight)
            loss, correct, stopping = all_reduce_sum(
                tally(logits, batch.labels, weight, bool(request and request.number))
            )
            progress = Progress(
                epoch=progress.epoch,
                step=progress.step + 1,
                seen=progress.seen + len(index),
                loss=progress.loss + loss,
                correct=progress.correct + round(correct),
                seconds=time.perf_counter() - start,
            )
            check_finite(loss, progress, learner)
            seen = progress.seen
            bar.set_postfix(
                loss=f"{progress.loss / seen:.4f}", accuracy=f"{progress.correct / seen:.2%}", refresh=False
            )
            bar.update(len(index))
            yield progress, stopping > 0


def tally(logits: Tensor, labels: Tensor, weight: float, stop: bool) -> Tensor:
    """Sum up a step: losses, right answers, and whether to stop, float32 [3]; an image with weight 0 does not count."""
    own = labels[: len(labels) if weight else 0]
    loss = F.cross_entropy(logits[: len(own)], own, reduction="sum")
    correct = (logits[: len(own)].argmax(dim=1) == own).sum()
    return torch.stack([loss, correct.float(), loss.new_tensor(float(stop))])


def progress_bar(title: str, images: int, seen: int) -> "tqdm[NoReturn]":
    """Open a bar over the images of an epoch, on rank 0 alone."""
    seconds = 0.1 if sys.stderr.isatty() else 5.0  # a log needs fewer updates than a terminal
    return tqdm(
        total=images,
        initial=seen,
        desc=title,
        unit=" images",
        unit_scale=True,
        mininterval=seconds,
        miniters=1,  # else tqdm waits for as many images as it saw in that time before the machine got busy
        disable=rank() > 0,
    )


def check_finite(loss: float, progress: Progress, learner: Learner) -> None:
    """Stop where training has gone astray; the last checkpoint is from before.

    Raises:
        InputError: the loss is infinite or not a number.
    """
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} in step {progress.step} of epoch {progress.epoch}, at learning rate "
            f"{learner.learning_rate:.3g}; try a lower --learning-rate and --filter-learning-rate"
        )


def validate(model: nn.Module, val: Split) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy on the validation split."""
    logits = infer_distributed(model, val)
    labels = val.labels.cpu()
    correct = int((logits.argmax(dim=1) == labels).sum())
    return F.cross_entropy(logits, labels).item(), correct / len(val)


def save(training: Training, history: list[EpochRecord], progress: Progress) -> None:
    """Write how far the training is, as a checkpoint."""
    if rank() == 0:
        checkpoint = snapshot(training, history)
        state = {**training.learner.state(), "progress": dataclasses.asdict(progress)}
        training.folder.save(dataclasses.replace(checkpoint, training_state=state), progress.epoch, progress.step)


def snapshot(training: Training, history: list[EpochRecord]) -> Checkpoint:
    """Gather what a checkpoint holds, but for the training state."""
    weights = training.learner.network.state_dict()
    return dataclasses.replace(
        training.untrained,
        state_dict={name: tensor.cpu().contiguous() for name, tensor in weights.items()},
        history=[dataclasses.asdict(record) for record in history],
    )


def calibrate(model: nn.Module, val: Split) -> float:
    """Fit the temperature of a model's probabilities on the validation split."""
    return fit_temperature(infer_distributed(model, val).double().numpy(), val.labels.cpu().numpy())


def learn_limits(checkpoint: Checkpoint, dataset: Dataset) -> Checkpoint:
    """Add to a trained model which of its answers to trust, measured on train and validation images."""
    train, val = split_off(dataset.train, checkpoint.train_config["val_size"])
    ood_detector = fit_ood_detector(checkpoint.build_model(), train, val, checkpoint.temperature)
    return dataclasses.replace(checkpoint, ood_detector=ood_detector)


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
