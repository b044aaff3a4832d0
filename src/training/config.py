"""The settings of a training, and presets."""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from mnist_cnn.cnn_model import ModelConfig
from mnist_cnn.common.device import Precision
from mnist_cnn.common.errors import InputError
from mnist_cnn.own_network import class_of
from mnist_cnn.training.augment import AugmentConfig

NOT_IN_RECIPE = {
    *("config", "dataset", "init_from", "data_dir", "output_dir", "device", "resume"),
    *("checkpoint_every_steps", "worker_timeout", "tensorboard", "profile"),
}
"""Settings that do not affect the result, or that files and reports record separately."""

LATER = {"network", "teacher", "severe", "drawn_digits", "drawn_negatives"}
"""Settings that a recipe leaves out while they are off: those of earlier trainings do not name them."""

MIN_STEPS = 60  # `fast` reaches 60 % validation accuracy on the bundled digits after 3 steps, 99 % after 60


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a digit classifier, evaluate it once on the test split, save it and draw the figures."""

    preset: Literal["default", "fast", "tiny", "micro", "chip", "best", "reader", "fine-tune"] = "default"
    """Network and settings; the other flags override the settings."""
    config: Path | None = None
    """Settings that override the preset's: a run's report (saved_models/NAME_final.json), or your own JSON file."""
    dataset: str = "auto"
    """mnist, fashion-mnist, kmnist, qmnist, emnist-digits, usps, digits (bundled), .csv or .npz, a folder of IDX files
    or one with a subfolder of pictures per class; with auto, mnist if it is available, else digits."""
    network: str | None = None
    """Your own network in place of the preset's, FILE.py:CLASS, a torch.nn.Module [N, 1, 28, 28] -> [N, classes]; the
    file is run."""
    init_from: Path | None = None
    """Trained model to fine-tune, on the new images mixed with some that it was trained on."""
    teacher: str | None = None
    """Trained model, FILE.pth, whose probabilities are the targets in place of the labels (distillation)."""
    data_dir: Path | None = None
    """Folder with the data, searched before $MNIST_CNN_DATA and ./data; downloads are stored there."""
    output_dir: Path = Path()
    """Folder for saved_models/ and images/."""
    epochs: int = 10
    """Passes over the training images."""
    batch_size: int = 256
    """Images in one step."""
    learning_rate: Annotated[float, arg(aliases=("--lr",))] = 0.01
    """Peak of the one-cycle schedule, for all parameters but convolution filters (AdamW)."""
    filter_learning_rate: float = 0.03
    """Peak for convolution filters (Muon)."""
    weight_decay: float = 0.05
    """Decoupled weight decay, relative to the learning rate."""
    label_smoothing: float = 0.05
    """Share of the target distributed uniformly over all classes."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of the training images."""
    drawn_digits: int = 0
    """Digits to train on besides, drawn in other schools of writing."""
    drawn_negatives: int = 0
    """Drawn images of what is no digit to train on besides, with equal targets for all classes (outlier exposure)."""
    val_size: Annotated[float, arg(help_behavior_hint=lambda label: f"(default: {float(label):.4g})")] = 1 / 12
    """Size of the validation split: below 1 a share of the training images, from 1 a count."""
    seed: int = 0
    """Seed of initial weights, image order and augmentation."""
    device: str = "auto"
    """cpu, cuda, mps, xpu; auto prefers an accelerator."""
    precision: Precision = "auto"
    """Precision of the forward pass; auto is bfloat16 if the hardware supports it, else float32."""
    deterministic: bool = False
    """Bit-identical weights for the same seed on the same machine; can be slower on an accelerator or beside other
    programs."""
    resume: bool = False
    """Resume from the newest intact checkpoint in the output folder, with --deterministic to the same weights as
    without interruption; with more --epochs, extend a finished training."""
    checkpoint_every_steps: int = 0
    """Steps between checkpoints within an epoch; 0: only at its end, on Ctrl-C and on SIGTERM."""
    worker_timeout: int = 300
    """Seconds that a rank (torchrun) waits for another before it fails."""
    tensorboard: bool = False
    """Log to TensorBoard, in the output folder's tensorboard/."""
    profile: bool = False
    """Profile ten early steps: a table of operations, and a trace in the output folder."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value, valid, expected in (
            ("epochs", self.epochs, self.epochs >= 1, "1 or more"),
            ("batch-size", self.batch_size, self.batch_size >= 2, "2 or more"),
            ("learning-rate", self.learning_rate, 0 < self.learning_rate < math.inf, "above 0"),
            ("filter-learning-rate", self.filter_learning_rate, 0 < self.filter_learning_rate < math.inf, "above 0"),
            ("weight-decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "0 or more"),
            ("label-smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "in 0..1, without 1"),
            ("drawn-digits", self.drawn_digits, self.drawn_digits >= 0, "0 or more"),
            ("drawn-negatives", self.drawn_negatives, self.drawn_negatives >= 0, "0 or more"),
            ("val-size", self.val_size, 0 < self.val_size < math.inf, "a share above 0 or a count"),
            ("checkpoint-every-steps", self.checkpoint_every_steps, self.checkpoint_every_steps >= 0, "0 or more"),
            ("worker-timeout", self.worker_timeout, self.worker_timeout >= 1, "1 or more"),
            ("seed", self.seed, 0 <= self.seed < 2**32, "0 to 4294967295"),
        ):
            if not valid:
                raise InputError(f"--{name} is {value}; it must be {expected}")
        if self.network is not None and not re.fullmatch(r".+:[A-Za-z_]\w*", self.network):
            raise InputError(f"--network is {self.network}; it must be FILE.py:CLASS or MODULE:CLASS")

    def recipe(self) -> dict[str, Any]:
        """Return the settings that affect the result, as plain values: no folders, no device; files as named."""
        return dataclasses.asdict(self, dict_factory=as_recipe)


def as_recipe(settings: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keep the settings that affect the result, without those of `LATER` that are off."""
    return {name: value for name, value in settings if name not in NOT_IN_RECIPE and (value or name not in LATER)}


