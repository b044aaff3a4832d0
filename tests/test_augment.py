"""Distortions against plain tensor operations."""

import pytest
import scipy.ndimage
import torch
from torch import Tensor

from mnist_cnn.augment import AugmentConfig, blur, degrade, random_affine, serif_ones, thicken
from mnist_cnn.data_loader import Dataset
from mnist_cnn.errors import InputError


def only(**limits: float) -> AugmentConfig:
    """Switch everything off but what is named."""
    off = dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0)
    return AugmentConfig(**off | limits)


NOTHING = only()


def distort(images: Tensor, config: AugmentConfig, seed: int = 0) -> Tensor:
    return random_affine(images, config, torch.Generator().manual_seed(seed))


def test_no_distortion_changes_nothing(digits: Dataset) -> None:
    images = digits.train.images[:50]
    distorted = distort(images, NOTHING)
    assert distorted.dtype == torch.float32
    torch.testing.assert_close(distorted, images.float(), atol=0, rtol=0)


def test_hardly_any_distortion_changes_hardly_anything(digits: Dataset) -> None:
    images = digits.train.images[:50]
    hardly = only(rotation=1e-6, shift=1e-8, scale=1e-8, shear=1e-8, elastic=1e-8)
    torch.testing.assert_close(distort(images, hardly), images.float(), atol=1e-2, rtol=0)


def test_one_seed_gives_one_result_and_another_gives_another(digits: Dataset) -> None:
    images = digits.train.images[:50]
    assert torch.equal(distort(images, AugmentConfig()), distort(images, AugmentConfig()))
    assert not torch.equal(distort(images, AugmentConfig()), distort(images, AugmentConfig(), seed=1))


def test_shift_moves_a_blob_at_most_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 13:15, 13:15] = 255
    distorted = distort(images, only(shift=0.1))
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
    distorted = distort(images, only(rotation=30))[:, 0]
    rows, columns = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    angle = 0.5 * torch.atan2(
        2 * (distorted * rows * columns).sum((1, 2)), (distorted * (columns**2 - rows**2)).sum((1, 2))
    )
    assert 28 < torch.rad2deg(angle).abs().max() <= 30.5
    torch.testing.assert_close(distorted.sum((1, 2)), images.sum((1, 2, 3)), rtol=0.02, atol=0)


def test_scale_changes_area_within_its_limit() -> None:
    images = torch.zeros(500, 1, 28, 28)
    images[:, :, 9:19, 9:19] = 255
    area = distort(images, only(scale=0.2)).sum((1, 2, 3)) / (255 * 100)
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
    distorted = distort(images, only(elastic=0.1))
    rows = torch.arange(28.0)[:, None].expand(28, 28)
    total = distorted.sum(dim=(1, 2, 3))
    moved = (distorted[:, 0] * rows).sum(dim=(1, 2)) / total - 13.5
    assert 1 < moved.abs().max() < 2.8 * 1.3  # bicubic interpolation overshoots a little
    lines = torch.zeros(50, 1, 28, 28)
    lines[:, :, 14] = 255
    bent = distort(lines, only(elastic=0.1))[:, 0]
    heights = (bent * rows).sum(dim=1) / bent.sum(dim=1).clamp(min=1)
    assert (heights[:, 4:24].amax(dim=1) - heights[:, 4:24].amin(dim=1)).median() > 0.5


def test_the_share_that_is_spoilt_and_what_is_left_alone(digits: Dataset) -> None:
    images = digits.train.images.float()
    spoilt = degrade(images, 0.25, torch.Generator().manual_seed(0))
    assert spoilt.shape == images.shape
    assert spoilt.min() >= 0
    assert spoilt.max() <= 255
    changed = (spoilt != images).flatten(1).any(dim=1).float().mean()
    assert 0.2 < changed < 0.3
    assert degrade(images, 0, torch.Generator()) is images


def test_thickening_against_scipy(digits: Dataset) -> None:
    image = digits.train.images[0, 0].numpy()
    expected = scipy.ndimage.grey_dilation(image, size=(3, 3), mode="wrap")
    grown = thicken(torch.from_numpy(image)[None, None].float())
    assert torch.equal(grown[0, 0], torch.from_numpy(expected).float())


def test_blur_keeps_the_ink_and_spreads_it() -> None:
    images = torch.zeros(1, 1, 28, 28)
    images[0, 0, 14, 14] = 255
    spread = [blur(images, torch.Generator().manual_seed(seed)) for seed in range(20)]
    for image in spread:
        assert image.sum() == pytest.approx(255, rel=1e-5)
        assert 3 <= (image > 0).sum() <= 49
    assert len({image.numpy().tobytes() for image in spread}) > 10


def test_ones_get_flags_to_their_left_and_keep_their_ink(mnist: Dataset) -> None:
    ones = mnist.train.images[mnist.train.labels == 1][:300]
    assert torch.equal(serif_ones(ones, 0, torch.Generator()), ones)
    flagged = serif_ones(ones, 1, torch.Generator().manual_seed(0))
    assert flagged.dtype == torch.uint8
    assert (flagged >= ones).all()
    added = (flagged.int() - ones.int()).clamp(min=0)[:, 0, :12].sum(dim=(0, 1))  # upper part
    centre = (ones[:, 0, :12].sum(dim=(0, 1)) * torch.arange(28)).sum() / ones[:, 0, :12].sum()
    assert (added * torch.arange(28)).sum() / added.sum() < centre - 1
