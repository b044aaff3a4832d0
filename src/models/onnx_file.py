"""An .onnx file taken apart without the onnx package, which takes half a second to import.

Only the fields that `mnist-cnn export` writes are known here; any other is an error, so that nothing in the file goes
unseen. Their numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mnist_cnn.models.wire_format import Known, Message

BATCH = 2**31 - 1  # the number of images, in a shape: a prime, and larger than any width
MOST_AXES = 8
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8}  # of TensorProto.DataType: FLOAT, UINT8, INT8, INT32, INT64
FLOAT, SMALL, INT64 = 1, (2, 3, 6), 7

MODEL = Known((1, 2, 3, 4, 5, 7), (8, 14))  # ir_version, producer, domain, version, graph; opset_import, metadata_props
OPERATORS = Known((1, 2))  # domain, version
ENTRY = Known((1, 2))  # key, value
GRAPH = Known((2,), (1, 5, 11, 12, 13))  # name; node, initializer, input, output, value_info
NODE = Known((3, 4, 7), (1, 2, 5))  # name, op_type, domain; input, output, attribute
ATTRIBUTE = Known((1, 2, 3, 4, 20), (8,))  # name, f, i, s, type; ints
TENSOR = Known((2, 4, 5, 8, 9, 14), (1,))  # data_type, float_data, int32_data, name, raw_data, data_location; dims
VALUE = Known((1, 2), (4,))  # name, type; metadata_props
TYPE = Known((1,))  # tensor_type
TENSOR_TYPE = Known((1, 2))  # elem_type, shape
SHAPE = Known((), (1,))  # dim
DIMENSION = Known((1, 2))  # dim_value, dim_param

Shape = tuple[int, ...]
Attribute = float | int | str | Shape
Item = TypeVar("Item")


@dataclass(frozen=True)
class Node:
    """One operation."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxFile:
    """What an .onnx file holds, but for the weights.

    Attributes:
        operators: domain and version of each operator set.
        nodes: in the order of the file.
        constants: shape of each constant.
        integers: values of each constant that is a few integers: axes, a place, a shape.
        inputs: shape of each, `BATCH` where a dimension has a name in place of a number.
        outputs: the same.
        declared: the same, of some values in between.
        metadata: of the file.
    """

    operators: list[tuple[str, int]]
    nodes: list[Node]
    constants: dict[str, Shape]
    integers: dict[str, Shape]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    declared: dict[str, Shape]
    metadata: dict[str, str]


def read_onnx(content: bytes) -> OnnxFile:
    """Take an .onnx file apart.

    Raises:
        ValueError: it has other fields or types than `mnist-cnn export` writes, or weights that are not finite.
    """
    model = Message(memoryview(content), MODEL)
    graph = model.message(7, GRAPH)
    constants = [constant(tensor) for tensor in graph.messages(5, TENSOR)]
    return OnnxFile(
        operators=[(one.text(1), one.number(2)) for one in model.messages(8, OPERATORS)],
        nodes=[node(one) for one in graph.messages(1, NODE)],
        constants=unique((name, shape) for name, shape, _ in constants),
        integers={name: integers for name, _, integers in constants if integers},
        inputs=unique(declaration(one) for one in graph.messages(11, VALUE)),
        outputs=unique(declaration(one) for one in graph.messages(12, VALUE)),
        declared=unique(declaration(one) for one in graph.messages(13, VALUE)),
        metadata=unique((entry.text(1), entry.text(2)) for entry in model.messages(14, ENTRY)),
    )


def unique(pairs: Iterable[tuple[str, Item]]) -> dict[str, Item]:
    """Make a dict of pairs.

    Raises:
        ValueError: two have one name, or one has none.
    """
    found: dict[str, Item] = {}
    for name, item in pairs:
        if name in found or not name:
            raise ValueError(f"{name[:40]!r} is there twice" if name else "a part without a name")
        found[name] = item
    return found


def node(message: Message) -> Node:
    """Read a NodeProto.

    Raises:
        ValueError: its operator is not of ONNX itself, or an attribute is there twice.
    """
    if message.text(7):
        raise ValueError(f"operators of {message.text(7)[:40]!r}")
    attributes = unique(attribute(one) for one in message.messages(5, ATTRIBUTE))
    return Node(message.text(4), message.texts(1), message.texts(2), attributes)


def attribute(message: Message) -> tuple[str, Attribute]:
    """Read an AttributeProto.

    Raises:
        ValueError: it is neither a float, an integer, a text nor some integers.
    """
    match message.number(20):
        case 1:
            return message.text(1), float(np.frombuffer(message.content(2), "<f4")[0])
        case 2:
            return message.text(1), message.number(3)
        case 3:
            return message.text(1), message.text(4)
        case 7:
            return message.text(1), message.numbers(8)
    raise ValueError(f"an attribute of type {message.number(20)}")


def constant(tensor: Message) -> tuple[str, Shape, Shape]:
    """Read a TensorProto: its name, its shape, and its values where they are a few integers.

    Raises:
        ValueError: its data are elsewhere, of another type, not as many as its shape says, or not finite.
    """
    name, shape, kind = tensor.text(8), tensor.numbers(1), tensor.number(2)
    raw, floats, integers = (tensor.content(field) for field in (9, 4, 5))
    places = [kind in ITEM_BYTES and bool(raw), kind == FLOAT and bool(floats), kind in SMALL and bool(integers)]
    if sum(places) != 1 or sum(map(bool, (raw, floats, integers))) != 1 or tensor.number(14):
        raise ValueError(f"constant {name[:40]!r} is of another type, or in another file")
    # packed integers have any number of bytes, the last of each below 128
    count = int((np.frombuffer(integers, np.uint8) < 128).sum()) if integers else len(raw or floats) / ITEM_BYTES[kind]
    if len(shape) > MOST_AXES or min(shape, default=1) < 1 or count != math.prod(shape):
        raise ValueError(f"constant {name[:40]!r} has {count:g} values of a shape {shape[:MOST_AXES]}")
    if kind == FLOAT and not np.isfinite(np.frombuffer(raw or floats, "<f4")).all():
        raise ValueError(f"constant {name[:40]!r} is not finite")
    few = kind == INT64 and len(shape) <= 1 and count <= MOST_AXES
    return name, shape, tuple(np.frombuffer(raw, "<i8").tolist()) if few else ()


def declaration(value: Message) -> tuple[str, Shape]:
    """Read a ValueInfoProto: a name and a shape."""
    shape = value.message(2, TYPE).message(1, TENSOR_TYPE).message(2, SHAPE)
    return value.text(1), tuple(one.number(1) or BATCH for one in shape.messages(1, DIMENSION))
