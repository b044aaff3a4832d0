"""The network: maps raw pixels to logits."""

import dataclasses
import itertools
import math
import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_cnn.common.errors import InputError
from mnist_cnn.pretrained import read_folder


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture of a `CNN`, or of an `Ensemble` of several."""

    stages: tuple[tuple[int, ...], ...] = ((24,), (40, 40), (96,))
    """Channels of each 3x3 convolution, grouped by resolution: 14x14 first, halved from stage to stage."""
    shared: bool = False
    """Whether convolutions of the same input and output width share weights; each has its own batch norm."""
    looped: bool = False
    """Whether convolutions begin at 28x28 and those that keep a width are `RecurrentBlock`s with shared weights; the
    first one's output gets channels of zeros up to the width of the second."""
    average: bool = False
    """Whether global average pooling precedes the classifier."""
    class_maps: bool = False
    """Whether `ClassMaps` are the classifier, instead of a linear layer."""
    classes: int = 10
    """Number of logits."""
    mean: float = 0.1307
    """Mean of the training pixels, as a share of 255."""
    std: float = 0.3081
    """Standard deviation of the training pixels, as a share of 255."""
    members: int = 1
    """Networks of this architecture whose logits are averaged."""
    weight_bits: int = 0
    """Bits of each weight of a 3x3 convolution, 2 to 8, times a scale per output channel; 0: floating point."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        widths = [width for stage in self.stages for width in stage]
        if not 1 <= len(self.stages) <= 4 or not all(self.stages) or len(widths) > 100:
            raise InputError(f"stages {self.stages} must be 1 to 4 groups of convolutions")
        if not all(1 <= n <= 4096 for n in (*widths, self.classes)):
            raise InputError(f"stages {self.stages} and classes {self.classes} must hold numbers from 1 to 4096")
        if not 1 <= self.members <= 100:
            raise InputError(f"members is {self.members}; it must be 1 to 100")
        if self.weight_bits not in (0, *range(2, 9)) or (self.weight_bits and self.looped):
            raise InputError(f"weight_bits is {self.weight_bits}; it must be 0, or 2 to 8 unless the network is looped")
        if self.class_maps and not (self.average and self.classes <= widths[-1]):
            raise InputError(f"class_maps need average and at least {self.classes} channels in the last stage")
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise InputError(f"mean is {self.mean} and std {self.std}; they must be finite, std above 0")

    @property
    def padding(self) -> int:
        """Channels of zeros that the output of the first convolution gets."""
        first, *others = itertools.chain(*self.stages)
        return max(0, others[0] - first) if self.looped and others else 0


class Normalize(nn.Module):
    """Normalize contrast and polarity of each image, then standardize with the training set's statistics.

    The darkest pixel becomes 0 and the lightest 1; an image with a light border is inverted. Both leave MNIST images
    unchanged.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        """Register mean and standard deviation, as shares of 255, as buffers."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 or float images [N, 1, H, W] of raw pixels 0..255 to float32 of the same shape."""
        pixels = images.float()
        darkest, lightest = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
        scaled = (pixels - darkest) / (lightest - darkest).clamp(min=1)
        border = torch.cat([scaled[:, :, 0], scaled[:, :, -1], scaled[:, :, :, 0], scaled[:, :, :, -1]], dim=2)
        dark_on_light = border.mean(dim=2)[:, :, None, None] > 0.5
        return (torch.where(dark_on_light, 1 - scaled, scaled) - self.mean) / self.std


class QuantizedConv2d(nn.Conv2d):
    """A 3x3 convolution without bias whose weights are integers of a few bits, times a scale per output channel.

    Gradients pass through the rounding unchanged (straight-through: Bengio et al. 2013, arXiv 1308.3432, section 4).
    """

    def __init__(self, in_channels: int, out_channels: int, bits: int) -> None:
        """Build the layer, with random weights from torch's global generator."""
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        self.largest = 2 ** (bits - 1) - 1

    def quantized(self) -> Tensor:
        """Return the weights [out, in, 3, 3] in use: multiples, up to `largest`, of each output channel's scale."""
        scale = self.weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30) / self.largest
        rounded: Tensor = (self.weight / scale).round() * scale
        return self.weight + (rounded - self.weight).detach()

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, in, H, W] to features [N, out, H, W]."""
        return F.conv2d(features, self.quantized(), padding=1)

    def plain(self) -> nn.Conv2d:
        """Return a convolution in floating point that has the weights in use."""
        convolution = nn.Conv2d(self.in_channels, self.out_channels, 3, padding=1, bias=False)
        convolution.weight = nn.Parameter(self.quantized().detach())
        return convolution.train(self.training)


class DepthwiseSeparable(nn.Module):
    """A depthwise separable convolution: 3x3 depthwise, 1x1 pointwise (Chollet 2017, arXiv 1610.02357, page 1).

    It has `width` * (9 + `width`) filter weights instead of `width`**2 * 9, and scale and shift of a batch norm.
    """

    def __init__(self, width: int) -> None:
        """Build the layers, with random weights from torch's global generator."""
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, kernel_size=1, bias=False)
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))


