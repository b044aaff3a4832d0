"""The state of a training: saved as checkpoints, and restored from them."""

import dataclasses
from dataclasses import dataclass

from mnist_cnn.common.distributed import broadcast_object, rank, was_restarted
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.names import printable
from mnist_cnn.models.checkpoint import Checkpoint, parse_checkpoint
from mnist_cnn.splits import Split
from mnist_cnn.training.config import TrainConfig, flatten
from mnist_cnn.training.learner import Learner
from mnist_cnn.training.run_dir import RunDir


@dataclass(frozen=True)
class EpochRecord:
    """Results of an epoch; losses are mean cross-entropies in nats, the training loss is over augmented images."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Position within an epoch; `loss` and `correct` are sums over the images seen."""

    epoch: int
    step: int = 0
    seen: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Training:
    """What all steps of a training share."""

    learner: Learner
    train: Split
    val: Split
    config: TrainConfig
    run_dir: RunDir
    template: Checkpoint
    """Its checkpoints without weights, history and training state."""


def save(training: Training, history: list[EpochRecord], progress: Progress) -> None:
    """Write a checkpoint to resume from, on rank 0."""
    if rank() == 0:
        state = {**training.learner.state(), "progress": dataclasses.asdict(progress)}
        checkpoint = dataclasses.replace(snapshot(training, history), training_state=state)
        training.run_dir.save(checkpoint, progress.epoch, progress.step)


def snapshot(training: Training, history: list[EpochRecord]) -> Checkpoint:
    """Return a checkpoint of the current weights, without training state."""
    weights = training.learner.network.state_dict()
    return dataclasses.replace(
        training.template,
        state_dict={name: tensor.cpu().contiguous() for name, tensor in weights.items()},
        history=[dataclasses.asdict(record) for record in history],
    )


def start_or_resume(training: Training) -> tuple[list[EpochRecord], Progress]:
    """Resume from the newest checkpoint if the settings say so or torchrun restarted the ranks, else start afresh.

    Raises:
        InputError: `resume` is set and no checkpoint is intact, or the checkpoint is of another training.
    """
    run_dir, resume = training.run_dir, training.config.resume
    if was_restarted() or resume:
        archive = broadcast_object(run_dir.read_newest() if rank() == 0 else None)
        if archive:
            source = f"the newest checkpoint in {run_dir.checkpoints}"
            return restore(training, parse_checkpoint(archive, source, training.template.network))
        if resume:
            raise InputError(f"no intact checkpoint in {run_dir.checkpoints}; leave out --resume to start afresh")
    elif rank() == 0:
        run_dir.archive_earlier()
    return [], Progress(epoch=1)


def restore(training: Training, checkpoint: Checkpoint) -> tuple[list[EpochRecord], Progress]:
    """Load a checkpoint into the learner; a finished training may be extended by more epochs.

    Raises:
        InputError: its settings, network or data differ, or its training state is missing or invalid.
    """
    old, new = (
        flatten({"data": c.data_sha256, **c.train_config, "network": dataclasses.asdict(c.model_config)})
        for c in (checkpoint, training.template)
    )
    different = [name for name in old | new if old.get(name) != new.get(name)]
    where = f"cannot resume in {training.run_dir.checkpoints}"
    finished = len(checkpoint.history) == old.get("epochs")
    longer = finished and different == ["epochs"] and new["epochs"] > old["epochs"]
    if different and not longer:
        changes = "; ".join(f"{name} was {old.get(name)} and is {new.get(name)}" for name in different)
        raise InputError(f"{where}: {changes}; resume with the same flags and data, or leave out --resume")
    try:
        state = checkpoint.training_state or {}
        training.learner.load_state(checkpoint.state_dict, state, longer)
        return [EpochRecord(**record) for record in checkpoint.history], Progress(**state["progress"])
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: the newest checkpoint has no valid training state ({printable(error, 300)}); "
            "remove it, or leave out --resume"
        ) from None
