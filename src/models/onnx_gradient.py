"""Adds to an .onnx file what computes the gradient of its logits, or of a feature map, with respect to the image.

Backpropagation is written as operators of ONNX, so ONNX Runtime computes it, in Python and in a browser.
"""

from mnist_cnn.models.onnx_file import Node, read_onnx
from mnist_cnn.models.onnx_layers import GRAPH, OUTPUT, field, find_last_layer, named, stored_shape, varint

NODE, INPUT = b"\x0a", b"\x5a"  # tags: fields 1 and 11 of GraphProto
GRADIENT = "image_gradient"  # name of the output, [1, 1, 28, 28]
LOGITS = "weights_of_logits"
FLOAT, INTEGERS = 1, 7  # types of TensorProto and AttributeProto


def with_gradient(content: bytes) -> tuple[bytes, dict[str, tuple[int, ...]]] | None:
    """Extend a network that is a chain of convolutions, ReLUs, max-pooling and one linear layer.

    Returns:
        The file, which has `GRADIENT` as another output, and its new inputs with their shapes: weights of the logits,
        [1, classes], and for each activation weights of its maps, [1, channels, 1, 1]. The gradient is that of the
        weighted sum of the logits plus half the weighted sum of the maps' squares, with respect to the normalised
        image. None if the network is no such chain.
    """
    file, last = read_onnx(content), find_last_layer(content)
    if last is None:
        return None
    by_output = {node.outputs[0]: node for node in file.nodes}
    [classes, _] = stored_shape(file, last.weights) or (0, 0)
    nodes = [operation("MatMul", (LOGITS, last.weights), "g_features")]
    inputs: dict[str, tuple[int, ...]] = {}
    value, gradient, depth = last.features, "g_features", 0
    while depth != 1:  # until a convolution of the image itself
        node = by_output[value]
        if node.operator not in BACKWARD:
            return None
        if node.operator == "Conv":
            shape = stored_shape(file, node.inputs[1])
            if shape is None or node.attributes.get("group") != 1:
                return None
            inputs = {f"weights_of_relu_of_{value}": (1, shape[0], 1, 1)} | inputs
            depth = shape[1]
        nodes += BACKWARD[node.operator](node, gradient)
        value, gradient = node.inputs[0], f"g_{node.inputs[0]}"
    nodes.append(operation("Identity", (gradient,), GRADIENT))
    inputs = {LOGITS: (1, classes)} | inputs
    graph = b"".join(field(NODE, node) for node in nodes)
    graph += b"".join(field(INPUT, value_info(*put)) for put in inputs.items())
    return content + field(GRAPH, graph + field(OUTPUT, named(GRADIENT))), inputs


def through_relu(node: Node, gradient: str) -> list[bytes]:
    """Add the gradient of the maps' own squares, and stop it where the activation is 0."""
    value, before = node.outputs[0], node.inputs[0]
    return [
        operation("Mul", (value, f"weights_of_relu_of_{before}"), f"own_{value}"),
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
