"""Checkpoints: the content of .pth files, how it is written, read and validated."""

import copy
import dataclasses
import hashlib
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnist_cnn.cnn_model import ModelConfig, build, load_weights
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, read_model
from mnist_cnn.common.names import check_classes, check_date, check_name, printable
from mnist_cnn.models.ood import OODDetector
from mnist_cnn.models.torch_archive import ArchiveError, open_archive
from mnist_cnn.own_network import Network, OwnConfig, OwnNetwork, load_network

FORMAT_VERSION = 5
MAX_FILE_BYTES = 2**30
ADVICE = "train one with `mnist-cnn train`, or name another with --checkpoint"
DEFAULT = Path("saved_models") / "mnist_cnn_final.pth"
SHIPPED = Path(__file__).parents[2] / DEFAULT


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model and the state of its training.

    Attributes:
        dataset: name of the training dataset.
        classes: class name of each logit.
        model_config: architecture of the network.
        state_dict: weights and buffers.
        train_config: the training settings, as plain values.
        data_sha256: SHA-256 of the training images and labels (`splits.fingerprint`).
        history: one dict of plain values per finished epoch.
        temperature: divisor of the logits that calibrates the probabilities, above 0.
        trained: date on which the training ended, YYYY-MM-DD in UTC; None before, and in files of earlier versions.
        ood_detector: fitted once training has ended, None before.
        training_state: optimizers, schedulers and progress, for resuming; None in a final model.
        network: code of a network from outside, a module of any weights; not in the file.
    """

    dataset: str
    classes: tuple[str, ...]
    model_config: ModelConfig | OwnConfig
    state_dict: dict[str, Tensor]
    train_config: dict[str, Any]
    data_sha256: str
    history: list[dict[str, Any]]
    temperature: float
    trained: str | None = None
    ood_detector: OODDetector | None = None
    training_state: dict[str, Any] | None = None
    network: nn.Module | None = field(default=None, repr=False, compare=False)

    def build_model(self) -> Network:
        """Build the network with these weights, in eval mode on the CPU.

        Raises:
            ValueError: the weights do not fit `model_config` or are not finite.
        """
        model = self.build_untrained()
        load_weights(model, self.state_dict)
        return model.eval()

    def build_untrained(self) -> Network:
        """Build the network without memory for its weights or, of a network from outside, copy its code's module."""
        if isinstance(self.model_config, OwnConfig):
            assert self.network
            return OwnNetwork(self.model_config, copy.deepcopy(self.network).cpu())
        with torch.device("meta"):
            return build(self.model_config)


