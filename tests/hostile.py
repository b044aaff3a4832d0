"""Picture files made to cost as much time and memory as they can, each of at most a few megabytes."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()  # which also writes

SIDE = 8000  # of the largest square picture that is read
ZEROS = zlib.compress(bytes(2**28), 1)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Write a picture into memory."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Write a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(side: int, depth: int, colour: int, row: int, before: bytes = b"", after: bytes = b"", more: int = 0) -> bytes:
    """Write a PNG of zeros, `row` bytes in each row, with chunks before and after its pixels, or more of these."""
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes((row + 1) * side + more), 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + after + chunk(b"IEND", b"")


def scans(side: int, repeats: int, between: bytes = b"", after: bytes = b"") -> bytes:
    """Write a progressive JPEG whose last scan comes again and again, with something before each and after the end."""
    content = encoded(Image.new("L", (side, side), 200), "JPEG", progressive=True)
    last = content.rfind(b"\xff\xc4", 0, content.rfind(b"\xff\xda"))
    return content[:-2] + (between + content[last:-2]) * repeats + content[-2:] + after


def gif(frames: int, canvas: int, frame: int) -> bytes:
    """Write a GIF of many frames."""
    head = b"GIF89a" + struct.pack("<HH", canvas, canvas) + b"\x80\0\0\0\0\0\xff\xff\xff"
    one = b"," + struct.pack("<HHHH", 0, 0, frame, frame) + b"\0\x02\x02\x44\x01\0"
    return head + frames * one + b";"


def tiff(
    width: int, height: int, part: bytes, parts: int, tile: int = 0, compression: int = 1, following: int = 0
) -> bytes:
    """Write a grey TIFF of many strips of a row or square tiles, all of which are the same bytes."""
    start = 256
    fields = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1} | (
        {322: tile, 323: tile} if tile else {278: 1}
    )
    entries = [(tag, 1, value) for tag, value in fields.items()]
    at = start + len(part)
    entries += [(324 if tile else 273, parts, at), (325 if tile else 279, parts, at + 4 * parts)]
    page = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in sorted(entries))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + page + struct.pack("<I", following)
    return head.ljust(start, b"\0") + part + struct.pack("<I", start) * parts + struct.pack("<I", len(part)) * parts


def pages(count: int) -> bytes:
    """Write a TIFF of a chain of many pages."""
    first = tiff(28, 28, bytes(28), 28)
    at = len(first)
    chain = (struct.pack("<HHHIII", 1, 256, 4, 1, 1, at + 18 * number) for number in range(1, count + 1))
    return tiff(28, 28, bytes(28), 28, following=at) + b"".join(chain)


def frames(form: str, count: int) -> bytes:
    """Write an animation."""
    all_of_them = [Image.new("RGB", (28, 28), (number % 256, 0, 0)) for number in range(count)]
    return encoded(all_of_them[0], form, save_all=True, append_images=all_of_them[1:])


def drawing_pdf(times: int, side: int = 500) -> bytes:
    """Write a PDF whose only page, `side` points wide and high, fills itself so many times."""
    content = b"0 0 0 rg 0 0 %d %d re f " % (side, side) * times
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R >>" % (side, side),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, one) for number, one in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer\n<< /Root 1 0 R /Size 5 >>\n%%EOF\n"


def digits_page(rows: int, height: int = 40) -> bytes:
    """Draw so many rows of so many digits, each in a cell of a height in pixels."""
    cell = cv2.putText(np.full((40, 30), 255, np.uint8), "3", (4, 33), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 0, 2)
    cell = np.asarray(cv2.resize(cell, (height * 3 // 4, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return encoded(Image.fromarray(np.tile(cell, (rows, rows))))


def specks(step: int, size: int, side: int = 800) -> bytes:
    """Draw specks all over a page."""
    page = np.full((side, side), 255, np.uint8)
    for y in range(size):
        for x in range(size):
            page[y::step, x::step] = 0
    return encoded(Image.fromarray(page))


def noise(dot: int, share: float) -> bytes:
    """Draw dots at random."""
    rng = np.random.default_rng(0)
    page = rng.random((800 // dot, 800 // dot)) < share
    return encoded(Image.fromarray(np.kron(page.astype(np.uint8) * np.uint8(255), np.ones((dot, dot), np.uint8))))


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG of 80,000 scans": lambda: scans(1000, 80_000),
    "JPEG of 90 large scans": lambda: scans(5000, 84),
    "GIF of 100,000 frames": lambda: gif(100_000, 28, 1),
    "GIF of a huge canvas": lambda: gif(9, 65535, 1),
    "GIF of a large canvas": lambda: gif(9, SIDE, 1),
    "GIF of a huge frame": lambda: gif(9, 28, 65535),
    "TIFF of a chain of pages": lambda: pages(100_000),
    "TIFF of a loop of pages": lambda: tiff(28, 28, bytes(28), 28, following=8),
    "TIFF of a million strips": lambda: tiff(1, 1_000_000, bytes(1), 1_000_000),
    "TIFF of more strips than rows": lambda: tiff(28, 28, bytes(28), 1_000_000),
    "TIFF of many tiles": lambda: tiff(SIDE, SIDE, bytes(256), 250_000, tile=16),
    "TIFF of JPEG tiles": lambda: tiff(
        SIDE, SIDE, encoded(Image.new("L", (16, 16), 200), "JPEG"), 250_000, tile=16, compression=7
    ),
    "TIFF of JPEG tiles of many scans": lambda: tiff(SIDE, SIDE, scans(2000, 20_000), 16, tile=2000, compression=7),
    "TIFF of deflated tiles": lambda: tiff(SIDE, SIDE, zlib.compress(bytes(4_000_000)), 16, tile=2000, compression=8),
    "TIFF of tiles that swell": lambda: tiff(SIDE, SIDE, ZEROS, 250_000, tile=16, compression=8),
    "WebP of 2,000 frames": lambda: frames("WEBP", 2000),
    "AVIF of 50 frames": lambda: frames("AVIF", 50),
    "AVIF of 16 megapixels": lambda: encoded(Image.new("RGB", (4000, 4000)), "AVIF", speed=10),
    "HEIC of 50 frames": lambda: frames("HEIF", 50),
    "HEIC of 4 megapixels": lambda: encoded(Image.new("RGB", (2000, 2000)), "HEIF"),
    "PDF of 500 pages": lambda: frames("PDF", 500),
    "PDF of a page that draws a picture 100,000 times": lambda: drawing_pdf(100_000),
    "PDF of a huge page": lambda: drawing_pdf(1, 14_400),
    "PNG of zeros": lambda: png(SIDE, 8, 0, SIDE),
    "PNG of 16-bit colour": lambda: png(SIDE, 16, 6, 8 * SIDE),
    "PNG of one bit": lambda: png(SIDE, 1, 0, SIDE // 8),
    "PNG of a palette": lambda: png(SIDE, 8, 3, SIDE, chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(256))),
    "PNG of more pixels than promised": lambda: png(28, 8, 0, 28, more=2**28),
    "PNG of pixels after its pixels": lambda: png(28, 8, 0, 28, after=chunk(b"IDAT", ZEROS)),
    "PNG of 300,000 empty parts": lambda: png(28, 8, 0, 28, after=chunk(b"IDAT", b"") * 300_000),
    "PNG of a swelling text": lambda: png(28, 8, 0, 28, chunk(b"zTXt", b"a\0\0" + ZEROS)),
    "PNG of a swelling text at its end": lambda: png(28, 8, 0, 28, after=chunk(b"zTXt", b"a\0\0" + ZEROS)),
    "PNG of a swelling international text": lambda: png(28, 8, 0, 28, chunk(b"iTXt", b"a\0\1\0\0\0" + ZEROS)),
    "PNG of a swelling profile": lambda: png(28, 8, 0, 28, chunk(b"iCCP", b"a\0\0" + ZEROS)),
    "PNG of 300,000 texts": lambda: png(28, 8, 0, 28, chunk(b"tEXt", b"a\0b") * 300_000),
    "PPM of a long comment": lambda: b"P5\n#" + b"a" * 5_000_000 + b"\n28 28\n255\n" + bytes(784),
    "PPM of many comments": lambda: b"P5\n" + b"#\n" * 2_000_000 + b"28 28\n255\n" + bytes(784),
    "PPM of a long number": lambda: b"P5\n" + b"0" * 5_000_000 + b"28 28\n255\n" + bytes(784),
    "PPM of plain text": lambda: b"P2\n2000 2000\n255\n" + b"1 " * 4_000_000,
    "PBM of 64 megapixels": lambda: b"P4\n8000 8000\n" + bytes(8_000_000),
    "specks that touch no other": lambda: specks(8, 4),
    "specks like digits": lambda: specks(16, 6),
    "specks of all sizes": lambda: noise(3, 0.2),
    "noise": lambda: noise(1, 0.5),
}
