"""What the program in an .onnx file may be, settled before ONNX Runtime sees it, which computes parts of it on loading.

Only operators and attributes that `mnist-cnn export` writes pass; none can branch, loop, or read another file. The
shape of every value is worked out, so that memory and time are bounded before either is spent.
"""

import math
from collections.abc import Collection

from mnist_cnn.models.onnx_file import BATCH, Attribute, Node, OnnxFile, Shape
from mnist_cnn.models.onnx_shapes import products, require, shape_of

OPSET = 18
MOST_NODES = 5_000
MOST_VALUES = 2**25  # computed for one image: 128 MiB of floats; `best` computes 82,000
MOST_WORK = 2**32  # multiplications and additions for one image, a second or a few; `best` has 19 million

INPUTS: dict[str, Shape] = {"pixels": (BATCH, 28, 28)}
OUTPUTS = {"logits", "probabilities", "ood_score"}

AXIS: dict[str, Collection[Attribute]] = {"axis": range(4)}
REDUCTION: dict[str, Collection[Attribute]] = {"keepdims": (0, 1), "noop_with_empty_axes": (0,)}
WINDOWS: dict[str, Collection[Attribute]] = {
    "auto_pad": ("NOTSET",),
    "dilations": ((1, 1),),
    "strides": ((1, 1), (2, 2)),
    "pads": ((0,) * 4, (1,) * 4, (2,) * 4),
}
ATTRIBUTES: dict[str, dict[str, Collection[Attribute]]] = {
    "BatchNormalization": {"epsilon": (), "momentum": (), "training_mode": (0,)},
    "Cast": {"to": (1,)},
    "Concat": AXIS,
    "Conv": WINDOWS | {"kernel_shape": ((1, 1), (3, 3), (6, 6)), "group": range(1, 4097)},
    "DequantizeLinear": AXIS,
    "Gather": AXIS,
    "Gemm": {"alpha": (1.0,), "beta": (1.0,), "transA": (0,), "transB": (0, 1)},
    "MaxPool": WINDOWS | {"kernel_shape": ((2, 2),), "ceil_mode": (0,), "storage_order": (0,)},
    "ReduceMax": REDUCTION,
    "ReduceMean": REDUCTION,
    "ReduceMin": REDUCTION,
    "ReduceSum": REDUCTION,
    "Reshape": {"allowzero": (0, 1)},
    "Softmax": {"axis": (1,)},
    "Transpose": {"perm": ((0, 1, 3, 5, 2, 4),)},
}
"""What each attribute of an operator may be, anything where nothing is listed; other operators have none."""


def check_graph(file: OnnxFile) -> int:
    """Check that a program is one of ours, and small enough to run.

    Returns:
        How many values it computes for one image, at most `MOST_VALUES`.

    Raises:
        ValueError: it is not.
    """
    require(file.operators == [("", OPSET)], f"operator sets {file.operators[:3]}")
    require(len(file.nodes) <= MOST_NODES, f"{len(file.nodes):,} operations, more than {MOST_NODES:,}")
    require(file.inputs == INPUTS, f"inputs {list(file.inputs.items())[:2]}")
    require({*file.outputs} == OUTPUTS, f"outputs {list(file.outputs)[:4]}")
    known, values, work = INPUTS | file.constants, 0, 0
    for node in file.nodes:
        check_attributes(node)
        require(bool(node.inputs) and known.keys() >= {*node.inputs}, f"{node.operator} of what is not there")
        require(len(node.outputs) == 1 and node.outputs[0] not in known, f"{node.operator} of what is there")
        shapes = [known[name] for name in node.inputs]
        shape = shape_of(node, shapes, file.integers.get(node.inputs[-1], ()))
        require(shape.count(BATCH) <= 1, f"{node.operator} of images by images")
        known[node.outputs[0]] = shape
        values += size(shape)
        work += size(shape) * products(node, shapes) + sum(map(size, shapes))
        require(values <= MOST_VALUES and work <= MOST_WORK, f"too much to compute: {node.operator} of {shapes}")
    declared = file.declared | file.outputs
    wrong = [name for name, shape in declared.items() if known.get(name, shape) != shape]
    require(not wrong and known.keys() >= OUTPUTS, f"shapes that are not those of {wrong[:3] or 'all outputs'}")
    return values


def check_attributes(node: Node) -> None:
    """Check that the attributes of an operation are as exported."""
    allowed = ATTRIBUTES.get(node.operator, {})
    for name, value in node.attributes.items():
        fits = name in allowed and (not allowed[name] or value in allowed[name])
        require(fits, f"{node.operator} with {name} {value!r}")


def size(shape: Shape) -> int:
    """Count the values of a shape that are there for one image."""
    return math.prod(side for side in shape if side != BATCH)
