"""Augmentation of a whole batch on its device. Digits are never flipped: a mirrored 2 is not a 2."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.common.errors import InputError
from mnist_cnn.training.corruptions import corrupt
from mnist_cnn.training.counter_rng import CounterRNG
from mnist_cnn.training.severe import corrupt_severely

MAXIMA = {
    "rotation": 180,
    "shift": 0.5,
    "scale": 0.9,
    "shear": 2,
    "elastic": 0.5,
    "serif": 1,
    "degrade": 1,
    "severe": 1,
}


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Limits of the random transform of each training image, drawn uniformly from -limit to +limit."""

    rotation: float = 12.0
    """Largest rotation, in degrees."""
    shift: float = 0.06
    """Largest shift along each axis, as a share of the image's width."""
    scale: float = 0.15
    """Largest change of size, as a share of it."""
    shear: float = 0.12
    """Largest slant: sideways pixels for each pixel upwards."""
    elastic: float = 0.04
    """Largest shift of each point of a 4x4 grid, bicubic in between, as a share of the image's width."""
    serif: float = 0.25
    """Share of the ones that get a flag, and perhaps a foot; of digits only."""
    degrade: float = 0.25
    """Share of the images that are corrupted: noise, blur, light, lines, strokes thickened or thinned."""
    severe: float = 0.0
    """Share of the images that are corrupted severely: few pixels, smears, far shifts, outlines, lines across."""

    def __post_init__(self) -> None:
        """Check the limits."""
        for name, most in MAXIMA.items():
            if not 0 <= (limit := getattr(self, name)) <= most:
                raise InputError(f"--augment.{name} {limit} is outside 0..{most}; choose a value in it")


def distort(images: Tensor, config: AugmentConfig, rng: CounterRNG) -> Tensor:
    """Transform every image at random and corrupt a share of them; arguments and result as in the three functions."""
    images = random_affine(images, config, rng)
    images = corrupt_severely(images, config.severe, rng)
    return corrupt(images, config.degrade, rng)


def random_affine(images: Tensor, config: AugmentConfig, rng: CounterRNG) -> Tensor:
    """Apply a random affine and elastic transform to each image.

    Args:
        images: [N, 1, H, W], any dtype, background 0.
        config: the limits; if all are 0, the images are not resampled.
        rng: a stream for each image.

    Returns:
        float32 [N, 1, H, W], sampled bilinearly, 0 outside the image.
    """
    if not any((config.rotation, config.shift, config.scale, config.shear, config.elastic)):
        return images.float()
    height, width = images.shape[2:]
    rotation, scale, shear, shift_x, shift_y = rng.uniform(5, low=-1).T
    angle, size, slant = rotation * math.radians(config.rotation), 1 + scale * config.scale, shear * config.shear
    cos, sin = angle.cos() / size, angle.sin() / size
    move_x, move_y = 2 * config.shift * shift_x, 2 * config.shift * shift_y  # grid_sample's coordinates span 2
    rows = [cos, slant * cos - sin, move_x, sin, slant * sin + cos, move_y]
    weights = torch.stack(rows, dim=1).view(-1, 2, 3)
    basis = affine_basis(height, width, images.device)
    if config.elastic:
        weights = torch.cat([weights, 2 * config.elastic * rng.uniform(2, 16, low=-1)], dim=2)
        basis = torch.cat([basis, elastic_basis(height, width, images.device)])
    grid = (weights.flatten(0, 1) @ basis.flatten(1)).view(-1, 2, height, width)
    return F.grid_sample(images.float(), grid.permute(0, 2, 3, 1), align_corners=False)


def affine_basis(height: int, width: int, device: torch.device) -> Tensor:
    """Return x, y and 1 for every pixel, x and y from -1 to 1: float32 [3, height, width]."""
    identity = torch.eye(2, 3, device=device).unsqueeze(0)
    x, y = F.affine_grid(identity, [1, 1, height, width], align_corners=False).squeeze(0).unbind(dim=2)
    return torch.stack([x, y, torch.ones_like(x)])


def elastic_basis(height: int, width: int, device: torch.device) -> Tensor:
    """Return the bicubic basis function of each point of a 4x4 grid: float32 [16, height, width]."""
    points = torch.eye(16, device=device).view(16, 1, 4, 4)
    return F.interpolate(points, (height, width), mode="bicubic", align_corners=True).squeeze(1)
