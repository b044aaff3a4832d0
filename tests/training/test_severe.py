"""Severe corruptions against scipy and plain geometry."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from mnist_cnn.splits import Dataset
from mnist_cnn.training.corruptions import blur_along
from mnist_cnn.training.counter_rng import CounterRNG
from mnist_cnn.training.severe import (
    KINDS,
    band,
    corrupt_severely,
    cover,
    hollow,
    jitter,
    line,
    rotated_axes,
    scan,
    shift,
    smear,
)

VISIBLE = {
    *("cells", "jitter", "motion", "shift x", "shift y", "hollow"),
    *("line", "fog", "spatter", "light", "band", "cover", "noise"),
}


def rng_for(count: int) -> CounterRNG:
    return CounterRNG.for_images(0, 1, torch.arange(count))


def per_image(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_the_share_that_is_corrupted_and_what_is_left_alone(digits: Dataset) -> None:
    images = digits.train.images.float()
    corrupted = corrupt_severely(images, 0.5, rng_for(len(images)))
    assert corrupted.shape == images.shape
    assert corrupted.min() >= 0
    assert corrupted.max() <= 255
    changed = (corrupted != images).flatten(1).any(dim=1).float().mean()
    none = np.prod([1 - KINDS[kind][2] for kind in VISIBLE])
    assert changed == pytest.approx(0.5 * (1 - none), abs=0.05)
    assert corrupt_severely(images, 0, rng_for(len(images))) is images


def test_a_scan_shows_the_pixels_at_the_centres_of_its_cells(digits: Dataset) -> None:
    images = digits.train.images[:3].float() / 255
    strength = {
        "cells": per_image(4, 4, 4),
        "zoom x": per_image(1, 2, 1),
        "zoom y": per_image(1, 1, 2),
        "level": per_image(0, 0, 0.5),
    }
    scanned = scan(images, strength)[:, 0].numpy()
    plain, near = [3, 10, 17, 24], [8, 12, 15, 19]
    cells = [images[0, 0][plain][:, plain], images[1, 0][plain][:, near], images[2, 0][near][:, plain] > 0.5]
    for found, expected in zip(scanned, cells, strict=True):
        assert np.array_equal(found, np.kron(expected.float().numpy(), np.ones((7, 7))))


def test_a_jittered_pixel_is_a_neighbour(digits: Dataset) -> None:
    images = digits.train.images[:20].float()
    assert torch.equal(jitter(images, torch.zeros(20, 1, 1, 1), rng_for(20)), images)
    found = jitter(images, torch.full((20, 1, 1, 1), 1.4), rng_for(20)).numpy()
    size = (1, 1, 3, 3)
    assert (found <= scipy.ndimage.maximum_filter(images.numpy(), size=size, mode="nearest")).all()
    assert (found >= scipy.ndimage.minimum_filter(images.numpy(), size=size, mode="nearest")).all()
    assert (found != images.numpy()).mean() > 0.1


@pytest.mark.parametrize("radius", [0.0, 1.0, 3.0])
def test_a_smear_convolves_with_a_blur_twice(radius: float) -> None:
    images, radii = torch.zeros(20, 1, 28, 28), torch.full((20, 1, 1, 1), radius)
    images[:, :, 14, 14] = 1
    kernels = blur_along(images, torch.pi * rng_for(20).uniform(), radii.view(-1))[:, 0, 7:22, 7:22]
    smeared = smear(images, radii, rng_for(20))[:, 0, 7:22, 7:22]
    for kernel, found in zip(kernels.numpy(), smeared.numpy(), strict=True):
        np.testing.assert_allclose(found, scipy.signal.convolve2d(kernel, kernel, mode="same"), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.25, 0.0), (-1 / 3, 1 / 7), (0.0, -1 / 3)])
def test_shift_against_scipy(digits: Dataset, x: float, y: float) -> None:
    images = digits.train.images[:3].float()
    expected = scipy.ndimage.shift(images.numpy(), (0, 0, round(28 * y), round(28 * x)), order=0)
    assert torch.equal(shift(images, per_image(*[x] * 3), per_image(*[y] * 3)), torch.from_numpy(expected))


def test_hollow_against_scipy(digits: Dataset) -> None:
    image = digits.train.images[:1].float() / 255
    size = (1, 1, 3, 3)
    lighter = scipy.ndimage.grey_dilation(image.numpy(), size=size, mode="wrap")
    darker = scipy.ndimage.grey_erosion(image.numpy(), size=size, mode="wrap")
    for outer, inner in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        expected = outer * (lighter - image.numpy()) + inner * (image.numpy() - darker)
        found = hollow(image, per_image(outer), per_image(inner))
        torch.testing.assert_close(found, torch.from_numpy(expected / expected.max()), rtol=0, atol=1e-6)


def test_a_hollow_square_is_empty_inside() -> None:
    image = torch.zeros(1, 1, 28, 28)
    image[:, :, 8:20, 8:20] = 1
    outline = hollow(image, per_image(1), per_image(0))
    assert outline[0, 0, 8:20, 8:20].max() == 0
    assert outline[0, 0, 7, 7:21].min() == 1


def test_axes_are_perpendicular_and_of_unit_length() -> None:
    along, across = rotated_axes((28, 28), rng_for(50))
    gradients = [28 * torch.stack(torch.gradient(axis[:, 0], dim=(1, 2)), dim=1) for axis in (along, across)]
    for one in gradients:
        torch.testing.assert_close(one.square().sum(dim=1), torch.ones(50, 28, 28), rtol=0, atol=1e-3)
    torch.testing.assert_close((gradients[0] * gradients[1]).sum(dim=1), torch.zeros(50, 28, 28), rtol=0, atol=1e-3)


def test_bands_and_half_planes() -> None:
    across = (torch.arange(28.0).view(1, 1, 28, 1) - 13.5).expand(2, 1, 28, 28) / 28
    inside = band(across, per_image(6 / 28, 0))[:, 0, :, 0]
    assert inside[0].nonzero().flatten().tolist() == list(range(11, 17))
    assert inside[1].nonzero().flatten().tolist() == list(range(14, 28))


def test_straight_lines_zigzags_and_dashes() -> None:
    along = (torch.arange(28.0) - 13.5).expand(3, 1, 28, 28) / 28
    across = (torch.arange(28.0).view(28, 1) - 14).expand(3, 1, 28, 28) / 28
    strength = {
        "line width": per_image(0.5, 0.5, 0.5),
        "zigzag height": per_image(0, 0.2, 0),
        "zigzag length": per_image(0.5, 0.5, 0.5),
        "dash": per_image(0, 0, 0.25),
    }
    straight, zigzag, dashed = line(along, across, strength)[:, 0]
    assert (straight.argmax(dim=0) == 14).all()
    assert straight[14].min() == 1
    rows = zigzag.argmax(dim=0)
    assert rows.max() - rows.min() >= 9
    assert 0.4 < (dashed[14] > 0).float().mean() < 0.6


def test_a_rectangle_is_covered_and_nothing_else(digits: Dataset) -> None:
    images = digits.train.images[:2].float() / 255
    strength = {
        "cover": per_image(1, 0),
        "cover width": per_image(6 / 28, 1),
        "cover height": per_image(10 / 28, 1),
        "cover x": per_image(9.5 / 28, 0.5),
        "cover y": per_image(15.5 / 28, 0.5),
        "cover shade": per_image(0.25, 0.5),
    }
    covered = cover(images, strength)
    expected = images.clone()
    expected[0, :, 11:21, 7:13] = 0.25
    assert torch.equal(covered, expected)
