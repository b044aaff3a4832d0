"""Numbers that people wrote, printed and filled into forms are read as well as docs/numbers.md says."""

import csv
import itertools
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from mnist_cnn import Classifier, Reading


@pytest.fixture(scope="module")
def rows() -> list[tuple[dict[str, str], str, bool]]:
    """Read every picture: its row of the manifest, what was read, and whether all of it is confident."""
    if "MNIST_CNN_REAL_NUMBERS" not in os.environ:
        pytest.skip("set MNIST_CNN_REAL_NUMBERS to a folder of real pictures of numbers with a manifest.csv")
    folder, classifier = Path(os.environ["MNIST_CNN_REAL_NUMBERS"]), Classifier.load()
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        manifest = list(csv.DictReader(file))

    def reading(row: dict[str, str]) -> Reading:
        if row["kind"] == "several":
            return classifier.read(folder / row["file"])
        digit = classifier.predict(folder / row["file"])
        return Reading((digit,) if digit.digit is not None else ())

    readings = [reading(row) for row in manifest]
    texts = ["/".join(one.lines).replace(" ", "") for one in readings]
    return [(row, text, one.confident) for row, text, one in zip(manifest, texts, readings, strict=True)]


def group(row: dict[str, str]) -> str:
    """Name the row of the table in docs/numbers.md."""
    if row["style"].startswith("scanned cell"):
        return "a form's cell"
    named = {"cheque amount": "cheque amounts", "blank paper": "blank paper", "scanned sheet of cells": "sheet"}
    if row["style"] in named:
        return named[row["style"]]
    printed = "printed" in row["style"] or "housenumber" in row["style"]
    kind = "printed" if printed else "mixed" if "mixed-" in row["style"] else "handwritten"
    return f"{'several' if row['kind'] == 'several' else 'one digit'}, {kind}"


def test_the_groups_are_read_as_the_table_says(rows: list[tuple[dict[str, str], str, bool]]) -> None:
    exact = defaultdict(list)
    for row, text, _ in rows:
        exact[group(row)].append(text == row["truth"])
    table = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
    for name, rights in exact.items():
        if name != "sheet":
            line = next(line for line in table.splitlines() if line.startswith(f"| {name}"))
            said = [float(share) for share in line.split("|")[4].split(",")]
            picture = 100 / len(rights)  # rounding of another processor may change one
            assert 100 * np.mean(rights) == pytest.approx(np.mean(said), abs=1.0 + picture), name
    surely_wrong = sum(sure and text != row["truth"] for row, text, sure in rows)
    (line,) = (line for line in table.splitlines() if line.startswith("| answered surely and wrongly"))
    assert abs(surely_wrong - int(line.split("|")[4])) <= 2


@pytest.fixture(scope="module")
def manifest() -> tuple[Path, list[dict[str, str]]]:
    """Name the folder of real pictures, and list the rows of its manifest."""
    if "MNIST_CNN_REAL_NUMBERS" not in os.environ:
        pytest.skip("set MNIST_CNN_REAL_NUMBERS to a folder of real pictures of numbers with a manifest.csv")
    folder = Path(os.environ["MNIST_CNN_REAL_NUMBERS"])
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return folder, list(csv.DictReader(file))


def test_the_cells_of_real_grids_are_read_row_by_row(manifest: tuple[Path, list[dict[str, str]]]) -> None:
    folder, rows = manifest
    grids = {"mixed-sudoku-grid": (9, 9), "scanned sheet of cells": (46, 25)}
    for row in rows:
        if row["style"] in grids:
            reading = Classifier.load().read(folder / row["file"], grid=grids[row["style"]])
            truth = row["truth"].split("/")
            # a cell may have two digits, and then spaces part the cells
            cells = [line.split(" ") if " " in line else list(line) for line in reading.lines]
            assert [len(line) for line in cells] == [len(line) for line in truth]
            assert (
                np.mean([cell == digit for cell, digit in zip(itertools.chain(*cells), "".join(truth), strict=True)])
                > 0.97
            )


def test_what_is_known_of_cheques_makes_them_surer(manifest: tuple[Path, list[dict[str, str]]]) -> None:
    folder, rows = manifest
    cheques = [row for row in rows if row["style"] == "cheque amount"][::4]
    amounts = sorted({row["truth"] for row in rows if row["style"] == "cheque amount"})
    classifier = Classifier.load()
    plain = [classifier.read(folder / row["file"]) for row in cheques]
    longs = [classifier.read(folder / row["file"], length=len(row["truth"])) for row in cheques]
    listed = [classifier.read(folder / row["file"], among=amounts) for row in cheques]
    right = [
        sum(one.text.replace(" ", "") == row["truth"] for one, row in zip(readings, cheques, strict=True))
        for readings in (plain, longs, listed)
    ]
    assert right[0] <= right[1] <= right[2]
    assert right[2] >= len(cheques) - 1
    wrong = [one.confident and one.text != row["truth"] for one, row in zip(listed, cheques, strict=True)]
    assert not any(wrong)
