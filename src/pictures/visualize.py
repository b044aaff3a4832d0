"""Visualizations of predictions: the preprocessing steps of a picture, or boxes around its digits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnist_cnn.common.files import atomic_write
from mnist_cnn.pictures.binarize import Box, find_foreground
from mnist_cnn.pictures.image_io import PictureSource, Pixels, read_picture

TILE, GAP, CAPTION = 224, 12, 28
TEXT, BACKGROUND, BOX = (30, 30, 30), (255, 255, 255), (0, 114, 178)


def draw_steps(source: PictureSource, inputs: Sequence[Pixels], names: Sequence[str], path: Path) -> None:
    """Draw the preprocessing of a picture: grey, contrast to the background, foreground, the network's inputs.

    Args:
        source: the picture.
        inputs: the network's input for each digit, uint8 [28, 28].
        names: the predicted class of each digit.
        path: the PNG to write.
    """
    grey = read_picture(source).grey
    foreground = find_foreground(grey)
    panels = [
        ("grey", grey),
        ("contrast to the background", foreground.contrast.astype(np.uint8)),
        ("foreground", 255 * foreground.mask.astype(np.uint8)),
        *((f"input: {name}", image) for name, image in zip(names, inputs, strict=True)),
    ]
    sheet = Image.new("RGB", (GAP + len(panels) * (TILE + GAP), TILE + CAPTION + 2 * GAP), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, (title, pixels) in enumerate(panels):
        left = GAP + number * (TILE + GAP)
        sheet.paste(tile(pixels), (left, GAP))
        pen.text((left, TILE + GAP + 6), title, fill=TEXT, font=ImageFont.load_default(15))
    save(sheet, path)


def tile(pixels: Pixels) -> Image.Image:
    """Fit pixels into a square tile; a small image is enlarged without interpolation."""
    image = Image.fromarray(pixels).convert("RGB")
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGB", (TILE, TILE), (200, 200, 200))
    enlarged = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    square.paste(enlarged, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return square


def draw_boxes(source: PictureSource, boxes: Sequence[Box], names: Sequence[str], path: Path) -> None:
    """Draw a picture with a box around each digit and its predicted class above; write it to `path` as PNG."""
    picture = read_picture(source)
    sheet = Image.fromarray(picture.grey).convert("RGB")
    pen = ImageDraw.Draw(sheet)
    for box, name in zip(boxes, names, strict=True):
        left, top, width, height = (side / picture.scale for side in box)
        pen.rectangle((left, top, left + width, top + height), outline=BOX, width=max(1, sheet.width // 300))
        size = max(10, int(height / 3))
        pen.text((left, max(0, top - 1.1 * size)), name, fill=BOX, font=ImageFont.load_default(size))
    save(sheet, path)


def save(sheet: Image.Image, path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")
