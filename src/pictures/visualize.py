"""Pictures of what the program did with a picture: each step, or each digit found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnist_cnn.common.files import atomic_write
from mnist_cnn.pictures.binarize import Box, find_foreground
from mnist_cnn.pictures.image_io import Pixels, read_picture

TILE, GAP, CAPTION = 224, 12, 28
INK, PAPER, MARK = (30, 30, 30), (255, 255, 255), (0, 114, 178)


def draw_steps(source: object, seen: Sequence[Pixels], names: Sequence[str], path: Path) -> None:
    """Write a PNG of a picture's way to 28x28: grey, ink against paper, ink found, what the network saw.

    Args:
        source: the picture, as in `read_picture`.
        seen: what the network saw, uint8 [28, 28], an image for each digit.
        names: what it took each for.
        path: of the PNG.
    """
    grey = read_picture(source).grey
    ink = find_foreground(grey)
    panels = [
        ("grey", grey),
        ("ink against paper", ink.contrast.astype(np.uint8)),
        ("ink found", 255 * ink.mask.astype(np.uint8)),
        *((f"seen: {name}", image) for name, image in zip(names, seen, strict=True)),
    ]
    sheet = Image.new("RGB", (GAP + len(panels) * (TILE + GAP), TILE + CAPTION + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (title, pixels) in enumerate(panels):
        left = GAP + number * (TILE + GAP)
        sheet.paste(tile(pixels), (left, GAP))
        pen.text((left, TILE + GAP + 6), title, fill=INK, font=ImageFont.load_default(15))
    save(sheet, path)


def tile(pixels: Pixels) -> Image.Image:
    """Fit pixels into a square tile; small pictures keep their pixels visible."""
    image = Image.fromarray(pixels).convert("RGB")
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGB", (TILE, TILE), (200, 200, 200))
    enlarged = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    square.paste(enlarged, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return square


def draw_boxes(source: object, boxes: Sequence[Box], answers: Sequence[str], path: Path) -> None:
    """Write a PNG of a picture with a box around each digit and the answer above it."""
    picture = read_picture(source)
    sheet = Image.fromarray(picture.grey).convert("RGB")
    pen = ImageDraw.Draw(sheet)
    for box, answer in zip(boxes, answers, strict=True):
        left, top, width, height = (side / picture.scale for side in box)
        pen.rectangle((left, top, left + width, top + height), outline=MARK, width=max(1, sheet.width // 300))
        size = max(10, int(height / 3))
        pen.text((left, max(0, top - 1.1 * size)), answer, fill=MARK, font=ImageFont.load_default(size))
    save(sheet, path)


def save(sheet: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all."""
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")
