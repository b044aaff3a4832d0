"""`mnist-cnn predict` as a person runs it."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calls import PHOTO
from conftest import ROOT, Program, assert_one_line_error, environment
from drawing import on_page, photo, shape
from hostile import encoded
from mnist_cnn.splits import Dataset


@pytest.fixture
def pictures(tmp_path: Path, digits: Dataset) -> Path:
    """A folder with a photo of a 3, a blank page, a row of two digits, and a broken file."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    first = {digit: int((digits.train.labels == digit).nonzero()[0]) for digit in (3, 2)}
    three, two = (shape(digits.train.images[first[digit], 0].numpy(), 120) for digit in (3, 2))
    Image.fromarray(photo(on_page([(three, 60, 80)], 260, 300))).save(folder / "a_three.jpg")
    Image.fromarray(np.full((90, 120), 230, np.uint8)).save(folder / "b_blank.png")
    Image.fromarray(photo(on_page([(three, 40, 40), (two, 40, 220)], 220, 420))).save(folder / "c_row.png")
    return folder


def test_lines_for_a_person(program: Program, pictures: Path) -> None:
    result = program("predict.py", pictures)
    assert result.returncode == 0, result.stderr
    three, blank, _ = result.stdout.splitlines()
    assert three.startswith(f"{pictures / 'a_three.jpg'}: 3 (")
    assert three.endswith("%)")
    assert blank == f"{pictures / 'b_blank.png'}: no digit found"
    assert result.stderr == ""


