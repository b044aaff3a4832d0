"""What a network does with an image, held to the network itself."""

import numpy as np
import pytest

from mnist_cnn.models.onnx_layers import activation_names
from mnist_cnn.models.onnx_model import PACKAGED, OnnxModel, load_onnx
from mnist_cnn.serving.explain import Explainer, without
from mnist_cnn.splits import Dataset


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_onnx(PACKAGED)


def test_layers_are_scaled_activations(model: OnnxModel, digits: Dataset) -> None:
    image = digits.test.images[0, 0].numpy()
    layers = Explainer(model).explain(image, 0).layers
    assert len(layers) == len(activation_names(model.content))
    for values in layers:
        assert values.dtype == np.uint8
        assert (values.ndim, values.max()) == (3, 255)
    assert layers[0].shape[1] > layers[-1].shape[1]


def test_occlusion_is_the_fall_of_log_odds(model: OnnxModel, digits: Dataset) -> None:
    image, label = digits.test.images[0, 0].numpy(), int(digits.test.labels[0])
    found = Explainer(model).occlusion(image, label)
    assert found.shape == (14, 14)
    for y, x in ((0, 0), (7, 7), (9, 5), (13, 13)):
        hidden = image.copy()
        hidden[max(2 * y - 1, 0) : 2 * y + 3, max(2 * x - 1, 0) : 2 * x + 3] = 0
        np.testing.assert_array_equal(hidden, without(image, 2 * y, 2 * x))
        whole, part = model.infer(np.stack([image, hidden]))[0][:, label].clip(1e-6, 1 - 1e-6)
        assert found[y, x] == pytest.approx(np.log(whole / (1 - whole)) - np.log(part / (1 - part)), abs=1e-5)
    assert found[0, 0] == 0
    assert found.max() > 0.05
