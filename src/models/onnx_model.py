"""Runs a trained network from an .onnx file with ONNX Runtime, without PyTorch.

The last metadata entry of the file is the SHA-256 of all bytes before it, which detects damage before anything is
parsed. It does not stop a crafted file, so `onnx_graph` validates the graph before ONNX Runtime loads it.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import read_model
from mnist_cnn.common.names import check_classes, check_date, check_name, printable
from mnist_cnn.models.onnx_file import read_onnx
from mnist_cnn.models.onnx_graph import check_graph
from mnist_cnn.models.wire_format import Message, Schema
from mnist_cnn.pictures.image_io import Pixels

Floats = npt.NDArray[np.float64]

PACKAGED = Path(__file__).parents[1] / "mnist_cnn.onnx"
MAX_FILE_BYTES = 64 * 2**20
MAX_BATCH_SIZE = 128  # images per thread; smaller if a batch would compute more than
MAX_BATCH_VALUES = 2**27  # 512 MiB of floats
CHECKSUM_KEY = (
    b"\x72\x4a\x0a\x06sha256\x12\x40"  # protobuf: metadata entry (field 14) of key sha256 and 64 bytes of value
)
POSITIVE = (sys.float_info.min, sys.float_info.max)
RANGES = {"temperature": POSITIVE, "probability_threshold": (0, 1), "ood_threshold": POSITIVE, "accuracy": (0, 1)}
ADVICE = "export it again with `mnist-cnn export`, or name another with --checkpoint"


@dataclass(frozen=True)
class OnnxModel:
    """A network with its OOD detector. It can be pickled: the copy parses the file's bytes again.

    Attributes:
        classes: name of each class.
        probability_threshold: minimum probability of a trusted prediction, 0..1.
        ood_threshold: maximum OOD score of a trusted prediction, as in `OODDetector`.
        metadata: dataset, version, SHA-256 of the checkpoint, temperature, accuracy, ...
        batch_size: images that one thread runs at a time.
        session: runs the network on one core.
        content: the bytes of the file.
        source: names the file in errors.
    """

    classes: tuple[str, ...]
    probability_threshold: float
    ood_threshold: float
    metadata: dict[str, str]
    batch_size: int
    session: onnxruntime.InferenceSession
    content: bytes
    source: str

    def __reduce__(self) -> "tuple[Callable[[bytes, str], OnnxModel], tuple[bytes, str]]":
        """Pickle what `parse` needs, as a session cannot be pickled."""
        return parse, (self.content, self.source)

    def infer(self, images: Pixels) -> tuple[Floats, Floats]:
        """Return calibrated probabilities [N, classes] and OOD scores [N] of uint8 images [N, 28, 28]."""
        batches = [images[start : start + self.batch_size] for start in range(0, len(images), self.batch_size)]
        if len(batches) <= 1:
            return self.run(images)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # faster than ONNX Runtime's threads, which split every layer
            probabilities, ood_scores = zip(*pool.map(self.run, batches), strict=True)
        return np.concatenate(probabilities), np.concatenate(ood_scores)

    def run(self, images: Pixels) -> tuple[Floats, Floats]:
        """Run one batch on one core; see `infer`."""
        try:
            probabilities, ood_scores = self.session.run(["probabilities", "ood_score"], {"pixels": images})
        except Exception as error:  # ONNX Runtime raises many types
            raise InputError(f"the model {self.metadata['name']} fails ({type(error).__name__}); {ADVICE}") from None
        return probabilities.astype(np.float64), ood_scores.astype(np.float64)


def with_checksum(content: bytes) -> bytes:
    """Append the SHA-256 of a serialized ONNX model as its last metadata entry."""
    return content + CHECKSUM_KEY + hashlib.sha256(content).hexdigest().encode()


def load_onnx(path: Path) -> OnnxModel:
    """Load a model that `mnist-cnn export` wrote.

    Raises:
        InputError: the file is missing, too large, damaged or of another program.
    """
    return parse(read_model(path, "model", "`mnist-cnn export`", MAX_FILE_BYTES), str(path))


def parse(content: bytes, source: str) -> OnnxModel:
    """Load a model from the bytes of its file; errors name `source`.

    Raises:
        InputError: it is damaged, of another program, or not a graph that `mnist-cnn export` writes.
    """
    if not content.endswith(CHECKSUM_KEY + hashlib.sha256(content[: -len(CHECKSUM_KEY) - 64]).hexdigest().encode()):
        raise InputError(f"{source} {describe_invalid(content)}; {ADVICE}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: errors are raised as exceptions too
    options.intra_op_num_threads = 1
    try:
        file = read_onnx(content)
        batch_size = max(1, min(MAX_BATCH_SIZE, MAX_BATCH_VALUES // check_graph(file)))
        classes, probability_threshold, ood_threshold = check_metadata(file.metadata)
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        shapes = {put.name: (put.type, *put.shape[1:]) for put in (*session.get_inputs(), *session.get_outputs())}
    except Exception as error:  # ONNX Runtime raises many types for crafted bytes
        why = error if isinstance(error, ValueError) else type(error).__name__
        raise InputError(f"{source} is not a model of this program ({printable(why, 300)}); {ADVICE}") from None
    expected = {
        "pixels": ("tensor(uint8)", 28, 28),
        "logits": ("tensor(float)", len(classes)),
        "probabilities": ("tensor(float)", len(classes)),
        "ood_score": ("tensor(float)",),
    }
    if shapes != expected:
        raise InputError(f"{source} is not a model of this program (its inputs or outputs); {ADVICE}")
    return OnnxModel(classes, probability_threshold, ood_threshold, file.metadata, batch_size, session, content, source)


def describe_invalid(content: bytes) -> str:
    """Describe a file whose checksum is missing or wrong."""
    if CHECKSUM_KEY in content or b"checkpoint_sha256" in content:  # keys that only this program writes
        return "is damaged: its contents do not match their SHA-256"
    if not content or content[0] == 8:  # ModelProto begins with ir_version, field 1
        try:
            if 7 in Message(memoryview(content), Schema((), tuple(range(1, 30)))).values:  # graph
                return "is an ONNX model that another program wrote: only those of `mnist-cnn export` can be read"
        except ValueError:
            pass
        return "is empty or cut off"
    return f"is no ONNX file: it begins with {content[:8]!r}"


def check_metadata(metadata: dict[str, str]) -> tuple[tuple[str, ...], float, float]:
    """Validate a file's metadata.

    Returns:
        Classes, probability threshold and OOD threshold.

    Raises:
        ValueError: an entry is missing, not printable or out of range.
    """
    for key in ("name", "dataset", "version"):
        check_name(metadata.get(key), f"the {key}")
    classes = tuple(metadata.get("classes", "").split("\n"))
    check_classes(classes)
    if not re.fullmatch("[0-9a-f]{64}", metadata.get("checkpoint_sha256", "")):
        raise ValueError("checkpoint_sha256 is not a SHA-256")
    if "trained" in metadata:
        check_date(metadata["trained"])
    for key, (low, high) in RANGES.items():
        value = metadata.get(key, "0" if key == "accuracy" else "none")
        if not low <= float(value) <= high:
            raise ValueError(f"{key} is {value}")
    return classes, float(metadata["probability_threshold"]), float(metadata["ood_threshold"])
