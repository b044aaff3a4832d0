"""Distortions against plain tensor operations."""

import pytest
import torch
from torch import Tensor

from mnist_cnn.common.errors import InputError
from mnist_cnn.splits import Dataset
from mnist_cnn.training.augment import AugmentConfig, distort, random_affine
from mnist_cnn.training.counter_rng import CounterRNG


def only(**limits: float) -> AugmentConfig:
    """Switch everything off but what is named."""
    off = dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0)
    return AugmentConfig(**off | limits)


NOTHING = only()


def moved(images: Tensor, config: AugmentConfig, seed: int = 0) -> Tensor:
    return random_affine(images, config, rng_for(images, seed))


def rng_for(images: Tensor, seed: int = 0) -> CounterRNG:
    return CounterRNG.for_images(seed, 1, torch.arange(len(images)))


def test_no_distortion_changes_nothing(digits: Dataset) -> None:
    images = digits.train.images[:50]
    distorted = moved(images, NOTHING)
    assert distorted.dtype == torch.float32
    torch.testing.assert_close(distorted, images.float(), atol=0, rtol=0)


def test_hardly_any_distortion_changes_hardly_anything(digits: Dataset) -> None:
    images = digits.train.images[:50]
    hardly = only(rotation=1e-6, shift=1e-8, scale=1e-8, shear=1e-8, elastic=1e-8)
    torch.testing.assert_close(moved(images, hardly), images.float(), atol=1e-2, rtol=0)


def test_one_seed_gives_one_result_and_another_gives_another(digits: Dataset) -> None:
    images = digits.train.images[:50]
    assert torch.equal(moved(images, AugmentConfig()), moved(images, AugmentConfig()))
    assert not torch.equal(moved(images, AugmentConfig()), moved(images, AugmentConfig(), seed=1))


def test_shift_moves_a_blob_at_most_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 13:15, 13:15] = 255
    distorted = moved(images, only(shift=0.1))
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    total = distorted.sum(dim=(1, 2, 3))
    for axis in (rows, columns):
        away = (distorted[:, 0] * axis).sum(dim=(1, 2)) / total - 13.5
        assert away.abs().max() <= 2.8 + 1e-3
        assert away.min() < -2.5
        assert away.max() > 2.5


def test_rotation_keeps_mass_and_centre_and_stays_in_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 13:15, 4:24] = 255  # a bar along x
    distorted = moved(images, only(rotation=30))[:, 0]
    rows, columns = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    angle = 0.5 * torch.atan2(
        2 * (distorted * rows * columns).sum((1, 2)), (distorted * (columns**2 - rows**2)).sum((1, 2))
    )
    assert 28 < torch.rad2deg(angle).abs().max() <= 30.5
    torch.testing.assert_close(distorted.sum((1, 2)), images.sum((1, 2, 3)), rtol=0.02, atol=0)


def test_scale_changes_area_within_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 9:19, 9:19] = 255
    area = moved(images, only(scale=0.2)).sum((1, 2, 3)) / (255 * 100)
    assert 0.8**2 - 0.02 <= area.min() < 0.7
    assert 1.4 < area.max() <= 1.2**2 + 0.02


@pytest.mark.parametrize(
    "limits",
    [
        {"rotation": -1},
        {"shift": 0.6},
        {"scale": 1},
        {"shear": float("nan")},
        {"elastic": 0.6},
        {"degrade": 2},
        {"severe": 2},
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"--augment.{next(iter(limits))}"):
        AugmentConfig(**limits)


def test_elastic_bends_and_keeps_within_its_limit() -> None:
    images = torch.zeros(200, 1, 28, 28)
    images[:, :, 13:15, 13:15] = 255
    distorted = moved(images, only(elastic=0.1))
    rows = torch.arange(28.0)[:, None].expand(28, 28)
    total = distorted.sum(dim=(1, 2, 3))
    away = (distorted[:, 0] * rows).sum(dim=(1, 2)) / total - 13.5
    assert 1 < away.abs().max() < 2.8 * 1.3  # bicubic interpolation overshoots a little
    lines = torch.zeros(50, 1, 28, 28)
    lines[:, :, 14] = 255
    bent = moved(lines, only(elastic=0.1))[:, 0]
    heights = (bent * rows).sum(dim=1) / bent.sum(dim=1).clamp(min=1)
    assert (heights[:, 4:24].amax(dim=1) - heights[:, 4:24].amin(dim=1)).median() > 0.5


def test_what_happens_to_an_image_does_not_depend_on_its_batch(digits: Dataset) -> None:
    images, chosen = digits.train.images[:64], torch.tensor([50, 3, 33, 9])
    strong = AugmentConfig(degrade=1, severe=1)
    alone = distort(images[chosen], strong, CounterRNG.for_images(0, 1, chosen))
    torch.testing.assert_close(alone, distort(images, strong, rng_for(images))[chosen], rtol=0, atol=1e-3)
    assert not torch.equal(alone, distort(images[chosen], strong, CounterRNG.for_images(0, 2, chosen)))
