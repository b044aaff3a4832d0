"""What is no digit is turned away, and digits are not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mnist_cnn.cnn_model import CNN, ModelConfig
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.models.checkpoint import SHIPPED, load_checkpoint
from mnist_cnn.models.ood import (
    PASS_RATE,
    PRECISION,
    OODDetector,
    fit_ood_detector,
    logits_and_features,
    precise_thresholds,
)
from mnist_cnn.splits import Dataset, Split, split_off


def trusted(images: Tensor) -> float:
    checkpoint = load_checkpoint(SHIPPED)
    assert checkpoint.ood_detector
    split = Split(images, torch.zeros(len(images), dtype=torch.int64))
    logits, features = logits_and_features(checkpoint.build_model(), split)
    probability = (logits / checkpoint.temperature).softmax(dim=1).amax(dim=1)
    return share_trusted(checkpoint.ood_detector, probability, features)


def share_trusted(ood_detector: OODDetector, probability: Tensor, features: Tensor) -> float:
    near = ood_detector.score(features) <= ood_detector.ood_threshold
    return float((near & (probability >= ood_detector.probability_threshold)).float().mean())


def test_score_against_numpy() -> None:
    rng = np.random.default_rng(0)
    means, points = rng.normal(size=(3, 5)), rng.normal(size=(20, 5))
    root = rng.normal(size=(5, 5))
    precision = root @ root.T
    expected = [min((p - m) @ precision @ (p - m) for m in means) for p in points]
    ood_detector = OODDetector(torch.tensor(means).float(), torch.tensor(root).float(), 1.0, 0.5)
    found = ood_detector.score(torch.tensor(points).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_limits_let_the_share_of_validation_pass(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = CNN(ModelConfig(stages=((8,), (8, 8))))
    train, val = split_off(digits.train, 0.3)
    ood_detector = fit_ood_detector(model, train, val, 1.0)
    logits, features = logits_and_features(model, val)
    probability = logits.softmax(dim=1).amax(dim=1)
    assert PASS_RATE - 0.005 <= share_trusted(ood_detector, probability, features) <= 1
    assert ood_detector.means.shape == (10, 16)
    known = logits_and_features(model, train)[1]
    for digit in range(10):
        torch.testing.assert_close(ood_detector.means[digit], known[train.labels == digit].mean(dim=0))


def test_a_class_without_images_changes_no_score(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = CNN(ModelConfig(stages=((8,), (8, 8))))
    some = digits.train[torch.isin(digits.train.labels, torch.tensor([3, 7]))]
    train, val = split_off(some, 0.3)
    ood_detector = fit_ood_detector(model, train, val, 1.0)
    ood_detector.check(model.config)
    logits, features = logits_and_features(model, val)
    assert PASS_RATE - 0.02 <= share_trusted(ood_detector, logits.softmax(dim=1).amax(dim=1), features) <= 1
    only = dataclasses.replace(ood_detector, means=ood_detector.means[[3, 7]])
    torch.testing.assert_close(ood_detector.score(features), only.score(features), rtol=1e-4, atol=0)


def test_thresholds_are_precise_and_turn_few_right_predictions_away() -> None:
    rng = torch.Generator().manual_seed(0)
    right = torch.rand(4000, generator=rng) < 0.9
    probability = torch.where(right, 0.9, 0.5) + 0.1 * torch.randn(4000, generator=rng)
    score = torch.where(right, 10.0, 20.0) + 2 * torch.randn(4000, generator=rng)
    most, least = precise_thresholds(probability, score, right)
    trusted = (probability >= least) & (score <= most)
    assert right[trusted].float().mean() >= PRECISION
    assert trusted[right].float().mean() > 0.97
    by_either = [(probability >= p) & (score <= s) for p in probability[::40] for s in (most, score.max())]
    precise = [trusted[right].sum() for trusted in by_either if right[trusted].float().mean() >= PRECISION]
    assert trusted[right].sum() >= max(precise)


def test_thresholds_that_cannot_be_precise_are_the_strictest() -> None:
    probability, score = torch.tensor([0.5, 0.25]), torch.tensor([1.0, 3.0])
    assert precise_thresholds(probability, score, torch.tensor([False, True])) == (3.0, 0.5)


def test_digits_pass_and_other_things_do_not(mnist: Dataset, mnist_data: Path) -> None:
    assert trusted(mnist.test.images) == pytest.approx(PASS_RATE, abs=0.003)
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 256, (500, 1, 28, 28)).astype(np.uint8))
    blank = torch.from_numpy(
        (rng.uniform(5, 250, (500, 1, 1, 1)) + rng.normal(0, 4, (500, 1, 28, 28))).astype(np.uint8)
    )
    assert trusted(load_dataset("fashion-mnist", mnist_data).test.images) < 0.05
    assert trusted(noise) < 0.05
    assert trusted(blank) < 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"means": torch.zeros(9, 14)},
        {"whitening": torch.zeros(14, 13)},
        {"ood_threshold": float("nan")},
        {"probability_threshold": 2.0},
    ],
)
def test_what_does_not_fit_a_network_is_refused(change: dict[str, object]) -> None:
    config = ModelConfig(stages=((4, 8), (6,)))
    fitting = OODDetector(torch.zeros(10, 14), torch.zeros(14, 14), 5.0, 0.5)
    fitting.check(config)
    with pytest.raises(ValueError, match="ood_detector has"):
        dataclasses.replace(fitting, **change).check(config)  # type: ignore[arg-type]
