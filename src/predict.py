"""Read picture files and print what they say."""

import csv
import io
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
from tyro.conf import Positional, arg

from mnist_cnn.classifier import Classifier, Prediction
from mnist_cnn.console import exit_codes, parse_call
from mnist_cnn.errors import InputError
from mnist_cnn.files import check_writable
from mnist_cnn.interruption import raise_on_sigterm
from mnist_cnn.onnx_model import PACKAGED
from mnist_cnn.picture import MOST_BYTES, SUFFIXES
from mnist_cnn.sandbox import Sandbox
from mnist_cnn.steps import draw_boxes, draw_steps

STDIN = "-"
MANY = 50  # files that deserve a progress bar
FIELDS = ("file", "digit", "probability", "confident")


def find_files(paths: Sequence[str]) -> list[str]:
    """List the files to read: those named, and all pictures below the folders named, sorted.

    Raises:
        InputError: nothing is named, or a folder holds no picture.
    """
    if not paths:
        raise InputError("no picture named; give files, folders, or - for standard input")
    files = []
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            below = sorted(str(file) for file in Path(path).rglob("*") if file.suffix.lower() in SUFFIXES)
            if not below:
                raise InputError(f"{path} holds no picture ({', '.join(SUFFIXES)}); name another folder")
            files += below
        else:
            files.append(path)
    return files


@dataclass(frozen=True)
class Reading:
    """The answers to one file; one of them, unless several digits were asked for."""

    file: str
    answers: Sequence[Prediction]
    classes: Sequence[str]
    several: bool

    @property
    def found(self) -> list[Prediction]:
        """The answers that are a digit."""
        return [answer for answer in self.answers if answer.digit is not None]

    @property
    def names(self) -> list[str]:
        """The name of each digit found."""
        return [self.classes[answer.digit] for answer in self.answers if answer.digit is not None]

    @property
    def text(self) -> str:
        """The digits in reading order, with a space where a new line begins."""
        lines = itertools.groupby(zip(self.found, self.names, strict=True), key=lambda pair: pair[0].line)
        return " ".join("".join(name for _, name in line) for _, line in lines)

    @property
    def probability(self) -> float:
        """The probability of the least certain digit; 0 where there is none."""
        return min((answer.probability for answer in self.found), default=0.0)

    @property
    def confident(self) -> bool:
        """Whether there are digits and all of them are to be trusted."""
        return bool(self.found) and all(answer.confident for answer in self.found)


def text_line(reading: Reading) -> str:
    """Say for a person what a file says."""
    if not reading.found:
        return f"{reading.file}: no digit found"
    return f"{reading.file}: {reading.text} ({reading.probability:.1%}{'' if reading.confident else ', not sure'})"


def as_dict(reading: Reading) -> dict[str, object]:
    """Say in plain values what a file says: lists of everything where several digits were asked for."""
    probabilities = [[round(float(p), 6) for p in answer.probabilities] for answer in reading.answers]
    confident = [answer.confident for answer in reading.answers]
    return {
        "file": reading.file,
        "digit": reading.text if reading.several else reading.answers[0].digit,
        "probabilities": probabilities if reading.several else probabilities[0],
        "confident": confident if reading.several else confident[0],
        "boxes": [answer.box for answer in reading.found],
    }


def json_line(reading: Reading) -> str:
    """Say as one JSON object what a file says."""
    return json.dumps(as_dict(reading))


def csv_line(reading: Reading) -> str:
    """Say in a line of CSV what a file says."""
    line = io.StringIO()
    csv.writer(line).writerow(
        [reading.file, reading.text, f"{reading.probability:.6f}", str(reading.confident).lower()]
    )
    return line.getvalue().rstrip()


def command(
    paths: Positional[tuple[str, ...]] = (),
    checkpoint: Path = PACKAGED,
    several: bool = False,
    as_json: Annotated[bool, arg(name="json")] = False,
    as_csv: Annotated[bool, arg(name="csv")] = False,
    show_steps: Path | None = None,
    annotate: Path | None = None,
) -> None:
    """Read handwritten digits from pictures: photos, scans, drawings.

    Args:
        paths: Pictures, folders of pictures, or - for one on standard input.
        checkpoint: The model, .onnx or .pth, the shipped one unless another is named.
        several: Read every digit of each picture, in reading order, instead of one.
        as_json: Print a JSON object per file.
        as_csv: Print a line of CSV per file.
        show_steps: Folder that gets a picture per file of how it was prepared.
        annotate: Folder that gets each picture with a box around each digit.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other; choose one")
    files = find_files(paths)
    classifier = Classifier.load(checkpoint)
    for folder in (show_steps, annotate):
        if folder:
            check_writable(folder)
    if as_csv:
        print(",".join(FIELDS))
    write = json_line if as_json else csv_line if as_csv else text_line
    failed = False
    quiet = len(files) < MANY or not sys.stderr.isatty()
    sources = [sys.stdin.buffer.read(MOST_BYTES + 1) if file == STDIN else Path(file) for file in files]
    named = zip(sources, ("standard input" if file == STDIN else file for file in files), strict=True)
    with Sandbox() as sandbox:
        found = classifier.read(named, several, sandbox.prepare_all)
        bar = tqdm(zip(files, sources, found, strict=True), total=len(files), unit=" files", disable=quiet)
        for number, (file, source, answers) in enumerate(bar):
            if isinstance(answers, InputError):
                tqdm.write(f"error: {answers}", file=sys.stderr)
                failed = True
                continue
            reading = Reading(file, answers, classifier.classes, several)
            tqdm.write(write(reading), file=sys.stdout)
            name = f"{number:04d}_{'stdin' if file == STDIN else Path(file).stem}.png"
            if show_steps:
                draw_steps(source, [answer.image for answer in reading.found], reading.names, show_steps / name)
            if annotate:
                draw_boxes(
                    source, [answer.box for answer in reading.found if answer.box], reading.names, annotate / name
                )
    if failed:
        sys.exit(2)


def main(argv: Sequence[str] | None = None, prog: str = "predict.py") -> None:
    """Run the command line."""
    with exit_codes():
        raise_on_sigterm()
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
