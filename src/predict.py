"""Read the digit of each picture file and print it."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated

from tyro.conf import arg

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.formatting import CSV_FIELDS, csv_line, rounded, text_line
from mnist_cnn.picture_files import FileOptions, Formats, read_files
from mnist_cnn.reading import NO_DIGIT, Reading


def json_line(file: str, reading: Reading) -> str:
    """Format the only digit of a reading as one JSON object."""
    first = reading.digits[0] if reading.digits else NO_DIGIT
    return json.dumps(
        {
            "file": file,
            "digit": first.digit,
            "probabilities": rounded(first.probabilities),
            "confident": first.confident,
            "doubt": first.doubt,
            "boxes": [digit.box for digit in reading.digits],
        }
    )


FORMATS = Formats(text_line, json_line, csv_line, ("file", "digit", *CSV_FIELDS))


def command(options: Annotated[FileOptions, arg(name="")]) -> None:
    """Read the handwritten digit of each picture: photos, scans, drawings. `mnist-cnn read` reads numbers.

    Args:
        options: Which files, and what to make of them.
    """
    read_files(options, FORMATS, several=False)


def main(argv: Sequence[str] | None = None, prog: str = "predict.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
