"""Pages: reproducible, of the size asked for, with labels that are where their digits are."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mnist_cnn.synthetic.allographs import DIGITS, SYMBOLS, sample_template
from mnist_cnn.synthetic.glyphs import Glyphs, crop_to_foreground
from mnist_cnn.synthetic.layouts import draw_cells, draw_distractors, draw_single, fill
from mnist_cnn.synthetic.pages import MIN_HEIGHT, MIN_WIDTH, SHAPES, draw_page
from mnist_cnn.synthetic.rows import draw_rows
from mnist_cnn.synthetic.samples import contact_sheet
from mnist_cnn.synthetic.sheet import MAX_HEIGHT as TALLEST_TARGET
from mnist_cnn.synthetic.sheet import MIN_HEIGHT as LOWEST_TARGET
from mnist_cnn.synthetic.sheet import Sheet
from mnist_cnn.synthetic.writing import Style, render_digit, render_distractor

Layout = Callable[[np.random.Generator, Glyphs, Sheet], None]
LAYOUTS: dict[str, Layout] = {
    "rows": lambda rng, glyphs, sheet: draw_rows(rng, glyphs, sheet, 13, 50),
    "cells": lambda rng, glyphs, sheet: draw_cells(rng, glyphs, sheet, 13, 50),
    "single": draw_single,
    "distractors": draw_distractors,
    "any": fill,
}
PLAIN = Style(28, 0, 1, 0.1, None, 1, 0, False, False, 0)


def test_a_page_depends_on_its_seed_and_index_only(glyphs: Glyphs) -> None:
    first, other_index, other_seed, again = (
        draw_page(glyphs, seed, index, (64, 208)) for seed, index in ((3, 5), (3, 6), (4, 5), (3, 5))
    )
    np.testing.assert_array_equal(first.grey, again.grey)
    assert first.digits == again.digits
    assert not np.array_equal(first.grey, other_index.grey)
    assert not np.array_equal(first.grey, other_seed.grey)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_page_is_uint8_and_at_most_of_its_size_and_boxes_lie_on_it(glyphs: Glyphs, shape: tuple[int, int]) -> None:
    pages = [draw_page(glyphs, 0, index, shape) for index in range(150)]
    for page in pages:
        assert page.grey.dtype == np.uint8
        assert page.grey.ndim == 2
        assert all(1 < side <= limit for side, limit in zip(page.grey.shape, shape, strict=True))
        for one in page.digits:
            left, top, right, bottom = one.box
            assert 0 <= left < right <= page.grey.shape[1]
            assert 0 <= top < bottom <= page.grey.shape[0]
            assert not (one.target and one.ignored)
            assert bottom - top <= TALLEST_TARGET or not one.target
    labels = {one.label for page in pages for one in page.digits if one.target}
    assert labels == set(range(10))
    assert any(not page.digits for page in pages), "some pages have no digit"
    assert any(page.grey.shape == shape for page in pages)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_can_be_drawn_and_boxes_fit_their_digits(glyphs: Glyphs, name: str) -> None:
    drawn = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        height, width = (int(rng.integers(low, 200)) for low in (MIN_HEIGHT, MIN_WIDTH))
        sheet = Sheet(height, width)
        LAYOUTS[name](rng, glyphs, sheet)
        assert (sheet.height, sheet.width) == sheet.ruling.shape == (height, width)
        drawn += bool(sheet.ink.any())
        assert not sheet.digits or name != "distractors"
        assert len(sheet.digits) <= 1 or name != "single"
        for one in sheet.digits:
            left, top, right, bottom = (int(side) for side in one.box)
            part = sheet.ink[top:bottom, left:right]
            assert part.any()
            if left > 0 and top > 0 and right < width and bottom < height:  # not cut off
                assert all(side.any() for side in (part[0], part[-1], part[:, 0], part[:, -1]))
    assert drawn > 40


def test_images_on_pages_are_the_given_ones_of_the_label(glyphs: Glyphs) -> None:
    for seed in range(50):
        image = render_digit(np.random.default_rng(seed), glyphs, PLAIN, seed % 10).astype(np.float32)
        correlations = []
        for given in glyphs.images[seed % 10]:
            cropped = crop_to_foreground(given * (given > 64))  # rendering sharpens
            scaled = cv2.resize(cropped, image.shape[::-1], interpolation=cv2.INTER_LINEAR)
            correlations.append(np.corrcoef(scaled.ravel(), image.ravel())[0, 1])
        assert max(correlations) > 0.85


@pytest.mark.parametrize("font", [0, 1, 25, 26, 28, None])
@pytest.mark.parametrize("outlined", [False, True])
def test_every_kind_of_character_can_be_rendered_at_any_size(glyphs: Glyphs, font: int | None, outlined: bool) -> None:
    rng = np.random.default_rng(0)
    for height in (5, 13, 40, 250):
        style = Style(height, 0.2, 1, 0.1, font, 0.5, 0.5, True, outlined, 0 if font is None else 0.1)
        for digit in range(10):
            image = render_digit(rng, glyphs, style, digit)
            assert image.any()
            assert 0.4 * height < image.shape[0] < 2 * height + 12
        assert render_distractor(rng, glyphs, style).dtype == np.uint8


@pytest.mark.parametrize("template", [*(template for forms in DIGITS for template in forms), *SYMBOLS])
def test_a_template_becomes_strokes_of_about_its_size(template: str) -> None:
    strokes = sample_template(np.random.default_rng(0), template)
    assert strokes.dtype == np.float32
    assert strokes.shape[1:] == (2, 2)
    points = np.array([point.split(",") for point in template.replace("/", " ").split()], np.float32) / 100
    np.testing.assert_allclose(strokes.min(axis=(0, 1)), points.min(axis=0), atol=0.25)
    np.testing.assert_allclose(strokes.max(axis=(0, 1)), points.max(axis=0), atol=0.25)


def test_a_digit_mostly_off_the_sheet_is_no_target() -> None:
    sheet = Sheet(60, 60)
    image = np.full((30, 20), 255, np.uint8)
    for label, left in ((1, 10), (2, 48), (3, 55)):
        sheet.put(image, left, 10, label)
    assert [(one.label, one.target, one.ignored) for one in sheet.digits] == [(1, True, False), (2, False, True)]
    assert [(one.label, one.target, one.ignored) for one in sheet.cropped(0, 0, 20, 60).digits] == [(1, False, True)]
    assert sheet.cropped(25, 0, 60, 60).digits[0].box == (23, 10, 35, 40)


@pytest.mark.parametrize(("height", "target", "ignored"), [(9, 0, 0), (11, 0, 1), (13, 1, 0), (60, 1, 0), (70, 0, 1)])
def test_only_digits_of_a_readable_size_are_targets(height: int, target: bool, ignored: bool) -> None:
    sheet = Sheet(100, 100)
    sheet.put(np.full((height, 20), 255, np.uint8), 10, 10, 7)
    assert [(one.target, one.ignored) for one in sheet.digits] == [(target, ignored)]
    assert LOWEST_TARGET == 13
    assert TALLEST_TARGET == 60


def test_a_contact_sheet_frames_targets_in_green(glyphs: Glyphs) -> None:
    sheet = contact_sheet(glyphs, 0, (160, 88))
    assert sheet.shape == (6 * 164, 18 * 92, 3)
    page = draw_page(glyphs, 0, 0, (160, 88))
    targets = [tuple(map(int, one.box)) for one in page.digits if one.target]
    assert targets
    assert all(
        (sheet[top, left : right - 1] == (0, 160, 0)).all(axis=1).mean() > 0.5 for left, top, right, _ in targets
    )
