"""Glyphs that pages are composed of: MNIST's training images, printed characters, and strokes traced from both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnist_cnn.pictures.binarize import Mask
from mnist_cnn.pictures.contrast import Floats
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.thinning import thin, trace

FONT_SIZE = 64  # pixels
UPSAMPLING = 2  # of MNIST's images, before they are thinned
TRACED_FONTS = 3  # letters of every third font are traced
TRACED = 8000  # images of which strokes are traced: more would take longer to thin
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono",
    "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10", "cmb10", "cmss10", "cmtt10",
    "cmti10",
)  # fmt: skip
"""Fonts of matplotlib."""
HERSHEY_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)  # fmt: skip
"""Fonts of OpenCV."""
LETTERS = "ACEFHKLMNQRUVWXadekmntuvwxAEHKMNRXaekmnx"  # none that is written like a digit; some more often
SYMBOLS = "+=%&@?!<>*#$():;"
LIT_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
SEVEN_SEGMENTS = {
    "a": ((0.0, 0.0), (0.5, 0.0)), "b": ((0.5, 0.0), (0.5, 0.5)), "c": ((0.5, 0.5), (0.5, 1.0)),
    "d": ((0.0, 1.0), (0.5, 1.0)), "e": ((0.0, 0.5), (0.0, 1.0)), "f": ((0.0, 0.0), (0.0, 0.5)),
    "g": ((0.0, 0.5), (0.5, 0.5)),
}  # fmt: skip


@dataclass(frozen=True)
class Glyphs:
    """Characters to compose pages of. Images are uint8, 255 is foreground; strokes are as `trace` returns them.

    Attributes:
        images: MNIST's training images by class, [N, 28, 28] each.
        strokes: traced from some of these images, by class.
        fonts: printed digits by font and class, [H, W] each.
        font_strokes: traced from these.
        distractors: printed letters and symbols by font, [H, W] each.
        distractor_strokes: traced from those of some fonts.
    """

    images: Sequence[Pixels]
    strokes: Sequence[Sequence[Floats]]
    fonts: Sequence[Sequence[Pixels]]
    font_strokes: Sequence[Sequence[Floats]]
    distractors: Sequence[Sequence[Pixels]]
    distractor_strokes: Sequence[Floats]


def make_glyphs(
    images: Pixels,
    labels: Pixels,
    traced: int = TRACED,
    fonts: Sequence[str] = FONTS,
    hershey_fonts: Sequence[int] = HERSHEY_FONTS,
    characters: str = LETTERS + SYMBOLS,
) -> Glyphs:
    """Prepare glyphs from MNIST's training images and the fonts of matplotlib and OpenCV.

    Args:
        images: uint8 [N, 28, 28].
        labels: uint8 [N], 0..9.
        traced: number of the first images of which strokes are traced.
        fonts: names of matplotlib's.
        hershey_fonts: numbers of OpenCV's.
        characters: those that are printed as distractors.
    """
    lines = thin(upsampled(images[:traced]))
    digits = [render_font(font, "0123456789") for font in fonts] + [render_hershey(font) for font in hershey_fonts]
    distractors = [render_font(font, characters) for font in fonts]
    return Glyphs(
        images=[images[labels == digit] for digit in range(10)],
        strokes=[[trace(line) for line in lines[labels[:traced] == digit]] for digit in range(10)],
        fonts=digits,
        font_strokes=[[trace_character(image) for image in font] for font in digits],
        distractors=distractors,
        distractor_strokes=[trace_character(image) for font in distractors[::TRACED_FONTS] for image in font],
    )


def upsampled(images: Pixels) -> Mask:
    """Upsample MNIST's images [N, 28, 28] and binarize them: bool [N, 56, 56]."""
    side = UPSAMPLING * images.shape[1]
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) > 127 for image in images])


def trace_character(image: Pixels) -> Floats:
    """Trace the strokes of a printed character, uint8 [H, W]: float32 [M, 2, 2]."""
    return trace(thin(np.pad(image > 127, 2)[None])[0], smoothing=6)


def render_font(font: str, characters: str) -> list[Pixels]:
    """Render characters in a font of matplotlib, each cropped: uint8 [H, W]."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    face = ImageFont.truetype(str(file), FONT_SIZE)
    rendered = []
    for character in characters:
        image = Image.new("L", (3 * FONT_SIZE, 3 * FONT_SIZE))
        ImageDraw.Draw(image).text((FONT_SIZE, FONT_SIZE), character, fill=255, font=face)
        rendered.append(crop_to_foreground(np.asarray(image)))
    return rendered


def render_hershey(font: int) -> list[Pixels]:
    """Render the digits in a font of OpenCV, each cropped: uint8 [H, W]."""
    rendered = []
    for digit in range(10):
        image = np.zeros((3 * FONT_SIZE, 3 * FONT_SIZE), dtype=np.uint8)
        cv2.putText(image, str(digit), (FONT_SIZE, 2 * FONT_SIZE), font, 2.0, 255, 3, cv2.LINE_AA)
        rendered.append(crop_to_foreground(image))
    return rendered


def crop_to_foreground(image: Pixels) -> Pixels:
    """Crop an image [H, W] to its foreground; a blank one to a pixel."""
    left, top, width, height = cv2.boundingRect(image)
    return np.ascontiguousarray(image[top : top + max(height, 1), left : left + max(width, 1)])


def seven_segment(digit: int, gap: float) -> Floats:
    """Return the strokes of a digit on a seven-segment display, `gap` heights apart: float32 [M, 2, 2]."""
    ends = np.array([SEVEN_SEGMENTS[name] for name in LIT_SEGMENTS[digit]], dtype=np.float32)
    direction = np.sign(ends[:, 1:] - ends[:, :1])
    return np.concatenate([ends[:, :1] + gap * direction, ends[:, 1:] - gap * direction], axis=1)
