"""What is no digit is turned away, and digits are not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mnist_cnn.cnn_model import CNN, ModelConfig
from mnist_cnn.data_loader import Dataset, Split, load, split_off
from mnist_cnn.models.checkpoint import SHIPPED, load_checkpoint
from mnist_cnn.models.ood import PASS, Familiarity, describe, fit_familiarity


def trusted(images: Tensor) -> float:
    checkpoint = load_checkpoint(SHIPPED)
    assert checkpoint.familiarity
    split = Split(images, torch.zeros(len(images), dtype=torch.int64))
    logits, description = describe(checkpoint.build_model(), split)
    probability = (logits / checkpoint.temperature).softmax(dim=1).amax(dim=1)
    return share_trusted(checkpoint.familiarity, probability, description)


def share_trusted(familiarity: Familiarity, probability: Tensor, description: Tensor) -> float:
    near = familiarity.distance(description) <= familiarity.most_distance
    return float((near & (probability >= familiarity.least_probability)).float().mean())


def test_distance_against_numpy() -> None:
    dice = np.random.default_rng(0)
    means, points = dice.normal(size=(3, 5)), dice.normal(size=(20, 5))
    root = dice.normal(size=(5, 5))
    precision = root @ root.T
    expected = [min((p - m) @ precision @ (p - m) for m in means) for p in points]
    familiarity = Familiarity(torch.tensor(means).float(), torch.tensor(root).float(), 1.0, 0.5)
    found = familiarity.distance(torch.tensor(points).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_limits_let_the_share_of_validation_pass(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = CNN(ModelConfig(stages=((8,), (8, 8))))
    train, val = split_off(digits.train, 0.3)
    familiarity = fit_familiarity(model, train, val, 1.0)
    logits, description = describe(model, val)
    probability = logits.softmax(dim=1).amax(dim=1)
    assert PASS - 0.005 <= share_trusted(familiarity, probability, description) <= 1
    assert familiarity.means.shape == (10, 16)
    known = describe(model, train)[1]
    for digit in range(10):
        torch.testing.assert_close(familiarity.means[digit], known[train.labels == digit].mean(dim=0))


def test_a_class_without_images_changes_no_distance(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = CNN(ModelConfig(stages=((8,), (8, 8))))
    some = digits.train[torch.isin(digits.train.labels, torch.tensor([3, 7]))]
    train, val = split_off(some, 0.3)
    familiarity = fit_familiarity(model, train, val, 1.0)
    familiarity.check(model.config)
    logits, description = describe(model, val)
    assert PASS - 0.02 <= share_trusted(familiarity, logits.softmax(dim=1).amax(dim=1), description) <= 1
    only = dataclasses.replace(familiarity, means=familiarity.means[[3, 7]])
    torch.testing.assert_close(familiarity.distance(description), only.distance(description), rtol=1e-4, atol=0)


def test_digits_pass_and_other_things_do_not(mnist: Dataset, mnist_data: Path) -> None:
    assert trusted(mnist.test.images) == pytest.approx(PASS, abs=0.003)
    dice = np.random.default_rng(0)
    noise = torch.from_numpy(dice.integers(0, 256, (500, 1, 28, 28)).astype(np.uint8))
    blank = torch.from_numpy(
        (dice.uniform(5, 250, (500, 1, 1, 1)) + dice.normal(0, 4, (500, 1, 28, 28))).astype(np.uint8)
    )
    assert trusted(load("fashion-mnist", mnist_data).test.images) < 0.05
    assert trusted(noise) < 0.05
    assert trusted(blank) < 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"means": torch.zeros(9, 14)},
        {"whitening": torch.zeros(14, 13)},
        {"most_distance": float("nan")},
        {"least_probability": 2.0},
    ],
)
def test_what_does_not_fit_a_network_is_refused(change: dict[str, object]) -> None:
    config = ModelConfig(stages=((4, 8), (6,)))
    fitting = Familiarity(torch.zeros(10, 14), torch.zeros(14, 14), 5.0, 0.5)
    fitting.check(config)
    with pytest.raises(ValueError, match="familiarity has"):
        dataclasses.replace(fitting, **change).check(config)  # type: ignore[arg-type]
