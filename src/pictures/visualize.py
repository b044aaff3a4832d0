"""Visualizations of predictions: how a picture is read, or boxes around its digits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from mnist_cnn.common.files import atomic_write
from mnist_cnn.pictures.binarize import Box
from mnist_cnn.pictures.image_io import Picture, PictureSource, Pixels, read_picture

TILE, GAP, CAPTION = 224, 12, 28
TEXT, BACKGROUND = (30, 30, 30), (255, 255, 255)
SURE, DOUBTFUL = (0, 114, 178), (213, 94, 0)  # blue and vermillion (Okabe and Ito 2008), which all people tell apart
LEGIBLE = 48  # pixels: median height of digits, at least, in a picture with names; smaller ones are enlarged
LARGEST = 3000  # pixels: longer side up to which pictures are enlarged
FONTS = (28, 20, 14, 10)  # pixels: sizes of names; that of a large digit is a quarter of its height
SMALLER, LATER = 20.0, 4.0  # grey levels of ink, that a smaller size and a later place than the first are worth
FAR = 3  # pixels from a box to its name

Area = tuple[int, int, int, int]  # left, top, right and bottom


@dataclass(frozen=True)
class Mark:
    """A digit to be marked: its box in the picture, its name, and whether it is sure."""

    box: Box
    name: str
    sure: bool


def draw_steps(source: PictureSource, marks: Sequence[Mark], inputs: Sequence[Pixels], path: Path) -> None:
    """Draw how a picture is read: grey, where digits are found, and what the classifier sees of each.

    Args:
        source: the picture.
        marks: its digits.
        inputs: the classifier's input for each digit, uint8 [28, 28].
        path: the PNG to write.
    """
    picture = read_picture(source)
    panels = [
        ("grey", Image.fromarray(picture.grey)),
        ("digits found", with_boxes(picture, marks)[0]),
        *((f"input: {mark.name}", Image.fromarray(image)) for mark, image in zip(marks, inputs, strict=True)),
    ]
    sheet = Image.new("RGB", (GAP + len(panels) * (TILE + GAP), TILE + CAPTION + 2 * GAP), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, (title, image) in enumerate(panels):
        left = GAP + number * (TILE + GAP)
        sheet.paste(tile(image), (left, GAP))
        pen.text((left, TILE + GAP + 6), title, fill=TEXT, font=ImageFont.load_default(15))
    save(sheet, path)


def tile(image: Image.Image) -> Image.Image:
    """Fit an image into a square tile; a small one is enlarged without interpolation."""
    image = image.convert("RGB")
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGB", (TILE, TILE), (200, 200, 200))
    enlarged = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    square.paste(enlarged, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return square


def draw_boxes(source: PictureSource, marks: Sequence[Mark], path: Path) -> None:
    """Draw a picture with a box around each digit and its name outside of it; write it to `path` as PNG.

    A name stands where it covers the least ink; that of a digit that is not sure ends with a question mark.
    """
    sheet, areas = with_margin(*with_boxes(read_picture(source), marks))
    pen, grey = ImageDraw.Draw(sheet), np.asarray(sheet.convert("L")).astype(np.float32)
    taken = list(areas)
    for mark, area in zip(marks, areas, strict=True):
        text = mark.name + ("" if mark.sure else "?")
        _, size, place = min(places(text, area, sheet.size), key=lambda one: one[0] + cost(one[2], grey, taken))
        pen.text(place[:2], text, fill=colour(mark), font=ImageFont.load_default(size), anchor="lt")
        taken.append(place)
    save(sheet, path)


def with_boxes(picture: Picture, marks: Sequence[Mark]) -> tuple[Image.Image, list[Area]]:
    """Draw boxes over a picture, enlarged where its digits are small; return it and the areas of the boxes."""
    sheet = Image.fromarray(picture.grey).convert("RGB")
    heights = [mark.box[3] / picture.scale for mark in marks]
    zoom = min(LEGIBLE / max(float(np.median(heights or [LEGIBLE])), 1), LARGEST / max(sheet.size))
    if zoom > 1:
        sheet = sheet.resize((round(sheet.width * zoom), round(sheet.height * zoom)), Image.Resampling.BICUBIC)
    factor = max(zoom, 1) / picture.scale
    areas = []
    for left, top, width, height in (mark.box for mark in marks):
        sides = (left * factor - 2, top * factor - 2, (left + width) * factor + 1, (top + height) * factor + 1)
        areas.append((round(sides[0]), round(sides[1]), round(sides[2]), round(sides[3])))
    pen = ImageDraw.Draw(sheet)
    for mark, area in zip(marks, areas, strict=True):
        pen.rectangle(area, outline=colour(mark), width=2)
    return sheet, areas


def colour(mark: Mark) -> tuple[int, int, int]:
    """Return the colour of a mark."""
    return SURE if mark.sure else DOUBTFUL


def places(text: str, area: Area, within: tuple[int, int]) -> Iterator[tuple[float, int, Area]]:
    """Yield where text may stand outside a box, inside a picture of a width and height: dislike, font size and area."""
    left, top, right, bottom = area
    for smaller, size in enumerate((largest_font([area]), *FONTS[1:])):
        box = ImageFont.load_default(size).getbbox(text or " ", anchor="lt")
        width, height = round(box[2]), round(box[3])
        for later, (x, y) in enumerate(
            (
                ((left + right - width) // 2, top - height - FAR),
                ((left + right - width) // 2, bottom + FAR),
                (right + FAR, (top + bottom - height) // 2),
                (left - width - FAR, (top + bottom - height) // 2),
            )
        ):
            x, y = max(min(x, within[0] - width), 0), max(min(y, within[1] - height), 0)
            yield SMALLER * smaller + LATER * later, size, (x, y, x + width, y + height)


def largest_font(areas: Sequence[Area]) -> int:
    """Return the size of the largest name of some boxes, in pixels."""
    return max([FONTS[0], *((area[3] - area[1]) // 4 for area in areas)])


def cost(place: Area, grey: npt.NDArray[np.float32], taken: Sequence[Area]) -> float:
    """Return how bad a place for text is: pixels of boxes and names that it covers, and ink."""
    left, top, right, bottom = place
    areas = np.array(taken)
    widths = np.minimum(areas[:, 2], right) - np.maximum(areas[:, 0], left)
    heights = np.minimum(areas[:, 3], bottom) - np.maximum(areas[:, 1], top)
    covered = int((widths.clip(0) * heights.clip(0)).sum())
    return covered + float(grey[top : bottom + 1, left : right + 1].std())


def with_margin(sheet: Image.Image, areas: Sequence[Area]) -> tuple[Image.Image, list[Area]]:
    """Add a margin for names where a box is near the edge of the picture; move the areas with it."""
    room = largest_font(areas) + 2 * FAR
    near = any(min(a[0], a[1], sheet.width - a[2], sheet.height - a[3]) < room for a in areas)
    margin = room if near else 0
    moved = [(a[0] + margin, a[1] + margin, a[2] + margin, a[3] + margin) for a in areas]
    return ImageOps.expand(sheet, margin, BACKGROUND), moved


def save(sheet: Image.Image, path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")
