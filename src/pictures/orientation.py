"""A picture that lies on its side or upside down is turned, if it then reads clearly better."""

import numpy as np

from mnist_cnn.pictures.detections import MIN_PROBABILITY, Detection, Sides, mean_probability
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.spotter import load_spotter

# Chosen on drawn pages and rows of MNIST's training images, of which 2 of 800 are turned that stand upright
POOR = 0.68  # mean probability of a reading; from here on no other orientation is tried
BLANK = 0.25  # probability of the clearest detection, below which none is tried either
MIN_DIGITS = 3  # of a picture that is turned
MIN_MEAN = 0.55  # mean probability of a reading of a picture that is turned
MARGIN, OFFSET = 1.2, 0.3  # its evidence is larger by this factor and this sum than that of the picture as given


def find_upright(grey: Pixels) -> tuple[int, list[Detection], list[Detection]]:
    """Find the digits of a picture, uint8 [H, W], and how it has to be turned; in doubt it is not.

    Returns:
        Quarter turns clockwise, 0 to 3, and what `Spotter.spot` finds in the picture turned by them.
    """
    spotter = load_spotter()
    digits, everything = spotter.spot(grey)
    clearest = max((one.probability for one in everything), default=0.0)
    if mean_probability(digits) >= POOR or clearest < BLANK:
        return 0, digits, everything
    turned = {quarters: spotter.spot(turn(grey, quarters)) for quarters in (1, 2, 3)}
    best = max(turned, key=lambda quarters: evidence(turned[quarters][0]))
    reading = turned[best][0]
    readable = len(reading) >= MIN_DIGITS and mean_probability(reading) >= MIN_MEAN
    if readable and evidence(reading) > MARGIN * evidence(digits) + OFFSET:
        return best, *turned[best]
    return 0, digits, everything


def evidence(reading: list[Detection]) -> float:
    """Return by how much the probabilities of detections exceed the least, in sum."""
    return sum(one.probability - MIN_PROBABILITY for one in reading)


def turn(grey: Pixels, quarters: int) -> Pixels:
    """Turn a picture clockwise."""
    return np.ascontiguousarray(np.rot90(grey, -quarters))


def turn_back(box: Sides, quarters: int, shape: tuple[int, ...]) -> Sides:
    """Convert a box in a picture of a shape (height, width), turned clockwise, to the picture before that."""
    left, top, right, bottom = box
    for quarter in range(quarters):
        width = shape[(quarter + 1) % 2]
        left, top, right, bottom = top, width - right, bottom, width - left
    return left, top, right, bottom
