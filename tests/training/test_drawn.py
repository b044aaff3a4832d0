"""What is drawn for training and for calibration."""

import dataclasses
from pathlib import Path

import pytest
import torch

from mnist_cnn.common.errors import InputError
from mnist_cnn.splits import Dataset
from mnist_cnn.synthetic.schools import School
from mnist_cnn.train import fit
from mnist_cnn.training.config import PRESETS, TrainConfig
from mnist_cnn.training.drawn import calibration_split, draw
from mnist_cnn.training.learner import NEGATIVE

READER = dataclasses.replace(PRESETS["reader"].train, drawn_digits=40, drawn_negatives=20, epochs=1, device="cpu")


def test_each_drawn_image_depends_on_seed_and_number(school: School) -> None:
    few, more = draw(school, 7, 20, 10), draw(school, 7, 40, 10)
    assert few.labels[:20].bincount(minlength=10).tolist() == [2] * 10
    assert (few.labels[20:] == NEGATIVE).all()
    assert torch.equal(more.images[:20], few.images[:20])
    assert torch.equal(more.images[40:], few.images[20:])
    assert not torch.equal(draw(school, 8, 20, 10).images, few.images)


def test_calibration_images_are_clean_corrupted_drawn_and_negative(digits: Dataset) -> None:
    few = digits.train[torch.arange(100)]
    split = calibration_split(few)
    assert torch.equal(split.images[:100], few.images)
    changed = (split.images[100:200] != few.images).flatten(1).any(dim=1).float().mean()
    assert 0.5 < changed < 0.95
    assert torch.equal(split.labels[100:200], few.labels)
    assert len(split) == 310
    assert (split.labels == NEGATIVE).sum() == 10


def test_settings_that_are_off_are_not_in_the_recipe() -> None:
    assert not {"drawn_digits", "drawn_negatives"} & TrainConfig().recipe().keys()
    assert "severe" not in TrainConfig().recipe()["augment"]
    assert TrainConfig(weight_decay=0).recipe()["weight_decay"] == 0
    recipe = PRESETS["reader"].train.recipe()
    assert recipe["drawn_digits"] > 0
    assert recipe["augment"]["severe"] > 0


def test_digits_are_not_drawn_to_other_classes(digits: Dataset, tmp_path: Path) -> None:
    other = dataclasses.replace(digits, classes=tuple("abcdefghij"), name="letters")
    with pytest.raises(InputError, match=r"letters is no dataset of the ten digits.*--drawn-digits"):
        fit(other, dataclasses.replace(READER, output_dir=tmp_path))
