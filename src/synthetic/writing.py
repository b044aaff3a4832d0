"""Renders one character in a style: handwritten, printed, or on a seven-segment display."""

from dataclasses import dataclass

import cv2
import numpy as np

from mnist_cnn.pictures.contrast import Floats
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.allographs import DIGITS, SYMBOLS, sample_template, scribble
from mnist_cnn.synthetic.glyphs import Glyphs, crop_to_foreground, seven_segment

DISPLAYS = 3  # styles of font number len(fonts) and above are seven-segment displays
SUPERSAMPLING = 3  # strokes are rendered at this scale and averaged
FRACTION_BITS = 4  # of coordinates in OpenCV's drawing
MIN_STROKE = 0.45  # pixels
EUROPEAN = {1: (1, 2, 2, 3, 3, 4, 5), 4: (0, 5, 6, 7, 13, 17, 18, 19), 7: (1, 1, 3, 4, 5, 7, 8)}
"""Templates of ones with flags, open fours and crossed sevens."""
EUROPEAN_SHARE = {1: 0.93, 4: 0.4, 7: 0.93}  # of them, where a style is European
FREQUENT = 1.6  # the first symbols, those of arithmetic, are more frequent the more this exceeds 1


@dataclass(frozen=True)
class Style:
    """How the characters of a line are written.

    Attributes:
        height: of a digit, in pixels.
        slant: shear to the right, in heights.
        aspect: factor of the width.
        stroke: width of strokes, in heights.
        font: its number, or that of a display from len(fonts) on; None if handwritten.
        image_share: share of handwritten digits that are MNIST images; the others are strokes.
        template_share: share of templates among these strokes.
        european: whether ones have flags, some fours are open and sevens are crossed.
        outlined: whether only outlines are drawn.
        jitter: variation between the digits of a line.
    """

    height: float
    slant: float
    aspect: float
    stroke: float
    font: int | None
    image_share: float
    template_share: float
    european: bool
    outlined: bool
    jitter: float


def sample_style(rng: np.random.Generator, glyphs: Glyphs, low: float, high: float) -> Style:
    """Sample a style of a height between `low` and `high` pixels."""
    height = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    font = int(rng.integers(len(glyphs.fonts) + DISPLAYS)) if rng.random() < 0.22 else None
    return Style(
        height=height,
        slant=sample_slant(rng) if font is None else float(rng.normal(0, 0.04)),
        aspect=float(np.exp(rng.normal(0, 0.12 if font is not None else 0.2))),
        stroke=max(float(np.exp(rng.uniform(np.log(0.03), np.log(0.25)))), MIN_STROKE / height),
        font=font,
        image_share=float(rng.choice([0.0, 1.0, rng.random()])),
        template_share=float(rng.choice([0.0, 1.0, rng.random()], p=[0.15, 0.3, 0.55])),
        european=bool(rng.random() < 0.45),
        outlined=bool(height > 24 and rng.random() < 0.05),
        jitter=float(rng.uniform(0, 0.15)) if font is None else 0.0,
    )


def sample_slant(rng: np.random.Generator) -> float:
    """Sample the slant of handwriting; some people write at 25 to 35 degrees from the vertical."""
    return float(rng.normal(0, 0.18) if rng.random() < 0.85 else rng.uniform(0.25, 0.7))


def render_digit(rng: np.random.Generator, glyphs: Glyphs, style: Style, digit: int) -> Pixels:
    """Render a digit: uint8 [H, W], cropped to its foreground."""
    if style.font is None:
        return render_handwritten(rng, glyphs, style, digit)
    if style.font >= len(glyphs.fonts):
        return render_strokes(rng, style, seven_segment(digit, 0.06))
    if style.font % 3:
        return render_image(rng, style, glyphs.fonts[style.font][digit])
    return render_strokes(rng, style, glyphs.font_strokes[style.font][digit])


def render_handwritten(rng: np.random.Generator, glyphs: Glyphs, style: Style, digit: int) -> Pixels:
    """Render a digit from an MNIST image, from strokes traced from one or from a font, or from a template."""
    templates = DIGITS[digit]
    if style.european and rng.random() < EUROPEAN_SHARE.get(digit, 0.0):
        return render_strokes(rng, style, sample_template(rng, templates[rng.choice(EUROPEAN[digit])]))
    if rng.random() < style.image_share:
        images = glyphs.images[digit]
        return render_image(rng, style, images[rng.integers(len(images))])
    if rng.random() < style.template_share:
        return render_strokes(rng, style, sample_template(rng, templates[rng.integers(len(templates))]))
    traced = glyphs.strokes[digit] if rng.random() < 0.9 else [font[digit] for font in glyphs.font_strokes]
    return render_strokes(rng, style, crossed(rng, digit, traced[int(rng.integers(len(traced)))]))


