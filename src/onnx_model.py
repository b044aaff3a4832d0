"""A trained network in an .onnx file, run by ONNX Runtime: all that reading digits needs, without PyTorch.

The file is ONNX with metadata, and the last of these is the SHA-256 of all bytes before it, so that a damaged file is
told from a whole one before anything parses it.
"""

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from mnist_cnn.errors import InputError
from mnist_cnn.picture import Pixels

Floats = npt.NDArray[np.float64]

PACKAGED = Path(__file__).parent / "mnist_cnn.onnx"
MOST_BYTES = 64 * 2**20  # of a file
PART = 128  # images to a thread
SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"  # protobuf: metadata entry (field 14) of key sha256 and 64 bytes of value
ADVICE = "export it again with `mnist-cnn export`, or name another with --checkpoint"


@dataclass(frozen=True)
class OnnxModel:
    """A network and which of its answers to trust.

    Attributes:
        classes: the name of each class.
        least_probability: of a trusted answer, 0..1.
        most_distance: of a trusted answer, as in `Familiarity`.
        about: the file's metadata: dataset, version, hash of the checkpoint, temperature, accuracy, ...
        session: runs the network.
    """

    classes: tuple[str, ...]
    least_probability: float
    most_distance: float
    about: dict[str, str]
    session: onnxruntime.InferenceSession

    def look(self, images: Pixels) -> tuple[Floats, Floats]:
        """Return calibrated probabilities [N, classes] and distances [N] of uint8 images [N, 28, 28]."""
        parts = [images[start : start + PART] for start in range(0, len(images), PART)]
        if len(parts) <= 1:
            return self.run(images)
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # faster than ONNX Runtime's own, which share every layer
            probabilities, distances = zip(*threads.map(self.run, parts), strict=True)
        return np.concatenate(probabilities), np.concatenate(distances)

    def run(self, images: Pixels) -> tuple[Floats, Floats]:
        """Do the same on one core."""
        probabilities, distances = self.session.run(["probabilities", "distance"], {"pixels": images})
        return probabilities.astype(np.float64), distances.astype(np.float64)


def sealed(content: bytes) -> bytes:
    """Append to a serialised ONNX model, as its last metadata, the hash of what comes before."""
    return content + SEAL + hashlib.sha256(content).hexdigest().encode()


def load_onnx(path: Path) -> OnnxModel:
    """Load a model that `mnist-cnn export` wrote.

    Raises:
        InputError: there is none, or it is too large, damaged or foreign.
    """
    if not path.is_file():
        raise InputError(f"no model at {path}; make one with `mnist-cnn export` or name one with --checkpoint")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} has more than {MOST_BYTES:,} bytes; {ADVICE}")
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, name: str) -> OnnxModel:
    """Load a model from a file's bytes.

    Raises:
        InputError: they are damaged or foreign.
    """
    body, seal = content[: -len(SEAL) - 64], content[-len(SEAL) - 64 :]
    if not seal.startswith(SEAL):
        raise InputError(f"{name} is cut off or was not written by this program; {ADVICE}")
    if hashlib.sha256(body).hexdigest().encode() != seal[len(SEAL) :]:
        raise InputError(f"{name} is damaged: its contents do not match their SHA-256; {ADVICE}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors arrive as exceptions
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        about = dict(session.get_modelmeta().custom_metadata_map)
        shapes = {put.name: (put.type, *put.shape[1:]) for put in (*session.get_inputs(), *session.get_outputs())}
        classes = tuple(about["classes"].split("\n"))
        least_probability, most_distance = float(about["least_probability"]), float(about["most_distance"])
    except Exception as error:  # ONNX Runtime has a type for every way to fail
        raise InputError(f"{name} is not a model of this program ({type(error).__name__}); {ADVICE}") from None
    expected = {
        "pixels": ("tensor(uint8)", 28, 28),
        "logits": ("tensor(float)", len(classes)),
        "probabilities": ("tensor(float)", len(classes)),
        "distance": ("tensor(float)",),
    }
    if shapes != expected or not (0 <= least_probability <= 1 and 0 < most_distance < math.inf):
        raise InputError(f"{name} is not a model of this program (its inputs, outputs or limits); {ADVICE}")
    return OnnxModel(classes, least_probability, most_distance, about, session)
