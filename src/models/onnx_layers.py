"""What can be seen of a network: its activations, and how many weights it has."""

import math
from dataclasses import dataclass

from mnist_cnn.models.onnx_file import read_onnx

GRAPH, OUTPUT, NAME = b"\x3a", b"\x62", b"\x0a"  # tags: fields 7 of ModelProto, 12 of GraphProto, 1 of ValueInfoProto


def activation_names(content: bytes) -> tuple[str, ...]:
    """Name the activations [N, channels, height, width] of an .onnx file, first to last."""
    return tuple(node.outputs[0] for node in read_onnx(content).nodes if node.operator == "Relu")


def count_weights(content: bytes) -> int:
    """Count the weights and biases of the convolutions and linear layers of an .onnx file."""
    file = read_onnx(content)
    stored = {node.outputs[0]: node.inputs[0] for node in file.nodes if node.operator == "Cast"}  # in half precision
    learned = {name for node in file.nodes if node.operator in ("Conv", "Gemm") for name in node.inputs[1:]}
    return sum(math.prod(file.initializers[stored.get(name, name)]) for name in learned)


@dataclass(frozen=True)
class LastLayer:
    """Names of the values of a linear last layer: features [N, size], weights [classes, size], biases [classes]."""

    features: str
    weights: str
    biases: str


def find_last_layer(content: bytes) -> LastLayer | None:
    """Find the linear layer that computes the logits of an .onnx file; None if they are computed otherwise."""
    last = [node for node in read_onnx(content).nodes if node.outputs[0] == "logits"]
    linear = [node for node in last if node.operator == "Gemm" and node.attributes.get("transB") == 1]
    return LastLayer(*linear[0].inputs) if linear else None


def with_outputs(content: bytes, names: tuple[str, ...]) -> bytes:
    """Make values of an .onnx file outputs, too: where messages are joined, protobuf merges their fields."""
    outputs = b"".join(field(OUTPUT, named(name)) for name in names)
    return content + field(GRAPH, outputs)


def named(name: str) -> bytes:
    """Encode a name as field 1."""
    return field(NAME, name.encode())


def field(tag: bytes, content: bytes) -> bytes:
    """Encode a length-delimited field."""
    return tag + varint(len(content)) + content


def varint(number: int) -> bytes:
    """Encode a number of any length."""
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])
