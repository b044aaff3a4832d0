"""Augmentation of a whole batch on its device. Digits are never flipped: a mirrored 2 is not a 2."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.common.errors import InputError
from mnist_cnn.training.counter_rng import CounterRNG

CORRUPTIONS = {
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

MAXIMA = {"rotation": 180, "shift": 0.5, "scale": 0.9, "shear": 2, "elastic": 0.5, "serif": 1, "degrade": 1}


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

    def __post_init__(self) -> None:
        """Check the limits."""
        for name, most in MAXIMA.items():
            if not 0 <= (limit := getattr(self, name)) <= most:
                raise InputError(f"--augment.{name} {limit} is outside 0..{most}; choose a value in it")


def distort(images: Tensor, config: AugmentConfig, rng: CounterRNG) -> Tensor:
    """Transform every image at random and corrupt a share of them; arguments and result as in the two functions."""
    return corrupt(random_affine(images, config, rng), config.degrade, rng)


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


def corrupt(images: Tensor, share: float, rng: CounterRNG) -> Tensor:
    """Corrupt a share of the images with the artefacts of cameras, scanners, paper and pens.

    Args:
        images: float32 [N, 1, H, W], 0..255.
        share: probability that an image is corrupted; it then gets some of `CORRUPTIONS`.
        rng: a stream for each image.

    Returns:
        float32 [N, 1, H, W], 0..255.
    """
    chosen = rng.uniform() < share
    if not chosen.any():
        return images
    pixels, rng, device = images[chosen] / 255, rng[chosen], images.device
    height, width = pixels.shape[2:]
    strength = draw_strengths(rng)
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
    pixels = torch.where(strength["inversion"] < 0.5, pixels, 1 - pixels)
    return images.index_put((chosen.nonzero().squeeze(1),), 255 * pixels)


def draw_strengths(rng: CounterRNG) -> dict[str, Tensor]:
    """Draw the strength of each of `CORRUPTIONS` for each image: [N, 1, 1, 1]."""
    low, high, probability = torch.tensor(list(CORRUPTIONS.values()), device=rng.keys.device).T
    level, chance = rng.uniform(len(CORRUPTIONS), 2).unbind(dim=2)
    strengths = (low + (high - low) * level) * (chance < probability)
    return dict(zip(CORRUPTIONS, strengths[:, :, None, None, None].unbind(dim=1), strict=True))


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


def serif_ones(ones: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw a flag, and sometimes a foot, on a share of the ones: rare in MNIST, common elsewhere.

    Args:
        ones: uint8 [N, 1, H, W], images of the digit 1.
        share: probability that an image is changed.
        generator: a CPU generator.

    Returns:
        uint8 [N, 1, H, W].
    """
    count, _, height, width = ones.shape
    foreground = (ones > 127).any(dim=3).squeeze(1)  # [N, H]
    top, bottom = foreground.int().argmax(dim=1), height - 1 - foreground.flip(1).int().argmax(dim=1)

    def centre(row: Tensor) -> Tensor:
        """Return the centre of mass of a row of each image: x, [N]."""
        mass = ones[torch.arange(count), 0, row].float()
        return (mass * torch.arange(width, dtype=torch.float32)).sum(dim=1) / mass.sum(dim=1).clamp(min=1)

    def draw(low: float, high: float) -> Tensor:
        """Draw a number for each image: [N]."""
        return low + (high - low) * torch.rand(count, generator=generator)

    radius, angle, length = draw(0.8, 1.6), draw(0.45, 1.2), draw(4, 10)
    x, y = centre(top), top.float()
    flag = draw_line((x, y), (x - length * angle.cos(), y + length * angle.sin()), radius, height, width)
    x, y, left, right = centre(bottom), bottom.float(), draw(2, 6), draw(2, 6)
    foot = draw_line((x - left, y), (x + right, y), radius, height, width)
    foot[draw(0, 1) > 0.4] = 0
    changed = torch.maximum(ones, torch.maximum(flag, foot)[:, None])
    return torch.where((draw(0, 1) < share).view(-1, 1, 1, 1), changed, ones)


def draw_line(
    start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], radius: Tensor, height: int, width: int
) -> Tensor:
    """Draw a line from start to end, x and y [N] each, of half its width `radius` [N]: uint8 [N, H, W]."""
    x, y = torch.arange(float(width)), torch.arange(float(height))[:, None]
    (x0, y0), (x1, y1) = ([value.view(-1, 1, 1) for value in point] for point in (start, end))
    dx, dy = x1 - x0, y1 - y0
    nearest = ((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2).clamp(min=1e-6)
    nearest = nearest.clamp(0, 1)  # share of the way from start to end
    distance = torch.hypot(x - x0 - nearest * dx, y - y0 - nearest * dy)
    return (255 * (radius.view(-1, 1, 1) + 0.5 - distance).clamp(0, 1)).to(torch.uint8)
