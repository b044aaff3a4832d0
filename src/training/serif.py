"""Ones with a flag and a foot, which MNIST's writers left out."""

import torch
from torch import Tensor


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
