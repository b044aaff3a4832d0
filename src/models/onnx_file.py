"""Parses .onnx files without the onnx package, which takes half a second to import.

The schemas list only the fields that `mnist-cnn export` writes; any other is an error, so no part of a file is skipped.
Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mnist_cnn.models.wire_format import Message, Schema

BATCH = 2**31 - 1  # stands for the batch size in a shape: a prime, and larger than any other dimension
MAX_AXES = 8
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 10: 2}  # of TensorProto.DataType: FLOAT, UINT8, INT8, INT32, INT64, FLOAT16
FLOAT, INTS, INT64 = 1, (2, 3, 6), 7
FORMATS = {1: "<f4", 10: "<f2"}  # of floating-point numbers

MODEL = Schema(
    (1, 2, 3, 4, 5, 7), (8, 14)
)  # ir_version, producer, domain, version, graph; opset_import, metadata_props
OPSET = Schema((1, 2))  # domain, version
ENTRY = Schema((1, 2))  # key, value
GRAPH = Schema((2,), (1, 5, 11, 12, 13))  # name; node, initializer, input, output, value_info
NODE = Schema((3, 4, 7), (1, 2, 5))  # name, op_type, domain; input, output, attribute
ATTRIBUTE = Schema((1, 2, 3, 4, 20), (8,))  # name, f, i, s, type; ints
TENSOR = Schema((2, 4, 5, 8, 9, 14), (1,))  # data_type, float_data, int32_data, name, raw_data, data_location; dims
VALUE = Schema((1, 2), (4,))  # name, type; metadata_props
TYPE = Schema((1,))  # tensor_type
TENSOR_TYPE = Schema((1, 2))  # elem_type, shape
SHAPE = Schema((), (1,))  # dim
DIMENSION = Schema((1, 2))  # dim_value, dim_param

Shape = tuple[int, ...]
Attribute = float | int | str | Shape
Item = TypeVar("Item")


@dataclass(frozen=True)
class Node:
    """An operation of the graph."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxFile:
    """The content of an .onnx file, without the weights.

    Attributes:
        opsets: domain and version of each operator set.
        nodes: in topological order.
        initializers: shape of each constant.
        integers: values of each constant of a few integers: axes, an index, a shape.
        inputs: shape of each, `BATCH` for a symbolic dimension.
        outputs: likewise.
        value_info: likewise, of some intermediate values.
        metadata: the metadata properties.
    """

    opsets: list[tuple[str, int]]
    nodes: list[Node]
    initializers: dict[str, Shape]
    integers: dict[str, Shape]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    value_info: dict[str, Shape]
    metadata: dict[str, str]


def read_onnx(content: bytes) -> OnnxFile:
    """Parse an .onnx file.

    Raises:
        ValueError: it has fields or types that `mnist-cnn export` does not write, or weights that are not finite.
    """
    model = Message(memoryview(content), MODEL)
    graph = model.message(7, GRAPH)
    initializers = [initializer(tensor) for tensor in graph.messages(5, TENSOR)]
    return OnnxFile(
        opsets=[(opset.text(1), opset.integer(2)) for opset in model.messages(8, OPSET)],
        nodes=[node(message) for message in graph.messages(1, NODE)],
        initializers=unique((name, shape) for name, shape, _ in initializers),
        integers={name: integers for name, _, integers in initializers if integers},
        inputs=unique(value_info(value) for value in graph.messages(11, VALUE)),
        outputs=unique(value_info(value) for value in graph.messages(12, VALUE)),
        value_info=unique(value_info(value) for value in graph.messages(13, VALUE)),
        metadata=unique((entry.text(1), entry.text(2)) for entry in model.messages(14, ENTRY)),
    )


def unique(pairs: Iterable[tuple[str, Item]]) -> dict[str, Item]:
    """Make a dict of named items.

    Raises:
        ValueError: a name is empty or repeated.
    """
    found: dict[str, Item] = {}
    for name, item in pairs:
        if name in found or not name:
            raise ValueError(f"{name[:40]!r} is repeated" if name else "an item without a name")
        found[name] = item
    return found


def node(message: Message) -> Node:
    """Read a NodeProto.

    Raises:
        ValueError: its operator is of another domain than ONNX's own, or an attribute is repeated.
    """
    if message.text(7):
        raise ValueError(f"operators of {message.text(7)[:40]!r}")
    attributes = unique(attribute(item) for item in message.messages(5, ATTRIBUTE))
    return Node(message.text(4), message.texts(1), message.texts(2), attributes)


def attribute(message: Message) -> tuple[str, Attribute]:
    """Read an AttributeProto.

    Raises:
        ValueError: it is neither a float, an integer, a string nor a list of integers.
    """
    match message.integer(20):
        case 1:
            return message.text(1), float(np.frombuffer(message.content(2), "<f4")[0])
        case 2:
            return message.text(1), message.integer(3)
        case 3:
            return message.text(1), message.text(4)
        case 7:
            return message.text(1), message.integers(8)
    raise ValueError(f"an attribute of type {message.integer(20)}")


def initializer(tensor: Message) -> tuple[str, Shape, Shape]:
    """Read a TensorProto: its name, its shape, and its values if they are a few integers.

    Raises:
        ValueError: its data are external, of another type, of another size than its shape, or not finite.
    """
    name, shape, dtype = tensor.text(8), tensor.integers(1), tensor.integer(2)
    raw, floats, integers = (tensor.content(field) for field in (9, 4, 5))
    valid = [dtype in ITEM_BYTES and bool(raw), dtype == FLOAT and bool(floats), dtype in INTS and bool(integers)]
    if sum(valid) != 1 or sum(map(bool, (raw, floats, integers))) != 1 or tensor.integer(14):
        raise ValueError(f"constant {name[:40]!r} is of another type, or in another file")
    # packed varints: the last byte of each is below 128
    count = int((np.frombuffer(integers, np.uint8) < 128).sum()) if integers else len(raw or floats) / ITEM_BYTES[dtype]
    if len(shape) > MAX_AXES or min(shape, default=1) < 1 or count != math.prod(shape):
        raise ValueError(f"constant {name[:40]!r} has {count:g} values of a shape {shape[:MAX_AXES]}")
    if dtype in FORMATS and not np.isfinite(np.frombuffer(raw or floats, FORMATS[dtype])).all():
        raise ValueError(f"constant {name[:40]!r} is not finite")
    few = dtype == INT64 and len(shape) <= 1 and count <= MAX_AXES
    return name, shape, tuple(np.frombuffer(raw, "<i8").tolist()) if few else ()


def value_info(value: Message) -> tuple[str, Shape]:
    """Read a ValueInfoProto: a name and a shape."""
    shape = value.message(2, TYPE).message(1, TENSOR_TYPE).message(2, SHAPE)
    return value.text(1), tuple(dimension.integer(1) or BATCH for dimension in shape.messages(1, DIMENSION))
