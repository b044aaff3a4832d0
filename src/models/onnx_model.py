"""A trained network in an .onnx file, run by ONNX Runtime: all that reading digits needs, without PyTorch.

The file is ONNX with metadata, and the last of these is the SHA-256 of all bytes before it, so that a damaged file is
told from a whole one before anything parses it. Anybody can write such a hash, and an .onnx file is a program: what it
would do is settled, in `onnx_graph`, before ONNX Runtime has it.
"""

import hashlib
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import read_model
from mnist_cnn.common.names import check_classes, check_name, printable
from mnist_cnn.models.onnx_file import read_onnx
from mnist_cnn.models.onnx_graph import check_graph
from mnist_cnn.models.wire_format import Known, Message
from mnist_cnn.pictures.image_io import Pixels

Floats = npt.NDArray[np.float64]

PACKAGED = Path(__file__).parents[1] / "mnist_cnn.onnx"
MOST_BYTES = 64 * 2**20  # of a file
PART = 128  # images to a thread, fewer where they would take more than
PART_VALUES = 2**27  # computed at once: 512 MiB of floats
SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"  # protobuf: metadata entry (field 14) of key sha256 and 64 bytes of value
POSITIVE = (sys.float_info.min, sys.float_info.max)
RANGES = {"temperature": POSITIVE, "probability_threshold": (0, 1), "ood_threshold": POSITIVE, "accuracy": (0, 1)}
ADVICE = "export it again with `mnist-cnn export`, or name another with --checkpoint"


@dataclass(frozen=True)
class OnnxModel:
    """A network and which of its answers to trust.

    Attributes:
        classes: the name of each class.
        probability_threshold: of a trusted answer, 0..1.
        ood_threshold: of a trusted answer, as in `OODDetector`.
        metadata: the file's metadata: dataset, version, hash of the checkpoint, temperature, accuracy, ...
        part: how many images a thread gives it at once.
        session: runs the network.
    """

    classes: tuple[str, ...]
    probability_threshold: float
    ood_threshold: float
    metadata: dict[str, str]
    part: int
    session: onnxruntime.InferenceSession

    def infer(self, images: Pixels) -> tuple[Floats, Floats]:
        """Return calibrated probabilities [N, classes] and OOD scores [N] of uint8 images [N, 28, 28]."""
        parts = [images[start : start + self.part] for start in range(0, len(images), self.part)]
        if len(parts) <= 1:
            return self.run(images)
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # faster than ONNX Runtime's own, which share every layer
            probabilities, ood_scores = zip(*threads.map(self.run, parts), strict=True)
        return np.concatenate(probabilities), np.concatenate(ood_scores)

    def run(self, images: Pixels) -> tuple[Floats, Floats]:
        """Do the same on one core."""
        try:
            probabilities, ood_scores = self.session.run(["probabilities", "ood_score"], {"pixels": images})
        except Exception as error:  # ONNX Runtime has a type for every way to fail
            raise InputError(f"the model {self.metadata['name']} fails ({type(error).__name__}); {ADVICE}") from None
        return probabilities.astype(np.float64), ood_scores.astype(np.float64)


def with_checksum(content: bytes) -> bytes:
    """Append to a serialised ONNX model, as its last metadata, the hash of what comes before."""
    return content + SEAL + hashlib.sha256(content).hexdigest().encode()


def load_onnx(path: Path) -> OnnxModel:
    """Load a model that `mnist-cnn export` wrote.

    Raises:
        InputError: there is none, or it is too large, damaged or foreign.
    """
    return parse(read_model(path, "model", "`mnist-cnn export`", MOST_BYTES), str(path))


def parse(content: bytes, name: str) -> OnnxModel:
    """Load a model from a file's bytes.

    Raises:
        InputError: they are damaged or foreign, or the program in them is not one that `mnist-cnn export` writes.
    """
    if not content.endswith(SEAL + hashlib.sha256(content[: -len(SEAL) - 64]).hexdigest().encode()):
        raise InputError(f"{name} {unsealed(content)}; {ADVICE}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors arrive as exceptions
    options.intra_op_num_threads = 1
    try:
        file = read_onnx(content)
        part = max(1, min(PART, PART_VALUES // check_graph(file)))
        classes, probability_threshold, ood_threshold = check_metadata(file.metadata)
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        shapes = {put.name: (put.type, *put.shape[1:]) for put in (*session.get_inputs(), *session.get_outputs())}
    except Exception as error:  # crafted bytes can be wrong in any way, and ONNX Runtime has a type for each
        why = error if isinstance(error, ValueError) else type(error).__name__
        raise InputError(f"{name} is not a model of this program ({printable(why, 300)}); {ADVICE}") from None
    expected = {
        "pixels": ("tensor(uint8)", 28, 28),
        "logits": ("tensor(float)", len(classes)),
        "probabilities": ("tensor(float)", len(classes)),
        "ood_score": ("tensor(float)",),
    }
    if shapes != expected:
        raise InputError(f"{name} is not a model of this program (its inputs or outputs); {ADVICE}")
    return OnnxModel(classes, probability_threshold, ood_threshold, file.metadata, part, session)


def unsealed(content: bytes) -> str:
    """Say what a file is that does not end in the SHA-256 of the rest."""
    if SEAL in content or b"checkpoint_sha256" in content:  # metadata that no other program writes
        return "is damaged: its contents do not match their SHA-256"
    if not content or content[0] == 8:  # ModelProto begins with ir_version, field 1
        try:
            if 7 in Message(memoryview(content), Known((), tuple(range(1, 30)))).values:  # graph
                return "is an ONNX model that another program wrote: only those of `mnist-cnn export` can be read"
        except ValueError:
            pass
        return "is empty or cut off"
    return f"is no ONNX file: it begins with {content[:8]!r}"


def check_metadata(metadata: dict[str, str]) -> tuple[tuple[str, ...], float, float]:
    """Check a file's metadata.

    Returns:
        The classes, the probability threshold and the OOD threshold of a trusted answer.

    Raises:
        ValueError: one is missing, is not printable or is out of its range.
    """
    for key in ("name", "dataset", "version"):
        check_name(metadata.get(key), f"the {key}")
    classes = tuple(metadata.get("classes", "").split("\n"))
    check_classes(classes)
    if not re.fullmatch("[0-9a-f]{64}", metadata.get("checkpoint_sha256", "")):
        raise ValueError("checkpoint_sha256 is no SHA-256")
    for key, (least, most) in RANGES.items():
        value = metadata.get(key, "0" if key == "accuracy" else "none")
        if not least <= float(value) <= most:
            raise ValueError(f"{key} is {value}")
    return classes, float(metadata["probability_threshold"]), float(metadata["ood_threshold"])
