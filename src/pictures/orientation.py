"""A picture that lies on its side or upside down is turned, if it then reads clearly better."""

import numpy as np

from mnist_cnn.pictures.detections import MIN_PROBABILITY, Box, Detection, clear, mean_probability
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.spotter import load_spotter

# Chosen on drawn pages and rows of MNIST's training images, of which 2 of 800 are turned that stand upright
POOR = 0.68  # mean probability of a reading; from here on no other orientation is tried
MIN_DIGITS = 3  # of a picture that is turned
MIN_MEAN = 0.55  # mean probability of a reading of a picture that is turned
MARGIN, OFFSET = 1.2, 0.3  # its evidence is larger by this factor and this sum than that of the picture as given


def find_upright(grey: Pixels, faint: bool = False) -> tuple[int, list[Detection]]:
    """Find the digits of a picture, uint8 [H, W], `faint` ones as `spot` does, and how it has to be turned.

    In doubt it is not turned.

    Returns:
        Quarter turns clockwise, 0 to 3, and the detections in the picture turned by them.
    """
    spotter = load_spotter()
    found = spotter.spot(grey, faint)
    if mean_probability(clear(found)) >= POOR:
        return 0, found
    turned = {quarters: spotter.spot(turn(grey, quarters), faint) for quarters in (1, 2, 3)}
    best = max(turned, key=lambda quarters: evidence(turned[quarters]))
    reading = clear(turned[best])
    readable = len(reading) >= MIN_DIGITS and mean_probability(reading) >= MIN_MEAN
    if readable and evidence(reading) > MARGIN * evidence(found) + OFFSET:
        return best, turned[best]
    return 0, found


def evidence(reading: list[Detection]) -> float:
    """Return by how much the probabilities of detections exceed the least, in sum."""
    return sum(one.probability - MIN_PROBABILITY for one in clear(reading))


def turn(grey: Pixels, quarters: int) -> Pixels:
    """Turn a picture clockwise."""
    return np.ascontiguousarray(np.rot90(grey, -quarters))


def turn_back(box: Box, quarters: int, shape: tuple[int, ...]) -> Box:
    """Convert a box in a picture of a shape (height, width), turned clockwise, to the picture before that."""
    left, top, right, bottom = box
    for quarter in range(quarters):
        width = shape[(quarter + 1) % 2]
        left, top, right, bottom = top, width - right, bottom, width - left
    return left, top, right, bottom
