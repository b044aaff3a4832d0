"""Drawn digits and negatives: to train on beside a dataset of digits, and to calibrate on."""

import sys
from collections.abc import Callable

import numpy as np
import torch
from tqdm import tqdm

from mnist_cnn.common.distributed import rank
from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import DIGITS
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.splits import Dataset, Split, concatenate
from mnist_cnn.synthetic.negatives import draw_negative
from mnist_cnn.synthetic.schools import School, make_school
from mnist_cnn.synthetic.singles import draw_digit
from mnist_cnn.training.config import TrainConfig
from mnist_cnn.training.corruptions import corrupt
from mnist_cnn.training.counter_rng import CounterRNG
from mnist_cnn.training.learner import NEGATIVE
from mnist_cnn.training.severe import corrupt_severely

TRACED = 4000, 1000  # images of which strokes are traced, for training and for calibration
CALIBRATION_SEED = 1_000_005
CORRUPTED = 0.5  # share of the calibration images to which each kind of corruption is applied
NEGATIVES_PER_DIGIT = 0.1  # in calibration: how often a person shows what is no digit
NEGATIVE_STREAM = 1  # of random numbers; that of digits is 0


def school_of(split: Split, traced: int, held_out: bool) -> School:
    """Make a school of the images of a split of digits."""
    return make_school(split.images[:, 0].numpy(), split.labels.numpy().astype(np.uint8), traced, held_out)


def draw(school: School, seed: int, digits: int, negatives: int) -> Split:
    """Draw digits, as many of each class, and negatives. Each depends on the seed and its number only."""

    def drawn(one: Callable[[np.random.Generator, int], Pixels], count: int, stream: int, title: str) -> list[Pixels]:
        """Draw some images with a progress bar."""
        interval = 0.1 if sys.stderr.isatty() else 5.0
        numbers = tqdm(range(count), f"drawing {title}", unit=" images", mininterval=interval, disable=rank() > 0)
        return [one(np.random.default_rng((seed, stream, number)), number) for number in numbers]

    images = drawn(lambda rng, number: draw_digit(rng, school, number % 10), digits, 0, "digits")
    images += drawn(lambda rng, _: draw_negative(rng, school), negatives, NEGATIVE_STREAM, "negatives")
    labels = torch.cat([torch.arange(digits) % 10, torch.full((negatives,), NEGATIVE)])
    return Split(torch.from_numpy(np.stack(images))[:, None], labels)


def with_drawn(train: Split, config: TrainConfig) -> Split:
    """Add the drawn digits and negatives of the settings to a split of digits."""
    school = school_of(train, TRACED[0], held_out=False)
    return concatenate(train, draw(school, config.seed, config.drawn_digits, config.drawn_negatives))


def check_drawable(dataset: Dataset) -> None:
    """Check that a dataset is one of digits.

    Raises:
        InputError: it has other classes.
    """
    if dataset.classes != DIGITS:
        raise InputError(
            f"{dataset.name} is no dataset of the ten digits, to which digits could be drawn; name another with "
            "--dataset, or set --drawn-digits and --drawn-negatives to 0"
        )


def calibration_split(val: Split) -> Split:
    """Gather images like those that people show: validation images clean and corrupted, and drawn ones.

    The drawn digits and negatives are of fonts and templates that training does not see.

    Args:
        val: validation images of digits.

    Returns:
        3.1 times as many images; the label of negatives is `NEGATIVE`.
    """
    rng = CounterRNG.for_images(CALIBRATION_SEED, 0, torch.arange(len(val)))
    corrupted = corrupt(corrupt_severely(val.images.float(), CORRUPTED, rng), CORRUPTED, rng)
    school = school_of(val, TRACED[1], held_out=True)
    drawn = draw(school, CALIBRATION_SEED, len(val), round(NEGATIVES_PER_DIGIT * len(val)))
    return concatenate(val, Split(corrupted.round().to(torch.uint8), val.labels), drawn)
