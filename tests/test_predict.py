"""`mnist-cnn predict` as a person runs it."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, Program, assert_one_line_error, environment
from drawing import on_page, photo, shape
from mnist_cnn.data_loader import Dataset


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
    assert set(three) == {"file", "digit", "probabilities", "confident", "boxes"}
    assert (three["digit"], three["confident"], len(three["boxes"])) == (3, True, 1)
    assert sum(three["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert int(np.argmax(three["probabilities"])) == 3
    assert (blank["digit"], blank["probabilities"], blank["confident"], blank["boxes"]) == (None, [], False, [])


def test_several_and_annotate_and_steps(program: Program, pictures: Path, tmp_path: Path) -> None:
    flags = ("--several", "--json", "--annotate", tmp_path / "boxes", "--show-steps", tmp_path / "steps")
    result = program("predict.py", pictures / "c_row.png", *flags)
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert row["digit"] == "32"
    assert [len(row[key]) for key in ("probabilities", "confident", "boxes")] == [2, 2, 2]
    for folder in ("boxes", "steps"):
        with Image.open(tmp_path / folder / "0000_c_row.png") as image:
            assert image.width > 400
            assert len(image.convert("RGB").getcolors(2**20) or []) > 50


def test_csv_is_what_a_spreadsheet_reads(program: Program, pictures: Path) -> None:
    result = program("predict.py", pictures, "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["digit"] for row in rows][:2] == ["3", ""]
    assert rows[0]["confident"] == "true"
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


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "no picture named"),
        (["empty"], "empty holds no picture"),
        (["a.png", "--json", "--csv"], "exclude each other"),
        (["a.png", "--checkpoint", "none.pth"], "no checkpoint at none.pth"),
        (["a.png", "--annotate", "a_file"], "cannot write to a_file"),
    ],
)
def test_wrong_use_gets_one_line(program: Program, tmp_path: Path, flags: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").write_text("mine")
    assert_one_line_error(program("predict.py", *flags), words)
