"""A picture becomes candidates: the 28x28 images that may be its digits."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.binarize import Box, Foreground, bounding_box, find_foreground
from mnist_cnn.pictures.contrast import Floats
from mnist_cnn.pictures.detections import CLEAR, Detection, faint_beside, is_faint, overlapping
from mnist_cnn.pictures.digit_crop import cut_out
from mnist_cnn.pictures.grid import find_grid
from mnist_cnn.pictures.image_io import Picture, PictureSource, Pixels, TooCostlyError, read_picture, shrink
from mnist_cnn.pictures.lines import text_lines, with_faint
from mnist_cnn.pictures.orientation import find_upright, turn, turn_back
from mnist_cnn.pictures.preprocess import LONGEST, SIDE, is_mnist_style, to_mnist
from mnist_cnn.pictures.segment import Component, Span, find_digits, spans
from mnist_cnn.pictures.spotter import load_spotter

ROTATIONS = (-8, 8)  # degrees
AUGMENTATIONS = 1 + len(ROTATIONS)  # of a 28x28 image at test time
MAX_SIDE = 800  # pixels, of a picture that is binarized as a whole
FILLS = 0.25  # least share of the picture's height, of a digit that the spotter does not find
MAX_CANDIDATES = 3000  # of a picture; a page of print has about 2,000
MIN_RANGE = 8  # grey levels between the lightest and the darkest pixel of a 28x28 image that is not blank


@dataclass(frozen=True)
class Candidate:
    """A possible digit.

    Attributes:
        images: uint8 [28, 28]: one, or `AUGMENTATIONS` test-time augmentations of each way in which it was prepared.
        box: left, top, width and height in the picture.
        line: index of the line of text, or of the row of the grid.
        column: of the grid; 0 without one.
        span: the edges between which it lies, of a connected component that may be several digits.
        scores: those of the spotter, float32 [10]; None where it was not asked or found none.
        unspotted: whether the spotter found no digit, so that the answer cannot be trusted.
    """

    images: tuple[Pixels, ...]
    box: Box
    line: int = 0
    column: int = 0
    span: Span = (0, 1)
    scores: Floats | None = None
    unspotted: bool = False

    @property
    def clearness(self) -> float:
        """The spotter's largest score; 0 without any."""
        return 0.0 if self.scores is None else float(self.scores.max())

    @property
    def faint(self) -> bool:
        """Whether the spotter finds it too improbable to be read without a constraint."""
        return self.scores is not None and is_faint(self.scores)


Choice = tuple[Candidate, ...]
"""The candidates of a connected component; the digits are a path of spans from its first edge to its last."""


@dataclass(frozen=True)
class Prepared:
    """The possible digits of a picture, in reading order, and the degrees clockwise that it was turned to read them."""

    choices: tuple[Choice, ...]
    turned: int = 0


@dataclass(frozen=True)
class Search:
    """What is sought in a picture.

    Attributes:
        several: whether all digits, instead of one.
        spot: whether the spotter finds them; it knows digits only. Else the foreground is the digit, or its connected
            components are the digits.
        faint: whether to add what is probably no digit, of what the spotter finds.
        grid: rows and columns of a ruled grid, whose cells' digits are sought.
    """

    several: bool = False
    spot: bool = True
    faint: bool = False
    grid: tuple[int, int] | None = None


Outcome = Prepared | InputError
"""A prepared picture, or the error of one that cannot be read."""
NamedPicture = tuple[PictureSource | Outcome, str]
"""A picture, or the outcome of one prepared before, and its name in errors."""


def prepare_all(pictures: Sequence[NamedPicture], search: Search) -> list[Outcome]:
    """Read and prepare pictures, sources with their names; an error of one does not affect the others."""
    read = [try_read(*picture) for picture in pictures]
    small = [one.grey for one in read if isinstance(one, Picture) and one.grey.shape == (SIDE, SIDE)]
    in_style = iter(is_mnist_style(np.stack(small)) if small else ())
    outcomes: list[Outcome] = []
    for one, (_, name) in zip(read, pictures, strict=True):
        if not isinstance(one, Picture):
            outcomes.append(one)
        else:
            mnist_style = one.grey.shape == (SIDE, SIDE) and next(in_style)
            outcomes.append(try_prepare(one, search, mnist_style, name))
    return outcomes


