"""The training loop: load data, build the network, then steps, epochs and the whole fit."""

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timezone
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mnist_cnn.cnn_model import ModelConfig, build
from mnist_cnn.common.distributed import all_reduce_sum, rank, shard
from mnist_cnn.common.errors import InputError, Stopped
from mnist_cnn.common.signals import StopRequest, deferred_signals
from mnist_cnn.common.threads import free_cores
from mnist_cnn.data_loader import DIGITS
from mnist_cnn.evaluate import MODELS, infer, infer_distributed
from mnist_cnn.metrics import fit_temperature
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint
from mnist_cnn.models.ood import fit_ood_detector
from mnist_cnn.own_network import Network, OwnConfig, OwnNetwork, check_network, load_network, spec_of
from mnist_cnn.splits import Dataset, Split, fingerprint, pixel_statistics, split_off
from mnist_cnn.training.augment import distort
from mnist_cnn.training.config import PRESETS, TrainConfig, run_name
from mnist_cnn.training.counter_rng import CounterRNG, epoch_order
from mnist_cnn.training.drawn import calibration_split, check_drawable, with_drawn
from mnist_cnn.training.learner import NEGATIVE, Learner, build_learner, train_step
from mnist_cnn.training.resume import EpochRecord, Progress, Training, save, snapshot, start_or_resume
from mnist_cnn.training.run_dir import RunDir
from mnist_cnn.training.serif import serif_ones
from mnist_cnn.training.tracking import profiled, tensorboard_log

READ_EVERY = 32  # steps of an accelerator whose sums are read together


def prepare(dataset: Dataset, config: TrainConfig, model: ModelConfig | None, own: nn.Module | None = None) -> Training:
    """Split the data and build network and optimizers; arguments as in `fit`, `own` is its `network`.

    Raises:
        InputError: there is nothing to resume from, or a setting does not fit the data or the machine.
    """
    run_dir = RunDir(config.output_dir / MODELS, run_name(dataset.name, config.preset, config.network))
    if config.resume and rank() == 0 and not run_dir.newest_first():
        raise InputError(f"nothing to resume in {run_dir.checkpoints}; leave out --resume to start afresh")
    start = load_checkpoint(config.init_from, own or config.network) if config.init_from else None
    teacher = load_teacher(config.teacher, dataset.classes) if config.teacher else None
    train, val = split_off(dataset.train, config.val_size)
    mean, std = pixel_statistics(train.images)
    if dataset.classes == DIGITS and config.augment.serif:
        ones = train.labels == DIGITS.index("1")
        serifs = serif_ones(train.images[ones], config.augment.serif, torch.Generator().manual_seed(config.seed))
        train = Split(train.images.index_put((ones,), serifs), train.labels)
    if config.drawn_digits or config.drawn_negatives:
        check_drawable(dataset)
        train = with_drawn(train, config)
    torch.manual_seed(config.seed)
    network: Network
    if start:
        network = start.build_model()
    elif config.network:
        module = own or load_network(config.network, len(dataset.classes))
        own_config = OwnConfig(network=config.network, classes=len(dataset.classes), mean=mean, std=std)
        network = OwnNetwork(own_config, module)
        check_network(network)
    else:
        architecture = model or PRESETS[config.preset].model
        network = build(replace(architecture, classes=len(dataset.classes), mean=mean, std=std))
    template = Checkpoint(
        dataset=dataset.name,
        classes=dataset.classes,
        model_config=network.config,
        state_dict={},
        train_config=config.recipe(),
        data_sha256=fingerprint(dataset.train),
        history=[],
        temperature=1.0,
        network=network.network if isinstance(network, OwnNetwork) else None,
    )
    learner = build_learner(network, config, len(train), teacher)
    return Training(learner, train.to(learner.device), val.to(learner.device), config, run_dir, template)


