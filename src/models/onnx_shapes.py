"""Shape inference for the operators that `mnist-cnn export` writes, and for no other.

Their definitions: https://github.com/onnx/onnx/blob/main/docs/Operators.md
"""

import math
from collections.abc import Sequence

from mnist_cnn.models.onnx_file import MAX_AXES, Node, Shape


def require(condition: bool, message: str) -> None:
    """Raise a ValueError with the message unless a condition holds."""
    if not condition:
        raise ValueError(message)


def infer_shape(node: Node, shapes: Sequence[Shape], integers: Shape) -> Shape:
    """Return the shape of an operation's output.

    Args:
        node: the operation.
        shapes: of its inputs, one or more.
        integers: values of its last input if that is a constant of a few integers, else none.

    Raises:
        ValueError: the operator is not allowed, or the shapes do not fit it.
    """
    first, attributes = shapes[0], node.attributes
    axis = attributes.get("axis", 0)
    match node.operator:
        case "Cast" | "Relu" | "Softmax" | "BatchNormalization" | "QuantizeLinear" | "DequantizeLinear":
            return first
        case "Add" | "Sub" | "Div" | "Pow" | "Max" | "Greater" | "Where":
            return broadcast(shapes)
        case "ReduceMin" | "ReduceMax" | "ReduceMean" | "ReduceSum":
            return reduce(first, integers, attributes.get("keepdims", 1))
        case "Unsqueeze":
            return unsqueeze(first, integers)
        case "Reshape":
            return reshape(first, integers)
        case "Gather":
            require(shapes[1] == () and axis < len(first), "Gather of more than one index")
            return first[:axis] + first[axis + 1 :]
        case "Concat":
            return concatenate(shapes, axis)
        case "Transpose":
            require(sorted(attributes["perm"]) == list(range(len(first))), "Transpose of other axes")
            return tuple(first[index] for index in attributes["perm"])
        case "Conv" | "MaxPool":
            channels, kernel = first[1:2], attributes["kernel_shape"]
            if node.operator == "Conv":
                channels, kernel = conv_channels(first, shapes[1], attributes.get("group", 1)), shapes[1][2:]
            return first[:1] + channels + slide(first, kernel, attributes["pads"], attributes["strides"])
        case "Gemm":
            return multiply(first, shapes[1][:: -1 if attributes.get("transB", 0) else 1], shapes[2:])
        case "MatMul":
            return multiply(first, shapes[1], [])
    raise ValueError(f"operator {node.operator[:40]!r}")


def multiply_accumulates(node: Node, shapes: Sequence[Shape]) -> int:
    """Return the multiply-accumulates for each element of an operation's output."""
    if node.operator == "Conv":
        return math.prod(shapes[1][1:])
    return {"Gemm": shapes[0][-1:], "MatMul": shapes[0][-1:]}.get(node.operator, (1,))[0]


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Broadcast shapes: a dimension of one takes the size of the others."""
    axes = max(map(len, shapes))
    dimensions = list(zip(*((1,) * (axes - len(shape)) + shape for shape in shapes), strict=True))
    require(all({*sizes} <= {1, max(sizes)} for sizes in dimensions), f"shapes {list(shapes)} together")
    return tuple(max(sizes) for sizes in dimensions)


def reduce(shape: Shape, axes: Shape, keepdims: int) -> Shape:
    """Remove axes, or keep them with size one."""
    require(bool(axes) and {*axes} <= {*range(len(shape))}, f"axes {axes} of a shape {shape}")
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keepdims or axis not in axes)


def unsqueeze(shape: Shape, axes: Shape) -> Shape:
    """Insert axes of size one."""
    rest, total = iter(shape), len(shape) + len(axes)
    require(bool(axes) and len({*axes} & {*range(total)}) == len(axes), f"axes {axes} for a shape {shape}")
    require(total <= MAX_AXES, f"{total} axes")
    return tuple(1 if axis in axes else next(rest) for axis in range(total))


def reshape(shape: Shape, target: Shape) -> Shape:
    """Return the target shape; one dimension may be -1, which is inferred."""
    total, rest = math.prod(shape), math.prod(size for size in target if size != -1)
    require(bool(target) and target.count(-1) <= 1 and all(size > 0 or size == -1 for size in target), f"to {target}")
    require(total % rest == 0 and (-1 in target or total == rest), f"a shape {shape} to {target}")
    return tuple(total // rest if size == -1 else size for size in target)


def concatenate(shapes: Sequence[Shape], axis: int) -> Shape:
    """Concatenate along an axis; all other dimensions are equal."""
    first = shapes[0]
    rests = {shape[:axis] + shape[axis + 1 :] for shape in shapes if axis < len(shape) == len(first)}
    require(len(rests) == 1 and all(len(shape) == len(first) for shape in shapes), f"Concat of {list(shapes[:3])}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def conv_channels(shape: Shape, weights: Shape, group: int) -> Shape:
    """Return the output channels [O] of weights [O, I, h, w] on features [N, I * group, H, W]."""
    require(len(weights) == 4 and shape[1:2] == (weights[1] * group,), f"Conv of a shape {shape} by {weights}")
    require(weights[0] % group == 0, f"Conv of {weights[0]} channels in {group} groups")
    return weights[:1]


def slide(shape: Shape, kernel: Shape, pads: Shape, strides: Shape) -> Shape:
    """Return the output height and width of a kernel on features [N, C, H, W], padded alike on all sides."""
    require(len(shape) == 4 and len(kernel) == 2, f"kernel {kernel} on a shape {shape}")
    sizes = tuple((size + 2 * pads[0] - side) // strides[0] + 1 for size, side in zip(shape[2:], kernel, strict=True))
    require(min(sizes) >= 1, f"kernel {kernel} on a shape {shape}")
    return sizes


def multiply(left: Shape, right: Shape, addends: Sequence[Shape]) -> Shape:
    """Multiply matrices [a, k] and [k, b]; addends must broadcast to the product."""
    require(len(left) == len(right) == 2 and left[1] == right[0], f"a product of shapes {left} and {right}")
    result = (left[0], right[1])
    require(broadcast([result, *addends]) == result, f"a product plus {list(addends)}")
    return result
