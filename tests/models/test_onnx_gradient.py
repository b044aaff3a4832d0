"""The gradient of a network with respect to the image, held to PyTorch's."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.models.onnx_gradient import GRADIENT, with_gradient
from mnist_cnn.models.onnx_layers import activation_names, find_last_layer
from mnist_cnn.models.onnx_model import PACKAGED
from mnist_cnn.splits import Dataset


@pytest.fixture(scope="module")
def content() -> bytes:
    return PACKAGED.read_bytes()


def forward(content: bytes, images: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Run the packaged network in PyTorch: activations, logits and the normalised images, which need a gradient."""
    graph = onnx.load_from_string(content).graph
    weights = {
        tensor.name.removesuffix("_float16"): torch.tensor(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in graph.initializer
    }
    normalised = (images / 255 - weights["network.normalize.mean"]) / weights["network.normalize.std"]
    value = normalised = normalised.float().requires_grad_()
    activations = []
    for node in graph.node:
        if node.op_type == "Conv":
            geometry = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            filters, biases = (weights[name] for name in node.input[1:])
            value = F.conv2d(value, filters, biases, geometry["strides"], geometry["pads"][:2])
        if node.op_type == "Relu":
            value = value.relu()
            activations.append(value)
        if node.op_type == "MaxPool":
            value = F.max_pool2d(value, 2)
    return (
        activations,
        F.linear(value.flatten(1), weights["network.classifier.weight"], weights["network.classifier.bias"]),
        normalised,
    )


@pytest.mark.parametrize(("logits", "layer", "channel"), [({3: 1, 8: -1}, 0, None), ({}, 2, 17), ({}, 4, 5)])
def test_it_is_that_of_torch(
    content: bytes, digits: Dataset, logits: dict[int, int], layer: int, channel: int | None
) -> None:
    image = digits.test.images[0].clone()
    image[0, 0, :2] = torch.tensor([0, 255])  # what the network stretches greys to
    extended = with_gradient(content)
    assert extended
    session = onnxruntime.InferenceSession(extended[0], providers=["CPUExecutionProvider"])
    feeds = {put.name: np.zeros(put.shape, np.float32) for put in session.get_inputs()[1:]}
    assert {name: values.shape for name, values in feeds.items()} == extended[1]
    assert len(feeds) == 1 + len(activation_names(content))
    activations, found, normalised = forward(content, image[None])
    objective = found.sum() * 0
    for digit, weight in logits.items():
        feeds["weights_of_logits"][0, digit] = weight
        objective = objective + weight * found[0, digit]
    if channel is not None:
        list(feeds.values())[1 + layer][0, channel] = 1
        objective = objective + activations[layer][0, channel].square().sum() / 2
    objective.backward()  # type: ignore[no-untyped-call]
    assert normalised.grad is not None
    [gradient] = session.run([GRADIENT], {"pixels": image.numpy(), **feeds})
    np.testing.assert_allclose(gradient, normalised.grad.numpy(), rtol=1e-3, atol=1e-5)
    assert np.abs(gradient).max() > 1e-3


def test_the_last_layer_makes_logits(content: bytes) -> None:
    last = find_last_layer(content)
    assert last
    gemm = onnx.load_from_string(content).graph.node
    assert [last.features, last.weights, last.biases] in [list(node.input) for node in gemm if node.op_type == "Gemm"]
