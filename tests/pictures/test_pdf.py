"""Pages of PDFs are counted and rendered; what cannot be gets one line."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from hostile import encoded
from mnist_cnn import Classifier, PdfPage
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.image_io import MAX_SIDE, PictureSource, read_picture
from mnist_cnn.pictures.pdf import MAX_PAGES, count_pages, is_pdf

INK = np.full((50, 75, 3), 255, np.uint8)
INK[10:20, 15:45] = 0


def scan(pages: Sequence[Image.Image], dpi: int = 300) -> bytes:
    """Write pictures as the pages of a PDF."""
    return encoded(pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=dpi)


def blank(pages: int, width: float = 72, height: float = 72) -> bytes:
    """Write a PDF of blank pages, width and height in points."""
    document, buffer = pypdfium2.PdfDocument.new(), io.BytesIO()
    for _ in range(pages):
        document.new_page(width, height)
    document.save(buffer)
    document.close()
    return buffer.getvalue()


@pytest.mark.parametrize("source", ["bytes", "path", "open file"])
def test_a_pdf_of_one_page_is_a_picture(source: str, tmp_path: Path) -> None:
    content, path = scan([Image.fromarray(INK)]), tmp_path / "scan"
    path.write_bytes(content)
    with path.open("rb") as file:
        sources: dict[str, PictureSource] = {"bytes": content, "path": path, "open file": file}
        picture = read_picture(sources[source])
    assert (picture.grey.shape, picture.scale) == ((50, 75), 1)
    assert np.abs(picture.grey.astype(int) - INK[:, :, 0]).mean() < 8


def test_pages_are_read_by_number_and_boxes_are_in_pixels_of_300_dpi(tmp_path: Path) -> None:
    photo = Image.open(Path(__file__).parents[2] / "images" / "own_digits.jpg")
    (tmp_path / "scan.pdf").write_bytes(scan([Image.fromarray(INK), photo], dpi=100))
    classifier = Classifier.load()
    given, page = classifier.read(photo), classifier.read(PdfPage(tmp_path / "scan.pdf", 2))
    assert page.text == given.text == "17324"
    for one, other in zip(given.digits, page.digits, strict=True):
        assert one.box
        assert other.box == pytest.approx(tuple(3 * side for side in one.box), abs=30)


def test_large_pages_are_rendered_at_fewer_dots_than_300_an_inch() -> None:
    for width, height in ((14_400, 14_400), (612, 792), (14_400, 1), (1, 14_400)):
        picture = read_picture(blank(1, width, height))
        assert max(picture.grey.shape) <= MAX_SIDE
        assert picture.scale * max(picture.grey.shape) == pytest.approx(max(width, height) * 300 / 72, rel=0.01)


ENCRYPTED = scan([Image.fromarray(INK)]).replace(
    b"trailer\n<<",
    b"trailer\n<< /Encrypt << /Filter /Standard /V 1 /R 2 /O (%s) /U (%s) /P -4 >>" % (b"a" * 32, b"b" * 32),
)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (scan([Image.fromarray(INK)] * 3), r"that: a PDF of 3 pages; give one of them, in Python PdfPage\(file, 1\)"),
        (PdfPage(scan([Image.fromarray(INK)] * 2), 3), "that: the PDF has no page 3; give 1 to 2"),
        (PdfPage(scan([Image.fromarray(INK)]), 0), "that: the PDF has no page 0; give 1 to 1"),
        (PdfPage(encoded(Image.fromarray(INK)), 1), "that: a damaged PDF; export it again"),
        (scan([Image.fromarray(INK)])[:200], "that: a damaged PDF; export it again"),
        (b"%PDF-", "that: a damaged PDF; export it again"),
        (ENCRYPTED, "that: an encrypted PDF; save it without a password"),
    ],
    ids=["several pages", "a page too many", "page 0", "no PDF", "half", "empty", "encrypted"],
)
def test_what_cannot_be_rendered_gets_one_line(source: bytes | PdfPage, words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}$"):
        read_picture(source, "that")


def test_pages_are_counted_up_to_a_limit() -> None:
    assert count_pages(blank(MAX_PAGES), "that") == MAX_PAGES
    assert str(count_pages(blank(MAX_PAGES + 1), "that")) == "that: a PDF of 501 pages; the most is 500, split it"
    assert str(count_pages(ENCRYPTED, "that")) == "that: an encrypted PDF; save it without a password"


def test_a_pdf_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(blank(1))
    (tmp_path / "photo.pdf").write_bytes(encoded(Image.fromarray(INK)))
    assert is_pdf(tmp_path / "scan.png")
    assert is_pdf(str(tmp_path / "scan.png"))
    assert not is_pdf(tmp_path / "photo.pdf")
    assert not is_pdf(tmp_path)
    assert read_picture(tmp_path / "photo.pdf").grey.shape == (50, 75)
