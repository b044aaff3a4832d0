"""Shapes of what the operators that `mnist-cnn export` writes make, and no other operator's.

Their rules: https://github.com/onnx/onnx/blob/main/docs/Operators.md
"""

import math
from collections.abc import Sequence

from mnist_cnn.models.onnx_file import MOST_AXES, Node, Shape


def require(condition: bool, otherwise: str) -> None:
    """Check what must hold.

    Raises:
        ValueError: it does not; the message says what is there instead.
    """
    if not condition:
        raise ValueError(otherwise)


def shape_of(node: Node, shapes: Sequence[Shape], integers: Shape) -> Shape:
    """Work out the shape of an operation's result.

    Args:
        node: the operation.
        shapes: of its inputs, one or more.
        integers: values of its last input, none unless that is a constant of a few integers.

    Raises:
        ValueError: the operator is not one of ours, or the shapes do not fit it.
    """
    first, given = shapes[0], node.attributes
    axis = given.get("axis", 0)
    match node.operator:
        case "Cast" | "Relu" | "Softmax" | "BatchNormalization" | "QuantizeLinear" | "DequantizeLinear":
            return first
        case "Add" | "Sub" | "Div" | "Pow" | "Max" | "Greater" | "Where":
            return broadcast(shapes)
        case "ReduceMin" | "ReduceMax" | "ReduceMean" | "ReduceSum":
            return reduced(first, integers, given.get("keepdims", 1))
        case "Unsqueeze":
            return unsqueezed(first, integers)
        case "Reshape":
            return reshaped(first, integers)
        case "Gather":
            require(shapes[1] == () and axis < len(first), "Gather of more than one place")
            return first[:axis] + first[axis + 1 :]
        case "Concat":
            return joined(shapes, axis)
        case "Transpose":
            require(sorted(given["perm"]) == list(range(len(first))), "Transpose of other axes")
            return tuple(first[place] for place in given["perm"])
        case "Conv" | "MaxPool":
            channels, kernel = first[1:2], given["kernel_shape"]
            if node.operator == "Conv":
                channels, kernel = convolved(first, shapes[1], given.get("group", 1)), shapes[1][2:]
            return first[:1] + channels + windows(first, kernel, given["pads"], given["strides"])
        case "Gemm":
            return multiplied(first, shapes[1][:: -1 if given.get("transB", 0) else 1], shapes[2:])
        case "MatMul":
            return multiplied(first, shapes[1], [])
    raise ValueError(f"operator {node.operator[:40]!r}")


def products(node: Node, shapes: Sequence[Shape]) -> int:
    """Count the products that each value of an operation's result is a sum of."""
    if node.operator == "Conv":
        return math.prod(shapes[1][1:])
    return {"Gemm": shapes[0][-1:], "MatMul": shapes[0][-1:]}.get(node.operator, (1,))[0]


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Stretch sides of one to those of the others."""
    axes = max(map(len, shapes))
    sides = list(zip(*((1,) * (axes - len(shape)) + shape for shape in shapes), strict=True))
    require(all({*side} <= {1, max(side)} for side in sides), f"shapes {list(shapes)} together")
    return tuple(max(side) for side in sides)


def reduced(shape: Shape, axes: Shape, keep: int) -> Shape:
    """Take axes away, or leave sides of one."""
    require(bool(axes) and {*axes} <= {*range(len(shape))}, f"axes {axes} of a shape {shape}")
    return tuple(1 if axis in axes else side for axis, side in enumerate(shape) if keep or axis not in axes)


def unsqueezed(shape: Shape, axes: Shape) -> Shape:
    """Add sides of one."""
    rest, total = iter(shape), len(shape) + len(axes)
    require(bool(axes) and len({*axes} & {*range(total)}) == len(axes), f"axes {axes} for a shape {shape}")
    require(total <= MOST_AXES, f"{total} axes")
    return tuple(1 if axis in axes else next(rest) for axis in range(total))


def reshaped(shape: Shape, target: Shape) -> Shape:
    """Give the same values another shape, of which one side may be -1: what remains."""
    total, rest = math.prod(shape), math.prod(side for side in target if side != -1)
    require(bool(target) and target.count(-1) <= 1 and all(side > 0 or side == -1 for side in target), f"to {target}")
    require(total % rest == 0 and (-1 in target or total == rest), f"a shape {shape} to {target}")
    return tuple(total // rest if side == -1 else side for side in target)


def joined(shapes: Sequence[Shape], axis: int) -> Shape:
    """Put values one after the other along an axis."""
    first = shapes[0]
    rests = {shape[:axis] + shape[axis + 1 :] for shape in shapes if axis < len(shape) == len(first)}
    require(len(rests) == 1 and all(len(shape) == len(first) for shape in shapes), f"Concat of {list(shapes[:3])}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def convolved(shape: Shape, weights: Shape, group: int) -> Shape:
    """Return the channels, one number, that weights [O, I, h, w] make of features [N, I * group, H, W]."""
    require(len(weights) == 4 and shape[1:2] == (weights[1] * group,), f"Conv of a shape {shape} by {weights}")
    require(weights[0] % group == 0, f"Conv of {weights[0]} channels in {group} groups")
    return weights[:1]


def windows(shape: Shape, kernel: Shape, pads: Shape, strides: Shape) -> Shape:
    """Return how many windows fit into the sides of features [N, C, H, W], padded alike on all sides."""
    require(len(shape) == 4 and len(kernel) == 2, f"windows {kernel} in a shape {shape}")
    sides = tuple((side + 2 * pads[0] - one) // strides[0] + 1 for side, one in zip(shape[2:], kernel, strict=True))
    require(min(sides) >= 1, f"windows {kernel} in a shape {shape}")
    return sides


def multiplied(left: Shape, right: Shape, added: Sequence[Shape]) -> Shape:
    """Multiply matrices [a, k] and [k, b]; what is added must fit."""
    require(len(left) == len(right) == 2 and left[1] == right[0], f"a product of shapes {left} and {right}")
    result = (left[0], right[1])
    require(broadcast([result, *added]) == result, f"a product with {list(added)} added")
    return result
