"""The network: raw pixels in, logits out."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_cnn.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a `CNN`, or of an `Ensemble` of some."""

    stages: tuple[tuple[int, ...], ...] = ((24,), (40, 40), (96,))
    """Channels of each 3x3 convolution, grouped by resolution: 14x14 first, halved from stage to stage."""
    shared: bool = False
    """Whether all convolutions between the same two widths are one, each followed by a batch norm of its own."""
    looped: bool = False
    """Whether convolutions begin at 28x28, and all that keep a width are one, depthwise separable, each a `Step`."""
    average: bool = False
    """Whether the classifier sees the mean of each channel, instead of each position."""
    classes: int = 10
    """Number of logits."""
    mean: float = 0.1307
    """Mean of the training pixels, as a share of 255."""
    std: float = 0.3081
    """Standard deviation of the training pixels, as a share of 255."""
    members: int = 1
    """Networks of this shape whose logits are averaged."""

    def __post_init__(self) -> None:
        """Check that such a network exists."""
        widths = [width for stage in self.stages for width in stage]
        if not 1 <= len(self.stages) <= 4 or not all(self.stages) or len(widths) > 100:
            raise InputError(f"stages {self.stages} must be 1 to 4 groups of convolutions")
        if not all(1 <= n <= 4096 for n in (*widths, self.classes)):
            raise InputError(f"stages {self.stages} and classes {self.classes} must hold numbers from 1 to 4096")
        if not 1 <= self.members <= 100:
            raise InputError(f"members is {self.members}; it must be 1 to 100")
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise InputError(f"mean is {self.mean} and std {self.std}; they must be finite, std above 0")


class Normalize(nn.Module):
    """Bring every picture to one polarity and one range, then to the training set's mean and standard deviation.

    The darkest pixel becomes 0 and the lightest 1; where the border is nearer to light than to dark, the picture
    is inverted. An MNIST image stays as it is.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        """Keep mean and standard deviation, as shares of 255, beside the weights."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 or float images [N, 1, H, W] of raw pixels 0..255 to float32 of the same shape."""
        pixels = images.float()
        darkest, lightest = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
        ink = (pixels - darkest) / (lightest - darkest).clamp(min=1)
        border = torch.cat([ink[:, :, 0], ink[:, :, -1], ink[:, :, :, 0], ink[:, :, :, -1]], dim=2)
        dark_on_light = border.mean(dim=2)[:, :, None, None] > 0.5
        return (torch.where(dark_on_light, 1 - ink, ink) - self.mean) / self.std


class Separable(nn.Module):
    """A 3x3 convolution of each channel, then a 1x1 convolution across them (Chollet 2017, arXiv 1610.02357, page 1).

    It has `width` * (9 + `width`) filter weights instead of `width`**2 * 9, and the scale and shift of a batch norm.
    """

    def __init__(self, width: int) -> None:
        """Build the layers, with random weights from torch's global generator."""
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, kernel_size=1, bias=False)
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))


class Step(nn.Module):
    """A convolution that others share, normalised with this step's own statistics, and added to what it saw.

    The sum is that of residual networks (He et al. 2016, arXiv 1512.03385, section 3.1).
    """

    mean: Tensor
    var: Tensor

    def __init__(self, convolution: Separable) -> None:
        """Take the convolution, whose weights count once however many steps take it."""
        super().__init__()
        self.convolution = convolution
        self.register_buffer("mean", torch.zeros_like(convolution.shift))
        self.register_buffer("var", torch.ones_like(convolution.scale))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, H, W] to others of the same shape."""
        convolution = self.convolution
        change = convolution.pointwise(convolution.depthwise(features))
        change = F.batch_norm(change, self.mean, self.var, convolution.scale, convolution.shift, self.training)
        return F.relu(features + change)


class CNN(nn.Module):
    """A plain convolutional network for 28x28 grey images.

    Unless it is looped, the first layer folds each 2x2 square of pixels into four channels: nothing is lost,
    and the convolutions work on 14x14 positions instead of 28x28, a quarter of the operations.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers, with random weights from torch's global generator."""
        super().__init__()
        self.config = config
        self.normalize = Normalize(config.mean, config.std)
        self.fold: nn.Module = nn.Identity() if config.looped else nn.PixelUnshuffle(2)
        self.stages = nn.Sequential()
        channels, side = (1, 28) if config.looped else (4, 14)
        convolutions: dict[tuple[int, int], nn.Conv2d | Separable] = {}
        for number, stage in enumerate(config.stages, start=1):
            layers: list[nn.Module] = []
            for place, width in enumerate(stage, start=1):
                step = config.looped and channels == width
                convolution = Separable(width) if step else nn.Conv2d(channels, width, 3, padding=1, bias=False)
                if config.shared or step:
                    convolution = convolutions.setdefault((channels, width), convolution)
                halve = place == len(stage) and number < len(config.stages)
                layers += block(convolution, halve)
                channels, side = width, side // 2 if halve else side
            self.stages.append(nn.Sequential(*layers))
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
        return self.classify(self.stages(self.fold(self.normalize(images))))

    def classify(self, features: Tensor) -> Tensor:
        """Compute logits [N, classes] from the last features [N, C, side, side]."""
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)) if self.config.average else features.flatten(1))
        return logits

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits, and a features of each image: the mean of every channel of all convolutions but the first.

        The first would tell little but light and noise. A network of one convolution has no other.

        Args:
            images: as in `forward`.

        Returns:
            float [N, classes] and float [N, D], D the sum of those convolutions' widths.
        """
        features, means = self.fold(self.normalize(images)), []
        for layer in (layer for stage in self.stages for layer in stage):  # type: ignore[attr-defined]
            if isinstance(layer, nn.Conv2d | Step):
                means.append(features.mean(dim=(2, 3)))
            features = layer(features)
        means.append(features.mean(dim=(2, 3)))
        return self.classify(features), torch.cat(means[2:] or means[1:], dim=1)


class Ensemble(nn.Module):
    """Networks of one shape, each trained by itself; their logits are averaged."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the members, with random weights."""
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(CNN(dataclasses.replace(config, members=1)) for _ in range(config.members))

    def parameter_count(self) -> int:
        """Count the parameters of all members."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [N, classes], as a `CNN` does."""
        return torch.stack([member(images) for member in self.members]).mean(dim=0)

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits, and the members' features side by side, as a `CNN` does."""
        logits, features = zip(*(member.logits_and_features(images) for member in self.members), strict=True)  # type: ignore[operator]
        return torch.stack(logits).mean(dim=0), torch.cat(features, dim=1)


Network = CNN | Ensemble


def build(config: ModelConfig) -> Network:
    """Build the network of a shape, with random weights from torch's global generator."""
    return CNN(config) if config.members == 1 else Ensemble(config)


def block(convolution: nn.Conv2d | Separable, halve: bool) -> list[nn.Module]:
    """Convolve, halve the resolution if asked, normalise over the batch, rectify; a step halves what it has rectified.

    Pooling comes first because batch norm and ReLU then have a quarter of the positions to work on.
    Batch norm brings its own bias, so the convolution has none.
    """
    pool = [nn.MaxPool2d(2)] if halve else []
    if isinstance(convolution, Separable):
        return [Step(convolution), *pool]
    return [convolution, *pool, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