def load_teacher(path: str, classes: tuple[str, ...]) -> nn.Module:
    """Load a trained network whose probabilities are to be the targets.

    Raises:
        InputError: it cannot be loaded, or knows other classes.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.classes != classes:
        raise InputError(f"the teacher {path} knows other classes than the dataset; train one on it, and name that")
    return checkpoint.build_model().requires_grad_(False)


def train_steps(
    learner: Learner, train: Split, config: TrainConfig, progress: Progress, request: StopRequest | None = None
) -> Iterator[tuple[Progress, bool]]:
    """Train on each image once, in the epoch's random order, beginning after those already seen.

    The host does not wait for an accelerator: the sums of its steps are read together, every `READ_EVERY` steps, before
    a checkpoint and at the end of the epoch.

    Yields:
        After each step, the progress, its sums as last read, and whether any rank was asked to stop by then.

    Raises:
        InputError: the loss is not finite.
    """
    learner.model.train()
    start = time.perf_counter() - progress.seconds
    every = 1 if learner.device.type == "cpu" else READ_EVERY
    unread: list[Tensor] = []
    order = epoch_order(config.seed, progress.epoch, len(train)).to(learner.device)
    with progress_bar(f"epoch {progress.epoch}/{config.epochs}", len(train), progress.seen) as bar:
        for first in range(progress.seen, len(train), config.batch_size):
            index = order[first : first + config.batch_size]
            own, weight = shard(index)
            batch = train[own]
            images = distort(batch.images, config.augment, CounterRNG.for_images(config.seed, progress.epoch, own))
            logits = train_step(
                learner, images, batch.labels, config.label_smoothing, weight, config.drawn_negatives > 0
            )
            unread.append(all_reduce_sum(step_sums(logits, batch.labels, weight, bool(request and request.number))))
            progress = replace(progress, step=progress.step + 1, seen=progress.seen + len(index))
            stop = False
            if progress.step % every == 0 or is_saved(progress.step, config) or progress.seen == len(train):
                loss, correct, stops = torch.stack(unread).cpu().double().sum(dim=0).tolist()
                unread, stop, seconds = [], stops > 0, time.perf_counter() - start
                total, right = progress.loss + loss, progress.correct + round(correct)
                progress = replace(progress, loss=total, correct=right, seconds=seconds)
                check_finite(total, progress, learner)
                means = {"loss": f"{total / progress.seen:.4f}", "accuracy": f"{right / progress.seen:.2%}"}
                bar.set_postfix(means, refresh=False)
                bar.update(progress.seen - bar.n)
            yield progress, stop


def is_saved(step: int, config: TrainConfig) -> bool:
    """Return whether a checkpoint follows a step of an epoch."""
    return config.checkpoint_every_steps > 0 and step % config.checkpoint_every_steps == 0


def step_sums(logits: Tensor, labels: Tensor, weight: float, stop: bool) -> Tensor:
    """Return sum of losses, count of correct predictions and `stop`, float32 [3]; a shard of weight 0 adds nothing.

    A negative adds its divergence from the uniform distribution, and is correct if no class has half the probability.
    """
    own = labels[: len(labels) if weight else 0]
    log_probabilities = logits[: len(own)].log_softmax(dim=1)
    divergence = -log_probabilities.mean(dim=1) - math.log(logits.shape[1])
    unsure = log_probabilities.amax(dim=1) < math.log(0.5)
    negative = own == NEGATIVE
    loss = torch.where(negative, divergence, F.nll_loss(log_probabilities, own.clamp(min=0), reduction="none"))
    correct = torch.where(negative, unsure, log_probabilities.argmax(dim=1) == own)
    return torch.stack([loss.sum(), correct.sum().float(), torch.full_like(loss.sum(), float(stop))])


def progress_bar(title: str, images: int, seen: int) -> "tqdm[NoReturn]":
    """Open a progress bar over the images of an epoch, on rank 0 only."""
    return tqdm(
        total=images,
        initial=seen,
        desc=title,
        unit=" images",
        unit_scale=True,
        mininterval=0.1 if sys.stderr.isatty() else 5.0,
        miniters=1,  # else tqdm adapts it to the fastest interval and freezes when the machine slows down
        disable=rank() > 0,
    )


def check_finite(loss: float, progress: Progress, learner: Learner) -> None:
    """Stop a diverging training before it is saved.

    Raises:
        InputError: the loss is infinite or NaN.
    """
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} in step {progress.step} of epoch {progress.epoch}, at learning rate "
            f"{learner.learning_rate:.3g}; try a lower --learning-rate and --filter-learning-rate"
        )


def run_epoch(
    training: Training,
    history: list[EpochRecord],
    progress: Progress,
    request: StopRequest,
    after_step: Sequence[Callable[[], None]],
) -> tuple[EpochRecord, Tensor]:
    """Train for the rest of an epoch, calling `after_step` after each step, saving checkpoints as configured; validate.

    Returns:
        The results, and the logits of the validation split.

    Raises:
        InputError: the loss is not finite.
        Stopped: a signal arrived; the last step is saved.
    """
    learner, config = training.learner, training.config
    for progress, stop in train_steps(learner, training.train, config, progress, request):  # noqa: B020
        for action in after_step:
            action()
        if stop or is_saved(progress.step, config):
            save(training, history, progress)
        if stop:
            position = f"epoch {progress.epoch} of {config.epochs}, after step {progress.step}"
            number = request.number or signal.SIGTERM
            raise Stopped(f"stopped in {position}; progress is saved, continue with --resume", number)
    start = time.perf_counter()
    logits, labels = infer_distributed(learner.network, training.val), training.val.labels.cpu()
    val_loss = F.cross_entropy(logits, labels).item()
    val_accuracy = int((logits.argmax(dim=1) == labels).sum()) / len(labels)
    check_finite(val_loss, progress, learner)
    seconds = progress.seconds + time.perf_counter() - start
    if rank() == 0:
        report = f"validation: loss {val_loss:.4f} nats, accuracy {val_accuracy:.2%} ({seconds:.1f} s)"
        tqdm.write(report, file=sys.stderr)
    train_loss = progress.loss / progress.seen
    record = EpochRecord(progress.epoch, train_loss, val_loss, val_accuracy, learner.learning_rate, seconds)
    return record, logits


def fit(
    dataset: Dataset, config: TrainConfig, model: ModelConfig | None = None, network: nn.Module | None = None
) -> Checkpoint:
    """Train on the train split without its validation images; the test split is never read.

    After each epoch `saved_models/checkpoints/NAME_epoch_N.pth` and `saved_models/NAME_history.csv` and `.jsonl` are
    written in `config.output_dir`, NAME as in `run_name`. The network is that of `config.init_from`, or else a new one
    of the architecture `model`, by default the preset's, with classes, mean and standard deviation of the dataset.

    Args:
        dataset: the data.
        config: the settings.
        model: an architecture of this program.
        network: any module of your own, trained in place: it maps float32 [N, 1, 28, 28], light strokes on dark of mean
            0 and standard deviation 1, to logits [N, classes]. `config.network` names one by its file.

    Returns:
        The last epoch's checkpoint, without training state, with the temperature fitted on the validation split.

    Raises:
        InputError: a setting does not fit the data or the machine, `resume` finds no checkpoint of this training,
            another training writes to the folder, or the loss is not finite.
        Stopped: Ctrl-C or SIGTERM; the progress is saved.
    """
    torch.use_deterministic_algorithms(config.deterministic)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS requires it
    if network is not None:
        config = replace(config, network=spec_of(network))
    training = prepare(dataset, config, model, network)
    lock = training.run_dir.locked() if rank() == 0 else nullcontext()
    with (
        lock,
        deferred_signals() as request,
        tensorboard_log(config) as log,
        profiled(config) as tick,
        free_cores(fixed=config.deterministic) as adapt_threads,
    ):
        history, progress = start_or_resume(training)
        logits = None
        while progress.epoch <= config.epochs:
            record, logits = run_epoch(training, history, progress, request, (tick, adapt_threads))
            history.append(record)
            progress = Progress(progress.epoch + 1)
            save(training, history, progress)
            log(record)
        if rank() == 0:
            training.run_dir.prune(keep=1)
    if request.number:
        raise Stopped("stopped after the last epoch; progress is saved, continue with --resume", request.number)
    temperature = calibrate(training.learner.network, training.val, logits)
    today = datetime.now(timezone.utc).date().isoformat()
    return replace(snapshot(training, history), temperature=temperature, trained=today)


def calibrate(model: nn.Module, val: Split, logits: Tensor | None = None) -> float:
    """Fit the temperature of a model's probabilities on the validation split, whose logits may be known."""
    logits = infer(model, val) if logits is None else logits
    return fit_temperature(logits.double().numpy(), val.labels.cpu().numpy())


def add_ood_detector(checkpoint: Checkpoint, dataset: Dataset) -> Checkpoint:
    """Fit the OOD detector of a trained model on the train and validation splits.

    The detector of a model that was trained on negatives, and its temperature, are fitted on `calibration_split`.
    """
    train, val = split_off(dataset.train, checkpoint.train_config["val_size"])
    if checkpoint.train_config.get("drawn_negatives"):
        val = calibration_split(val)
        temperature = calibrate(checkpoint.build_model(), val[val.labels != NEGATIVE])
        checkpoint = replace(checkpoint, temperature=temperature)
    ood_detector = fit_ood_detector(checkpoint.build_model(), train, val, checkpoint.temperature)
    return replace(checkpoint, ood_detector=ood_detector)
