"""Validates the graph of an .onnx file before ONNX Runtime loads it, which already computes parts of it.

Only operators and attributes that `mnist-cnn export` writes are allowed; none can branch, loop, or read another file.
Shape inference bounds memory and multiply-accumulates before either is spent.
"""

import math
from collections.abc import Collection

from mnist_cnn.models.onnx_file import BATCH, Attribute, Node, OnnxFile, Shape
from mnist_cnn.models.onnx_shapes import infer_shape, multiply_accumulates, require

OPSET = 18
MAX_NODES = 5_000
MAX_VALUES = 2**25  # computed for one image: 128 MiB of floats; `best` computes 82,000
MAX_OPERATIONS = 2**32  # multiply-accumulates for one image, a few seconds; `best` has 19 million

INPUTS: dict[str, Shape] = {"pixels": (BATCH, 28, 28)}
OUTPUTS = {"logits", "probabilities", "ood_score"}

AXIS: dict[str, Collection[Attribute]] = {"axis": range(4)}
REDUCTION: dict[str, Collection[Attribute]] = {"keepdims": (0, 1), "noop_with_empty_axes": (0,)}
KERNEL: dict[str, Collection[Attribute]] = {
    "auto_pad": ("NOTSET",),
    "dilations": ((1, 1),),
    "strides": ((1, 1), (2, 2)),
    "pads": ((0,) * 4, (1,) * 4, (2,) * 4),
}
ATTRIBUTES: dict[str, dict[str, Collection[Attribute]]] = {
    "BatchNormalization": {"epsilon": (), "momentum": (), "training_mode": (0,)},
    "Cast": {"to": (1,)},
    "Concat": AXIS,
    "Conv": KERNEL | {"kernel_shape": ((1, 1), (3, 3), (6, 6)), "group": range(1, 4097)},
    "DequantizeLinear": AXIS,
    "Gather": AXIS,
    "Gemm": {"alpha": (1.0,), "beta": (1.0,), "transA": (0,), "transB": (0, 1)},
    "MaxPool": KERNEL | {"kernel_shape": ((2, 2),), "ceil_mode": (0,), "storage_order": (0,)},
    "ReduceMax": REDUCTION,
    "ReduceMean": REDUCTION,
    "ReduceMin": REDUCTION,
    "ReduceSum": REDUCTION,
    "Reshape": {"allowzero": (0, 1)},
    "Softmax": {"axis": (1,)},
    "Transpose": {"perm": ((0, 1, 3, 5, 2, 4),)},
}
"""Allowed values of each operator's attributes; an empty collection allows any, other operators have no attributes."""


def check_graph(file: OnnxFile) -> int:
    """Check that a graph is one that `mnist-cnn export` writes, and small enough to run.

    Returns:
        How many values it computes for one image, at most `MAX_VALUES`.

    Raises:
        ValueError: it is not, or not that small.
    """
    require(file.opsets == [("", OPSET)], f"operator sets {file.opsets[:3]}")
    require(len(file.nodes) <= MAX_NODES, f"{len(file.nodes):,} operations, more than {MAX_NODES:,}")
    require(file.inputs == INPUTS, f"inputs {list(file.inputs.items())[:2]}")
    require({*file.outputs} == OUTPUTS, f"outputs {list(file.outputs)[:4]}")
    known, values, operations = INPUTS | file.initializers, 0, 0
    for node in file.nodes:
        check_attributes(node)
        require(bool(node.inputs) and known.keys() >= {*node.inputs}, f"{node.operator} of an unknown value")
        require(len(node.outputs) == 1 and node.outputs[0] not in known, f"{node.operator} of a value that exists")
        shapes = [known[name] for name in node.inputs]
        shape = infer_shape(node, shapes, file.integers.get(node.inputs[-1], ()))
        require(shape.count(BATCH) <= 1, f"{node.operator} of images by images")
        known[node.outputs[0]] = shape
        values += size(shape)
        operations += size(shape) * multiply_accumulates(node, shapes) + sum(map(size, shapes))
        require(
            values <= MAX_VALUES and operations <= MAX_OPERATIONS, f"too much to compute: {node.operator} of {shapes}"
        )
    declared = file.value_info | file.outputs
    wrong = [name for name, shape in declared.items() if known.get(name, shape) != shape]
    require(not wrong and known.keys() >= OUTPUTS, f"wrong shapes declared for {wrong[:3] or 'outputs'}")
    return values


def check_attributes(node: Node) -> None:
    """Check that the attributes of an operation are allowed."""
    allowed = ATTRIBUTES.get(node.operator, {})
    for name, value in node.attributes.items():
        valid = name in allowed and (not allowed[name] or value in allowed[name])
        require(valid, f"{node.operator} with {name} {value!r}")


def size(shape: Shape) -> int:
    """Return the number of elements for one image."""
    return math.prod(dimension for dimension in shape if dimension != BATCH)
