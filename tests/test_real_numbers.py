"""Numbers that people wrote, printed and filled into forms are read as well as docs/numbers.md says."""

import csv
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
            (line,) = (line for line in table.splitlines() if line.startswith(f"| {name}"))
            said = [float(share) for share in line.split("|")[4].split(",")]
            picture = 100 / len(rights)  # rounding of another processor may change one
            assert 100 * np.mean(rights) == pytest.approx(np.mean(said), abs=1.0 + picture), name
    surely_wrong = sum(sure and text != row["truth"] for row, text, sure in rows)
    (line,) = (line for line in table.splitlines() if line.startswith("| answered surely and wrongly"))
    assert abs(surely_wrong - int(line.split("|")[4])) <= 2
