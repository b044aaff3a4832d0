"""The pages of a PDF are counted and rendered by PDFium."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnist_cnn.common.errors import InputError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

START = b"%PDF-"
DPI, POINTS = 300, 72  # pixels and points an inch
MAX_PAGES = 500
PDFIUM = Lock()  # which is not thread-safe


@dataclass(frozen=True)
class PdfPage:
    """One page of a PDF, as a picture: its pixels are those at 300 dpi.

    Attributes:
        source: path or bytes of the PDF.
        number: of the page, from 1.
    """

    source: str | os.PathLike[str] | bytes
    number: int


def is_pdf(source: object) -> bool:
    """Return whether a source is the path or the bytes of a PDF."""
    if isinstance(source, (str, os.PathLike)) and Path(source).is_file():
        try:
            with Path(source).open("rb") as file:
                return file.read(len(START)) == START
        except OSError:
            return False
    return isinstance(source, bytes) and source.startswith(START)


@contextmanager
def opened(file: IO[bytes], name: str) -> "Iterator[PdfDocument]":
    """Open a PDF that has pages; it is read as far as is needed.

    Raises:
        InputError: it is encrypted, damaged or empty, or PDFium is not installed.
    """
    try:
        from pypdfium2 import PdfDocument, PdfiumError
        from pypdfium2.raw import FPDF_ERR_PASSWORD
    except ModuleNotFoundError as error:
        raise InputError(f"{name}: a PDF needs {error.name}; run pip install -e '.[pdf]' in the checkout") from None
    with PDFIUM:
        try:
            with PdfDocument(file) as document:
                if not len(document):
                    raise InputError(f"{name}: a PDF without pages; export it again")
                yield document
        except PdfiumError as error:
            locked = error.err_code == FPDF_ERR_PASSWORD
            problem = "an encrypted PDF; save it without a password" if locked else "a damaged PDF; export it again"
            raise InputError(f"{name}: {problem}") from None


def count_pages(source: str | os.PathLike[str] | bytes, name: str) -> int | InputError:
    """Count the pages of a PDF, or return its error: one of `opened`, or that there are more than 500."""
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file,
            opened(file, name) as document,
        ):
            count = len(document)
    except InputError as error:
        return error
    too_many = InputError(f"{name}: a PDF of {count:,} pages; the most is {MAX_PAGES}, split it")
    return count if count <= MAX_PAGES else too_many


def render_page(file: IO[bytes], number: int | None, max_side: int, name: str) -> tuple[npt.NDArray[np.uint8], float]:
    """Render a page at 300 dpi, or fewer so that no side has more than `max_side` pixels.

    Args:
        file: the PDF, open.
        number: of the page, from 1; None for the only one.
        max_side: largest width and height.
        name: of the PDF in errors.

    Returns:
        RGB, uint8 [H, W, 3], and how many pixels of 300 dpi, across, one of its pixels covers: 1 or more.

    Raises:
        InputError: as in `opened`, or there is no such page, or several where the only one is asked for.
    """
    with opened(file, name) as document:
        count = len(document)
        if number is None and count > 1:
            raise InputError(f"{name}: a PDF of {count:,} pages; give one of them, in Python PdfPage(file, 1)")
        number = 1 if number is None else number
        if not 1 <= number <= count:
            raise InputError(f"{name}: the PDF has no page {number}; give 1 to {count:,}")
        page = document[number - 1]
        scale = min(DPI / POINTS, (max_side - 1) / max(page.get_size()))
        pixels = page.render(scale=scale, rev_byteorder=True).to_numpy()
        return np.array(pixels[:, :, :3], dtype=np.uint8), DPI / POINTS / scale
