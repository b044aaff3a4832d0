"""Schools: forms of digits, letters and signs to train on, and others held out for validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic import allographs, glyphs
from mnist_cnn.synthetic.glyphs import Glyphs, make_glyphs

EVERY, FIRST = 7, 3  # fonts and templates number 3, 10, 17, ... are held out
BOWED = "()!:;"  # printed symbols that may pass for ones, or for points, once they are scaled
CHARACTERS = "".join(one for one in glyphs.LETTERS + glyphs.SYMBOLS if one not in BOWED)
Form = TypeVar("Form")


@dataclass(frozen=True)
class School:
    """What single characters are drawn from.

    Attributes:
        glyphs: images and fonts, and strokes traced from both.
        templates: of digits by class, as in `allographs`.
        signs: templates of symbols.
    """

    glyphs: Glyphs
    templates: Sequence[Sequence[str]]
    signs: Sequence[str]


def make_school(images: Pixels, labels: Pixels, traced: int, held_out: bool) -> School:
    """Make a school of MNIST images, and of the fonts and templates that are held out, or those that are not.

    Args:
        images: uint8 [N, 28, 28].
        labels: uint8 [N], 0..9.
        traced: number of the first images of which strokes are traced.
        held_out: which of the two.
    """
    hershey_fonts = () if held_out else glyphs.HERSHEY_FONTS  # they have forms in common
    return School(
        glyphs=make_glyphs(images, labels, traced, chosen(glyphs.FONTS, held_out), hershey_fonts, CHARACTERS),
        templates=[chosen(templates, held_out) for templates in allographs.DIGITS],
        signs=chosen([sign for sign in allographs.SYMBOLS if not is_narrow(sign)], held_out),
    )


def chosen(forms: Sequence[Form], held_out: bool) -> list[Form]:
    """Choose the forms that are held out, or the others."""
    return [form for number, form in enumerate(forms) if (number % EVERY == FIRST) == held_out]


def pick(rng: np.random.Generator, forms: Sequence[Form]) -> Form:
    """Pick one of some forms at random."""
    return forms[int(rng.integers(len(forms)))]


def is_narrow(template: str) -> bool:
    """Return whether a template is less than a third as wide as high: parentheses, which may pass for ones."""
    x, y = np.array([point.split(",") for point in template.replace("/", "").split()], np.float32).T
    return bool(np.ptp(x) < np.ptp(y) / 3)