class RecurrentBlock(nn.Module):
    """A residual block (He et al. 2016, arXiv 1512.03385, section 3.1) that shares its convolution with other blocks.

    Only its batch norm statistics are its own.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, convolution: DepthwiseSeparable) -> None:
        """Register the shared convolution and this block's statistics."""
        super().__init__()
        self.convolution = convolution
        self.register_buffer("mean", torch.zeros_like(convolution.shift))
        self.register_buffer("var", torch.ones_like(convolution.scale))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C or fewer, H, W] to features [N, C, H, W]; channels that they lack are zero."""
        convolution = self.convolution
        lacking = len(self.mean) - features.shape[1]
        features = F.pad(features, (0, 0, 0, 0, 0, lacking)) if lacking else features
        residual = convolution.pointwise(convolution.depthwise(features))
        residual = F.batch_norm(residual, self.mean, self.var, convolution.scale, convolution.shift, self.training)
        return F.relu(features + residual)


class ClassMaps(nn.Module):
    """Takes the averages of the first channels, times a learned factor, as logits.

    So each class has a feature map, and the classifier one parameter (Lin et al. 2014, arXiv 1312.4400, section 3.2).
    """

    def __init__(self, channels: int, classes: int) -> None:
        """Set the factor to 1."""
        super().__init__()
        self.in_features, self.out_features = channels, classes
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, averages: Tensor) -> Tensor:
        """Map averages [N, channels] to logits [N, classes]."""
        return self.scale * averages[:, : self.out_features]

    def linear(self) -> nn.Linear:
        """Return the equal linear layer."""
        layer = nn.Linear(self.in_features, self.out_features)
        layer.weight = nn.Parameter(self.scale.detach() * torch.eye(self.out_features, self.in_features))
        layer.bias = nn.Parameter(torch.zeros(self.out_features))
        return layer


class CNN(nn.Module):
    """A plain convolutional network for 28x28 grey images.

    Unless it is looped, the first layer is space-to-depth (pixel unshuffle): each 2x2 square of pixels becomes four
    channels. That loses nothing, and convolutions on 14x14 positions need a quarter of the operations.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers, with random weights from torch's global generator."""
        super().__init__()
        self.config = config
        self.normalize = Normalize(config.mean, config.std)
        self.space_to_depth: nn.Module = nn.Identity() if config.looped else nn.PixelUnshuffle(2)
        self.stages = nn.Sequential()
        channels, side = (1, 28) if config.looped else (4, 14)
        convolutions: dict[tuple[int, int], nn.Conv2d | DepthwiseSeparable] = {}
        for number, stage in enumerate(config.stages, start=1):
            layers: list[nn.Module] = []
            for position, width in enumerate(stage, start=1):
                recurrent = config.looped and channels == width
                conv = DepthwiseSeparable(width) if recurrent else convolution(channels, width, config.weight_bits)
                if config.shared or recurrent:
                    conv = convolutions.setdefault((channels, width), conv)
                downsample = position == len(stage) and number < len(config.stages)
                layers += block(conv, downsample)
                channels, side = width, side // 2 if downsample else side
                channels += config.padding if number == position == 1 else 0
            self.stages.append(nn.Sequential(*layers))
        inputs = channels if config.average else channels * side * side
        classifier = ClassMaps if config.class_maps else nn.Linear
        self.classifier: nn.Linear | ClassMaps = classifier(inputs, config.classes)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> "CNN":
        """Load a network that `mnist-cnn export --safetensors` wrote, in eval mode on the CPU.

        Args:
            source: its folder, or its name on the Hugging Face Hub, OWNER/NAME.

        Raises:
            InputError: there is none, it is damaged or not of this program, or a library of the extra `hub` is missing.
        """
        config, tensors = read_folder(source)
        try:
            fields = config["model_config"]
            stages = tuple(tuple(map(int, stage)) for stage in fields["stages"])
            with torch.device("meta"):  # no memory for weights that the file does not have
                network = cls(ModelConfig(**fields | {"stages": stages}))
            load_weights(network, tensors)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{source} is not a network of this program: {' '.join(str(error).split())}") from None
        return network.eval()

    def parameter_count(self) -> int:
        """Return the number of trainable parameters; shared weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits.

        Args:
            images: [N, 1, 28, 28], uint8 or float, raw pixels 0..255.

        Returns:
            float [N, classes].
        """
        return self.classify(self.stages(self.space_to_depth(self.normalize(images))))

    def features(self, images: Tensor) -> Tensor:
        """Return what the classifier, the last layer, gets: float [N, D], of images as in `forward`."""
        return self.pool(self.stages(self.space_to_depth(self.normalize(images))))

    def pool(self, features: Tensor) -> Tensor:
        """Flatten the features [N, C, side, side] of the last stage to [N, D], averaged over positions or not."""
        return features.mean(dim=(2, 3)) if self.config.average else features.flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Compute logits [N, classes] from the features [N, C, side, side] of the last stage."""
        logits: Tensor = self.classifier(self.pool(features))
        return logits

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and features: the outputs of all convolutions but the first, global average pooled.

        The first mostly encodes brightness and noise; it is used only if it is the only convolution.

        Args:
            images: as in `forward`.

        Returns:
            float [N, classes] and float [N, D], D the sum of those convolutions' widths.
        """
        features, pooled = self.space_to_depth(self.normalize(images)), []
        for layer in itertools.chain(*self.stages):
            if isinstance(layer, nn.Conv2d | RecurrentBlock):
                pooled.append(features.mean(dim=(2, 3)))
            features = layer(features)
        pooled.append(features.mean(dim=(2, 3)))
        return self.classify(features), torch.cat(pooled[2:] or pooled[1:], dim=1)


