"""From a trained network to integers: weights per channel, outputs per layer, rescaling by multiplier and shift."""

import copy
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from mnist_cnn.chip.float_layers import FloatLayer, Reals, as_reals, float_layers
from mnist_cnn.chip.integer_network import LOGIT_UNIT, IntegerLayer, IntegerNetwork, Integers, Rescaling
from mnist_cnn.cnn_model import CNN
from mnist_cnn.common.errors import InputError
from mnist_cnn.models.inference_graph import fold_padding
from mnist_cnn.own_network import Network

QUANTILE = 0.9999  # share of a layer's outputs on the calibration images that do not saturate
MULTIPLIER = 2**15 - 1
SUM_BITS = 17  # of a sum before it is multiplied
MAX_SIZE = 2**16 - 1  # bytes that a 16-bit size can say


def quantized(network: Network, classes: tuple[str, ...], images: Tensor, source: Path) -> IntegerNetwork:
    """Make the integer network of a trained one.

    Args:
        network: in eval mode.
        classes: name of each logit's class.
        images: training images that tell the ranges of the layers' outputs, uint8 [N, 1, 28, 28].
        source: the checkpoint, for errors.

    Raises:
        InputError: the network is of another shape than one `CNN`, or too large for sizes of 16 bits.
    """
    if not isinstance(network, CNN):
        kind = "several networks averaged" if hasattr(network, "members") else "a network of your own"
        raise InputError(
            f"{source} is {kind}, of which no C can be written; name one network of a preset such as chip or tiny with "
            "--checkpoint"
        )
    check_size(network, source)
    network = copy.deepcopy(network)
    fold_padding(network)
    parts = float_layers(network, images, QUANTILE)
    config = network.config
    bits = config.weight_bits or 8
    limits = input_limits(parts, bits)
    groups: dict[int, int] = {}
    unit, center, side = 1 / (255 * config.std), 255 * config.mean, 28 if config.looped else 14
    layers = []
    for part, limit in zip(parts, [*limits[1:], 255], strict=True):
        group = groups.setdefault(shared_weights(part), len(groups))
        layers.append(quantized_layer(part, group, bits, side, unit, center, limit))
        unit, center, side = part.largest / limit, 0.0, side // part.pool
    classifier = network.classifier
    assert isinstance(classifier, nn.Linear)
    matrix, bias = as_reals(classifier.weight), as_reals(classifier.bias)
    if not config.average:
        channels = layers[-1].outputs
        matrix = matrix.reshape(len(matrix), channels, side, side).transpose(0, 2, 3, 1).reshape(len(matrix), -1)
    integers, scale = per_channel(matrix, 8)
    positions = side * side if config.average else 1
    scale = scale * unit / positions
    bounds = 255 * positions * np.abs(integers).sum(axis=1)
    return IntegerNetwork(
        classes=classes,
        bits=4 if packs(parts, bits) else 8,
        space_to_depth=not config.looped,
        background=round(255 * config.mean),
        layers=tuple(layers),
        classifier=integers,
        average=config.average,
        rescaling=rescaling(scale * LOGIT_UNIT, bias * LOGIT_UNIT, bounds),
    )


def check_size(network: CNN, source: Path) -> None:
    """Check that weights and maps can be counted in 16 bits.

    Raises:
        InputError: there are more.
    """
    weights = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)
    side, largest = 28 if network.config.looped else 14, 0
    for number, stage in enumerate(network.config.stages, start=1):
        shrunk = side // 2 if number < len(network.config.stages) else side
        largest = max(largest, *(side**2 * width for width in stage[:-1]), shrunk**2 * stage[-1])
        side = shrunk
    if max(weights, largest) > MAX_SIZE:
        raise InputError(
            f"{source} has {weights:,} weights and maps of up to {largest:,} values, more than sizes of 16 bits can "
            "count; train a smaller network, such as --preset chip or --preset tiny"
        )


def shared_weights(part: FloatLayer) -> int:
    """Identify the convolution whose weights a layer uses."""
    return id(part.module if part.depthwise is None else part.module.convolution)


