"""A `CNN` as a list of layers in numpy, batch norms as scale and shift per channel."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mnist_cnn.cnn_model import CNN, QuantizedConv2d, RecurrentBlock

Reals: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """A 3x3 convolution, max pooling, batch norm and ReLU; or a residual block and max pooling.

    Attributes:
        module: the convolution or the block; layers that share weights share it too.
        weights: of the convolution [out, in, 3, 3], or of the pointwise convolution of a block [out, in].
        depthwise: of the depthwise convolution of a block [channels, 3, 3]; None: a plain convolution.
        scale: factor of each output channel [out], of the batch norm.
        shift: addend of each output channel [out], of the batch norm.
        pool: side of the squares of positions of which the maximum is kept; 1: no pooling.
        largest: output after ReLU that `float_layers` found on its calibration images, above 0.
    """

    module: nn.Module
    weights: Reals
    depthwise: Reals | None
    scale: Reals
    shift: Reals
    pool: int
    largest: float


def as_reals(tensor: Tensor) -> Reals:
    """Convert a tensor to float64."""
    return tensor.detach().double().numpy()


def norm_of(
    mean: Tensor | None, var: Tensor | None, weight: Tensor, bias: Tensor, epsilon: float
) -> tuple[Reals, Reals]:
    """Return a batch norm's factor and addend of each channel, both [C]."""
    assert mean is not None
    assert var is not None
    scale = as_reals(weight) / np.sqrt(as_reals(var) + epsilon)
    return scale, as_reals(bias) - as_reals(mean) * scale


@torch.inference_mode()
def float_layers(network: CNN, images: Tensor, quantile: float) -> list[FloatLayer]:
    """Take a network apart.

    Args:
        network: in eval mode.
        images: for calibration, uint8 [N, 1, 28, 28], raw pixels 0..255.
        quantile: 0..1, share of a layer's outputs that do not exceed its `largest`.
    """
    features, found = network.space_to_depth(network.normalize(images)), []
    for stage in network.stages:
        assert isinstance(stage, nn.Sequential)
        layers = list(stage)
        while layers:
            module = layers.pop(0)
            pool = 2 if layers and isinstance(layers[0], nn.MaxPool2d) else 1
            following = [layers.pop(0)] if pool == 2 else []
            if isinstance(module, RecurrentBlock):
                convolution = module.convolution
                weights = as_reals(convolution.pointwise.weight)[:, :, 0, 0]
                depthwise: Reals | None = as_reals(convolution.depthwise.weight)[:, 0]
                scale, shift = norm_of(module.mean, module.var, convolution.scale, convolution.shift, 1e-5)
            else:
                assert isinstance(module, nn.Conv2d)
                norm = layers[0]
                assert isinstance(norm, nn.BatchNorm2d)
                following += [layers.pop(0), layers.pop(0)]
                used = module.quantized() if isinstance(module, QuantizedConv2d) else module.weight
                weights, depthwise = as_reals(used), None
                scale, shift = norm_of(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
            for one in (module, *following):
                features = one(features)
            largest = float(np.quantile(features.numpy(), quantile))
            found.append(
                FloatLayer(
                    module=module,
                    weights=weights,
                    depthwise=depthwise,
                    scale=scale,
                    shift=shift,
                    pool=pool,
                    largest=max(largest, 1e-6),
                )
            )
    return found
