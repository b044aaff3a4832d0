"""The spotter's network: fully convolutional, with a heat map of centres per class (CenterNet: Zhou et al. 2019)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_cnn.pictures.detections import CLASSES

STEM, FINE, COARSE = 16, 32, 64  # channels at stride 2, 4 and 8
DILATIONS = (1, 2, 4)  # of the blocks at stride 8, whose receptive field is about 300 pixels
PRIOR_LOGIT = -4.6  # of a centre: a probability of 0.01 (Lin et al. 2017, "Focal loss", section 4.1)
BOX_WEIGHT, CLASS_WEIGHT = 0.5, 0.2  # of the loss of boxes, and of the cross-entropy at centres


class Block(nn.Module):
    """A residual block of two 3x3 convolutions (He et al. 2016), the first one dilated."""

    def __init__(self, channels: int, dilation: int) -> None:
        """Build the layers."""
        super().__init__()
        self.first = convolution(channels, channels, 3, 1, dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, H, W] to the same shape."""
        return F.relu(features + cast(Tensor, self.norm(self.second(self.first(features)))))


def convolution(inputs: int, outputs: int, size: int, stride: int, dilation: int = 1) -> nn.Sequential:
    """Build a padded convolution with batch norm and ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, stride, dilation * (size // 2), dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class SpotterNet(nn.Module):
    """Detects digits: details at stride 4, context at stride 8, one 1x1 convolution as the head."""

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        self.fine = nn.Sequential(convolution(1, STEM, 5, 2), convolution(STEM, FINE, 3, 2), Block(FINE, 1))
        blocks = [Block(COARSE, dilation) for dilation in DILATIONS]
        self.coarse = nn.Sequential(convolution(FINE, COARSE, 3, 2), *blocks)
        self.upwards = nn.Conv2d(COARSE, FINE, 1)
        self.merged = Block(FINE, 1)
        self.head = nn.Conv2d(FINE, CLASSES + 4, 1)
        with torch.no_grad():
            cast(Tensor, self.head.bias)[:CLASSES] = PRIOR_LOGIT

    def forward(self, contrast: Tensor) -> Tensor:
        """Map local contrast to heat maps and boxes.

        Args:
            contrast: float32 [N, 1, H, W], as `local_contrast` returns it; H and W are multiples of 8.

        Returns:
            float32 [N, 14, H / 4, W / 4]: the logit of a centre of each class; x and y of the centre from the middle of
            its cell, in cells; logarithms of the box's width and height, in cells.
        """
        fine = self.fine(contrast)  # [N, 32, H / 4, W / 4]
        coarse = self.upwards(self.coarse(fine))  # [N, 32, H / 8, W / 8]
        merged = self.merged(fine + F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        return cast(Tensor, self.head(merged))


def spotter_loss(output: Tensor, heatmaps: Tensor, mask: Tensor, centres: Tensor, boxes: Tensor) -> Tensor:
    """Return focal loss of the heat maps, L1 loss of the boxes and cross-entropy of the classes, per digit.

    The first two are those of CornerNet (Law, Deng 2018, equation 1) and CenterNet (section 3).

    Args:
        output: of the network, float32 [N, 14, h, w].
        heatmaps: targets, float32 [N, 10, h, w], 1 at centres, less around them.
        mask: float32 [N, h, w], 0 where detections are ignored, else 1.
        centres: image, class, row and column of each centre, int64 [K, 4].
        boxes: targets of the last four channels at the centres, float32 [K, 4].
    """
    logits = output[:, :CLASSES]
    probability = logits.sigmoid()
    positive = (1 - probability) ** 2 * F.logsigmoid(logits) * (heatmaps == 1)
    negative = (1 - heatmaps) ** 4 * probability**2 * F.logsigmoid(-logits) * (heatmaps < 1)
    focal = (-(positive + negative) * mask[:, None]).sum()
    image, label, row, column = centres.unbind(dim=1)
    at_centres = output[image, :, row, column]  # [K, 14]
    box = F.l1_loss(at_centres[:, CLASSES:], boxes, reduction="sum")
    entropy = F.cross_entropy(at_centres[:, :CLASSES], label, reduction="sum")
    return (focal + BOX_WEIGHT * box + CLASS_WEIGHT * entropy) / max(len(centres), 1)
