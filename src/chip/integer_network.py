"""The network in integers, as the C code computes it: the reference that the C code is compared with."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mnist_cnn.pictures.image_io import Pixels

Integers: TypeAlias = npt.NDArray[np.int64]

LOGIT_UNIT = 256  # logits are int16 in units of 1/256
EXACT = 2**24  # below it float32 sums integers without rounding (IEEE 754, 24 bits of significand)
BORDER_PIXELS = 4 * 28  # corners count twice, as in `Normalize`


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """Brings sums to a layer's output unit: ((sum >> before) * multiplier + offset) >> after, in 32 bits.

    Per-channel integer rescaling as in Jacob et al. 2018, arXiv 1712.05877, section 2.2, with 16-bit multipliers, since
    small processors multiply 32 bits only. Shifts are arithmetic.
    """

    before: int
    multipliers: Integers
    """[out], within int16."""
    offsets: Integers
    """[out], within int32; they hold the bias and what rounds to nearest."""
    after: int
    skip_multiplier: int = 0
    """Of the block's input, added to its output before the last shift; 0: no residual block."""

    def apply(self, sums: Integers, skip: Integers | None = None) -> Integers:
        """Rescale sums [..., out]."""
        scaled = (sums >> self.before) * self.multipliers + self.offsets
        if skip is not None:
            scaled += skip * self.skip_multiplier
        assert np.abs(scaled).max(initial=0) < 2**31, "the bounds of the rescaling do not hold"
        return scaled >> self.after


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """A convolution, or a residual block, with max pooling; outputs are integers 0..`limit`.

    Attributes:
        group: number of the weights; layers of one group share them.
        weights: [out, in, 3, 3], or of a block's pointwise convolution [out, in].
        depthwise: of a block [channels, 3, 3]; None: a plain convolution.
        depthwise_shift: bits that are rounded off the sums of the depthwise convolution, so that they fit int16.
        side: of the input's square of positions.
        pool: side of the squares of positions of which the maximum is kept.
        limit: largest output, at most 255.
        rescaling: to the unit of the output.
    """

    group: int
    weights: Integers
    depthwise: Integers | None
    depthwise_shift: int
    side: int
    pool: int
    limit: int
    rescaling: Rescaling

    @property
    def inputs(self) -> int:
        """Channels of the input."""
        return int(self.weights.shape[1])

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return int(self.weights.shape[0])

    def apply(self, features: Integers, padding: int) -> Integers:
        """Map features [N, side, side, in], 0..255, to [N, side', side', out], 0..`limit`.

        Args:
            features: the input.
            padding: zeros around it, 0 or 1.
        """
        if self.depthwise is not None:
            sums = depthwise_sums(features, self.depthwise)
            sums = (sums + (1 << self.depthwise_shift >> 1)) >> self.depthwise_shift
            result = self.rescaling.apply(product(sums, self.weights.T), features)
            return pooled(result.clip(0, self.limit), self.pool)
        matrix = self.weights.transpose(2, 3, 1, 0).reshape(-1, self.outputs)
        sums = product(patches(features, padding), matrix)
        return self.rescaling.apply(pooled(sums, self.pool)).clip(0, self.limit)


