"""Severe corruptions of images, which change what a digit's outline looks like and not only how it was recorded."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.training.corruptions import Ranges, blur_along, change_share, dilate, draw_strengths
from mnist_cnn.training.counter_rng import CounterRNG

KINDS: Ranges = {
    "cells": (12, 28, 0.2),
    "zoom x": (0.9, 1.5, 1),
    "zoom y": (0.9, 1.5, 1),
    "level": (0.3, 0.7, 0.6),
    "jitter": (0.6, 1.8, 0.1),
    "motion": (1, 3, 0.1),
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
    "fog": (0.3, 0.75, 0.12),
    "spatter": (0.8, 1.6, 0.1),
    "spatter shade": (0, 1, 1),
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
    "noise": (0.2, 0.6, 0.1),
}
"""Minimum, maximum and probability of each kind's strength. Lengths are in widths of the image, those of jitter and
motion in pixels; spatter lies where smooth noise is larger; a band of width 0 is a half plane."""

AXES: Ranges = {"angle": (0, math.pi, 0.6), "upright": (0, 1, 1), "side": (0, 1, 1), "offset": (-0.4, 0.4, 1)}
"""Direction and place of a line, an edge of light, a band."""


def corrupt_severely(images: Tensor, share: float, rng: CounterRNG) -> Tensor:
    """Corrupt a share of the images severely: scanned, smeared, shifted, hollow, crossed out, in fog, partly covered.

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
    pixels = torch.where(strength["cells"] > 0, scan(pixels, strength), pixels)
    pixels = smear(jitter(pixels, strength["jitter"], rng), strength["motion"], rng)
    pixels = shift(pixels, strength["shift x"], strength["shift y"])
    pixels = torch.where(strength["hollow"] > 0, hollow(pixels, strength["outer"], strength["inner"]), pixels)
    along, across = rotated_axes(size, rng)
    pixels = torch.maximum(pixels, strength["line"] * line(along, across, strength))
    fog = F.interpolate(rng.uniform(1, 5, 5), size, mode="bicubic", align_corners=True).clamp(0, 1)
    pixels = torch.lerp(pixels, fog, strength["fog"])
    spots = F.interpolate(rng.normal(1, 10, 10), size, mode="bicubic", align_corners=True)
    spotted = (strength["spatter"] > 0) & (spots > strength["spatter"])
    pixels = torch.where(spotted, strength["spatter shade"], pixels)
    _, across = rotated_axes(size, rng)
    pixels = torch.lerp(pixels, torch.ones_like(pixels), strength["light"] * band(across, strength["light width"]))
    _, across = rotated_axes(size, rng)
    inverted = (strength["band"] > 0) & band(across, strength["band width"])
    pixels = cover(torch.where(inverted, 1 - pixels, pixels), strength)
    return (pixels + strength["noise"] * rng.normal(1, *size)).clamp(0, 1)


def scan(images: Tensor, strength: dict[str, Tensor]) -> Tensor:
    """Scan images [N, 1, H, W], 0..1, zoomed, with few cells a side and enlarge them without smoothing; some binary."""
    for axis, zoom in ((2, strength["zoom y"]), (3, strength["zoom x"])):
        side = images.shape[axis]
        cells = strength["cells"].round().clamp(min=1).view(-1, 1)
        cell = ((torch.arange(side, device=images.device) + 0.5) * cells / side).floor()  # [N, side]
        centre = ((cell + 0.5) / cells - 0.5) / zoom.view(-1, 1) + 0.5  # of the cell in the image, in widths
        index = (centre * side).floor().long().clamp(0, side - 1)
        images = images.gather(axis, across_axis(index, axis).expand_as(images))
    return torch.where(strength["level"] > 0, (images > strength["level"]).float(), images)


def jitter(images: Tensor, distance: Tensor, rng: CounterRNG) -> Tensor:
    """Replace each pixel of images [N, 1, H, W] by one at most about `distance` [N, 1, 1, 1] away, as glass does."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(-1, 1)
    columns = torch.arange(width, device=images.device)
    offset = (distance * rng.uniform(2, height, width, low=-1)).round().long()
    index = (rows + offset[:, :1]).clamp(0, height - 1) * width + (columns + offset[:, 1:]).clamp(0, width - 1)
    return images.flatten(2).gather(2, index.flatten(2)).view_as(images)


def smear(images: Tensor, radius: Tensor, rng: CounterRNG) -> Tensor:
    """Smear images [N, 1, H, W] along a random direction, by two boxes of `radius` [N, 1, 1, 1], 0..3 pixels."""
    angle, whole = math.pi * rng.uniform(), radius.view(-1).round()
    return blur_along(blur_along(images, angle, whole), angle, whole)


def shift(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Shift images [N, 1, H, W] by whole pixels, x and y [N, 1, 1, 1] in widths; 0 comes in from outside."""
    for amount, axis in ((y, 2), (x, 3)):
        side = images.shape[axis]
        source = torch.arange(side, device=images.device) - (side * amount.view(-1, 1)).round().long()  # [N, side]
        inside = (source >= 0) & (source < side)
        index = across_axis(source.clamp(0, side - 1), axis).expand_as(images)
        images = images.gather(axis, index) * across_axis(inside, axis)
    return images


def across_axis(values: Tensor, axis: int) -> Tensor:
    """Lay out values [N, side] of each image's rows (axis 2) or columns (3): [N, 1, side, 1] or [N, 1, 1, side]."""
    return values[:, None, :, None] if axis == 2 else values[:, None, None]


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