def try_read(source: PictureSource | Outcome, name: str) -> Picture | Outcome:
    """Read a picture or return its error; return the outcome of a picture prepared before."""
    if isinstance(source, Prepared | InputError):
        return source
    try:
        return read_picture(source, name)
    except InputError as error:
        return type(error)(*error.args)  # without the traceback, which would keep the pixels in memory


def try_prepare(picture: Picture, search: Search, mnist_style: bool, name: str) -> Outcome:
    """Prepare what is sought in a picture, or return why it is not read."""
    try:
        if search.grid:
            return prepare_cells(picture, search.grid, name)
        prepared = prepare(picture, search, mnist_style, name)
        refuse_many(sum(map(len, prepared.choices)), name)
        return prepared
    except InputError as error:
        return type(error)(*error.args)


def refuse_many(count: int, name: str) -> None:
    """Raise TooCostlyError if a picture has more candidates than any page of print."""
    if count > MAX_CANDIDATES:
        raise TooCostlyError(f"{name}: more than {MAX_CANDIDATES:,} digits; cut it into parts")


def prepare_cells(picture: Picture, shape: tuple[int, int], name: str) -> Prepared:
    """Prepare the digits in the cells of a picture's grid, row by row; raise InputError if there is no such grid."""
    grid = find_grid(picture.grey, *shape, name)
    found = [(grid.cell(*digit.centre), digit) for digit in load_spotter().spot(picture.grey)[0]]
    inside = [(cell, digit) for cell, digit in found if cell]
    ordered = sorted(inside, key=lambda pair: (pair[0], pair[1].centre[0]))
    return Prepared(as_choices([spotted_candidate(digit, picture, *cell) for cell, digit in ordered]))


def prepare(picture: Picture, search: Search, mnist_style: bool, name: str) -> Prepared:
    """Prepare a picture's digit, or all of its digits in reading order."""
    if search.several:
        return prepare_page(picture, search.faint, name) if search.spot else prepare_components(picture)
    if picture.grey.shape == (SIDE, SIDE):  # which the classifier reads better than the spotter, whatever is on it
        return one(small_candidate(picture.grey, mnist_style))
    return one(lone_candidate(picture) if search.spot else whole_candidate(picture))


def lone_candidate(picture: Picture) -> Candidate | None:
    """Make the candidate of the clearest detection.

    If that is neither clear nor large but the whole foreground is large, the latter is the candidate: specks of a photo
    may look like small digits where the only digit is too large or too odd to be detected.
    """
    found, _ = load_spotter().spot(picture.grey, several=False)
    clearest = max(found, key=lambda digit: digit.probability, default=None)
    if clearest and (clearest.probability > CLEAR or clearest.height > FILLS * len(picture.grey)):
        return spotted_candidate(clearest, picture, alone=True)
    whole = whole_candidate(picture, FILLS)
    if whole:
        return dataclasses.replace(whole, unspotted=True)
    return spotted_candidate(clearest, picture, alone=True) if clearest else None


def whole_candidate(picture: Picture, least: float = 0.0) -> Candidate | None:
    """Make the candidate of the whole foreground; None if it is blank or lower than that share of the picture."""
    foreground, smaller = whole_foreground(picture)
    box = bounding_box(foreground.mask)
    if box is None or box[3] < least * len(foreground.mask):
        return None
    return candidate(Component(box, foreground.mask), foreground, smaller)


def whole_foreground(picture: Picture) -> tuple[Foreground, Picture]:
    """Binarize a picture, shrunk if it is large; return the shrunk one, too."""
    smaller = shrink(picture.grey, MAX_SIDE)
    smaller = Picture(smaller.grey, picture.scale * smaller.scale)
    return find_foreground(smaller.grey), smaller


def prepare_components(picture: Picture) -> Prepared:
    """Prepare the connected components of a picture whose classes the spotter does not know, in reading order."""
    foreground, smaller = whole_foreground(picture)
    return Prepared(
        tuple(
            tuple(candidate(part, foreground, smaller, number, span) for part, span in spans(component))
            for number, line in enumerate(find_digits(foreground.mask))
            for component in line
        )
    )