class Ensemble(nn.Module):
    """Independently trained networks of one architecture; their logits are averaged."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the members, with random weights."""
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(CNN(dataclasses.replace(config, members=1)) for _ in range(config.members))

    def parameter_count(self) -> int:
        """Return the number of trainable parameters of all members."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [N, classes], as a `CNN` does."""
        return torch.stack([member(images) for member in self.members]).mean(dim=0)

    def features(self, images: Tensor) -> Tensor:
        """Return what the members' last layers get, concatenated: float [N, members * D]."""
        return torch.cat([member.features(images) for member in self.members], dim=1)  # type: ignore[operator]

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and the members' features, concatenated, as a `CNN` does."""
        logits, features = zip(*(member.logits_and_features(images) for member in self.members), strict=True)  # type: ignore[operator]
        return torch.stack(logits).mean(dim=0), torch.cat(features, dim=1)


def build(config: ModelConfig) -> CNN | Ensemble:
    """Build a network, with random weights from torch's global generator."""
    return CNN(config) if config.members == 1 else Ensemble(config)


def load_weights(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load weights and buffers; a network on the meta device takes over the tensors, in the layout that is fastest.

    Raises:
        ValueError: they do not fit the network, or are not finite.
    """
    on_meta = any(parameter.is_meta for parameter in network.parameters())
    for name, expected in network.state_dict().items():
        if name in tensors and (tensors[name].dtype != expected.dtype or not tensors[name].isfinite().all()):
            raise ValueError(f"{name} is not finite, or not {expected.dtype}")
    try:
        network.load_state_dict(tensors, assign=on_meta)  # a network from outside may tie its weights
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())) from None
    if on_meta:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def convolution(channels: int, width: int, bits: int) -> nn.Conv2d:
    """Build a 3x3 convolution without bias, its weights of `bits` bits, or floating point if that is 0."""
    return QuantizedConv2d(channels, width, bits) if bits else nn.Conv2d(channels, width, 3, padding=1, bias=False)


def block(convolution: nn.Conv2d | DepthwiseSeparable, downsample: bool) -> list[nn.Module]:
    """Return the layers of a block: convolution, max pooling to downsample, batch norm, ReLU.

    Pooling precedes batch norm and ReLU, which then process a quarter of the positions; a recurrent block is pooled
    after its ReLU. The convolution has no bias, as batch norm has one.
    """
    pool = [nn.MaxPool2d(2)] if downsample else []
    if isinstance(convolution, DepthwiseSeparable):
        return [RecurrentBlock(convolution), *pool]
    return [convolution, *pool, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
