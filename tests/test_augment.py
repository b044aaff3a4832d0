"""Distortions against plain tensor operations."""

import pytest
import torch
from torch import Tensor

from mnist_cnn.augment import AugmentConfig, random_affine
from mnist_cnn.data_loader import Dataset
from mnist_cnn.errors import InputError

NOTHING = AugmentConfig(rotation=0, shift=0, scale=0, shear=0)


def distort(images: Tensor, config: AugmentConfig, seed: int = 0) -> Tensor:
    return random_affine(images, config, torch.Generator().manual_seed(seed))


def test_no_distortion_changes_nothing(digits: Dataset) -> None:
    images = digits.train.images[:50]
    distorted = distort(images, NOTHING)
    assert distorted.dtype == torch.float32
    torch.testing.assert_close(distorted, images.float(), atol=0, rtol=0)


def test_hardly_any_distortion_changes_hardly_anything(digits: Dataset) -> None:
    images = digits.train.images[:50]
    hardly = AugmentConfig(rotation=1e-6, shift=1e-8, scale=1e-8, shear=1e-8)
    torch.testing.assert_close(distort(images, hardly), images.float(), atol=1e-2, rtol=0)


def test_one_seed_gives_one_result_and_another_gives_another(digits: Dataset) -> None:
    images = digits.train.images[:50]
    assert torch.equal(distort(images, AugmentConfig()), distort(images, AugmentConfig()))
    assert not torch.equal(distort(images, AugmentConfig()), distort(images, AugmentConfig(), seed=1))


def test_shift_moves_a_blob_at_most_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 13:15, 13:15] = 255
    distorted = distort(images, AugmentConfig(rotation=0, shift=0.1, scale=0, shear=0))
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    total = distorted.sum(dim=(1, 2, 3))
    for axis in (rows, columns):
        moved = (distorted[:, 0] * axis).sum(dim=(1, 2)) / total - 13.5
        assert moved.abs().max() <= 2.8 + 1e-3
        assert moved.min() < -2.5
        assert moved.max() > 2.5


def test_rotation_keeps_ink_and_centre_and_stays_in_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 13:15, 4:24] = 255  # a bar along x
    distorted = distort(images, AugmentConfig(rotation=30, shift=0, scale=0, shear=0))[:, 0]
    rows, columns = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    angle = 0.5 * torch.atan2(
        2 * (distorted * rows * columns).sum((1, 2)), (distorted * (columns**2 - rows**2)).sum((1, 2))
    )
    assert 28 < torch.rad2deg(angle).abs().max() <= 30.5
    torch.testing.assert_close(distorted.sum((1, 2)), images.sum((1, 2, 3)), rtol=0.02, atol=0)


def test_scale_changes_area_within_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 9:19, 9:19] = 255
    area = distort(images, AugmentConfig(rotation=0, shift=0, scale=0.2, shear=0)).sum((1, 2, 3)) / (255 * 100)
    assert 0.8**2 - 0.02 <= area.min() < 0.7
    assert 1.4 < area.max() <= 1.2**2 + 0.02


@pytest.mark.parametrize("limits", [{"rotation": -1}, {"shift": 0.6}, {"scale": 1}, {"shear": float("nan")}])
def test_impossible_limits_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"--augment.{next(iter(limits))}"):
        AugmentConfig(**limits)