def test_json_has_everything(program: Program, pictures: Path) -> None:
    result = program("predict.py", pictures, "--json")
    three, blank, _ = map(json.loads, result.stdout.splitlines())
    assert set(three) == {"file", "digit", "probabilities", "confident", "doubt", "boxes"}
    assert (three["digit"], three["confident"], len(three["boxes"])) == (3, True, 1)
    assert sum(three["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert int(np.argmax(three["probabilities"])) == 3
    assert (blank["digit"], blank["probabilities"], blank["confident"], blank["boxes"]) == (None, [], False, [])


def test_steps_and_boxes_are_drawn(program: Program, pictures: Path, tmp_path: Path) -> None:
    flags = ("--annotate", tmp_path / "boxes", "--show-steps", tmp_path / "steps")
    result = program("predict.py", pictures / "c_row.png", *flags)
    assert result.returncode == 0, result.stderr
    for folder in ("boxes", "steps"):
        with Image.open(tmp_path / folder / "0000_c_row.png") as image:
            assert image.width > 400
            assert len(image.convert("RGB").getcolors(2**20) or []) > 50


def test_csv_is_what_a_spreadsheet_reads(program: Program, pictures: Path) -> None:
    result = program("predict.py", pictures, "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["digit"] for row in rows][:2] == ["3", ""]
    assert (rows[0]["confident"], rows[0]["doubt"]) == ("true", "")
    assert all((row["confident"] == "false") == (row["doubt"] != "") for row in rows if row["digit"])
    assert 0.5 < float(rows[0]["probability"]) <= 1


def test_standard_input(pictures: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "src" / "predict.py"), "-"]
    with (pictures / "a_three.jpg").open("rb") as file:
        result = subprocess.run(command, stdin=file, capture_output=True, text=True, env=environment(), check=True)
    assert result.stdout.startswith("-: 3 (")


def test_a_bad_file_stops_no_other(program: Program, pictures: Path) -> None:
    (pictures / "aa_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    result = program("predict.py", pictures, pictures / "nowhere.png")
    assert result.returncode == 2
    assert len(result.stdout.splitlines()) == 3
    first, second = result.stderr.splitlines()
    assert first.startswith(f"error: {pictures / 'aa_broken.png'}: damaged or not a picture")
    assert second.startswith(f"error: {pictures / 'nowhere.png'}: no such file")


NAMES = {
    b"=cmd|calc!A0.png": "=cmd|calc!A0.png",
    b"+1.png": "+1.png",
    b"-3.png": "-3.png",
    b"@sum.png": "@sum.png",
    b"\ttab.png": r"\ttab.png",
    b"\rreturn.png": r"\rreturn.png",
    b"\nline.png": r"\nline.png",
    b"red\x1b[31m\x1b]0;title\x07.png": r"red\x1b[31m\x1b]0;title\x07.png",
    b"bad\xff\xfe.png": r"bad\udcff\udcfe.png",
    "bidi\u202egpj.png".encode(): r"bidi\u202egpj.png",
    '\u00e4\u6570 ".png'.encode(): '\u00e4\u6570 ".png',
    b"CON.png": "CON.png",
    b"n" * 250 + b".png": "n" * 250 + ".png",
}
"""File names that a terminal, a spreadsheet or a file system takes for something else, and how they are shown."""


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A folder with a picture of each name, which people's file systems hold."""
    folder = tmp_path / "named"
    folder.mkdir()
    for name in NAMES:
        shutil.copyfile(PHOTO, os.fsencode(folder) + b"/" + name)
    return folder


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(ROOT / "src" / "predict.py"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no files of such names")
@pytest.mark.parametrize("way", ["a folder", "each by name"])
def test_a_file_is_a_line_whatever_its_name(named: Path, way: str) -> None:
    files = ["."] if way == "a folder" else ["--", *sorted(os.fsdecode(name) for name in NAMES)]
    shown = sorted(NAMES.values())
    text = run_in(named, *files)
    assert (text.returncode, text.stderr) == (0, b"")
    lines = text.stdout.decode().splitlines()
    assert sorted(line.rpartition(": ")[0] for line in lines) == shown
    assert all(line.isprintable() for line in lines)
    objects = run_in(named, "--json", *files)
    assert objects.stdout.isascii()
    found = [json.loads(line)["file"] for line in objects.stdout.splitlines()]
    assert {os.fsencode(file) for file in found} == set(NAMES)
    rows = list(csv.DictReader(io.StringIO(run_in(named, "--csv", *files).stdout.decode())))
    dangerous = {name for raw, name in NAMES.items() if raw[:1] in b"=+-@\t\r\n"}
    assert sorted(row["file"] for row in rows) == sorted(f"'{name}" if name in dangerous else name for name in shown)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no files of such names")
def test_what_is_wrong_with_a_file_is_a_line_whatever_its_name(named: Path) -> None:
    for path in named.iterdir():
        path.write_bytes(b"no picture")
    result = run_in(named, ".")
    lines = result.stderr.decode().splitlines()
    assert (result.returncode, len(lines)) == (2, len(NAMES))
    assert all(line.isprintable() and line.startswith("error: ") for line in lines)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no files of such names")
def test_pictures_of_files_of_one_name_are_kept_apart_and_have_names_for_any_system(
    program: Program, named: Path, tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    shutil.copyfile(PHOTO, tmp_path / "again" / "CON.png")
    result = program("predict.py", named, "again", "--show-steps", "steps", "--annotate", "boxes")
    assert result.returncode == 0, result.stderr
    for folder in ("steps", "boxes"):
        written = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert len(written) == len(NAMES) + 1
        assert [name[:5] for name in written] == [f"{number:04d}_" for number in range(len(written))]
        assert sum(name.endswith("_CON.png") for name in written) == 2
        assert all(re.fullmatch(r"\d+_[\w.-]*\.png", name) and len(name.encode()) < 220 for name in written)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "no picture named"),
        (["empty"], "empty holds no picture"),
        (["a.png", "--json", "--csv"], "exclude each other"),
        (["a.png", "--checkpoint", "none.pth"], "no checkpoint at none.pth"),
        (["a.png", "--annotate", "a_file"], "cannot write to a_file: File exists; name another place with --annotate"),
    ],
)
def test_wrong_use_gets_one_line(program: Program, tmp_path: Path, flags: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").write_text("mine")
    assert_one_line_error(program("predict.py", *flags), words)


def test_hidden_files_are_no_pictures_and_what_is_skipped_is_said(program: Program, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for name in ("one.jpg", "._one.jpg", ".ipynb_checkpoints/one.jpg", "two.MOV", "three.mov", "notes.txt"):
        (scans / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PHOTO, scans / name)
    result = program("predict.py", "scans")
    assert (result.returncode, result.stdout) == (0, f"{Path('scans', 'one.jpg')}: 4 (97.9%)\n")
    assert result.stderr == "skipped in scans: 2 .mov files, 1 .txt file\n"
    (scans / "one.jpg").unlink()
    assert_one_line_error(program("predict.py", "scans"), "scans holds no picture", "only 2 .mov files, 1 .txt file")


def test_photos_of_phones_and_pages_of_scans_are_read_and_turned(program: Program, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    with Image.open(ROOT / "images" / "own_digits.jpg") as large:
        photo = large.reduce(2)
        (tmp_path / "scans" / "a.HEIC").write_bytes(encoded(photo, "HEIF"))
        pages = [photo, photo.transpose(Image.Transpose.ROTATE_90), Image.new("L", (200, 100), 255)]
        photo.save(tmp_path / "scans" / "b.pdf", save_all=True, append_images=pages[1:], resolution=300)
    (tmp_path / "scans" / "c.pdf").write_bytes(b"%PDF-1.7 and no more")
    result = program("read.py", "scans", "--annotate", "boxes")
    pdf = Path("scans", "b.pdf")
    heic, upright, turned, empty = result.stdout.splitlines()
    assert heic.startswith(f"{Path('scans', 'a.HEIC')}: 17324 (")
    assert upright.startswith(f"{pdf} page 1: 17324 (")
    assert turned.startswith(f"{pdf} page 2: 17324 (")
    assert turned.endswith(", turned by 90 degrees)")
    assert empty == f"{pdf} page 3: no digit found"
    assert_one_line_error(result, f"{Path('scans', 'c.pdf')}: a damaged PDF; export it again")
    names = ["0000_a.png", "0001_b_page_1.png", "0002_b_page_2.png", "0003_b_page_3.png"]
    assert sorted(path.name for path in (tmp_path / "boxes").iterdir()) == names
    with Image.open(tmp_path / "boxes" / names[2]) as image:
        assert image.height > image.width, "it is drawn as given"
    objects = [json.loads(line) for line in program("read.py", pdf, "--json").stdout.splitlines()]
    assert [(one["file"], one["turned"]) for one in objects] == [(f"{pdf} page {n}", 90 * (n == 2)) for n in (1, 2, 3)]


def test_a_model_trained_here_is_named_where_the_shipped_one_answers(
    program: Program, pictures: Path, tmp_path: Path, shipped: Path
) -> None:
    own = Path("saved_models", "mnist_cnn_final.pth")
    (tmp_path / own).parent.mkdir()
    shutil.copy(shipped, tmp_path / own)
    said = program("predict.py", pictures / "a_three.jpg").stderr
    assert said == f"the reader that ships answers; --checkpoint {own} uses yours\n"
    os.utime(tmp_path / own, (0, 0))  # older than the package: it was not trained since
    assert program("predict.py", pictures / "a_three.jpg").stderr == ""
    assert program("predict.py", pictures / "a_three.jpg", "--checkpoint", shipped).stderr == ""
