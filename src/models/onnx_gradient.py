"""Adds to an .onnx file what computes the gradient of its logits, or of a feature map, with respect to the image.

Backpropagation is written as operators of ONNX, so ONNX Runtime computes it, in Python and in a browser.
"""

from mnist_cnn.models.onnx_file import Node, read_onnx
from mnist_cnn.models.onnx_layers import GRAPH, OUTPUT, field, find_last_layer, named, varint

NODE, INPUT = b"\x0a", b"\x5a"  # tags: fields 1 and 11 of GraphProto
GRADIENT = "image_gradient"  # name of the output, [1, 1, 28, 28]
FLOAT, INTEGERS = 1, 7  # types of TensorProto and AttributeProto


def with_gradient(content: bytes) -> tuple[bytes, tuple[str, ...]] | None:
    """Extend a network that is a chain of convolutions, ReLUs, max-pooling and one linear layer.

    Returns:
        The file, which has `GRADIENT` as another output, and the names of its new inputs: weights of the logits,
        [1, classes], and for each activation weights of its maps, [1, channels, 1, 1]. The gradient is that of the
        weighted sum of the logits plus half the weighted sum of the maps' squares, with respect to the normalised
        image. None if the network is no such chain.
    """
    file = read_onnx(content)
    last = find_last_layer(content)
    by_output = {node.outputs[0]: node for node in file.nodes}
    stored = {node.outputs[0]: node.inputs[0] for node in file.nodes if node.operator == "Cast"}
    if last is None:
        return None
    nodes, inputs, shapes = [operation("MatMul", ("weights_of_logits", last.weights), "g_features")], [], []
    classes = file.initializers[stored.get(last.weights, last.weights)][0]
    value, gradient, channels = last.features, "g_features", 0
    while (node := by_output[value]).operator in BACKWARD:
        if node.operator == "Relu":
            weights = by_output[node.inputs[0]].inputs[1]
            channels = file.initializers[stored.get(weights, weights)][0]
            inputs.insert(0, f"weights_of_{value}")
            shapes.insert(0, (1, channels, 1, 1))
        nodes += BACKWARD[node.operator](node, gradient)
        value, gradient = node.inputs[0], f"g_{node.inputs[0]}"
        if node.operator == "Conv" and file.initializers[stored.get(node.inputs[1], node.inputs[1])][1] == 1:
            break
    else:
        return None
    nodes.append(operation("Identity", (gradient,), GRADIENT))
    inputs, shapes = ["weights_of_logits", *inputs], [(1, classes), *shapes]
    graph = b"".join(field(NODE, node) for node in nodes)
    graph += b"".join(field(INPUT, value_info(*put)) for put in zip(inputs, shapes, strict=True))
    return content + field(GRAPH, graph + field(OUTPUT, named(GRADIENT))), tuple(inputs)


def through_relu(node: Node, gradient: str) -> list[bytes]:
    """Add the gradient of the maps' own squares, and stop it where the activation is 0."""
    value, before = node.outputs[0], node.inputs[0]
    return [
        operation("Mul", (value, f"weights_of_{value}"), f"own_{value}"),
        operation("Add", (gradient, f"own_{value}"), f"sum_{value}"),
        operation("Sign", (value,), f"sign_{value}"),
        operation("Mul", (f"sum_{value}", f"sign_{value}"), f"g_{before}"),
    ]


def through_reshape(node: Node, gradient: str) -> list[bytes]:
    """Give a gradient the shape that the value had."""
    before = node.inputs[0]
    return [
        operation("Shape", (before,), f"shape_{before}"),
        operation("Reshape", (gradient, f"shape_{before}"), f"g_{before}"),
    ]


def through_max_pool(node: Node, gradient: str) -> list[bytes]:
    """Put a gradient where each maximum was."""
    before = node.inputs[0]
    window = {"kernel_shape": (2, 2), "strides": (2, 2)}
    return [
        operation("MaxPool", (before,), f"max_{before}", f"place_{before}", **window),
        operation("Shape", (before,), f"size_{before}"),
        operation("MaxUnpool", (gradient, f"place_{before}", f"size_{before}"), f"g_{before}", **window),
    ]


def through_convolution(node: Node, gradient: str) -> list[bytes]:
    """Convolve a gradient with the transposed filters."""
    before, weights = node.inputs[:2]
    geometry = {name: node.attributes[name] for name in ("kernel_shape", "pads", "strides")}
    return [operation("ConvTranspose", (gradient, weights), f"g_{before}", **geometry)]


BACKWARD = {
    "Conv": through_convolution,
    "MaxPool": through_max_pool,
    "Relu": through_relu,
    "Reshape": through_reshape,
}


def operation(operator: str, inputs: tuple[str, ...], *outputs: str, **attributes: tuple[int, ...]) -> bytes:
    """Encode a NodeProto."""
    puts = [field(b"\x0a", name.encode()) for name in inputs] + [field(b"\x12", name.encode()) for name in outputs]
    lists = [
        field(b"\x2a", named(name) + field(b"\x42", bytes(values)) + bytes([0xA0, 0x01, INTEGERS]))
        for name, values in attributes.items()
    ]
    return b"".join(puts) + field(b"\x22", operator.encode()) + b"".join(lists)


def value_info(name: str, shape: tuple[int, ...]) -> bytes:
    """Encode a ValueInfoProto of floats."""
    dimensions = b"".join(field(b"\x0a", b"\x08" + varint(size)) for size in shape)
    tensor = bytes([0x08, FLOAT]) + field(b"\x12", dimensions)
    return named(name) + field(b"\x12", field(b"\x0a", tensor))