def crossed(rng: np.random.Generator, digit: int, strokes: Floats) -> Floats:
    """Cross some sevens, and put a slash through a few zeros; strokes are float32 [M, 2, 2]."""
    if not len(strokes) or rng.random() > {7: 0.3, 0: 0.06}.get(digit, 0.0):
        return strokes
    centre, width = strokes.mean(axis=(0, 1)), float(np.ptp(strokes[:, :, 0]))
    half = np.array([rng.uniform(0.25, 0.45) * max(width, 0.4), rng.uniform(-0.1, 0.05)])
    if digit == 0:
        half = np.array([0.55 * width, -0.5])
    return np.concatenate([strokes, np.stack([centre - half, centre + half])[None]]).astype(np.float32)


def render_distractor(rng: np.random.Generator, glyphs: Glyphs, style: Style) -> Pixels:
    """Render a letter, a symbol or a scribble: uint8 [H, W], cropped to its foreground."""
    kind = rng.random()
    if style.font is not None or kind < 0.2:
        font = glyphs.distractors[int(rng.integers(len(glyphs.distractors)))]
        return render_image(rng, style, font[int(rng.integers(len(font)))])
    if kind < 0.55:
        return render_strokes(rng, style, glyphs.distractor_strokes[int(rng.integers(len(glyphs.distractor_strokes)))])
    if kind < 0.85:
        return render_strokes(rng, style, sample_template(rng, SYMBOLS[int(len(SYMBOLS) * rng.random() ** FREQUENT)]))
    return render_strokes(rng, style, scribble(rng))


def sample_transform(rng: np.random.Generator, style: Style) -> Floats:
    """Sample the 2x2 matrix that scales, shears and rotates a character of height 1, float32."""
    angle = 0.7 * rng.normal(0, 0.08 + style.jitter) if style.jitter else 0.0
    height = style.height * float(np.exp(rng.normal(0, style.jitter / 2 + 1e-9)))
    width = height * style.aspect * float(np.exp(rng.normal(0, style.jitter + 1e-9)))
    shear = style.slant + rng.normal(0, style.jitter / 2 + 1e-9)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]], np.float32)
    return rotation @ np.array([[width, -shear * height], [0, height]], np.float32)


def render_strokes(rng: np.random.Generator, style: Style, strokes: Floats) -> Pixels:
    """Render strokes, float32 [M, 2, 2] of height 1, with the style's pen: uint8 [H, W], cropped to its foreground."""
    if not len(strokes):
        return np.zeros((1, 1), dtype=np.uint8)
    points = (waved(rng, strokes, style.jitter) @ sample_transform(rng, style).T).astype(np.float32)
    pen = max(1, round(SUPERSAMPLING * style.stroke * style.height * float(np.exp(rng.normal(0, 0.1)))))
    corner = points.min(axis=(0, 1))
    margin = pen // 2 + SUPERSAMPLING
    width, height = (SUPERSAMPLING * np.ptp(points, axis=(0, 1))).astype(int) + 2 * margin + SUPERSAMPLING
    fixed = ((SUPERSAMPLING * (points - corner) + margin) * (1 << FRACTION_BITS)).round().astype(np.int32)
    image = np.zeros((height, width), dtype=np.uint8)
    cv2.polylines(image, list(fixed), False, 255, pen, cv2.LINE_8, FRACTION_BITS)
    if style.outlined and pen > 2 * SUPERSAMPLING:
        kernel = np.ones((SUPERSAMPLING + 2, SUPERSAMPLING + 2), np.uint8)
        image = np.asarray(image - cv2.erode(image, kernel), dtype=np.uint8)
    size = -(-width // SUPERSAMPLING), -(-height // SUPERSAMPLING)
    return crop_to_foreground(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))


def waved(rng: np.random.Generator, strokes: Floats, jitter: float) -> Floats:
    """Displace strokes, float32 [M, 2, 2], along two sine waves."""
    frequencies = rng.uniform(1.5, 5, (2, 2)) * rng.choice([-1, 1], (2, 2))
    phases = strokes.reshape(-1, 2) @ frequencies + rng.uniform(0, 7, 2)
    displaced = strokes + rng.uniform(0, 0.5) * jitter * np.sin(phases).reshape(strokes.shape)
    return np.asarray(displaced, dtype=np.float32)


def render_image(rng: np.random.Generator, style: Style, image: Pixels) -> Pixels:
    """Render an image of one character, uint8 [H, W], in a style: uint8, cropped to its foreground."""
    source = crop_to_foreground(image)
    height, width = source.shape
    matrix = sample_transform(rng, style) / np.float32(height)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float32) @ matrix.T
    low = corners.min(axis=0) - 1
    size = np.ceil(corners.max(axis=0) + 1 - low).astype(int)
    if style.height < 0.6 * height:
        source = np.asarray(cv2.blur(source, (int(height / style.height),) * 2), dtype=np.uint8)
    affine = np.concatenate([matrix, -low[:, None]], axis=1)
    warped = cv2.warpAffine(source, affine, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR)
    sharpened = np.clip((warped.astype(np.float32) - 128) * (1 + style.height / height) + 128, 0, 255) * (warped > 20)
    rendered = np.asarray(sharpened, dtype=np.uint8)
    if style.outlined:
        rendered = np.asarray(cv2.dilate(rendered, np.ones((3, 3), np.uint8)) - rendered, dtype=np.uint8)
    return crop_to_foreground(rendered)