def largest_sum(part: FloatLayer, bits: int) -> int:
    """Return the largest sum, of either sign, of a convolution's weights of one output, times inputs 0..1."""
    weights = per_channel(part.weights, bits)[0].reshape(len(part.weights), -1)
    return int(max(weights.clip(min=0).sum(axis=1).max(), -weights.clip(max=0).sum(axis=1).min()))


def packs(parts: list[FloatLayer], bits: int) -> bool:
    """Return whether two outputs can share a word: weights of 4 bits, inputs in fours, sums of pixels in 16 bits."""
    quads = all(part.depthwise is None and part.weights.shape[1] % 4 == 0 for part in parts)
    return bits <= 4 and quads and 255 * largest_sum(parts[0], bits) < 2**15


def input_limits(parts: list[FloatLayer], bits: int) -> list[int]:
    """Return the largest input of each layer, at most 255: lower where sums have to fit 16 bits for any input."""
    if not packs(parts, bits):
        return [255] * len(parts)
    return [min(255, (2**15 - 1) // largest_sum(part, bits)) for part in parts]


def quantized_layer(
    part: FloatLayer, group: int, bits: int, side: int, unit: float, center: float, limit: int
) -> IntegerLayer:
    """Quantize a layer.

    Args:
        part: the layer.
        group: number of its weights.
        bits: of its weights.
        side: of its input's square of positions.
        unit: of its input.
        center: the input, in units, that stands for 0.
        limit: largest output.
    """
    out_unit = part.largest / limit
    if part.depthwise is None:
        weights, scale = per_channel(part.weights, bits)
        rows = weights.reshape(len(weights), -1)
        factor = part.scale * scale * unit / out_unit
        addend = part.shift / out_unit - factor * center * rows.sum(axis=1)
        depthwise, shift = None, 0
        step = rescaling(factor, addend, 255 * np.abs(rows).sum(axis=1))
    else:
        depthwise, narrow = per_channel(part.depthwise, 8)
        weights, scale = per_channel(part.weights * narrow, 8)
        most = 255 * np.abs(depthwise).sum(axis=(1, 2))
        shift = max(0, int(most.max()).bit_length() - 15)
        factor = part.scale * scale * unit * 2**shift / out_unit
        bounds = np.abs(weights) @ ((most >> shift) + 1)
        step = rescaling(factor, part.shift / out_unit, bounds, unit / out_unit)
    return IntegerLayer(
        group=group,
        weights=weights,
        depthwise=depthwise,
        depthwise_shift=shift,
        side=side,
        pool=part.pool,
        limit=limit,
        rescaling=step,
    )


def per_channel(weights: Reals, bits: int) -> tuple[Integers, Reals]:
    """Round weights [out, ...] to integers of some bits, symmetric about 0, and return them with their scales [out]."""
    most = 2 ** (bits - 1) - 1
    rows = np.abs(weights).reshape(len(weights), -1)
    scale = np.maximum(rows.max(axis=1), 1e-30) / most
    return np.rint(weights / scale.reshape(-1, *[1] * (weights.ndim - 1))).astype(np.int64), scale


def rescaling(factor: Reals, addend: Reals, bounds: Integers, skip: float = 0.0) -> Rescaling:
    """Choose multipliers and shifts, as fine as 32 bits allow for any input.

    Args:
        factor: of the sums, to the unit of the output [out].
        addend: in the unit of the output [out].
        bounds: largest absolute sum [out].
        skip: factor of the input that a residual block adds.
    """
    before = max(0, int(bounds.max()).bit_length() - SUM_BITS)
    for after in range(30, 0, -1):
        unit = float(2**after)
        multipliers = np.rint(factor * 2.0**before * unit)
        half = 0.5 * multipliers * (before > 0)  # the mean of what the first shift takes away
        offsets = np.rint(addend * unit + half) + 2 ** (after - 1)
        skip_multiplier = round(skip * unit)
        largest = np.abs(multipliers) * ((bounds >> before) + 1) + np.abs(offsets) + 255 * skip_multiplier
        if np.abs(multipliers).max() <= MULTIPLIER and largest.max() < 2**31:
            break
    return Rescaling(
        before=before,
        multipliers=multipliers.astype(np.int64),
        offsets=offsets.astype(np.int64),
        after=after,
        skip_multiplier=skip_multiplier,
    )
