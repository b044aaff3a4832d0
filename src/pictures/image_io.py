"""Any picture file a person has becomes one grey image of bounded size."""

import io
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mnist_cnn.common.errors import InputError

Pixels = npt.NDArray[np.uint8]
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".avif")
MOST_PIXELS = 64_000_000
MOST_BYTES = 256 * 2**20  # of a file in memory
LONGEST_SIDE = 800  # of the grey image: a digit that fills a twentieth of it is still 20 to 40 pixels high
MOST_SCANS = 100  # of a JPEG, as libtiff allows it; encoders write about 10, and each costs a pass over all pixels
MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")  # of a JPEG; only those that a length follows, and the last
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"
CLEARLY = 1.5  # a colour channel replaces luminance where its contrast is so many times as large


PictureSource = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[np.generic]
)


class TooLargeError(InputError):
    """A picture has more pixels or bytes than are read."""


class TooCostlyError(InputError):
    """A picture takes more time or memory to read than it may."""


@dataclass(frozen=True)
class Picture:
    """A grey image, uint8 [H, W], each of whose pixels stands for `scale` x `scale` of the original's."""

    grey: Pixels
    scale: int = 1


def read_picture(source: object, name: str = "picture") -> Picture:
    """Read a picture of any kind.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of
            bools, integers or floats, 0..1, 0..255 or 0..65535, whichever its largest value fits.
        name: what to call it in errors where it is no path.

    Raises:
        InputError: it cannot be read, is damaged, empty, of another shape, dtype or range, or has more than
            64 million pixels.
    """
    if isinstance(source, np.ndarray):
        return shrink(from_array(source, name))
    if isinstance(source, Image.Image):
        return from_pil(source, name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        if len(source) > MOST_BYTES:
            raise TooLargeError(f"{name}: more than {MOST_BYTES >> 20} MiB; scale the picture down first")
        return decode(io.BytesIO(source), name)
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise InputError(f"{source}: no such file; name a picture or a folder of pictures")
        try:
            with Path(source).open("rb") as file:
                return decode(file, str(source))
        except OSError as error:
            raise InputError(f"{source}: {error.strerror}; check the file") from None
    raise InputError(f"{name}: a {type(source).__name__} is not a picture; give a path, bytes, a PIL image or an array")


def decode(file: Any, name: str) -> Picture:
    """Decode an open file; the size in its header is checked before a pixel is.

    Raises:
        InputError: as in `read_picture`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about tags of no interest here
        try:
            with Image.open(file, formats=FORMATS) as image:
                if image.format in ("JPEG", "MPO"):
                    check_scans(file, name)
                return from_pil(image, name, in_place=True)
        except InputError:
            raise
        except MemoryError:
            raise TooLargeError(f"{name}: not enough memory to decode it; scale it down first") from None
        except Image.DecompressionBombError:
            raise TooLargeError(f"{name}: more than {MOST_PIXELS:,} pixels; scale it down first") from None
        except Exception as error:  # damaged files can fail in any way
            kinds = "PNG, JPEG, GIF, BMP, WebP, TIFF, PNM or AVIF"
            raise InputError(f"{name}: damaged or not a picture ({type(error).__name__}); give {kinds}") from None


def check_scans(file: Any, name: str) -> None:
    """Count the scans of a JPEG's first image.

    Raises:
        InputError: they are more than any encoder writes.
    """
    before = file.tell()
    file.seek(0)
    data, place, scans = file.read(), 0, 0
    file.seek(before)
    if data.count(b"\xff" + START_OF_SCAN) <= MOST_SCANS:
        return
    while scans <= MOST_SCANS and (found := MARKER.search(data, place)) and found[1] != END_OF_IMAGE:
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        scans += found[1] == START_OF_SCAN
    if scans > MOST_SCANS:
        raise TooCostlyError(f"{name}: a JPEG of more than {MOST_SCANS} scans; save it anew")


def from_pil(image: Image.Image, name: str, in_place: bool = False) -> Picture:
    """Turn the first frame upright, over a ground that its ink stands out from, and shrink it.

    Args:
        image: the picture.
        name: what to call it in errors.
        in_place: whether it may be changed, which saves a copy.

    Raises:
        InputError: it has no pixels or more than 64 million.
    """
    width, height = image.size
    if not 0 < width * height <= MOST_PIXELS:
        raise TooLargeError(f"{name}: {width:,} x {height:,} pixels; the most is {MOST_PIXELS:,}, scale it down first")
    if image.format in ("JPEG", "MPO"):
        scale = -(-max(width, height) // LONGEST_SIDE)
        image.draft(None, (-(-width // scale), -(-height // scale)))  # decodes fewer pixels of a large photo
    before = max(image.size)
    if in_place:
        ImageOps.exif_transpose(image, in_place=True)
    else:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        picture = shrink(from_array(np.asarray(image), name))
    else:
        mode = "RGBA" if image.has_transparency_data else "L" if image.mode in "1L" else "RGB"
        picture = shrink(np.asarray(image if image.mode == mode else image.convert(mode)))
    return Picture(picture.grey, picture.scale * round(max(width, height) / before))


def from_array(array: npt.NDArray[Any], name: str) -> Pixels:
    """Check an array's shape and values and bring it to uint8: 0..1 where nothing is above 1, else 0..255 or more.

    Raises:
        InputError: it is not a picture.
    """
    shape = " x ".join(map(str, array.shape)) or "a single value"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(f"{name}: an array of {shape} is not a picture; give [H, W] or [H, W, 1, 3 or 4]")
    if not 0 < array.shape[0] * array.shape[1] <= MOST_PIXELS:
        raise InputError(f"{name}: an array of {shape}; the most is {MOST_PIXELS:,} pixels, the least one")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: an array of {array.dtype} is not a picture; give numbers 0..1, 0..255 or 0..65535")
    least, most = float(array.min()), float(array.max())
    if not np.isfinite((least, most)).all():
        raise InputError(f"{name}: the array holds NaN or infinity; give numbers 0..1, 0..255 or 0..65535")
    if least < 0 or most > 65535:
        raise InputError(f"{name}: the array's values go from {least:g} to {most:g}; give 0..1, 0..255 or 0..65535")
    white = 1 if round(most) <= 1 else max(round(most), 255)  # floats may exceed it a little, by interpolation
    if array.dtype != np.uint8 or white == 1:
        array = np.minimum((array.astype(np.float32) * (255 / white)).round(), 255)
    return np.ascontiguousarray(array.squeeze(2) if array.shape[2:] == (1,) else array, dtype=np.uint8)


def shrink(pixels: Pixels) -> Picture:
    """Ensemble squares of pixels until no side is above 800, then make it grey."""
    scale = -(-max(pixels.shape[:2]) // LONGEST_SIDE)
    if scale > 1:
        height, width = (-(-side // scale) for side in pixels.shape[:2])
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return Picture(to_grey(pixels), scale)


def to_grey(pixels: Pixels) -> Pixels:
    """Take luminance, or the colour channel in which ink stands out clearly better: yellow on white, red on green."""
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels)
    if pixels.shape[2] == 4:
        pixels = without_alpha(pixels)
    luminance = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    spread = cv2.meanStdDev(pixels)[1].ravel()
    best = int(spread.argmax())
    return np.ascontiguousarray(pixels[:, :, best]) if spread[best] > CLEARLY * luminance.std() else luminance


def without_alpha(pixels: Pixels) -> Pixels:
    """Lay transparent pixels [H, W, 4] on white, or on black where what is opaque is light."""
    colour, alpha = pixels[:, :, :3].astype(np.float32), pixels[:, :, 3:].astype(np.float32) / 255
    if alpha.min() == 1:
        return np.ascontiguousarray(pixels[:, :, :3])
    light = (colour * alpha).sum() / max(3 * float(alpha.sum()), 1.0)
    ground = 0 if light > 127 else 255
    return np.asarray((colour * alpha + ground * (1 - alpha)).round(), dtype=np.uint8)
