"""Random distortions of a whole batch on its device. Digits are never flipped: a mirrored 2 is not a 2."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far each training image may be moved: every value is drawn evenly from -limit to +limit."""

    rotation: float = 10.0
    """Largest rotation, in degrees."""
    shift: float = 0.08
    """Largest shift along each axis, as a share of the image's width."""
    scale: float = 0.1
    """Largest change of size, as a share of it."""
    shear: float = 0.12
    """Largest slant: sideways pixels for each pixel upwards."""

    def __post_init__(self) -> None:
        """Check the limits."""
        for name, limit, most in (
            ("rotation", self.rotation, 180),
            ("shift", self.shift, 0.5),
            ("scale", self.scale, 0.9),
            ("shear", self.shear, 2),
        ):
            if not 0 <= limit <= most:
                raise InputError(f"--augment.{name} {limit} is outside 0..{most}; choose a value in it")


def random_affine(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Rotate, shift, scale and slant each image by its own random amounts; what moves in is background.

    Args:
        images: [N, 1, H, W], any dtype, background 0.
        config: the limits.
        generator: a CPU generator, so that every device draws the same numbers.

    Returns:
        float32 [N, 1, H, W], bilinearly sampled; not at all where every limit is 0.
    """
    if config == AugmentConfig(rotation=0, shift=0, scale=0, shear=0):
        return images.float()
    rotation, scale, shear, shift_x, shift_y = torch.empty(5, len(images)).uniform_(-1, 1, generator=generator)
    angle = rotation * math.radians(config.rotation)
    size = 1 + scale * config.scale
    cos, sin = angle.cos() / size, angle.sin() / size
    slant = shear * config.shear
    move_x, move_y = 2 * config.shift * shift_x, 2 * config.shift * shift_y  # affine_grid's width is 2
    rows = [cos, slant * cos - sin, move_x, sin, slant * sin + cos, move_y]
    theta = torch.stack(rows, dim=1).view(-1, 2, 3).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, align_corners=False)
