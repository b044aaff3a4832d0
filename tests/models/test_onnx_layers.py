"""What can be seen of a network, held to the onnx package."""

import math

import onnx
import pytest
from onnx import numpy_helper

from mnist_cnn.models.onnx_layers import activation_names, count_weights, with_outputs
from mnist_cnn.models.onnx_model import PACKAGED


@pytest.fixture(scope="module")
def content() -> bytes:
    return PACKAGED.read_bytes()


def test_activations_become_outputs_and_nothing_else_changes(content: bytes) -> None:
    names = activation_names(content)
    before, after = onnx.load_from_string(content), onnx.load_from_string(with_outputs(content, names))
    outputs = [output.name for output in after.graph.output]
    assert outputs == [*(output.name for output in before.graph.output), *names]
    assert len(names) == sum(node.op_type == "Relu" for node in before.graph.node) > 1
    del after.graph.output[len(before.graph.output) :]
    assert after == before


def test_a_long_name_has_a_length_of_two_bytes(content: bytes) -> None:
    name = "x" * 300
    assert onnx.load_from_string(with_outputs(content, (name,))).graph.output[-1].name == name


def test_weights_are_those_of_layers(content: bytes) -> None:
    graph = onnx.load_from_string(content).graph
    sizes = {
        tensor.name.removesuffix("_float16"): math.prod(numpy_helper.to_array(tensor).shape)
        for tensor in graph.initializer
    }
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert count_weights(content) == sum(sizes[name] for node in layers for name in node.input[1:]) > 1000
