"""Single digits and negatives: what a network sees, seeded, and no form that is held out."""

import dataclasses

import numpy as np
import pytest

from conftest import few_school
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.splits import Dataset
from mnist_cnn.synthetic.allographs import DIGITS
from mnist_cnn.synthetic.negatives import CHARACTERS, TEXTURES, WEIGHTS, draw_negative
from mnist_cnn.synthetic.schools import School, is_narrow
from mnist_cnn.synthetic.singles import draw_digit, prepare, scan


def drawn(school: School, seed: int) -> list[Pixels]:
    digits = [draw_digit(np.random.default_rng((seed, number)), school, number % 10) for number in range(50)]
    return digits + [draw_negative(np.random.default_rng((seed, 50 + number)), school) for number in range(50)]


def test_one_seed_gives_one_image_and_another_gives_another(school: School) -> None:
    assert all(np.array_equal(*pair) for pair in zip(drawn(school, 0), drawn(school, 0), strict=True))
    assert not any(np.array_equal(*pair) for pair in zip(drawn(school, 0)[:50], drawn(school, 1), strict=False))


def test_images_are_the_networks_input(school: School) -> None:
    images = drawn(school, 0)
    assert {(image.shape, image.dtype.name) for image in images} == {((28, 28), "uint8")}
    assert all(image.max() > 100 for image in images[:50]), "a digit is invisible"
    ink = np.array([(image > 127).mean() for image in images[:50]])
    assert 0.05 < np.median(ink) < 0.3


def test_every_kind_of_negative_is_drawn() -> None:
    assert sum(WEIGHTS) == pytest.approx(1)
    assert len(WEIGHTS) == len(CHARACTERS)
    assert all(texture(np.random.default_rng(0)).shape == (28, 28) for texture in TEXTURES)


def test_what_is_held_out_is_not_trained_on(school: School, digits: Dataset) -> None:
    other = few_school(digits, held_out=True)
    for own, held_out, both in zip(school.templates, other.templates, DIGITS, strict=True):
        assert held_out
        assert sorted([*own, *held_out]) == sorted(both)
    assert len(school.glyphs.fonts) > 4 * len(other.glyphs.fonts) > 0
    eights = [{font[8].tobytes() for font in one.glyphs.fonts} for one in (school, other)]
    assert not eights[0] & eights[1]
    assert other.signs
    assert not set(school.signs) & set(other.signs)


def test_parentheses_are_no_negatives() -> None:
    assert is_narrow("30,-10 5,30 5,70 30,110")
    assert not is_narrow("0,50 30,50 60,50 / 30,20 30,50 30,80")


def test_a_scan_has_few_pixels() -> None:
    ink = np.zeros((60, 40), np.uint8)
    ink[:, 10:14] = 255
    for number in range(20):
        image = scan(np.random.default_rng(number), ink)
        assert 16 <= np.ptp(np.nonzero(image)[0]) + 1 <= 28
        assert image.max() > 100


def test_a_digit_without_images_is_drawn_and_a_blank_one_too(school: School) -> None:
    glyphs = dataclasses.replace(school.glyphs, strokes=[[]] * 10, images=[np.zeros((0, 28, 28), np.uint8)] * 10)
    lacking = dataclasses.replace(school, glyphs=glyphs)
    assert all(draw_digit(np.random.default_rng(number), lacking, 4).any() for number in range(20))
    assert not any(prepare(np.random.default_rng(number), np.zeros((1, 1), np.uint8)).any() for number in range(20))
