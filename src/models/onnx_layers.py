"""What can be seen of a network at work: its feature maps, its last features, and how many weights it has."""

import math
from dataclasses import dataclass

from mnist_cnn.models.onnx_file import read_onnx

GRAPH, OUTPUT, NAME = b"\x3a", b"\x62", b"\x0a"  # tags: fields 7 of ModelProto, 12 of GraphProto, 1 of ValueInfoProto
LAYERS = ("Conv", "Gemm")


@dataclass(frozen=True)
class Layers:
    """The values of a graph that show what it does.

    Attributes:
        maps: names of the activations [N, channels, height, width], first to last.
        features: name of what the last linear layer gets, [N, features]; None without such a layer.
        weights: how many numbers the convolutions and linear layers have.
    """

    maps: tuple[str, ...]
    features: str | None
    weights: int


def find_layers(content: bytes) -> Layers:
    """Find the layers of an .onnx file that `mnist-cnn export` wrote."""
    file = read_onnx(content)
    learned = {name for node in file.nodes if node.operator in LAYERS for name in node.inputs[1:]}
    return Layers(
        maps=tuple(node.outputs[0] for node in file.nodes if node.operator == "Relu"),
        features=next(
            (node.inputs[0] for node in file.nodes if node.outputs == ("logits",) and node.operator == "Gemm"), None
        ),
        weights=sum(math.prod(file.initializers[name]) for name in learned),
    )


def with_outputs(content: bytes, names: tuple[str, ...]) -> bytes:
    """Make values of an .onnx file outputs too: where messages are joined, protobuf merges their fields."""
    outputs = b"".join(field(OUTPUT, field(NAME, name.encode())) for name in names)
    return content + field(GRAPH, outputs)


def field(tag: bytes, content: bytes) -> bytes:
    """Encode a length-delimited field."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return tag + size + bytes([length]) + content
