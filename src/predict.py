"""Read picture files and print what they say."""

import csv
import io
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
from tyro.conf import Positional, arg

from mnist_cnn.classifier import Classifier, Prediction
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import check_writable
from mnist_cnn.common.names import printable
from mnist_cnn.models.onnx_model import PACKAGED
from mnist_cnn.pictures.file_types import PICTURE, is_hidden, kind, without_pictures
from mnist_cnn.pictures.image_io import MAX_BYTES, SUFFIXES
from mnist_cnn.pictures.sandbox import MAX_WORKERS, Sandbox
from mnist_cnn.pictures.visualize import draw_boxes, draw_steps

STDIN = "-"
MANY = 50  # files that deserve a progress bar
FIELDS = ("file", "digit", "probability", "confident")
FORMULA = tuple("=+-@\t\r\n")  # how a cell begins that a spreadsheet computes (OWASP, "CSV Injection")
LONGEST_NAME = 50  # characters of a file's name in that of a picture of it: with all around them within 255 bytes


def find_files(paths: Sequence[str]) -> list[str]:
    """List the files to read: those named, and all pictures below the folders named, sorted.

    Raises:
        InputError: nothing is named, or a folder holds no picture.
    """
    if not paths:
        raise InputError("no picture named; give files, folders, or - for standard input")
    folders = {path for path in paths if path != STDIN and Path(path).is_dir()}
    return [file for path in paths for file in (pictures_below(Path(path)) if path in folders else [path])]


def pictures_below(folder: Path) -> list[str]:
    """List the pictures below a folder, sorted, but no hidden ones; say on stderr which kinds of files are skipped.

    Raises:
        InputError: there is none.
    """
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(is_hidden(Path(part)) for part in file.relative_to(folder).parts)
    ]
    skipped = without_pictures(Counter(map(kind, files)))
    pictures = sorted(str(file) for file in files if kind(file) == PICTURE)
    if not pictures:
        found = f"only {skipped}" if skipped else "no file"
        raise InputError(f"{folder} holds no picture ({', '.join(SUFFIXES)}), {found}; name another folder")
    if skipped:
        print(f"skipped in {printable(str(folder))}: {skipped}", file=sys.stderr)
    return pictures


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
    file = printable(reading.file)
    if not reading.found:
        return f"{file}: no digit found"
    return f"{file}: {printable(reading.text)} ({reading.probability:.1%}{'' if reading.confident else ', not sure'})"


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
        [cell(reading.file), cell(reading.text), f"{reading.probability:.6f}", str(reading.confident).lower()]
    )
    return line.getvalue().rstrip("\r\n")


def cell(text: str) -> str:
    """Spell text so that it takes one line of a table and no spreadsheet computes it."""
    return ("'" if text.startswith(FORMULA) else "") + printable(text)


def picture_name(number: int, file: str) -> str:
    """Name the picture of what was done with a file; the number tells files of one name apart."""
    stem = "stdin" if file == STDIN else re.sub(r"[^\w.-]+", "_", Path(file).stem)[:LONGEST_NAME]
    return f"{number:04d}_{stem}.png"


def command(
    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="PICTURE...", help_behavior_hint="")] = (),
    checkpoint: Annotated[Path, arg(help_behavior_hint="(default: the one that ships)")] = PACKAGED,
    several: bool = False,
    as_json: Annotated[bool, arg(name="json")] = False,
    as_csv: Annotated[bool, arg(name="csv")] = False,
    show_steps: Path | None = None,
    annotate: Path | None = None,
) -> None:
    """Read handwritten digits from pictures: photos, scans, drawings.

    Args:
        paths: Pictures, folders of pictures, or - for one on standard input.
        checkpoint: The model, .onnx or .pth.
        several: Read every digit of each picture, in reading order, instead of one.
        as_json: Print a JSON object per file.
        as_csv: Print a line of CSV per file; a ' goes before text that a spreadsheet would compute.
        show_steps: Folder that gets a picture per file of how it was prepared.
        annotate: Folder that gets each picture with a box around each digit.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other; choose one")
    files = find_files(paths)
    classifier = Classifier.load(checkpoint)
    for folder, flag in ((show_steps, "--show-steps"), (annotate, "--annotate")):
        if folder:
            check_writable(folder, flag)
    if as_csv:
        print(",".join(FIELDS))
    write = json_line if as_json else csv_line if as_csv else text_line
    failed = False
    quiet = len(files) < MANY or not sys.stderr.isatty()
    sources = [sys.stdin.buffer.read(MAX_BYTES + 1) if file == STDIN else Path(file) for file in files]
    named = zip(sources, ("standard input" if file == STDIN else file for file in files), strict=True)
    with Sandbox(workers=min(len(files), MAX_WORKERS)) as sandbox:
        found = classifier.read(named, several, sandbox.prepare_all)
        bar = tqdm(zip(files, sources, found, strict=True), total=len(files), unit=" files", disable=quiet)
        for number, (file, source, answers) in enumerate(bar):
            if isinstance(answers, InputError):
                tqdm.write(f"error: {printable(str(answers))}\n", file=sys.stderr, end="")
                failed = True
                continue
            reading = Reading(file, answers, classifier.classes, several)
            tqdm.write(f"{write(reading)}\n", file=sys.stdout, end="")  # at once: no signal comes between line and end
            name = picture_name(number, file)
            if show_steps:
                draw_steps(source, [answer.image for answer in reading.found], reading.names, show_steps / name)
            if annotate:
                boxes = [answer.box for answer in reading.found if answer.box]
                draw_boxes(source, boxes, reading.names, annotate / name)
    if failed:
        sys.exit(2)


def main(argv: Sequence[str] | None = None, prog: str = "predict.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
