"""What can be seen of a network: its activations, and how many weights it has."""

import math
from dataclasses import dataclass

from mnist_cnn.models.onnx_file import OnnxFile, Shape, read_onnx

GRAPH, OUTPUT, NAME = b"\x3a", b"\x62", b"\x0a"  # tags: fields 7 of ModelProto, 12 of GraphProto, 1 of ValueInfoProto


def activation_names(content: bytes) -> tuple[str, ...]:
    """Name the activations [N, channels, height, width] of an .onnx file, first to last."""
    return tuple(node.outputs[0] for node in read_onnx(content).nodes if node.operator == "Relu")


def filter_names(content: bytes) -> tuple[str, ...]:
    """Name the filters [channels, inputs, height, width] that make each activation; none if they are made otherwise."""
    file = read_onnx(content)
    made = {node.outputs[0]: node for node in file.nodes}
    before = [made[node.inputs[0]] for node in file.nodes if node.operator == "Relu"]
    found = [node.inputs[1] for node in before if node.operator == "Conv" and stored_shape(file, node.inputs[1])]
    return tuple(found) if len(found) == len(before) else ()


def count_weights(content: bytes) -> int:
    """Count the weights and biases of the convolutions and linear layers of an .onnx file."""
    file = read_onnx(content)
    learned = {name for node in file.nodes if node.operator in ("Conv", "Gemm") for name in node.inputs[1:]}
    return sum(math.prod(stored_shape(file, name) or (0,)) for name in learned)


def stored_shape(file: OnnxFile, name: str) -> Shape | None:
    """Return the shape of weights that are stored as they are or in half precision; None of other values."""
    stored = {node.outputs[0]: node.inputs[0] for node in file.nodes if node.operator == "Cast"}
    return file.initializers.get(stored.get(name, name))


@dataclass(frozen=True)
class LastLayer:
    """Names of the values of a linear last layer: features [N, size], weights [classes, size], biases [classes]."""

    features: str
    weights: str
    biases: str


def find_last_layer(content: bytes) -> LastLayer | None:
    """Find the linear layer that computes the logits of an .onnx file; None if they are computed otherwise."""
    file = read_onnx(content)
    last = [node for node in file.nodes if node.outputs[0] == "logits" and node.operator == "Gemm"]
    linear = [node for node in last if node.attributes.get("transB") == 1 and stored_shape(file, node.inputs[1])]
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
