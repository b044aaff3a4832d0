"""Reads any picture as a greyscale image of bounded size."""

import io
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.pdf import PdfPage, is_pdf, render_page


@runtime_checkable
class BinaryFile(Protocol):
    """An open binary file."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes."""


Pixels = npt.NDArray[np.uint8]
PictureSource = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image.Image | npt.NDArray[Any] | PdfPage
)
"""What `read_picture` reads."""
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
HEIF = re.compile(rb"....ftyp(he[iv]|mif1|msf1)", re.DOTALL)  # major brands, ISO/IEC 23008-12
HEAD = 12  # bytes that tell PDF and HEIC from other files
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pbm", ".pgm", ".ppm"),
    *(".avif", ".heic", ".heif", ".hif"),
)
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 2**20  # of a file in memory
MAX_SIDE = 2600  # pixels of the grey image: print on a whole page is still 20 pixels high
MAX_SCANS = 100  # of a JPEG, as in libtiff; encoders write about 10, and each costs a pass over all pixels
MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")  # of a JPEG: markers followed by a length, and end of image
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"
CHANNEL_GAIN = 1.5  # a colour channel replaces luminance if its contrast is this many times as large
RANGES = "0..1, 0..255 or 0..65535"


class TooLargeError(InputError):
    """A picture has too many pixels or bytes."""


class TooCostlyError(InputError):
    """A picture takes too much time or memory to read."""


@dataclass(frozen=True)
class Picture:
    """A grey image, uint8 [H, W]; each of its pixels covers `scale` x `scale` pixels of the original."""

    grey: Pixels
    scale: float = 1


def read_picture(source: PictureSource, name: str = "picture") -> Picture:
    """Read a picture of any kind.

    Args:
        source: a path, the bytes of a file, an open binary file (read from its current position, not closed), a PIL
            image, an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of bools, integers or floats, 0..1, 0..255 or
            0..65535, whichever its largest value fits, or a page of a PDF; a PDF of one page is a picture itself.
        name: of the picture in errors, unless it is a path.

    Raises:
        InputError: it cannot be read, is damaged, empty, of another shape, dtype or range, a PDF of several pages, or
            has more than 64 million pixels or 256 MiB.
    """
    page = source.number if isinstance(source, PdfPage) else None
    source = source.source if isinstance(source, PdfPage) else source
    if isinstance(source, np.ndarray):
        return shrink(from_array(source, name))
    if isinstance(source, Image.Image):
        return from_pil(source, name)
    if isinstance(source, (str, os.PathLike)):
        path = Path(os.fsdecode(source))
        if not path.is_file():
            raise InputError(f"{path}: no such file; name a picture or a folder of pictures")
        try:
            with path.open("rb") as file:
                return decode(file, str(path) if page is None else f"{path} page {page}", page)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; check the file") from None
    kind = type(source).__name__
    if isinstance(source, BinaryFile):
        try:
            source = source.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: {error}; give a file that is open for reading") from None
    if isinstance(source, (bytes, bytearray, memoryview)):
        if memoryview(source).nbytes > MAX_BYTES:
            raise TooLargeError(f"{name}: more than {MAX_BYTES >> 20} MiB; scale the picture down first")
        return decode(io.BytesIO(bytes(source)), name, page)
    raise InputError(
        f"{name}: {kind} is not a picture; give a path, bytes, an open binary file, a PIL image or an array"
    )


