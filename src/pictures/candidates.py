"""A picture becomes candidates: the 28x28 images that may be its digits."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.binarize import Box, Foreground, bounding_box, find_foreground
from mnist_cnn.pictures.image_io import Picture, Pixels, read_picture
from mnist_cnn.pictures.preprocess import SIDE, is_mnist_style, to_mnist
from mnist_cnn.pictures.segment import Component, Span, find_digits, spans

TURN = 8  # degrees
BLANK = 8  # grey levels between the lightest and the darkest pixel of a 28x28 image with nothing on it


@dataclass(frozen=True)
class Candidate:
    """What may be one digit: its 28x28 test-time augmentations, and where it is."""

    images: tuple[Pixels, ...]
    box: Box
    line: int = 0
    span: Span = (0, 1)


Choice = tuple[Candidate, ...]
"""What may be the digits in a component of ink; those whose spans join from first to last are to be chosen."""


@dataclass(frozen=True)
class Prepared:
    """What may be the digits of a picture, in reading order."""

    choices: tuple[Choice, ...]


Outcome = Prepared | InputError
"""What a picture became, or what is wrong with it."""


def prepare_all(pictures: Sequence[tuple[object, str]], several: bool = False) -> list[Outcome]:
    """Read and prepare some pictures, each with its name; what is wrong with one does not stop the others.

    Args:
        pictures: each as `read_picture` takes it, or what it became before.
        several: whether to find all digits of each picture instead of one.
    """
    read = [attempt(*picture) for picture in pictures]
    small = [one.grey for one in read if isinstance(one, Picture) and one.grey.shape == (SIDE, SIDE)]
    styled = iter(is_mnist_style(np.stack(small)) if small else ())
    return [
        Prepared(prepare(one, several, one.grey.shape == (SIDE, SIDE) and next(styled)))
        if isinstance(one, Picture)
        else one
        for one in read
    ]


def attempt(source: object, name: str) -> Picture | Outcome:
    """Read a picture, or return what is wrong with it; what has been prepared stays as it is."""
    if isinstance(source, Prepared | InputError):
        return source
    try:
        return read_picture(source, name)
    except InputError as error:
        return type(error)(*error.args)  # without its traceback, which keeps the pixels in memory


def prepare(picture: Picture, several: bool, mnist_style: bool) -> tuple[Choice, ...]:
    """Prepare a picture's digit, or all of its digits in reading order."""
    if picture.grey.shape == (SIDE, SIDE) and not several:
        small = small_candidate(picture.grey, mnist_style)
        return ((small,),) if small else ()
    ink = find_foreground(picture.grey)
    if several:
        return tuple(
            tuple(candidate(part, ink, picture, number, span) for part, span in spans(component))
            for number, line in enumerate(find_digits(ink.mask))
            for component in line
        )
    box = bounding_box(ink.mask)
    return ((candidate(Component(box, ink.mask), ink, picture),),) if box else ()


def candidate(component: Component, ink: Foreground, picture: Picture, line: int = 0, span: Span = (0, 1)) -> Candidate:
    """Prepare a component of ink."""
    image = to_mnist(component.mask)
    return Candidate(test_time_augmentations(image), in_picture(component.box, ink, picture), line, span)


def small_candidate(image: Pixels, mnist_style: bool) -> Candidate | None:
    """Prepare a 28x28 image: as it is if it is in MNIST's style, else cleaned; both if it has greys; None if blank."""
    whole = (0, 0, SIDE, SIDE)
    if np.ptp(image) < BLANK:
        return None
    if mnist_style:
        return Candidate((image,), whole)
    ink = find_foreground(image)
    box = bounding_box(ink.mask)
    if box is None:
        return Candidate((image,), whole)
    cleaned = test_time_augmentations(to_mnist(ink.mask))
    black_and_white = np.isin(image, (image.min(), image.max())).all()
    return Candidate(
        cleaned if black_and_white else cleaned + test_time_augmentations(image), in_picture(box, ink, Picture(image))
    )


def test_time_augmentations(image: Pixels) -> tuple[Pixels, ...]:
    """Show a 28x28 image as it is and turned a little either way: writers lean, and MNIST's lean otherwise."""
    middle = ((SIDE - 1) / 2, (SIDE - 1) / 2)
    turns = (cv2.getRotationMatrix2D(middle, degrees, 1) for degrees in (-TURN, TURN))
    turned = (cv2.warpAffine(image, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE) for turn in turns)
    return image, *(np.asarray(one, dtype=np.uint8) for one in turned)


def in_picture(box: Box, ink: Foreground, picture: Picture) -> Box:
    """Turn a box in the ink's pixels into one in the picture's own."""
    factor = picture.scale / ink.zoom
    left, top, width, height = (round(side * factor) for side in box)
    return left, top, max(width, 1), max(height, 1)