def with_enough_epochs(config: TrainConfig, images: int) -> TrainConfig:
    """Raise the epochs so that a small training set is trained on for at least `MIN_STEPS` steps."""
    steps = math.ceil(images / config.batch_size)
    return dataclasses.replace(config, epochs=max(config.epochs, math.ceil(MIN_STEPS / steps)))


def run_name(dataset: str, preset: str, network: str | None = None) -> str:
    """Return the prefix of a training's files: `mnist_cnn` for the default preset, else as in `mnist_fast`.

    A network from outside gives its class: `mnist_MyNet`, `mnist_fast_MyNet`.
    """
    if network:
        return "_".join([dataset, *([] if preset == "default" else [preset]), class_of(network)])
    return f"{dataset}_{'cnn' if preset == 'default' else preset}"


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings; dots join the names."""
    values: dict[str, Any] = {}
    for name, value in settings.items():
        nested = flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        values |= nested
    return values


@dataclass(frozen=True)
class Preset:
    """A network and its training settings."""

    model: ModelConfig
    train: TrainConfig


PRESETS = {
    "default": Preset(ModelConfig(), TrainConfig()),
    "fast": Preset(
        ModelConfig(stages=((16,), (32,), (64,))),
        TrainConfig(
            preset="fast",
            epochs=1,
            batch_size=512,
            filter_learning_rate=0.2,
            label_smoothing=0.1,
            augment=AugmentConfig(rotation=0, shift=0, scale=0, shear=0, elastic=0, serif=0, degrade=0),
        ),
    ),
    "tiny": Preset(
        ModelConfig(stages=((26, 26), (26, 26, 26), (26, 26, 26)), shared=True, average=True),
        TrainConfig(
            preset="tiny",
            epochs=100,
            filter_learning_rate=0.05,
            label_smoothing=0.0,
            augment=AugmentConfig(rotation=6, shift=0.05, scale=0.06, shear=0.08, elastic=0, serif=0, degrade=0),
        ),
    ),
    "micro": Preset(
        ModelConfig(stages=((8,), (24,) * 3, (24,) * 4, (24,) * 4), looped=True, average=True, class_maps=True),
        TrainConfig(
            preset="micro",
            epochs=80,
            filter_learning_rate=0.05,
            label_smoothing=0.0,
            augment=AugmentConfig(rotation=1.5, shift=0.015, scale=0.015, shear=0.02, elastic=0, serif=0, degrade=0),
        ),
    ),
    "chip": Preset(
        ModelConfig(stages=((16,), (24, 24), (32,)), average=True, weight_bits=4),
        TrainConfig(
            preset="chip",
            epochs=25,
            filter_learning_rate=0.05,
            label_smoothing=0.0,
            augment=AugmentConfig(rotation=6, shift=0.05, scale=0.06, shear=0.08, elastic=0, serif=0, degrade=0),
        ),
    ),
    "fine-tune": Preset(
        ModelConfig(), TrainConfig(preset="fine-tune", epochs=5, learning_rate=0.001, filter_learning_rate=0.003)
    ),
    "best": Preset(
        ModelConfig(stages=((32, 64), (128, 128), (128,))),
        TrainConfig(preset="best", epochs=25),
    ),
    "reader": Preset(
        ModelConfig(stages=((32, 64), (128, 128), (128,))),
        TrainConfig(
            preset="reader",
            epochs=40,
            augment=AugmentConfig(severe=0.5),
            drawn_digits=40_000,
            drawn_negatives=20_000,
        ),
    ),
}
