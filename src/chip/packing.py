"""Integers in the order in which the C code reads them, and how many bytes and operations they are."""

from dataclasses import dataclass

import numpy as np

from mnist_cnn.chip.integer_network import IntegerLayer, IntegerNetwork, Integers


def paired(rows: Integers) -> Integers:
    """Interleave the weights [out, K] of two outputs each: [out / 2, K, 2], an odd last one with zeros."""
    rows = np.pad(rows, ((0, len(rows) % 2), (0, 0)))
    return np.asarray(rows.reshape(-1, 2, rows.shape[1]).transpose(0, 2, 1))


def packed_bytes(rows: Integers) -> Integers:
    """Pack weights [out, K], -127..127, a byte each, 128 added: flat, 0..255."""
    return (paired(rows) + 128).ravel()


def packed_nibbles(rows: Integers) -> Integers:
    """Pack weights [out, K], -7..7, into words of 32 bits, 8 added: flat, 0..2**32-1.

    A word has four inputs' weights of one output in its lower half, of the next output in its upper half, so that one
    multiplication by an input serves both.
    """
    pairs = paired(rows) + 8  # [out / 2, K, 2]
    quads = pairs.reshape(len(pairs), -1, 4, 2)
    shifts = 4 * np.arange(4)[:, None] + 16 * np.arange(2)
    return np.asarray((quads << shifts).sum(axis=(2, 3))).ravel()


def rows_of(layer: IntegerLayer) -> Integers:
    """Lay out a convolution's weights as [out, 9 * in], in the order of rows, columns and channels."""
    return np.asarray(layer.weights.transpose(0, 2, 3, 1).reshape(layer.outputs, -1))


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a network takes on a chip.

    Attributes:
        tables: bytes of weights, multipliers and offsets.
        ram: bytes of static buffers.
        multiply_adds: for one image, without those of zeros around the maps and of positions that pooling drops.
    """

    tables: int
    ram: int
    multiply_adds: int


def map_sizes(network: IntegerNetwork) -> tuple[int, int]:
    """Return the bytes of the two buffers that layers read from and write to in turn, the first layer's input first."""
    sizes = [16 * 16 * 4 if network.space_to_depth else 30 * 30]
    sizes += [layer.outputs * (layer.side // layer.pool) ** 2 for layer in network.layers]
    return max(sizes[::2]), max(sizes[1::2])


def widest(network: IntegerNetwork) -> int:
    """Return the most channels of any layer's output, rounded up to an even number."""
    most = max(layer.outputs for layer in network.layers)
    return most + most % 2


def sizes_of(network: IntegerNetwork) -> Sizes:
    """Count bytes and operations."""
    groups = {layer.group: layer for layer in network.layers}
    tables = packed_bytes(network.classifier).size + 6 * len(network.classifier)
    for layer in groups.values():
        if layer.depthwise is not None:
            tables += layer.weights.size + layer.depthwise.size
        else:
            outputs = layer.outputs + layer.outputs % 2
            tables += outputs * 9 * layer.inputs * network.bits // 8
    tables += sum(6 * layer.outputs for layer in network.layers)
    residual = any(layer.depthwise is not None for layer in network.layers)
    ram = sum(map_sizes(network)) + (4 + 2 * residual) * widest(network)
    adds = sum(multiply_adds(layer, padded=number > 0) for number, layer in enumerate(network.layers))
    return Sizes(tables=tables, ram=ram, multiply_adds=adds + network.inputs * len(network.classifier))


def multiply_adds(layer: IntegerLayer, padded: bool) -> int:
    """Count a layer's multiplications; `padded`: those of zeros around the input are left out."""
    used = layer.side // layer.pool * layer.pool  # positions along a side that pooling does not drop
    taps = 3 * used - (1 if used < layer.side else 2) * padded
    if layer.depthwise is None:
        return taps**2 * layer.inputs * layer.outputs
    return taps**2 * layer.inputs + used**2 * layer.weights.size
