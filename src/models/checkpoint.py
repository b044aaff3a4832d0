"""What is inside a .pth file; nothing else in the program knows."""

import dataclasses
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_cnn.cnn_model import ModelConfig, Network, build
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, read_model
from mnist_cnn.common.names import check_classes, check_name, printable
from mnist_cnn.models.ood import OODDetector
from mnist_cnn.models.torch_archive import ArchiveError, open_archive

FORMAT_VERSION = 5
LARGEST_FILE = 1 << 30  # bytes
ADVICE = "train one with `mnist-cnn train`, or name another with --checkpoint"
DEFAULT = Path("saved_models") / "mnist_cnn_final.pth"
SHIPPED = Path(__file__).parents[2] / DEFAULT


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained, or half-trained, model.

    Attributes:
        dataset: name of the dataset it was trained on.
        classes: name of each logit.
        model_config: shape of the network.
        state_dict: its weights and buffers.
        train_config: the recipe, as plain values.
        data_sha256: of the training images and labels (`data_loader.fingerprint`).
        history: one dict of plain values per finished epoch.
        temperature: what logits are divided by so that probabilities are calibrated; above 0.
        ood_detector: which answers to trust; None until training has ended.
        training_state: optimizers, schedulers and how far an unfinished epoch is, for going on; None in a final model.
    """

    dataset: str
    classes: tuple[str, ...]
    model_config: ModelConfig
    state_dict: dict[str, Tensor]
    train_config: dict[str, Any]
    data_sha256: str
    history: list[dict[str, Any]]
    temperature: float
    ood_detector: OODDetector | None = None
    training_state: dict[str, Any] | None = None

    def build_model(self) -> Network:
        """Build the network with these weights, in eval mode on the CPU.

        Raises:
            ValueError: the weights are not those of such a network.
        """
        with torch.device("meta"):
            model = build(self.model_config)
        for name, expected in model.state_dict().items():
            tensor = self.state_dict.get(name, expected)
            if tensor.dtype != expected.dtype or not (tensor.is_meta or tensor.isfinite().all()):
                raise ValueError(f"{name} is not finite, or not {expected.dtype}")
        try:
            model.load_state_dict(self.state_dict, assign=True)
        except RuntimeError as error:
            raise ValueError(" ".join(str(error).split())) from None
        return model.eval()


def or_shipped(path: Path) -> Path:
    """Return a path, or where it is the default and leads nowhere, the checkout's model, if this is a checkout."""
    return SHIPPED if path == DEFAULT and not path.is_file() and SHIPPED.is_file() else path


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint whole or not at all."""
    content = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    content["model_config"] = dataclasses.asdict(checkpoint.model_config)
    content["ood_detector"] = vars(checkpoint.ood_detector) if checkpoint.ood_detector else None
    buffer = io.BytesIO()  # a full disk then raises OSError, as for any file
    torch.save({"format_version": FORMAT_VERSION, **content}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(with_checksum(buffer.getvalue()))


def with_checksum(archive: bytes) -> bytes:
    """Put the SHA-256 of a zip archive, which is what torch.save writes, into the archive's comment.

    The comment is what a zip file ends with, after its length in two bytes (APPNOTE.TXT 4.3.16).
    """
    assert archive.endswith(b"\0\0"), "an archive without a comment"
    content = archive[:-2] + (2 * hashlib.sha256().digest_size).to_bytes(2, "little")
    return content + hashlib.sha256(content).hexdigest().encode()


def is_intact(archive: bytes) -> bool:
    """Tell whether every byte of an archive is as `with_checksum` left it."""
    size = 2 * hashlib.sha256().digest_size
    return hashlib.sha256(archive[:-size]).hexdigest().encode() == archive[-size:]


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is ever executed.

    Raises:
        InputError: there is none, or it is damaged, foreign, of another version or of other shapes.
    """
    return parse_checkpoint(read_model(path, "checkpoint", "`mnist-cnn train`", LARGEST_FILE), str(path))


def parse_checkpoint(archive: bytes, where: str) -> Checkpoint:
    """Read a checkpoint from the bytes of its file, which was found at `where`.

    Raises:
        InputError: as `load_checkpoint`.
    """
    try:
        content = open_archive(archive, FORMAT_VERSION, is_intact(archive))
    except ArchiveError as error:
        raise InputError(f"{where} {error}; {ADVICE}") from None
    try:
        del content["format_version"]
        content["model_config"] = ModelConfig(**content["model_config"])
        if content["ood_detector"] is not None:
            content["ood_detector"] = OODDetector(**content["ood_detector"])
        checkpoint = Checkpoint(**content)
        check(checkpoint)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{where} is not a model of this program ({printable(error, 300)}); {ADVICE}") from None
    return checkpoint


def check(checkpoint: Checkpoint) -> None:
    """Check that the parts of a checkpoint are what they should be, and fit together.

    Raises:
        AttributeError, LookupError, RuntimeError, TypeError, ValueError: they do not.
    """
    check_name(checkpoint.dataset, "the dataset")
    check_classes(checkpoint.classes)
    for name, kind in (("classes", tuple), ("train_config", dict), ("history", list), ("data_sha256", str)):
        if type(getattr(checkpoint, name)) is not kind:
            raise ValueError(f"{name} is no {kind.__name__}")
    if not all(type(part) is dict for part in (*checkpoint.history, checkpoint.training_state or {})):
        raise ValueError("history or training_state is not of a training")
    if len(checkpoint.state_dict) < checkpoint.model_config.members * sum(map(len, checkpoint.model_config.stages)):
        raise ValueError("fewer weights than convolutions")  # before a network of a million layers is built
    if len(checkpoint.classes) != checkpoint.model_config.classes:
        raise ValueError(f"{len(checkpoint.classes)} names for {checkpoint.model_config.classes} logits")
    if not 0 < checkpoint.temperature < math.inf:
        raise ValueError(f"temperature is {checkpoint.temperature}")
    checkpoint.build_model()
    if checkpoint.ood_detector:
        checkpoint.ood_detector.check(checkpoint.model_config)
