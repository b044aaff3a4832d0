"""Random distortions of a whole batch on its device. Digits are never flipped: a mirrored 2 is not a 2."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.common.errors import InputError
from mnist_cnn.training.counter_rng import CounterRNG

CORRUPTIONS = {
    "thicker": (0, 1, 0.25),
    "thinner": (0, 0.7, 0.2),
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
    "light": (0.2, 0.8, 0.3),
    "contrast lost": (0, 0.8, 0.5),
    "noise": (0.02, 0.35, 0.4),
    "dead pixels": (0, 0.08, 0.15),
    "paper": (0, 1, 1),
    "inverted": (0, 1, 1),
}
"""What corrupts an image: the least and the largest strength, and the probability of being drawn at all (else 0)."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far each training image may be moved: every value is drawn evenly from -limit to +limit."""

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
        for name, limit, most in (
            ("rotation", self.rotation, 180),
            ("shift", self.shift, 0.5),
            ("scale", self.scale, 0.9),
            ("shear", self.shear, 2),
            ("elastic", self.elastic, 0.5),
            ("serif", self.serif, 1),
            ("degrade", self.degrade, 1),
        ):
            if not 0 <= limit <= most:
                raise InputError(f"--augment.{name} {limit} is outside 0..{most}; choose a value in it")


def distort(images: Tensor, config: AugmentConfig, rng: CounterRNG) -> Tensor:
    """Distort a batch as a training step does: moved, then some of it degraded.

    Args:
        images: [N, 1, H, W], any dtype, 0..255, background 0.
        config: how much.
        rng: random numbers for each of the images.

    Returns:
        float32 [N, 1, H, W], 0..255.
    """
    return corrupt(random_affine(images, config, rng), config.degrade, rng)


def random_affine(images: Tensor, config: AugmentConfig, rng: CounterRNG) -> Tensor:
    """Rotate, shift, scale and slant each image by its own random amounts; what moves in is background.

    Args:
        images: [N, 1, H, W], any dtype, background 0.
        config: the limits.
        rng: random numbers for each of the images.

    Returns:
        float32 [N, 1, H, W], bilinearly sampled; not at all where every limit is 0.
    """
    if not any((config.rotation, config.shift, config.scale, config.shear, config.elastic)):
        return images.float()
    rotation, scale, shear, shift_x, shift_y = rng.uniform(5, low=-1).T
    angle = rotation * math.radians(config.rotation)
    size = 1 + scale * config.scale
    cos, sin = angle.cos() / size, angle.sin() / size
    slant = shear * config.shear
    move_x, move_y = 2 * config.shift * shift_x, 2 * config.shift * shift_y  # affine_grid's width is 2
    rows = [cos, slant * cos - sin, move_x, sin, slant * sin + cos, move_y]
    weights = torch.stack(rows, dim=1).view(-1, 2, 3)
    height, width = images.shape[2:]
    surfaces = plane(height, width, images.device)
    if config.elastic:
        weights = torch.cat([weights, 2 * config.elastic * rng.uniform(2, 16, low=-1)], dim=2)
        surfaces = torch.cat([surfaces, hills(height, width, images.device)])
    grid = (weights.flatten(0, 1) @ surfaces.flatten(1)).view(-1, 2, height, width)
    return F.grid_sample(images.float(), grid.permute(0, 2, 3, 1), align_corners=False)


def plane(height: int, width: int, device: torch.device) -> Tensor:
    """Return x, y and 1 of every pixel, x and y from -1 to 1: float32 [3, height, width]."""
    identity = torch.eye(2, 3, device=device).unsqueeze(0)
    x, y = F.affine_grid(identity, [1, 1, height, width], align_corners=False).squeeze(0).unbind(dim=2)
    return torch.stack([x, y, torch.ones_like(x)])


def hills(height: int, width: int, device: torch.device) -> Tensor:
    """Raise each point of a 4x4 grid to 1 by itself, bicubic in between: float32 [16, height, width]."""
    points = torch.eye(16, device=device).view(16, 1, 4, 4)
    return F.interpolate(points, (height, width), mode="bicubic", align_corners=True).squeeze(1)


def corrupt(images: Tensor, share: float, rng: CounterRNG) -> Tensor:
    """Corrupt some of the images the way cameras, scanners, paper and pens do.

    Each corrupted image gets a few of: thicker or thinner strokes, blur, a line across, a blot, uneven light, less
    contrast, sensor noise, dead pixels, light and dark exchanged.

    Args:
        images: float32 [N, 1, H, W], 0..255.
        share: probability of an image being corrupted.
        rng: random numbers for each of the images.

    Returns:
        float32 [N, 1, H, W], 0..255.
    """
    corrupted = rng.uniform() < share
    if not corrupted.any():
        return images
    ink, rng, device = images[corrupted] / 255, rng[corrupted], images.device
    height, width = ink.shape[2:]
    strength = strengths(rng)
    rows = torch.arange(height, device=device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=device).view(1, 1, 1, -1)
    ink = torch.lerp(ink, thicken(ink), strength["thicker"])
    ink = torch.lerp(ink, -thicken(-ink), strength["thinner"])
    ink = torch.lerp(ink, blur(ink, rng), strength["blur"])
    angle, x, y = strength["line angle"], columns - width * strength["line x"], rows - height * strength["line y"]
    away = (angle.cos() * x + angle.sin() * y).abs()
    ink = torch.maximum(ink, strength["line"] * (strength["line width"] - away).clamp(0, 1))
    beside, below = columns - width * strength["blot x"], rows - height * strength["blot y"]
    blot = (beside.abs() < strength["blot width"]) & (below.abs() < strength["blot height"])
    ink = torch.where(blot, strength["blot"], ink)
    light = rng.uniform(1, 3, 3) * strength["light"]
    ink = ink + F.interpolate(light, (height, width), mode="bilinear", align_corners=True)
    ink = ink / ink.amax(dim=(2, 3), keepdim=True).clamp(min=1)
    ink = ink + strength["noise"] * rng.normal(1, height, width)
    dead, rate = rng.uniform(1, height, width), strength["dead pixels"]
    ink = torch.where(dead < rate, 0, torch.where(dead > 1 - rate, 1, ink)).clamp(0, 1)
    ink = torch.lerp(ink, strength["paper"], strength["contrast lost"])
    ink = torch.where(strength["inverted"] < 0.5, ink, 1 - ink)
    return images.index_put((corrupted.nonzero().squeeze(1),), 255 * ink)


