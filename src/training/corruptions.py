"""Corruptions of images: the artefacts of cameras, scanners, paper and pens."""

import copy
import functools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.training.counter_rng import CounterRNG

Ranges = Mapping[str, tuple[float, float, float]]
Change = Callable[[Tensor, CounterRNG], Tensor]

CORRUPTIONS: Ranges = {
    "dilation": (0, 1, 0.25),
    "erosion": (0, 0.7, 0.2),
    "blur": (0.3, 1, 0.4),
    "line angle": (0, math.pi, 1),
    "line x": (0.1, 0.9, 1),
    "line y": (0.1, 0.9, 1),
    "line": (0.2, 1, 0.25),
    "line width": (0.8, 1.6, 1),
    "blot x": (0, 1, 1),
    "blot width": (1, 4, 0.2),
    "blot y": (0, 1, 1),
    "blot height": (1, 4, 1),
    "blot": (0, 1, 0.5),
    "illumination": (0.2, 0.8, 0.3),
    "contrast loss": (0, 0.8, 0.5),
    "noise": (0.02, 0.35, 0.4),
    "dead pixels": (0, 0.08, 0.15),
    "background": (0, 1, 1),
    "inversion": (0, 1, 1),
}
"""Minimum strength, maximum strength and probability of each corruption; without it the strength is 0."""


def corrupt(images: Tensor, share: float, rng: CounterRNG) -> Tensor:
    """Corrupt a share of the images with the artefacts of cameras, scanners, paper and pens.

    Args:
        images: float32 [N, 1, H, W], 0..255.
        share: probability that an image is corrupted; it then gets some of `CORRUPTIONS`.
        rng: a stream for each image.

    Returns:
        float32 [N, 1, H, W], 0..255.
    """
    return change_share(images, share, rng, degrade)


def change_share(images: Tensor, share: float, rng: CounterRNG, change: Change) -> Tensor:
    """Change a share of the images [N, 1, H, W], 0..255, by a function of pixels in 0..1 and their streams.

    An accelerator changes copies of all: it would have to wait for the host to learn which are chosen. For a share of 0
    no random number is drawn.
    """
    if not share:
        return images
    chosen = rng.uniform() < share
    if images.device.type != "cpu":
        return torch.where(chosen[:, None, None, None], 255 * change(images / 255, copy.copy(rng)), images)
    if not chosen.any():
        return images
    return images.index_put((chosen.nonzero().squeeze(1),), 255 * change(images[chosen] / 255, rng[chosen]))


def degrade(pixels: Tensor, rng: CounterRNG) -> Tensor:
    """Corrupt images, float32 [N, 1, H, W], 0..1, each by some of `CORRUPTIONS`."""
    device, (height, width) = pixels.device, pixels.shape[2:]
    strength = draw_strengths(CORRUPTIONS, rng)
    rows = torch.arange(height, device=device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=device).view(1, 1, 1, -1)
    pixels = torch.lerp(pixels, dilate(pixels), strength["dilation"])
    pixels = torch.lerp(pixels, -dilate(-pixels), strength["erosion"])
    pixels = torch.lerp(pixels, blur(pixels, rng), strength["blur"])
    angle, x, y = strength["line angle"], columns - width * strength["line x"], rows - height * strength["line y"]
    distance = (angle.cos() * x + angle.sin() * y).abs()
    pixels = torch.maximum(pixels, strength["line"] * (strength["line width"] - distance).clamp(0, 1))
    x, y = columns - width * strength["blot x"], rows - height * strength["blot y"]
    blot = (x.abs() < strength["blot width"]) & (y.abs() < strength["blot height"])
    pixels = torch.where(blot, strength["blot"], pixels)
    light = rng.uniform(1, 3, 3) * strength["illumination"]
    pixels = pixels + F.interpolate(light, (height, width), mode="bilinear", align_corners=True)
    pixels = pixels / pixels.amax(dim=(2, 3), keepdim=True).clamp(min=1)
    pixels = pixels + strength["noise"] * rng.normal(1, height, width)
    drawn, rate = rng.uniform(1, height, width), strength["dead pixels"]
    pixels = torch.where(drawn < rate, 0, torch.where(drawn > 1 - rate, 1, pixels)).clamp(0, 1)
    pixels = torch.lerp(pixels, strength["background"], strength["contrast loss"])
    return torch.where(strength["inversion"] < 0.5, pixels, 1 - pixels)


def draw_strengths(ranges: Ranges, rng: CounterRNG) -> dict[str, Tensor]:
    """Draw the strength of each corruption for each image: [N, 1, 1, 1].

    Args:
        ranges: minimum strength, maximum strength and probability by name; without a corruption its strength is 0.
        rng: a stream for each image.
    """
    low, high, probability = as_tensor(tuple(ranges.values()), rng.keys.device).T
    level, chance = rng.uniform(len(ranges), 2).unbind(dim=2)
    strengths = (low + (high - low) * level) * (chance < probability)
    return dict(zip(ranges, strengths[:, :, None, None, None].unbind(dim=1), strict=True))


@functools.cache
def as_tensor(ranges: tuple[tuple[float, float, float], ...], device: torch.device) -> Tensor:
    """Return ranges as float32 [N, 3], copied to a device once."""
    return torch.tensor(ranges, device=device)


def dilate(images: Tensor) -> Tensor:
    """Dilate images [N, 1, H, W] with a 3x3 square, periodic at the borders."""
    for shift, axis in ((1, 2), (-1, 2), (1, 3), (-1, 3)):
        images = torch.maximum(images, images.roll(shift, axis))
    return images


def blur(images: Tensor, rng: CounterRNG) -> Tensor:
    """Blur each image along a random direction, and less across it, as defocus and motion do."""
    angle, along, across = rng.uniform(3).T
    angle, radius = math.pi * angle, 1 + (2 * along).round()
    return blur_along(blur_along(images, angle, radius), angle + math.pi / 2, (radius * across).round())


def blur_along(images: Tensor, angle: Tensor, radius: Tensor) -> Tensor:
    """Replace each pixel by the mean of the 2 * radius + 1 pixels around it along a direction.

    Args:
        images: float [N, 1, H, W]; 0 outside.
        angle: [N], radians.
        radius: [N], 0..3 pixels.

    Returns:
        float [N, 1, H, W].
    """
    steps = torch.arange(-3.0, 4.0, device=images.device)
    row, column = ((steps * part[:, None]).round() + 3 for part in (angle.sin(), angle.cos()))
    weight = (steps.abs() <= radius[:, None]) / (2 * radius[:, None] + 1)
    kernels = torch.zeros(len(images), 49, device=images.device)
    kernels.scatter_add_(1, (7 * row + column).long(), weight)
    blurred = F.conv2d(images.transpose(0, 1), kernels.view(-1, 1, 7, 7), padding=3, groups=len(images))
    return blurred.transpose(0, 1)
