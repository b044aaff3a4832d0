"""Severe corruptions of images, which change what a digit's outline looks like and not only how it was recorded."""

import math

import torch
from torch import Tensor

from mnist_cnn.training.corruptions import Ranges, change_share, dilate, draw_strengths
from mnist_cnn.training.counter_rng import CounterRNG

KINDS: Ranges = {
    "shift x": (-1 / 3, 1 / 3, 0.15),
    "shift y": (-1 / 3, 1 / 3, 0.15),
    "hollow": (1, 1, 0.3),
    "outer": (0.2, 1, 1),
    "inner": (0, 1, 0.6),
    "line": (0.8, 1, 0.3),
    "line width": (0.3, 1.3, 1),
    "zigzag height": (0.05, 0.2, 0.6),
    "zigzag length": (0.1, 0.5, 1),
    "dash": (0.1, 0.25, 0.3),
    "light": (0.3, 0.8, 0.2),
    "light width": (0.1, 0.6, 0.5),
    "band": (1, 1, 0.3),
    "band width": (0.08, 0.35, 0.7),
    "cover": (1, 1, 0.3),
    "cover width": (0.1, 0.35, 1),
    "cover height": (0.1, 0.35, 1),
    "cover x": (0.1, 0.9, 1),
    "cover y": (0.1, 0.9, 1),
    "cover shade": (0, 1, 0.4),
}
"""Minimum, maximum and probability of each kind's strength. Lengths are in widths of the image; a band of width 0 is a
half plane."""

AXES: Ranges = {"angle": (0, math.pi, 0.6), "upright": (0, 1, 1), "side": (0, 1, 1), "offset": (-0.4, 0.4, 1)}
"""Direction and place of a line, an edge of light, a band."""


def corrupt_severely(images: Tensor, share: float, rng: CounterRNG) -> Tensor:
    """Corrupt a share of the images severely: shifted, hollow, crossed out, edges of light, partly inverted or covered.

    Args:
        images: float32 [N, 1, H, W], 0..255, background 0.
        share: probability that an image is corrupted; it then gets some of `KINDS`.
        rng: a stream for each image.

    Returns:
        float32 [N, 1, H, W], 0..255.
    """
    return change_share(images, share, rng, degrade_severely)


def degrade_severely(pixels: Tensor, rng: CounterRNG) -> Tensor:
    """Corrupt images, float32 [N, 1, H, W], 0..1, each by some of `KINDS`."""
    strength, size = draw_strengths(KINDS, rng), (pixels.shape[2], pixels.shape[3])
    pixels = shift(pixels, strength["shift x"], strength["shift y"])
    pixels = torch.where(strength["hollow"] > 0, hollow(pixels, strength["outer"], strength["inner"]), pixels)
    along, across = rotated_axes(size, rng)
    pixels = torch.maximum(pixels, strength["line"] * line(along, across, strength))
    _, across = rotated_axes(size, rng)
    pixels = torch.lerp(pixels, torch.ones_like(pixels), strength["light"] * band(across, strength["light width"]))
    _, across = rotated_axes(size, rng)
    inverted = (strength["band"] > 0) & band(across, strength["band width"])
    return cover(torch.where(inverted, 1 - pixels, pixels), strength)


def shift(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Shift images [N, 1, H, W] by whole pixels, x and y [N, 1, 1, 1] in widths; 0 comes in from outside."""
    for amount, axis in ((y, 2), (x, 3)):
        side = images.shape[axis]
        source = torch.arange(side, device=images.device) - (side * amount.view(-1, 1)).round().long()  # [N, side]
        shape = [len(images), 1, 1, 1]
        shape[axis] = side
        inside = ((source >= 0) & (source < side)).view(shape)
        index = source.clamp(0, side - 1).view(shape).expand_as(images)
        images = images.gather(axis, index) * inside
    return images


def hollow(images: Tensor, outer: Tensor, inner: Tensor) -> Tensor:
    """Replace strokes of images [N, 1, H, W], 0..1, by their outlines: dilation minus ink, ink minus erosion, or both.

    `outer` and `inner`, [N, 1, 1, 1], weigh the two; the lightest pixel becomes 1, unless the outline is empty.
    """
    outline = outer * (dilate(images) - images) + inner * (images + dilate(-images))
    return outline / outline.amax(dim=(2, 3), keepdim=True).clamp(min=0.2)


def rotated_axes(size: tuple[int, int], rng: CounterRNG) -> tuple[Tensor, Tensor]:
    """Draw a line through each image of a size: return each pixel's place along it and distance from it, with its sign.

    Returns:
        float32 [N, 1, H, W] each, in widths of the image.
    """
    axis, (height, width) = draw_strengths(AXES, rng), size
    angle = axis["angle"] + math.pi / 2 * (axis["upright"] > 0.5) + math.pi * (axis["side"] > 0.5)
    x = (torch.arange(width, device=angle.device) - (width - 1) / 2) / width
    y = (torch.arange(height, device=angle.device).view(-1, 1) - (height - 1) / 2) / width
    return angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x - axis["offset"]


def line(along: Tensor, across: Tensor, strength: dict[str, Tensor]) -> Tensor:
    """Draw a straight line, a zigzag, or one of dashes: float32 [N, 1, H, W], 0..1; axes as `rotated_axes` returns."""
    length = strength["zigzag length"]
    wave = strength["zigzag height"] * (4 * (along / length - (along / length + 0.5).floor()).abs() - 1)
    slope = 4 * strength["zigzag height"] / length
    distance = (across - wave).abs() / (1 + slope**2).sqrt() * across.shape[3]  # pixels
    dash = strength["dash"]
    drawn = (dash == 0) | (torch.remainder(along / dash.clamp(min=0.01), 1) < 0.5)
    return (strength["line width"] + 0.5 - distance).clamp(0, 1) * drawn


def cover(images: Tensor, strength: dict[str, Tensor]) -> Tensor:
    """Cover a rectangle of images [N, 1, H, W], 0..1, by a shade (cutout: DeVries, Taylor 2017, arXiv 1708.04552)."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) / width - strength["cover x"]
    y = torch.arange(height, device=images.device).view(-1, 1) / height - strength["cover y"]
    inside = (x.abs() < strength["cover width"] / 2) & (y.abs() < strength["cover height"] / 2)
    return torch.where(inside & (strength["cover"] > 0), strength["cover shade"], images)


def band(across: Tensor, width: Tensor) -> Tensor:
    """Return which pixels lie in a band of a width [N, 1, 1, 1], or beyond its axis if that is 0: bool [N, 1, H, W]."""
    return torch.where(width > 0, across.abs() < width / 2, across > 0)
