"""Any picture is read as greyscale; anything else raises an error of one line."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from conftest import environment
from hostile import chunk, encoded, scans
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.candidates import Prepared, Search, prepare_all
from mnist_cnn.pictures.image_io import MAX_BYTES, MAX_SIDE, PictureSource, Pixels, TooLargeError, read_picture

RAMP = np.add.outer(np.arange(40) * 3, np.arange(60) * 2).astype(np.uint8)
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "HEIF")
pillow_heif.register_heif_opener()  # which also writes


def grey(source: PictureSource) -> Pixels:
    return read_picture(source).grey


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels(form: str, tmp_path: Path) -> None:
    content = encoded(Image.fromarray(RAMP), form)
    (tmp_path / "picture").write_bytes(content)
    path = tmp_path / "picture"
    (entry,) = os.scandir(tmp_path)
    buffers = (content, bytearray(content), memoryview(content), memoryview(content + content)[: len(content)])
    for source in (*buffers, path, str(path), entry, Image.fromarray(RAMP), RAMP):
        np.testing.assert_array_equal(grey(source), RAMP)


def test_open_files_are_read_from_where_they_are_and_stay_open(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(RAMP))
    (tmp_path / "picture").write_bytes(b"header" + content)
    with ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("picture", b"header" + content)
    with (
        (tmp_path / "picture").open("rb") as buffered,
        (tmp_path / "picture").open("rb", buffering=0) as unbuffered,
        ZipFile(tmp_path / "archive") as zipped,
        zipped.open("picture") as member,
    ):
        for file in (buffered, unbuffered, member, io.BytesIO(b"header" + content)):
            assert file.read(6) == b"header"
            np.testing.assert_array_equal(grey(file), RAMP)
            assert not file.closed


def test_open_files_that_cannot_be_read_get_one_line(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    with (
        path.open("wb") as written,
        pytest.raises(InputError, match="that: read; give a file that is open"),
    ):
        read_picture(written, "that")
    with path.open("rb") as closed:
        pass
    with pytest.raises(InputError, match="that: read of closed file; give a file that is open for reading"):
        read_picture(closed, "that")
    with path.open() as file:
        text: Any = file
        with pytest.raises(InputError, match=r"that: TextIOWrapper is not a picture; .* an open binary file"):
            read_picture(text, "that")


def test_an_open_file_is_read_no_further_than_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    with path.open("wb") as file:
        file.truncate(4 * MAX_BYTES)  # sparse
    with path.open("rb", buffering=0) as file:
        with pytest.raises(TooLargeError, match="that: more than 256 MiB"):
            read_picture(file, "that")
        assert file.tell() == MAX_BYTES + 1


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_lossy_formats_come_near_the_pixels(form: str) -> None:
    near = grey(encoded(Image.fromarray(RAMP).convert("RGB"), form, quality=95))
    assert np.abs(near.astype(int) - RAMP).mean() < 3


def test_sixteen_bits_palette_and_one_bit() -> None:
    wide = RAMP.astype(np.uint16) * 257
    assert np.abs(grey(encoded(Image.fromarray(wide))).astype(int) - RAMP).max() <= 1 + 255 - int(RAMP.max())
    palette = Image.fromarray(RAMP).convert("RGB").quantize(256)
    assert np.abs(grey(encoded(palette)).astype(int) - RAMP).max() < 8
    bits = Image.fromarray(RAMP > 100)
    np.testing.assert_array_equal(grey(encoded(bits)), np.where(RAMP > 100, 255, 0))


def test_strokes_on_a_transparent_background_stay_visible() -> None:
    for value, background in ((0, 255), (255, 0)):
        pixels = np.full((20, 20, 4), value, np.uint8)
        pixels[:, :, 3] = 0
        pixels[8:12, 5:15, 3] = 255
        seen = grey(encoded(Image.fromarray(pixels)))
        assert (seen[9, 9], seen[0, 0]) == (value, background)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(grey(content), RAMP)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    seen = grey(encoded(Image.fromarray(RAMP), exif=exif))
    np.testing.assert_array_equal(seen, np.rot90(RAMP, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("told_by", ["EXIF", "XMP"])
def test_the_orientation_of_heic_is_applied_once(orientation: int, told_by: str) -> None:
    exif, image = Image.Exif(), Image.fromarray(RAMP).convert("RGB")
    exif[0x0112] = orientation
    xmp = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    options = {"exif": exif.tobytes()} if told_by == "EXIF" else {"xmp": xmp}
    seen = grey(encoded(image, "HEIF", quality=95, **options))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(Image.fromarray(RAMP), exif=exif)))))
    assert seen.shape == expected.shape
    assert np.abs(seen.astype(int) - expected).mean() < 3


def test_heic_is_known_by_its_first_bytes_and_costs_other_files_nothing(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert("RGB")
    (tmp_path / "photo.jpg").write_bytes(encoded(image, "HEIF"))
    (tmp_path / "photo.heic").write_bytes(encoded(image, "JPEG"))
    mif1 = encoded(image, "AVIF").replace(b"ftypavif", b"ftypmif1")
    (tmp_path / "photo.avif").write_bytes(mif1)
    code = (
        "import sys; from mnist_cnn.pictures.image_io import read_picture\n"
        "for file in sys.argv[1:]: print(read_picture(file).grey.shape, 'pillow_heif' in sys.modules)"
    )
    files = [str(tmp_path / f"photo.{suffix}") for suffix in ("heic", "jpg", "avif")]
    command = [sys.executable, "-c", code, *files]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert result.stdout.splitlines() == ["(40, 60) False", "(40, 60) True", "(40, 60) True"]


def test_heic_of_more_pixels_than_promised_or_allowed_is_refused() -> None:
    content = encoded(Image.new("RGB", (400, 400)), "HEIF")
    size = content.index(b"ispe") + 8
    for side, words in ((40, "damaged"), (9000, "64,000,000"), (2**31 - 1, "64,000,000")):
        with pytest.raises(InputError, match=words):
            read_picture(content[:size] + struct.pack(">II", side, side) + content[size + 8 :])


def test_strokes_of_the_backgrounds_luminance_are_visible_in_a_colour_channel() -> None:
    pixels = np.full((40, 40, 3), (0, 128, 0), np.uint8)
    pixels[10:30, 15:25] = (250, 0, 0)
    seen = grey(pixels)
    assert abs(int(seen[20, 20]) - int(seen[0, 0])) > 200
    yellow = np.full((40, 40, 3), 255, np.uint8)
    yellow[10:30, 15:25] = (255, 240, 0)
    assert abs(int(grey(yellow)[20, 20]) - 255) > 200


def test_large_pictures_are_averaged_and_remember_their_scale() -> None:
    large = np.kron(RAMP, np.ones((50, 50), np.uint8))  # 2000 x 3000
    picture = read_picture(large)
    assert max(picture.grey.shape) <= MAX_SIDE
    assert picture.scale == -(-3000 // MAX_SIDE)
    assert picture.grey.mean() == pytest.approx(large.mean(), abs=0.5)
    photo = read_picture(encoded(Image.fromarray(large), "JPEG"))
    assert max(photo.grey.shape) * photo.scale == pytest.approx(3000, abs=photo.scale)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, np.float64])
def test_arrays_of_many_kinds_are_the_same_picture(dtype: type) -> None:
    flat: Any = RAMP.astype(dtype)
    for shape in (flat, flat[:, :, None], np.repeat(flat[:, :, None], 3, 2)):
        np.testing.assert_array_equal(grey(shape), RAMP)


@pytest.mark.parametrize("top", [1, 1.02])
def test_floats_up_to_one_span_the_whole_range_and_what_interpolation_adds_is_cut_off(top: float) -> None:
    np.testing.assert_array_equal(grey(np.array([[0, 0.2], [0.6, top]])), [[0, 51], [153, 255]])


@pytest.mark.parametrize("most", [1, 255, 65535, 0])
@pytest.mark.parametrize(
    ("form", "dtype"),
    [("TIFF", dtype) for dtype in ("float32", "uint16", ">u2", "int32")] + [("PPM", "float32"), ("PNG", "uint16")],
)
def test_files_of_floats_and_of_16_bits_are_read_in_every_range(form: str, dtype: str, most: int) -> None:
    image = np.linspace(0, 255, 2400).reshape(40, 60).round() * (most / 255) if most else RAMP > 100
    seen = grey(encoded(Image.fromarray(image.astype(dtype)), form))
    np.testing.assert_array_equal(seen, (image.astype(dtype) * (255 / (most or 1))).round())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "damaged or not a picture"),
        (b"GIF89a", "damaged or not a picture"),
        (b"PDF-1.7 not for us", "damaged or not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged or not a picture"),
        (np.zeros((3, 4, 5)), "array of 3 x 4 x 5 is not one picture"),
        (np.zeros((9, 28, 28), np.uint8), "and a batch as a list of pictures"),
        (np.zeros((9, 28, 28, 1), np.uint8), "and a batch as a list of pictures"),
        (np.zeros(7), "array of 7"),
        (np.zeros((0, 5)), "array of 0 x 5"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf, np.float32), "NaN or infinity"),
        (np.full((4, 4), np.nan, np.float16), "NaN"),
        (np.full((4, 4), -1.0), "go from -1"),
        (np.linspace(-1, 1, 16).reshape(4, 4), "go from -1 to 1; give 0..1, 0..255 or 0..65535"),
        (np.full((4, 4), -1, np.int8), "go from -1"),
        (np.full((4, 4), 7, "m8[s]"), "array of timedelta64"),
        (np.full((4, 4), 1e9), "go from 1e"),
        (np.full((4, 4), 1j), "complex128"),
        (np.full((4, 4), "a"), "not a picture"),
        (np.full((4, 4), None), "object"),
        (Path("nowhere.png"), "nowhere.png: no such file"),
        (7, "that: int is not a picture"),
    ],
)
def test_what_is_no_picture_gets_one_line(source: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_picture(source, "that")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_files_are_named(tmp_path: Path) -> None:
    for form in ("PNG", "JPEG", "BMP", "TIFF"):
        file = tmp_path / f"half.{form.lower()}"
        content = encoded(Image.fromarray(np.kron(RAMP, np.ones((5, 5), np.uint8))).convert("RGB"), form)
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=f"half.{form.lower()}: damaged"):
            read_picture(file)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    for width, height in ((100_000, 100_000), (9_000, 9_000), (2**31 - 1, 1)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
        (tmp_path / "bomb.png").write_bytes(bomb)
        with pytest.raises(InputError, match="64,000,000"):
            read_picture(tmp_path / "bomb.png")


def test_memory_is_bounded_by_the_largest_picture_allowed(tmp_path: Path) -> None:
    Image.new("RGB", (8000, 7900), "white").save(tmp_path / "large.png", compress_level=1)
    code = (
        "import resource, sys; from mnist_cnn.pictures.image_io import read_picture\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_picture(sys.argv[1]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert int(result.stdout) < 1024 * 800 * (1 if sys.platform == "linux" else 1024)  # KiB; 190 MB of pixels


@pytest.mark.parametrize("form", FORMATS)
def test_mutated_files_give_a_picture_or_the_clear_error(form: str, pytestconfig: pytest.Config) -> None:
    image = Image.fromarray(RAMP).convert("RGB" if form in ("JPEG", "WEBP", "HEIF") else "L")
    original = encoded(image, form)
    rng = random.Random(form)
    for _ in range(pytestconfig.getoption("mutations") // len(FORMATS)):
        content = bytearray(original)
        for _ in range(rng.choice((1, 1, 2, 8, 30))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        try:
            assert read_picture(bytes(content)).grey.ndim == 2
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "between",
    [b"", b"\xff\xff\xff", b"\xff\xfe\x00\x04\xff\xd9", b"\xff\xe1\x00\x06\xff\xd9\xff\xda"],
    ids=["plain", "filled", "an end in a comment", "an end in metadata"],
)
def test_a_jpeg_of_more_scans_than_any_encoder_writes_is_refused(between: bytes) -> None:
    assert read_picture(scans(60, 20, between)).grey.shape == (60, 60)
    for repeats in (100, 10_000):
        with pytest.raises(InputError, match="that: a JPEG of more than 100 scans"):
            read_picture(scans(60, repeats, between), "that")


def test_what_looks_like_a_scan_in_metadata_or_behind_a_jpeg_does_not_count() -> None:
    metadata = b"\xff\xe1" + (2 + 2 * 30_000).to_bytes(2, "big") + b"\xff\xda" * 30_000
    for content in (scans(60, 3, metadata), scans(60, 3, after=b"\xff\xda" * 1000)):
        assert read_picture(content).grey.shape == (60, 60)
    frames = [Image.fromarray(RAMP).convert("RGB")] * 3
    assert grey(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])).shape == RAMP.shape


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("spot", [True, False])
@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (3, 60_000), (1, 1), (2, 500)])
def test_pictures_of_any_proportions_are_read(shape: tuple[int, int], form: str, spot: bool) -> None:
    content = encoded(Image.fromarray(np.full(shape, 200, np.uint8)), form)
    assert isinstance(prepare_all([(content, "long")], Search(several=True, spot=spot))[0], Prepared)
