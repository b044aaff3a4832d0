"""Read picture files and print what they say."""

import csv
import hashlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
from tyro.conf import Positional, arg

from mnist_cnn.classifier import NO_DIGIT, Classifier, Model, Reading
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import check_writable
from mnist_cnn.common.names import printable
from mnist_cnn.models.onnx_model import PACKAGED, Floats
from mnist_cnn.pictures.file_types import PDF, PICTURE, is_hidden, kind, without_pictures
from mnist_cnn.pictures.image_io import MAX_BYTES, SUFFIXES, PictureSource
from mnist_cnn.pictures.pdf import PdfPage, is_pdf
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
    kinds = Counter(PICTURE if kind(file) == PDF else kind(file) for file in files)
    skipped = without_pictures(kinds)
    pictures = sorted(str(file) for file in files if kind(file) in (PICTURE, PDF))
    if not pictures:
        found = f"only {skipped}" if skipped else "no file"
        raise InputError(f"{folder} holds no picture ({', '.join(SUFFIXES)}, .pdf), {found}; name another folder")
    if skipped:
        print(f"skipped in {printable(str(folder))}: {skipped}", file=sys.stderr)
    return pictures


def pages(file: str, sandbox: Sandbox) -> list[tuple[str, PictureSource | InputError]]:
    """Pair each page of a file with its name; all but PDFs of several pages have one, named like the file."""
    source = sys.stdin.buffer.read(MAX_BYTES + 1) if file == STDIN else Path(file)
    return [
        (f"{file} page {page.number}" if isinstance(page, PdfPage) else file, page)
        for page in sandbox.pages(source, "standard input" if file == STDIN else file)
    ]


def text_line(file: str, reading: Reading) -> str:
    """Format a reading for a person."""
    if not reading.digits:
        return f"{printable(file)}: no digit found"
    doubt = "" if reading.confident else ", not sure"
    doubt += f", turned by {reading.turned} degrees" if reading.turned else ""
    return f"{printable(file)}: {printable(' '.join(reading.lines))} ({reading.probability:.1%}{doubt})"


def json_line(file: str, reading: Reading, several: bool) -> str:
    """Format a reading as one JSON object; with `several`, its values are lists with an item for each digit."""
    probabilities = [rounded(digit.probabilities) for digit in reading.digits]
    confident = [digit.confident for digit in reading.digits]
    first = reading.digits[0] if reading.digits else NO_DIGIT
    return json.dumps(
        {
            "file": file,
            "digit": reading.text if several else first.digit,
            "probabilities": probabilities if several else rounded(first.probabilities),
            "confident": confident if several else first.confident,
            "boxes": [digit.box for digit in reading.digits],
            "turned": reading.turned,
        }
    )


def rounded(probabilities: Floats) -> list[float]:
    """Round probabilities [classes] to six decimals, as plain floats."""
    return [round(float(probability), 6) for probability in probabilities]


def csv_line(file: str, reading: Reading) -> str:
    """Format a reading as a line of CSV."""
    line = io.StringIO()
    text, confident = " ".join(reading.lines), str(reading.confident).lower()
    csv.writer(line).writerow([cell(file), cell(text), f"{reading.probability:.6f}", confident])
    return line.getvalue().rstrip("\r\n")


def cell(text: str) -> str:
    """Spell text so that it takes one line of a table and no spreadsheet computes it."""
    return ("'" if text.startswith(FORMULA) else "") + printable(text)


def picture_name(number: int, file: str) -> str:
    """Name the picture of what was done with a file; the number tells files of one name apart."""
    stem = re.sub(r"(?i)\.pdf( page \d+)$", r"\1", file)
    stem = "stdin" if file == STDIN else re.sub(r"[^\w.-]+", "_", Path(stem).stem)[:LONGEST_NAME]
    return f"{number:04d}_{stem}.png"


def unused_model(model: Model, folder: Path = Path("saved_models")) -> Path | None:
    """Find the newest model in a folder that is not `model`, by its SHA-256."""
    models = sorted(folder.glob("*_final.pth"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in models:
        if hashlib.sha256(path.read_bytes()).hexdigest() != model.metadata["checkpoint_sha256"]:
            return path
    return None


def tell_which_model(classifier: Classifier, checkpoint: Path) -> None:
    """Say on stderr that the shipped model answers where the user has trained one here and named none."""
    own = unused_model(classifier.model) if checkpoint == PACKAGED else None
    if own:
        print(f"the model that ships answers; --checkpoint {printable(str(own))} uses yours", file=sys.stderr)


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
        show_steps: Folder that gets a picture per file of how it was read.
        annotate: Folder that gets each picture with a box around each digit.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other; choose one")
    files = find_files(paths)
    classifier = Classifier.load(checkpoint)
    tell_which_model(classifier, checkpoint)
    for folder, flag in ((show_steps, "--show-steps"), (annotate, "--annotate")):
        if folder:
            check_writable(folder, flag)
    if as_csv:
        print(",".join(FIELDS))
    failed = False
    with Sandbox(workers=min(len(files) + any(map(is_pdf, files)), MAX_WORKERS)) as sandbox:
        pictures = [page for file in files for page in pages(file, sandbox)]
        quiet = len(pictures) < MANY or not sys.stderr.isatty()
        named = ((source, "standard input" if file == STDIN else file) for file, source in pictures)
        readings = classifier.stream(named, several, sandbox.prepare_all)
        bar = tqdm(zip(pictures, readings, strict=True), total=len(pictures), unit=" files", disable=quiet)
        for number, ((file, source), reading) in enumerate(bar):
            if isinstance(reading, InputError) or isinstance(source, InputError):
                tqdm.write(f"error: {printable(str(reading))}\n", file=sys.stderr, end="")
                failed = True
                continue
            line = json_line(file, reading, several) if as_json else (csv_line if as_csv else text_line)(file, reading)
            tqdm.write(f"{line}\n", file=sys.stdout, end="")  # one write: no signal separates the line from its end
            name, labels = picture_name(number, file), [digit.label or "" for digit in reading.digits]
            boxes = [digit.box for digit in reading.digits if digit.box]
            if show_steps:
                draw_steps(source, boxes, [digit.image for digit in reading.digits], labels, show_steps / name)
            if annotate:
                draw_boxes(source, boxes, labels, annotate / name)
    if failed:
        sys.exit(2)


def main(argv: Sequence[str] | None = None, prog: str = "predict.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
