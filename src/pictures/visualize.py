"""Visualizations of predictions: how a picture is read, or boxes around its digits."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mnist_cnn.common.files import atomic_write
from mnist_cnn.pictures.binarize import Box
from mnist_cnn.pictures.image_io import Picture, PictureSource, Pixels, read_picture

TILE, GAP, CAPTION = 224, 12, 28
TEXT, BACKGROUND, BOX = (30, 30, 30), (255, 255, 255), (0, 114, 178)


def draw_steps(
    source: PictureSource, boxes: Sequence[Box], inputs: Sequence[Pixels], names: Sequence[str], path: Path
) -> None:
    """Draw how a picture is read: grey, where digits are found, and what the classifier sees of each.

    Args:
        source: the picture.
        boxes: of each digit, in pixels of the picture.
        inputs: the classifier's input for each digit, uint8 [28, 28].
        names: the predicted class of each digit.
        path: the PNG to write.
    """
    picture = read_picture(source)
    panels = [
        ("grey", Image.fromarray(picture.grey)),
        ("digits found", with_boxes(picture, boxes, [""] * len(boxes))),
        *((f"input: {name}", Image.fromarray(image)) for name, image in zip(names, inputs, strict=True)),
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


def draw_boxes(source: PictureSource, boxes: Sequence[Box], names: Sequence[str], path: Path) -> None:
    """Draw a picture with a box around each digit and its predicted class above; write it to `path` as PNG."""
    save(with_boxes(read_picture(source), boxes, names), path)


def with_boxes(picture: Picture, boxes: Sequence[Box], names: Sequence[str]) -> Image.Image:
    """Draw boxes, in pixels of the original, and names above them over a picture."""
    sheet = Image.fromarray(picture.grey).convert("RGB")
    pen = ImageDraw.Draw(sheet)
    for box, name in zip(boxes, names, strict=True):
        left, top, width, height = (side / picture.scale for side in box)
        pen.rectangle((left, top, left + width, top + height), outline=BOX, width=max(1, sheet.width // 300))
        size = max(10, int(height / 3))
        pen.text((left, max(0, top - 1.1 * size)), name, fill=BOX, font=ImageFont.load_default(size))
    return sheet


def save(sheet: Image.Image, path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")
