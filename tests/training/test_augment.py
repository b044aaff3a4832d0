"""Distortions against plain tensor operations."""

import pytest
import scipy.ndimage
import torch
from torch import Tensor

from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import Dataset
from mnist_cnn.training.augment import (
    AugmentConfig,
    blur,
    blur_along,
    corrupt,
    dilate,
    distort,
    random_affine,
    serif_ones,
)
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
    [{"rotation": -1}, {"shift": 0.6}, {"scale": 1}, {"shear": float("nan")}, {"elastic": 0.6}, {"degrade": 2}],
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


def test_the_share_that_is_corrupted_and_what_is_left_alone(digits: Dataset) -> None:
    images = digits.train.images.float()
    corrupted = corrupt(images, 0.25, rng_for(images))
    assert corrupted.shape == images.shape
    assert corrupted.min() >= 0
    assert corrupted.max() <= 255
    changed = (corrupted != images).flatten(1).any(dim=1).float().mean()
    assert 0.2 < changed < 0.3
    assert corrupt(images, 0, rng_for(images)) is images


def test_dilation_against_scipy(digits: Dataset) -> None:
    image = digits.train.images[0, 0].numpy()
    expected = scipy.ndimage.grey_dilation(image, size=(3, 3), mode="wrap")
    dilated = dilate(torch.from_numpy(image)[None, None].float())
    assert torch.equal(dilated[0, 0], torch.from_numpy(expected).float())


def test_what_happens_to_an_image_does_not_depend_on_its_batch(digits: Dataset) -> None:
    images, chosen = digits.train.images[:64], torch.tensor([50, 3, 33, 9])
    strong = AugmentConfig(degrade=1)
    alone = distort(images[chosen], strong, CounterRNG.for_images(0, 1, chosen))
    torch.testing.assert_close(alone, distort(images, strong, rng_for(images))[chosen], rtol=0, atol=1e-3)
    assert not torch.equal(alone, distort(images[chosen], strong, CounterRNG.for_images(0, 2, chosen)))


def test_blur_keeps_the_mass_and_spreads_it() -> None:
    images = torch.zeros(20, 1, 28, 28)
    images[:, 0, 14, 14] = 255
    spread = blur(images, rng_for(images))
    torch.testing.assert_close(spread.sum(dim=(1, 2, 3)), torch.full((20,), 255.0))
    assert (spread > 0).sum(dim=(1, 2, 3)).min() >= 3
    assert (spread > 0).sum(dim=(1, 2, 3)).max() <= 49
    assert len({image.numpy().tobytes() for image in spread}) > 10


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_blurring_along_x_against_scipy(digits: Dataset, radius: int) -> None:
    images = digits.train.images[:3].float()
    blurred = blur_along(images, torch.zeros(3), torch.full((3,), float(radius)))
    expected = scipy.ndimage.uniform_filter1d(images.numpy(), 2 * radius + 1, axis=3, mode="constant")
    torch.testing.assert_close(blurred, torch.from_numpy(expected), rtol=0, atol=1e-3)
    turned = blur_along(images.transpose(2, 3), torch.full((3,), torch.pi / 2), torch.full((3,), float(radius)))
    torch.testing.assert_close(turned.transpose(2, 3), blurred, rtol=0, atol=1e-3)


def test_ones_get_flags_to_their_left_and_keep_their_foreground(mnist: Dataset) -> None:
    ones = mnist.train.images[mnist.train.labels == 1][:300]
    assert torch.equal(serif_ones(ones, 0, torch.Generator()), ones)
    flagged = serif_ones(ones, 1, torch.Generator().manual_seed(0))
    assert flagged.dtype == torch.uint8
    assert (flagged >= ones).all()
    added = (flagged.int() - ones.int()).clamp(min=0)[:, 0, :12].sum(dim=(0, 1))  # upper part
    centre = (ones[:, 0, :12].sum(dim=(0, 1)) * torch.arange(28)).sum() / ones[:, 0, :12].sum()
    assert (added * torch.arange(28)).sum() / added.sum() < centre - 1
