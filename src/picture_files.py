"""Picture files become readings: found, read in a sandbox, printed, drawn."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
from tyro.conf import Positional, arg

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import check_writable
from mnist_cnn.common.names import printable
from mnist_cnn.constraints import UNKNOWN, Constraint
from mnist_cnn.models.onnx_model import PACKAGED
from mnist_cnn.pictures.file_types import PDF, PICTURE, is_hidden, kind, without_pictures
from mnist_cnn.pictures.image_io import MAX_BYTES, SUFFIXES, PictureSource
from mnist_cnn.pictures.pdf import PdfPage, is_pdf
from mnist_cnn.pictures.sandbox import MAX_WORKERS, Sandbox
from mnist_cnn.pictures.visualize import Mark, draw_boxes, draw_steps
from mnist_cnn.reading import Reading

STDIN = "-"
MANY = 50  # files that deserve a progress bar
LONGEST_NAME = 50  # characters of a file's name in that of a picture of it: with all around them within 255 bytes


@dataclass(frozen=True)
class FileOptions:
    """The options of every command that reads pictures.

    Attributes:
        paths: Pictures, folders of pictures, or - for one on standard input.
        checkpoint: The model, .onnx or .pth.
        as_json: Print a JSON object per file.
        as_csv: Print a line of CSV per file; a ' goes before text that a spreadsheet would compute.
        show_steps: Folder that gets a picture per file of how it was read.
        annotate: Folder that gets each picture with a box around each digit, in another colour where it is not sure.
    """

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="PICTURE...", help_behavior_hint="")] = ()
    checkpoint: Annotated[Path, arg(help_behavior_hint="(default: the one that ships)")] = PACKAGED
    as_json: Annotated[bool, arg(name="json")] = False
    as_csv: Annotated[bool, arg(name="csv")] = False
    show_steps: Path | None = None
    annotate: Path | None = None


@dataclass(frozen=True)
class Formats:
    """How a command prints the reading of a file: as text, JSON or CSV, each one line, and the table's header."""

    text: Callable[[str, Reading], str]
    json: Callable[[str, Reading], str]
    csv: Callable[[str, Reading], str]
    header: Sequence[str]


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
    skipped = without_pictures(Counter(PICTURE if kind(file) == PDF else kind(file) for file in files))
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


def picture_name(number: int, file: str) -> str:
    """Name the picture of what was done with a file; the number tells files of one name apart."""
    stem = re.sub(r"(?i)\.pdf( page \d+)$", r"\1", file)
    stem = "stdin" if file == STDIN else re.sub(r"[^\w.-]+", "_", Path(stem).stem)[:LONGEST_NAME]
    return f"{number:04d}_{stem}.png"


def tell_which_model(checkpoint: Path, folder: Path = Path("saved_models")) -> None:
    """Say on stderr that the reader that ships answers, where a model was trained here since it was installed."""
    trained = {path: path.stat().st_mtime for path in folder.glob("*_final.pth")}
    newest = max(trained, key=lambda path: trained[path], default=None)
    if newest and checkpoint == PACKAGED and trained[newest] > PACKAGED.stat().st_mtime:
        print(f"the reader that ships answers; --checkpoint {printable(str(newest))} uses yours", file=sys.stderr)


def read_files(options: FileOptions, formats: Formats, several: bool, constraint: Constraint = UNKNOWN) -> None:
    """Read picture files and print a line for each; an error of one is a line on stderr, and exit code 2 at the end.

    Args:
        options: which files, by which model, and what to make of them.
        formats: the lines to print.
        several: whether to read every digit of each picture instead of one.
        constraint: what is known of the numbers of each picture.

    Raises:
        InputError: an option cannot be followed; nothing has been printed.
    """
    if options.as_json and options.as_csv:
        raise InputError("--json and --csv exclude each other; choose one")
    files = find_files(options.paths)
    classifier = Classifier.load(options.checkpoint)
    classifier.search(several, constraint)
    tell_which_model(options.checkpoint)
    for folder, flag in ((options.show_steps, "--show-steps"), (options.annotate, "--annotate")):
        if folder:
            check_writable(folder, flag)
    if options.as_csv:
        print(",".join(formats.header))
    line = formats.json if options.as_json else formats.csv if options.as_csv else formats.text
    failed = False
    with Sandbox(workers=min(len(files) + any(map(is_pdf, files)), MAX_WORKERS)) as sandbox:
        pictures = [page for file in files for page in pages(file, sandbox)]
        quiet = len(pictures) < MANY or not sys.stderr.isatty()
        named = ((source, "standard input" if file == STDIN else file) for file, source in pictures)
        readings = classifier.stream(named, several, constraint, sandbox.prepare_all)
        bar = tqdm(zip(pictures, readings, strict=True), total=len(pictures), unit=" files", disable=quiet)
        for number, ((file, source), reading) in enumerate(bar):
            if isinstance(reading, InputError) or isinstance(source, InputError):
                tqdm.write(f"error: {printable(str(reading))}\n", file=sys.stderr, end="")
                failed = True
                continue
            # One write: no signal separates a line from its end.
            tqdm.write(f"{line(file, reading)}\n", file=sys.stdout, end="")
            draw(source, reading, picture_name(number, file), options)
    if failed:
        sys.exit(2)


def draw(source: PictureSource, reading: Reading, name: str, options: FileOptions) -> None:
    """Draw how a picture was read, and its digits, where that is asked for."""
    marks = [Mark(digit.box, digit.label or "", digit.confident) for digit in reading.digits if digit.box]
    if options.show_steps:
        draw_steps(source, marks, [digit.image for digit in reading.digits], options.show_steps / name)
    if options.annotate:
        draw_boxes(source, marks, options.annotate / name)