@dataclass(frozen=True, kw_only=True)
class IntegerNetwork:
    """A network in integers.

    Attributes:
        classes: name of each logit's class.
        bits: in which a weight of a convolution is stored, 4 or 8.
        space_to_depth: whether squares of 2x2 pixels become four channels.
        background: pixel value 0..255 around the image, which stands for the float network's zero padding.
        layers: the convolutions and blocks, first to last.
        classifier: weights of the last layer, int8 [classes, in] of all positions, or [classes, side * side * in].
        average: whether the positions share the weights of the last layer.
        rescaling: of the logits to units of 1/256.
    """

    classes: tuple[str, ...]
    bits: int
    space_to_depth: bool
    background: int
    layers: tuple[IntegerLayer, ...]
    classifier: Integers
    average: bool
    rescaling: Rescaling

    @property
    def inputs(self) -> int:
        """Values that the last layer reads: of all positions, added or not."""
        last = self.layers[-1]
        return last.outputs * (last.side // last.pool) ** 2

    def infer(self, images: Pixels) -> npt.NDArray[np.int16]:
        """Compute logits, int16 [N, classes] in units of 1/256, of raw pixels, uint8 [N, 28, 28]."""
        return np.concatenate([self._infer(batch) for batch in np.array_split(images, max(1, len(images) // 200))])

    def _infer(self, images: Pixels) -> npt.NDArray[np.int16]:
        features = arranged(normalized(images), self.background, self.space_to_depth)
        for number, layer in enumerate(self.layers):
            features = layer.apply(features, padding=int(number > 0))
        inputs = features.sum(axis=(1, 2)) if self.average else features.reshape(len(features), -1)
        logits = self.rescaling.apply(product(inputs, self.classifier.T))
        return logits.clip(-(2**15), 2**15 - 1).astype(np.int16)


def normalized(images: Pixels) -> Integers:
    """Stretch each image's contrast to 0..255 and invert those with a light border, as `Normalize` does, in integers.

    Args:
        images: raw pixels, uint8 [N, 28, 28].
    """
    pixels = images.astype(np.int64)
    darkest, lightest = pixels.min(axis=(1, 2), keepdims=True), pixels.max(axis=(1, 2), keepdims=True)
    reciprocal = (255 << 16) // np.maximum(lightest - darkest, 1)
    stretched = ((pixels - darkest) * reciprocal + (1 << 15)) >> 16
    border = stretched[:, [0, -1]].sum(axis=(1, 2)) + stretched[:, :, [0, -1]].sum(axis=(1, 2))
    dark_on_light = 2 * border > 255 * BORDER_PIXELS
    return np.asarray(np.where(dark_on_light[:, None, None], 255 - stretched, stretched))


def arranged(pixels: Integers, background: int, space_to_depth: bool) -> Integers:
    """Lay pixels [N, 28, 28] out as the first layer reads them, with a border: [N, 30, 30, 1] or [N, 16, 16, 4]."""
    if space_to_depth:
        blocks = pixels.reshape(-1, 14, 2, 14, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 14, 14, 4)
    else:
        blocks = pixels[..., None]
    return np.pad(blocks, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=background)


def patches(features: Integers, padding: int) -> Integers:
    """Gather the 3x3 surroundings of each position of [N, side, side, C]: [N, side', side', 9 * C]."""
    padded = np.pad(features, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    side = padded.shape[1] - 2
    shifted = [padded[:, y : y + side, x : x + side] for y in range(3) for x in range(3)]
    return np.concatenate(shifted, axis=3)


def depthwise_sums(features: Integers, weights: Integers) -> Integers:
    """Convolve each channel of [N, side, side, C] by itself, with zeros around: the same shape."""
    padded, side = np.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0))), features.shape[1]
    products = [padded[:, y : y + side, x : x + side] * weights[:, y, x] for y in range(3) for x in range(3)]
    return np.asarray(np.sum(products, axis=0))


def product(rows: Integers, matrix: Integers) -> Integers:
    """Multiply integers [..., K] by [K, M], exactly: by floats where no sum can be rounded."""
    bound = int(np.abs(rows).max(initial=0)) * int(np.abs(matrix).sum(axis=0).max())
    kind = np.float32 if bound < EXACT else np.float64
    return np.asarray(np.rint(rows.astype(kind) @ matrix.astype(kind))).astype(np.int64)


def pooled(values: Integers, pool: int) -> Integers:
    """Keep the maximum of each square of `pool` x `pool` positions of [N, side, side, C]; a rest is dropped."""
    if pool == 1:
        return values
    side = values.shape[1] // pool
    squares = values[:, : side * pool, : side * pool].reshape(len(values), side, pool, side, pool, -1)
    return np.asarray(squares.max(axis=(2, 4)))
