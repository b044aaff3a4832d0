"""`mnist-cnn read` as a person runs it."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Program, assert_one_line_error
from drawing import on_page, photo, shape
from mnist_cnn.serving.schemas import Result
from mnist_cnn.splits import Dataset


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A folder with a photo of 3 2 7, one of a grid of 2x3 cells with a 3 and a 7, and a blank page."""
    folder = tmp_path_factory.mktemp("pictures")
    three, two, seven = (
        shape(digits.train.images[int((digits.train.labels == digit).nonzero()[0]), 0].numpy(), 100)
        for digit in (3, 2, 7)
    )
    row = on_page([(three, 40, 40), (two, 40, 160), (seven, 40, 280)], 220, 420)
    Image.fromarray(photo(row)).save(folder / "a_row.png")
    cells = on_page([(three, 70, 80), (seven, 220, 380)], 400, 520)
    for place in range(4):
        cells[50:353, 50 + 150 * place : 53 + 150 * place] = 255
    for place in range(3):
        cells[50 + 150 * place : 53 + 150 * place, 50:503] = 255
    Image.fromarray(photo(cells)).save(folder / "b_grid.png")
    Image.fromarray(np.full((90, 120), 230, np.uint8)).save(folder / "c_blank.png")
    return folder


def only(program: Program, *arguments: str | Path) -> str:
    result = program("read.py", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    return line


def test_lines_for_a_person(program: Program, pictures: Path) -> None:
    row, blank = pictures / "a_row.png", pictures / "c_blank.png"
    text, nothing = program("read.py", row, blank).stdout.splitlines()
    assert text.startswith(f"{row}: 327 (")
    assert nothing == f"{blank}: no digit found"


def test_json_is_what_the_service_answers(program: Program, pictures: Path, tmp_path: Path) -> None:
    line = only(program, pictures / "a_row.png", "--json", "--alternatives", "3", "--annotate", tmp_path / "boxes")
    result = Result.model_validate_json(line)
    assert (result.text, result.file, result.error) == ("327", str(pictures / "a_row.png"), None)
    assert [(digit.label, digit.line) for digit in result.digits] == [("3", 0), ("2", 0), ("7", 0)]
    assert result.alternatives[0].text == "327"
    assert len(result.alternatives) == 3
    assert result.probability == result.alternatives[0].probability
    with Image.open(tmp_path / "boxes" / "0000_a_row.png") as drawn:
        assert len(drawn.convert("RGB").getcolors(2**20) or []) > 50


def test_csv_is_what_a_spreadsheet_reads(program: Program, pictures: Path) -> None:
    result = program("read.py", pictures / "a_row.png", pictures / "c_blank.png", "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["text"] for row in rows] == ["327", ""]
    assert list(rows[0]) == ["file", "text", "probability", "confident", "doubt", "turned"]
    told = [(row["confident"], row["doubt"], row["turned"]) for row in rows]
    assert told == [("false", "improbable", "0"), ("false", "", "0")]


def test_what_is_known_decides_and_is_told(program: Program, pictures: Path, tmp_path: Path) -> None:
    row, numbers = pictures / "a_row.png", tmp_path / "numbers.txt"
    numbers.write_text("0327\n327\n999\n")
    assert f"{row}: 327 (" in only(program, row, "--length", "3", "--at-least", "300")
    assert "not sure: improbable, cannot be read as 9 digits and 4 or more)" in only(
        program, row, "--length", "9", "--at-least", "4"
    )
    listed = only(program, row, "--among", numbers)
    assert listed.startswith(f"{row}: 327 (")
    assert "; or 0327 0." in listed
    assert only(program, row, "--alternatives", "3").count("%") == 3


def test_a_grid_is_read_cell_by_cell_and_a_picture_without_one_stops_no_other(program: Program, pictures: Path) -> None:
    result = program("read.py", pictures, "--grid", "2x3")
    assert result.returncode == 2
    assert result.stdout.startswith(f"{pictures / 'b_grid.png'}: 3.. ..7 (")
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith(f"error: {pictures / 'a_row.png'}: no grid of 2x3 ruled cells found; show all of it")
    assert "..7" in json.loads(only(program, pictures / "b_grid.png", "--grid", "2x3", "--json"))["text"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "no picture named"),
        (["a.png", "--length", "0"], "length is 0; it must be 1 to 20"),
        (["a.png", "--length", "four"], "--length: not a whole number: 'four'"),
        (["a.png", "--at-least", "-3"], "at-least is -3; it must be 0 to"),
        (["a.png", "--at-least", "1.5"], "--at-least: not a whole number: '1.5'"),
        (["a.png", "--alternatives", "99"], "alternatives is 99; it must be 1 to 20"),
        (["a.png", "--among", "none.txt"], "none.txt is not there; give a text file"),
        (["a.png", "--among", "binary"], "binary is no text"),
        (["a.png", "--among", "empty"], "empty: the list of numbers has 0"),
        (["a.png", "--grid", "nine"], "grid is 'nine'; give ROWSxCOLUMNS"),
        (["a.png", "--grid", "0x9"], "grid is 0; it must be 1 to 100"),
        (["a.png", "--grid", "9x9", "--length", "3"], "grid excludes length"),
        (["a.png", "--among", "list", "--at-least", "3"], "among excludes length and at-least"),
        (["a.png", "--length", "2", "--at-least", "100"], "no number of length 2 is at least 100"),
        (["a.png", "--csv", "--alternatives", "2"], "--csv has no room for --alternatives"),
        (["a.png", "--csv", "--json"], "exclude each other"),
    ],
)
def test_wrong_use_gets_one_line(program: Program, tmp_path: Path, flags: list[str], words: str) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "list").write_text("12\n")
    assert_one_line_error(program("read.py", *flags), words)


def test_predict_reads_one_digit_and_says_which_command_reads_more(program: Program, pictures: Path) -> None:
    assert_one_line_error(program("predict.py", pictures / "a_row.png", "--several"), "--several")
    assert "mnist-cnn read" in program("predict.py", "--help").stdout
