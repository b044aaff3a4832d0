"""What can be seen of a network: its activations, and how many weights it has."""

import math

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


def with_outputs(content: bytes, names: tuple[str, ...]) -> bytes:
    """Make values of an .onnx file outputs, too: where messages are joined, protobuf merges their fields."""
    outputs = b"".join(field(OUTPUT, field(NAME, name.encode())) for name in names)
    return content + field(GRAPH, outputs)


def field(tag: bytes, content: bytes) -> bytes:
    """Encode a length-delimited field."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return tag + size + bytes([length]) + content
