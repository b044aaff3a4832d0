"""What a network does with one image: its feature maps, and which pixels speak for an answer and against it.

The pixels are found by occlusion (Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks").
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnxruntime

from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_gradient import GRADIENT, with_gradient
from mnist_cnn.models.onnx_layers import LastLayer, activation_names, filter_names, find_last_layer, with_outputs
from mnist_cnn.models.onnx_model import Floats, OnnxModel
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE

PATCH, STRIDE = 4, 2  # pixels: side of what is hidden, and between two that are
BATCH = 64  # images whose features are computed at a time
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
    """Runs a model with its activations and last features as outputs, and backwards.

    Attributes:
        last_layer: names the values of the last layer; None where it is not linear.
    """

    def __init__(self, model: OnnxModel) -> None:
        """Load the model once more; its layers are outputs, too."""
        self.model, self.names = model, activation_names(model.content)
        self.last_layer = find_last_layer(model.content)
        last = self.last_layer and (self.last_layer.features, self.last_layer.weights, self.last_layer.biases)
        self.filters = filter_names(model.content)
        self.session = session(with_outputs(model.content, (*self.names, *self.filters, *(last or ()))))

    def explain(self, image: Pixels, digit: int) -> Explanation:
        """Explain why an image, uint8 [28, 28] in MNIST's style, is a digit, the index of a class."""
        activations = self.session.run(list(self.names), {"pixels": image[None]}) if self.names else []
        return Explanation([scaled(values[0]) for values in activations], self.occlusion(image, digit))

    def features(self, images: Pixels) -> npt.NDArray[np.float32]:
        """Return the last features of images, uint8 [N, 28, 28] in MNIST's style, N at least 1: float32 [N, size].

        Raises:
            InputError: the last layer is not linear.
        """
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        name = self.linear_layer().features
        return np.concatenate([self.session.run([name], {"pixels": batch})[0] for batch in batches])

    def last_weights(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return weights [classes, size] and biases [classes] of the last layer, float32.

        Raises:
            InputError: the last layer is not linear.
        """
        layer, blank = self.linear_layer(), np.zeros((1, SIDE, SIDE), np.uint8)
        weights, biases = self.session.run([layer.weights, layer.biases], {"pixels": blank})
        return weights, biases

    def filter(self, layer: int, channel: int) -> npt.NDArray[np.float32]:
        """Return what makes a feature map of the layer before: float32 [inputs, height, width].

        Raises:
            InputError: there is none, or it is not stored as it is.
        """
        blank = np.zeros((1, SIDE, SIDE), np.uint8)
        if layer < len(self.filters):
            [filters] = self.session.run([self.filters[layer]], {"pixels": blank})
            if channel < len(filters):
                return np.asarray(filters[channel])
        raise InputError(f"{self.model.metadata['name']} has no filter {channel} of layer {layer} to show")

    def linear_layer(self) -> LastLayer:
        """Return the last layer.

        Raises:
            InputError: it is not linear.
        """
        if self.last_layer is None:
            raise InputError(f"the last layer of {self.model.metadata['name']} is not one linear layer")
        return self.last_layer

    @cached_property
    def backward(self) -> "tuple[onnxruntime.InferenceSession, dict[str, npt.NDArray[np.float32]]] | None":
        """Run a network backwards: a session and its inputs, all weights 0; see `with_gradient`."""
        extended = with_gradient(self.model.content)
        if extended is None:
            return None
        return session(extended[0]), {name: np.zeros(shape, np.float32) for name, shape in extended[1].items()}

    def gradient(self, image: Pixels, logits: dict[int, float], maps: dict[tuple[int, int], float]) -> Floats:
        """Return by how much each grey of an image raises logits and activations.

        Args:
            image: uint8 [28, 28] in MNIST's style.
            logits: weight of each class that counts.
            maps: weight of each feature map that counts, by layer and channel; half its squares are summed.

        Returns:
            The gradient with respect to the normalised image, float64 [28, 28].

        Raises:
            InputError: the network cannot be run backwards, or has no such class or map.
        """
        if self.backward is None:
            raise InputError(f"{self.model.metadata['name']} is no chain of layers that can be run backwards")
        ready, inputs = self.backward
        feeds = {name: values.copy() for name, values in inputs.items()}
        layers = list(feeds.values())[1:]
        try:
            for digit, weight in logits.items():
                feeds["weights_of_logits"][0, digit] = weight
            for (layer, channel), weight in maps.items():
                layers[layer][0, channel] = weight
        except IndexError:
            raise InputError(f"{self.model.metadata['name']} has no such class, layer or map") from None
        return np.asarray(ready.run([GRADIENT], {"pixels": image[None], **feeds})[0][0, 0], dtype=np.float64)

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


def session(content: bytes) -> onnxruntime.InferenceSession:
    """Load a file that was extended, on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def without(image: Pixels, y: int, x: int) -> Pixels:
    """Hide the patch around the pixels from (y, x) on."""
    hidden: Pixels = image.copy()
    margin = (PATCH - STRIDE) // 2
    hidden[max(y - margin, 0) : y + STRIDE + margin, max(x - margin, 0) : x + STRIDE + margin] = 0
    return hidden


def scaled(values: npt.NDArray[np.float32]) -> Pixels:
    """Scale activations to 0..255."""
    return np.asarray((255 * np.maximum(values, 0) / max(float(values.max(initial=0)), LEAST)).round(), dtype=np.uint8)