def strengths(rng: CounterRNG) -> dict[str, Tensor]:
    """Draw the strength of everything in `CORRUPTIONS` for each image: [N, 1, 1, 1]."""
    low, high, chance = torch.tensor(list(CORRUPTIONS.values()), device=rng.keys.device).T
    share, luck = rng.uniform(len(CORRUPTIONS), 2).unbind(dim=2)
    drawn = (low + (high - low) * share) * (luck < chance)
    return dict(zip(CORRUPTIONS, drawn[:, :, None, None, None].unbind(dim=1), strict=True))


def serif_ones(ones: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Give some ones a flag, and some of these a foot: MNIST's writers hardly used them, many people do.

    Args:
        ones: uint8 [N, 1, H, W], images of the digit 1.
        share: probability of an image being changed.
        generator: a CPU generator.

    Returns:
        uint8 [N, 1, H, W].
    """
    count, _, height, width = ones.shape
    inked = (ones > 127).any(dim=3).squeeze(1)  # [N, H]
    top, bottom = inked.int().argmax(dim=1), height - 1 - inked.flip(1).int().argmax(dim=1)
    columns = torch.arange(width, dtype=torch.float32)

    def middle(row: Tensor) -> Tensor:
        """Return where a row's ink is: [N]."""
        ink = ones[torch.arange(count), 0, row].float()
        return (ink * columns).sum(dim=1) / ink.sum(dim=1).clamp(min=1)

    def draw(low: float, high: float) -> Tensor:
        """Draw a number for each image: [N]."""
        return low + (high - low) * torch.rand(count, generator=generator)

    thick, angle, length = draw(0.8, 1.6), draw(0.45, 1.2), draw(4, 10)
    x, y = middle(top), top.float()
    flag = stroke((x, y), (x - length * angle.cos(), y + length * angle.sin()), thick, height, width)
    x, y, left, right = middle(bottom), bottom.float(), draw(2, 6), draw(2, 6)
    foot = stroke((x - left, y), (x + right, y), thick, height, width)
    foot[draw(0, 1) > 0.4] = 0
    changed = torch.maximum(ones, torch.maximum(flag, foot)[:, None])
    return torch.where((draw(0, 1) < share).view(-1, 1, 1, 1), changed, ones)


def stroke(start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], thick: Tensor, height: int, width: int) -> Tensor:
    """Draw a straight stroke from start to end, each x and y [N], `thick` [N] to either side: uint8 [N, H, W]."""
    x, y = torch.arange(float(width)), torch.arange(float(height))[:, None]
    (x0, y0), (x1, y1) = ([place.view(-1, 1, 1) for place in point] for point in (start, end))
    along_x, along_y = x1 - x0, y1 - y0
    share = ((x - x0) * along_x + (y - y0) * along_y) / (along_x**2 + along_y**2).clamp(min=1e-6)
    share = share.clamp(0, 1)
    away = torch.hypot(x - x0 - share * along_x, y - y0 - share * along_y)
    return (255 * (thick.view(-1, 1, 1) + 0.5 - away).clamp(0, 1)).to(torch.uint8)


def thicken(images: Tensor) -> Tensor:
    """Give each pixel the largest value in the 3x3 square around it; the sides of an image meet."""
    for shift, axis in ((1, 2), (-1, 2), (1, 3), (-1, 3)):
        images = torch.maximum(images, images.roll(shift, axis))
    return images


def blur(images: Tensor, rng: CounterRNG) -> Tensor:
    """Smear each image along its own direction, less so across it: a lens out of focus, a hand that moved."""
    angle, along, across = rng.uniform(3).T
    angle, longest = math.pi * angle, 1 + (2 * along).round()
    return smear(smear(images, angle, longest), angle + math.pi / 2, (longest * across).round())


def smear(images: Tensor, angle: Tensor, reach: Tensor) -> Tensor:
    """Give each pixel the mean of those up to `reach` pixels, at most 3, to either side along an angle.

    Args:
        images: float [N, 1, H, W]; around them is 0.
        angle: [N], radians.
        reach: [N], 0..3 pixels.

    Returns:
        As images.
    """
    steps = torch.arange(-3.0, 4.0, device=images.device)
    row, column = ((steps * part[:, None]).round() + 3 for part in (angle.sin(), angle.cos()))
    weight = (steps.abs() <= reach[:, None]) / (2 * reach[:, None] + 1)
    kernels = torch.zeros(len(images), 49, device=images.device)
    kernels.scatter_add_(1, (7 * row + column).long(), weight)
    smeared = F.conv2d(images.transpose(0, 1), kernels.view(-1, 1, 7, 7), padding=3, groups=len(images))
    return smeared.transpose(0, 1)
