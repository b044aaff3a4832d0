"""What a network does with one image: its feature maps, and which pixels speak for an answer and against it.

The pixels are found by occlusion (Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks").
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime

from mnist_cnn.models.onnx_layers import activation_names, with_outputs
from mnist_cnn.models.onnx_model import Floats, OnnxModel
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE

PATCH, STRIDE = 4, 2  # pixels: side of what is hidden, and between two that are
LEAST = 1e-6  # of a probability and its complement: what is nearer to 0 or 1 makes no difference


@dataclass(frozen=True)
class Explanation:
    """What a network does with an image.

    Attributes:
        layers: the activations of each layer, first to last: uint8 [channels, height, width], 255 for the largest.
        occlusion: how much the answer's log-odds fall without the pixels around each place, float64 [14, 14]; below 0
            where they rise.
    """

    layers: list[Pixels]
    occlusion: Floats


class Explainer:
    """Runs a model with its activations as outputs."""

    def __init__(self, model: OnnxModel) -> None:
        """Load the model once more; its layers are outputs, too."""
        self.model, self.names = model, activation_names(model.content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        content = with_outputs(model.content, self.names)
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def explain(self, image: Pixels, digit: int) -> Explanation:
        """Explain why an image, uint8 [28, 28] in MNIST's style, is a digit, the index of a class."""
        activations = self.session.run(list(self.names), {"pixels": image[None]}) if self.names else []
        return Explanation([scaled(values[0]) for values in activations], self.occlusion(image, digit))

    def occlusion(self, image: Pixels, digit: int) -> Floats:
        """Return the fall of the digit's log-odds for each patch that is hidden; see `Explanation`."""
        places = [(y, x) for y in range(0, SIDE, STRIDE) for x in range(0, SIDE, STRIDE)]
        hidden = np.stack([image, *(without(image, *place) for place in places)])
        changed = np.flatnonzero((hidden != image).any(axis=(1, 2)))
        probabilities = self.model.infer(hidden[np.concatenate([[0], changed])])[0][:, digit].clip(LEAST, 1 - LEAST)
        log_odds = np.log(probabilities / (1 - probabilities))
        falls = np.zeros(len(hidden))
        falls[changed] = log_odds[0] - log_odds[1:]
        side = SIDE // STRIDE
        return falls[1:].reshape(side, side)


def without(image: Pixels, y: int, x: int) -> Pixels:
    """Hide the patch around the pixels from (y, x) on."""
    hidden: Pixels = image.copy()
    margin = (PATCH - STRIDE) // 2
    hidden[max(y - margin, 0) : y + STRIDE + margin, max(x - margin, 0) : x + STRIDE + margin] = 0
    return hidden


def scaled(values: npt.NDArray[np.float32]) -> Pixels:
    """Scale activations to 0..255."""
    return np.asarray((255 * np.maximum(values, 0) / max(float(values.max(initial=0)), LEAST)).round(), dtype=np.uint8)
