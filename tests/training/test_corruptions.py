"""Corruptions against plain tensor operations."""

import pytest
import scipy.ndimage
import torch
from torch import Tensor

from mnist_cnn.splits import Dataset
from mnist_cnn.training.corruptions import blur, blur_along, corrupt, dilate
from mnist_cnn.training.counter_rng import CounterRNG


def rng_for(images: Tensor) -> CounterRNG:
    return CounterRNG.for_images(0, 1, torch.arange(len(images)))


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
