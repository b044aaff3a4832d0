"""Read the numbers in picture files and print them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.constraints import Constraint, parse_grid, read_list
from mnist_cnn.formatting import CSV_FIELDS, csv_line, result, text_line
from mnist_cnn.picture_files import FileOptions, Formats, read_files
from mnist_cnn.reading import Reading

FIELDS = ("file", "text", *CSV_FIELDS)


def remark(reading: Reading, constraint: Constraint) -> str:
    """Say which other numbers a reading may be, or that it is not what was known of it."""
    several = len(reading.lines) > 1
    first = {one.line: one for one in reversed(reading.alternatives)}
    others = [
        f"{f'line {one.line + 1}: ' if several else ''}{one.text} {one.probability:.1%}"
        for one in reading.alternatives
        if one is not first[one.line]
    ]
    unmet = f", cannot be read as {constraint}" if reading.unmet else ""
    return unmet + (f"; or {', '.join(others)}" if others else "")


def command(
    options: Annotated[FileOptions, arg(name="")],
    length: int | None = None,
    among: Annotated[Path | None, arg(metavar="FILE")] = None,
    at_least: Annotated[int | None, arg(metavar="NUMBER")] = None,
    alternatives: int | None = None,
    grid: Annotated[str | None, arg(metavar="ROWSxCOLUMNS")] = None,
) -> None:
    """Read every digit of each picture, in reading order: numbers, lines of numbers, forms.

    With --length, --among, --at-least or --alternatives each line is one number, the most probable one that agrees.

    Args:
        options: Which files, and what to make of them.
        length: Digits that each number has.
        among: Text file of the numbers that each may be, one a line; leading zeros count.
        at_least: Smallest value of each number, such as a meter's last one.
        alternatives: How many of the most probable numbers to print for each line.
        grid: Read the cells of a ruled grid, such as 9x9, row by row; an empty cell is a point.
    """
    if options.as_csv and alternatives is not None:
        raise InputError("--csv has no room for --alternatives; use --json")
    numbers = read_list(among) if among else None
    constraint = Constraint(length, numbers, at_least, alternatives, parse_grid(grid) if grid is not None else None)
    formats = Formats(
        text=lambda file, reading: text_line(file, reading, remark(reading, constraint)),
        json=lambda file, reading: json.dumps(result(file, reading)),
        csv=csv_line,
        header=FIELDS,
    )
    read_files(options, formats, several=True, constraint=constraint)


def main(argv: Sequence[str] | None = None, prog: str = "read.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
