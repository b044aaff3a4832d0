"""The network: raw pixels in, logits out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnist_cnn.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a `CNN`."""

    stages: tuple[tuple[int, ...], ...] = ((16, 32), (64, 64), (128,))
    """Channels of each 3x3 convolution, grouped by resolution: 14x14 first, halved from stage to stage."""
    shared: bool = False
    """Whether all convolutions between the same two widths are one, each followed by a batch norm of its own."""
    average: bool = False
    """Whether the classifier sees the mean of each channel, instead of each position."""
    classes: int = 10
    """Number of logits."""
    mean: float = 0.1307
    """Mean of the training pixels, as a share of 255."""
    std: float = 0.3081
    """Standard deviation of the training pixels, as a share of 255."""

    def __post_init__(self) -> None:
        """Check that such a network exists."""
        widths = [width for stage in self.stages for width in stage]
        if not 1 <= len(self.stages) <= 4 or not all(self.stages) or len(widths) > 100:
            raise InputError(f"stages {self.stages} must be 1 to 4 groups of convolutions")
        if not all(1 <= n <= 4096 for n in (*widths, self.classes)):
            raise InputError(f"stages {self.stages} and classes {self.classes} must hold numbers from 1 to 4096")
        if not self.std > 0:
            raise InputError(f"std is {self.std}; it must be above 0")


class Normalize(nn.Module):
    """Turn raw pixels 0..255 into numbers of mean 0 and standard deviation 1, given the training set's statistics."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        """Keep mean and standard deviation, as shares of 255, beside the weights."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 or float images of any shape to float32."""
        return (images.float() / 255 - self.mean) / self.std


class CNN(nn.Module):
    """A plain convolutional network for 28x28 grey images.

    The first layer folds each 2x2 square of pixels into four channels: nothing is lost, and the
    convolutions work on 14x14 positions instead of 28x28, a quarter of the operations.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers, with random weights from torch's global generator."""
        super().__init__()
        self.config = config
        self.normalize = Normalize(config.mean, config.std)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        channels, side = 4, 14
        convolutions: dict[tuple[int, int], nn.Conv2d] = {}
        for number, stage in enumerate(config.stages, start=1):
            for place, width in enumerate(stage, start=1):
                convolution = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
                if config.shared:
                    convolution = convolutions.setdefault((channels, width), convolution)
                halve = place == len(stage) and number < len(config.stages)
                layers += block(convolution, halve)
                channels, side = width, side // 2 if halve else side
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels if config.average else channels * side * side, config.classes)

    def parameter_count(self) -> int:
        """Count what training adjusts; a shared filter counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits.

        Args:
            images: [N, 1, 28, 28], uint8 or float, raw pixels 0..255.

        Returns:
            float [N, classes].
        """
        features = self.features(self.normalize(images))  # [N, C, side, side]
        seen = features.mean(dim=(2, 3)) if self.config.average else features.flatten(1)
        logits: Tensor = self.classifier(seen)
        return logits


def block(convolution: nn.Conv2d, halve: bool) -> list[nn.Module]:
    """Convolve, halve the resolution if asked, normalise over the batch, rectify.

    Pooling comes first because batch norm and ReLU then have a quarter of the positions to work on.
    Batch norm brings its own bias, so the convolution has none.
    """
    return [convolution, *([nn.MaxPool2d(2)] if halve else []), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