def prepare_page(picture: Picture, add_faint: bool, name: str) -> Prepared:
    """Prepare all digits that the spotter finds, in a picture that is turned if that is clearly better."""
    quarters, digits, everything = find_upright(picture.grey)
    faint = faint_beside(digits, everything) if add_faint else []
    refuse_many(len(digits) + len(faint), name)
    upright = Picture(turn(picture.grey, quarters), picture.scale)
    lines = enumerate(with_faint(text_lines(digits), faint))
    found = [spotted_candidate(digit, upright, number, quarters=quarters) for number, line in lines for digit in line]
    return Prepared(as_choices(found), 90 * quarters)


def as_choices(found: Sequence[Candidate]) -> tuple[Choice, ...]:
    """Return choices of one candidate each: of two neighbours whose foreground is that of one digit, the clearer."""
    kept: list[Candidate] = []
    for one in found:
        if kept and same_digit(kept[-1].box, one.box):
            kept[-1] = max(kept[-1], one, key=lambda candidate: candidate.clearness)
        else:
            kept.append(one)
    return tuple((one,) for one in kept)


def same_digit(*boxes: Box) -> bool:
    """Return whether two boxes show the same digit."""
    sides = np.array([(left, top, left + width, top + height) for left, top, width, height in boxes], np.float32)
    return bool(overlapping(sides[0], sides)[0].all())


def one(found: Candidate | None) -> Prepared:
    """Return the choices of a picture of at most one digit."""
    return Prepared(((found,),) if found else ())


def spotted_candidate(
    detection: Detection, picture: Picture, line: int = 0, column: int = 0, quarters: int = 0, alone: bool = False
) -> Candidate:
    """Make the candidate of a detection, perhaps the only one, in a picture turned by so many quarters clockwise."""
    mask, sides = cut_out(picture.grey, detection, alone)
    sides = turn_back(sides, quarters, picture.grey.shape)
    left, top, right, bottom = (round(side * picture.scale) for side in sides)
    box = max(left, 0), max(top, 0), max(right - left, 1), max(bottom - top, 1)
    return Candidate((to_mnist(mask),), box, line, column, scores=detection.scores)


def candidate(
    component: Component, foreground: Foreground, picture: Picture, line: int = 0, span: Span = (0, 1)
) -> Candidate:
    """Make the candidate of a connected component."""
    image = to_mnist(component.mask)
    box = original_box(component.box, foreground, picture)
    return Candidate(test_time_augmentations(image), box, line, span=span)


def small_candidate(image: Pixels, mnist_style: bool) -> Candidate | None:
    """Make the candidate of a 28x28 image: unchanged, and if a digit may be its foreground binarized, too.

    An image in MNIST's style, or of greys and with a foreground larger than MNIST's digits (a line, noise, the edge of
    a shadow; or a digit that fills it), is read better as it is. None if it is blank.
    """
    whole = (0, 0, SIDE, SIDE)
    if np.ptp(image) < MIN_RANGE:
        return None
    if mnist_style:
        return Candidate((image,), whole)
    augmented, foreground = test_time_augmentations(image), find_foreground(image)
    box = bounding_box(foreground.mask)
    has_greys = len(np.unique(image)) > 2
    if box is None or (has_greys and max(box[2:]) > LONGEST[1] * foreground.zoom):
        return Candidate(augmented, whole)
    binarized = test_time_augmentations(to_mnist(foreground.mask))
    return Candidate(binarized + augmented, original_box(box, foreground, Picture(image)))


def test_time_augmentations(image: Pixels) -> tuple[Pixels, ...]:
    """Return a 28x28 image and two slightly rotated copies, since handwriting slants differently from MNIST's."""
    centre = ((SIDE - 1) / 2, (SIDE - 1) / 2)
    matrices = (cv2.getRotationMatrix2D(centre, degrees, 1) for degrees in ROTATIONS)
    rotated = (cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE) for matrix in matrices)
    return image, *(np.asarray(one, dtype=np.uint8) for one in rotated)


def original_box(box: Box, foreground: Foreground, picture: Picture) -> Box:
    """Convert a box from the binarized picture's pixels to the original's."""
    factor = picture.scale / foreground.zoom
    left, top, width, height = (round(side * factor) for side in box)
    return left, top, max(width, 1), max(height, 1)