def decode(file: IO[bytes], name: str, page: int | None = None) -> Picture:
    """Decode an open file, or a page of it; its header's size is checked before any pixel is decoded.

    Raises:
        InputError: as in `read_picture`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about irrelevant metadata
        try:
            head = file.read(HEAD)
            file.seek(0)
            if page is not None or is_pdf(head):
                pixels, scale = render_page(file, page, MAX_SIDE, name)
                return Picture(to_grey(pixels), scale)
            with Image.open(file, formats=formats(head)) as image:
                if image.format in ("JPEG", "MPO"):
                    check_scans(file, name)
                return from_pil(image, name, in_place=True)
        except InputError:
            raise
        except MemoryError:
            raise TooLargeError(f"{name}: not enough memory to decode it; scale it down first") from None
        except Image.DecompressionBombError:
            raise TooLargeError(f"{name}: more than {MAX_PIXELS:,} pixels; scale it down first") from None
        except Exception as error:  # decoders fail on damaged files in any way
            kinds = "PNG, JPEG, GIF, BMP, WebP, TIFF, PNM, AVIF, HEIC or PDF"
            raise InputError(f"{name}: damaged or not a picture ({type(error).__name__}); give {kinds}") from None


def formats(head: bytes) -> tuple[str, ...]:
    """List Pillow's formats that a file with such first bytes may have; HEIC's is registered when it is needed."""
    if not HEIF.match(head):
        return FORMATS
    from pillow_heif import register_heif_opener  # takes a while

    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    return (*FORMATS, "HEIF")


def check_scans(file: IO[bytes], name: str) -> None:
    """Count the scans of a JPEG's first image.

    Raises:
        InputError: there are more than any encoder writes.
    """
    before = file.tell()
    file.seek(0)
    data, position, scans = file.read(), 0, 0
    file.seek(before)
    if data.count(b"\xff" + START_OF_SCAN) <= MAX_SCANS:
        return
    while scans <= MAX_SCANS and (marker := MARKER.search(data, position)) and marker[1] != END_OF_IMAGE:
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        scans += marker[1] == START_OF_SCAN
    if scans > MAX_SCANS:
        raise TooCostlyError(f"{name}: a JPEG of more than {MAX_SCANS} scans; save it again in another program")


def from_pil(image: Image.Image, name: str, in_place: bool = False) -> Picture:
    """Convert the first frame: apply its EXIF orientation, composite its alpha channel, shrink it.

    Args:
        image: the picture.
        name: of the picture in errors.
        in_place: whether the image may be modified, which saves a copy.

    Raises:
        InputError: it has no pixels or more than 64 million.
    """
    width, height = image.size
    if not 0 < width * height <= MAX_PIXELS:
        raise TooLargeError(f"{name}: {width:,} x {height:,} pixels; the most is {MAX_PIXELS:,}, scale it down first")
    if image.format in ("JPEG", "MPO"):
        scale = -(-max(width, height) // MAX_SIDE)
        image.draft(None, (-(-width // scale), -(-height // scale)))  # decodes fewer pixels of a large photo
    before = max(image.size)
    if image.format != "HEIF":  # whose decoder turns it, by properties that overrule EXIF (ISO/IEC 23008-12)
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
    """Check an array's shape and values and convert it to uint8; the range is 0..1 if no value is above 1.

    Raises:
        InputError: it is not a picture.
    """
    shape = " x ".join(map(str, array.shape)) or "a single value"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(
            f"{name}: an array of {shape} is not one picture; give [H, W] or [H, W, 1, 3 or 4], and a batch as a list "
            "of pictures"
        )
    if not 0 < array.shape[0] * array.shape[1] <= MAX_PIXELS:
        raise InputError(f"{name}: an array of {shape}; the most is {MAX_PIXELS:,} pixels, the least one")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: an array of {array.dtype} is not a picture; give numbers {RANGES}")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite((low, high)).all():
        raise InputError(f"{name}: the array holds NaN or infinity; give numbers {RANGES}")
    if low < 0 or high > 65535:
        raise InputError(f"{name}: the array's values go from {low:g} to {high:g}; give {RANGES}")
    white = 1 if round(high) <= 1 else max(round(high), 255)  # interpolation makes floats overshoot 1 a little
    if array.dtype != np.uint8 or white == 1:
        array = np.minimum((array.astype(np.float32) * (255 / white)).round(), 255)
    return np.ascontiguousarray(array.squeeze(2) if array.shape[2:] == (1,) else array, dtype=np.uint8)


def shrink(pixels: Pixels, max_side: int = MAX_SIDE) -> Picture:
    """Average squares of pixels until no side is above `max_side`, then convert to grey."""
    scale = -(-max(pixels.shape[:2]) // max_side)
    if scale > 1:
        height, width = (-(-side // scale) for side in pixels.shape[:2])
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return Picture(to_grey(pixels), scale)


def to_grey(pixels: Pixels) -> Pixels:
    """Return luminance, or the colour channel with clearly more contrast: yellow on white, red on green."""
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels)
    if pixels.shape[2] == 4:
        pixels = composite_alpha(pixels)
    luminance = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    contrast = cv2.meanStdDev(pixels)[1].ravel()
    best = int(contrast.argmax())
    return np.ascontiguousarray(pixels[:, :, best]) if contrast[best] > CHANNEL_GAIN * luminance.std() else luminance


def composite_alpha(pixels: Pixels) -> Pixels:
    """Composite RGBA [H, W, 4] over white, or over black if the opaque pixels are light."""
    colour, alpha = pixels[:, :, :3].astype(np.float32), pixels[:, :, 3:].astype(np.float32) / 255
    if alpha.min() == 1:
        return np.ascontiguousarray(pixels[:, :, :3])
    mean = (colour * alpha).sum() / max(3 * float(alpha.sum()), 1.0)
    background = 0 if mean > 127 else 255
    return np.asarray((colour * alpha + background * (1 - alpha)).round(), dtype=np.uint8)