def or_shipped(path: Path) -> Path:
    """Return a path, or the checkout's shipped model if the path is the default and no such file exists."""
    return SHIPPED if path == DEFAULT and not path.is_file() and SHIPPED.is_file() else path


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically."""
    content = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    del content["network"]
    content["model_config"] = dataclasses.asdict(checkpoint.model_config)
    content["ood_detector"] = vars(checkpoint.ood_detector) if checkpoint.ood_detector else None
    write_archive(content, path)


def write_archive(content: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values atomically, with the format version and a checksum."""
    buffer = io.BytesIO()  # torch.save to a full disk raises RuntimeError, write_bytes OSError
    torch.save({"format_version": FORMAT_VERSION, **content}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(with_checksum(buffer.getvalue()))


def with_checksum(archive: bytes) -> bytes:
    """Store the SHA-256 of a zip archive, the format of torch.save, in the archive's comment.

    The comment ends a zip file and is preceded by its length in two bytes (APPNOTE.TXT 4.3.16).
    """
    assert archive.endswith(b"\0\0"), "the archive has a comment already"
    content = archive[:-2] + (2 * hashlib.sha256().digest_size).to_bytes(2, "little")
    return content + hashlib.sha256(content).hexdigest().encode()


def is_intact(archive: bytes) -> bool:
    """Return whether an archive matches the checksum that `with_checksum` stored in it."""
    size = 2 * hashlib.sha256().digest_size
    return hashlib.sha256(archive[:-size]).hexdigest().encode() == archive[-size:]


def load_checkpoint(path: str | os.PathLike[str], network: nn.Module | str | None = None) -> Checkpoint:
    """Read a checkpoint without executing code from the file.

    Args:
        path: the file.
        network: the code of a network from outside, whose weights the file has: a module, or FILE.py:CLASS to run.

    Raises:
        InputError: the file is missing, damaged, of another program or format version, or inconsistent; or it has no
            code and none is given.
    """
    archive = read_model(Path(path), "checkpoint", "`mnist-cnn train`", MAX_FILE_BYTES)
    return parse_checkpoint(archive, str(path), network)


def parse_checkpoint(archive: bytes, source: str, network: nn.Module | str | None = None) -> Checkpoint:
    """Read a checkpoint from the bytes of its file; errors name `source`. `network` is as in `load_checkpoint`.

    Raises:
        InputError: as `load_checkpoint`.
    """
    try:
        content = open_archive(archive, FORMAT_VERSION, is_intact(archive))
    except ArchiveError as error:
        raise InputError(f"{source} {error}; {ADVICE}") from None
    with told_as_foreign(source):
        del content["format_version"]
        config = content["model_config"]
        content["model_config"] = OwnConfig(**config) if "network" in config else ModelConfig(**config)
        if content["ood_detector"] is not None:
            content["ood_detector"] = OODDetector(**content["ood_detector"])
        checkpoint = Checkpoint(**content, network=None)
        check_values(checkpoint)
    checkpoint = with_code(checkpoint, source, network)
    with told_as_foreign(source):
        checkpoint.build_model()
        if checkpoint.ood_detector:
            checkpoint.ood_detector.check(checkpoint.model_config)
    return checkpoint


@contextmanager
def told_as_foreign(source: str) -> Iterator[None]:
    """Convert what invalid content raises to an InputError that names `source`."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{source} is not a model of this program ({printable(error, 300)}); {ADVICE}") from None


def with_code(checkpoint: Checkpoint, source: str, network: nn.Module | str | None) -> Checkpoint:
    """Give a checkpoint of a network from outside its code, which the file only names.

    Raises:
        InputError: none is given, or the checkpoint needs none.
    """
    config = checkpoint.model_config
    if isinstance(config, ModelConfig):
        if network is not None:
            raise InputError(f"{source} is a network of this program, without code of its own; leave out --network")
        return checkpoint
    if network is None:
        raise InputError(
            f"{source} holds the weights of {printable(config.network, 300)}, not its code; name the code with "
            "--network FILE.py:CLASS, where evaluate, export, train and study run it, or export it to .onnx"
        )
    module = load_network(network, config.classes) if isinstance(network, str) else network
    return dataclasses.replace(checkpoint, network=module)


def check_values(checkpoint: Checkpoint) -> None:
    """Check the types and the consistency of a checkpoint's fields but for its weights.

    Raises:
        AttributeError, LookupError, RuntimeError, TypeError, ValueError: a field is invalid.
    """
    check_name(checkpoint.dataset, "the dataset")
    check_classes(checkpoint.classes)
    for name, kind in (("classes", tuple), ("train_config", dict), ("history", list), ("data_sha256", str)):
        if type(getattr(checkpoint, name)) is not kind:
            raise ValueError(f"{name} is not a {kind.__name__}")
    if not all(type(part) is dict for part in (*checkpoint.history, checkpoint.training_state or {})):
        raise ValueError("history or training_state has values of another type")
    config = checkpoint.model_config
    if isinstance(config, ModelConfig) and len(checkpoint.state_dict) < config.members * sum(map(len, config.stages)):
        raise ValueError("fewer tensors than convolutions")  # bounds the network built below
    if len(checkpoint.classes) != config.classes:
        raise ValueError(f"{len(checkpoint.classes)} class names for {config.classes} logits")
    if not 0 < checkpoint.temperature < math.inf:
        raise ValueError(f"temperature is {checkpoint.temperature}")
    if checkpoint.trained is not None:
        check_date(checkpoint.trained)
