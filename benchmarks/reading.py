"""How well numbers are read from drawn pictures of MNIST's test images, beside Tesseract and RapidOCR if installed."""

import importlib.util
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from results import keep
from tqdm import tqdm

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.experiments.study import environment
from mnist_cnn.metrics import wilson_interval
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.documents import DOCUMENTS, Document
from mnist_cnn.synthetic.glyphs import Glyphs, make_glyphs
from mnist_cnn.training.config import PRESETS


def tesseract() -> Callable[[Pixels], str]:
    """Read with Tesseract's executable on one core: digits only, as a line if the picture is three times as wide."""
    whitelist = ["-c", "tessedit_char_whitelist=0123456789"]

    def read(grey: Pixels) -> str:
        mode = "7" if grey.shape[1] > 3 * grey.shape[0] else "6"
        call = ["tesseract", "-", "-", "--psm", mode, *whitelist]
        png = cv2.imencode(".png", grey)[1].tobytes()
        one_core = os.environ | {"OMP_THREAD_LIMIT": "1"}
        return subprocess.run(call, input=png, env=one_core, capture_output=True, check=True).stdout.decode()

    return read


def rapidocr() -> Callable[[Pixels], str]:
    """Read with RapidOCR's default models, keeping the digits."""
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR(intra_op_num_threads=1)

    def read(grey: Pixels) -> str:
        found, _ = engine(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
        return "\n".join(text for _, text, _ in found or [])

    return read


def readers() -> dict[str, Callable[[Pixels], str]]:
    """Return this project's reader, and others that are installed."""
    classifier = Classifier.load()
    found: dict[str, Callable[[Pixels], str]] = {"MNIST CNN Classifier": lambda grey: classifier.read(grey).text}
    if shutil.which("tesseract"):
        found["Tesseract"] = tesseract()
    if importlib.util.find_spec("rapidocr_onnxruntime"):
        found["RapidOCR"] = rapidocr()
    return found


def lines_of(text: str) -> list[str]:
    """Keep the digits of each line, and the lines that have any."""
    kept = ("".join(character for character in line if character in "0123456789") for line in text.splitlines())
    return [line for line in kept if line]


def distance(one: str, other: str) -> int:
    """Return the edit distance (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for number, character in enumerate(one, 1):
        before, row[0] = row[:], number
        for column, opposite in enumerate(other, 1):
            row[column] = min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (character != opposite))
    return row[-1]


@dataclass(frozen=True)
class Score:
    """What a reader made of one picture: whether all lines are exact, wrong digits, digits, seconds."""

    exact: bool
    errors: int
    digits: int
    seconds: float


def measure(read: Callable[[Pixels], str], document: Document) -> Score:
    """Read a picture and compare."""
    start = time.perf_counter()
    got = lines_of(read(document.grey))
    seconds = time.perf_counter() - start
    truth = lines_of(document.text)
    return Score(got == truth, distance("".join(got), "".join(truth)), len("".join(truth)), seconds)


def draw(group: str, glyphs: Glyphs, count: int) -> Iterator[Document]:
    """Draw the pictures of a group, each from its own seed."""
    for number in range(count):
        yield DOCUMENTS[group](np.random.default_rng((list(DOCUMENTS).index(group), number)), glyphs)


def table(scores: dict[str, dict[str, list[Score]]], pictures: int) -> str:
    """Format the scores."""
    names = list(next(iter(scores.values())))
    lines = [
        f"{pictures} pictures a group. Exact: every line right, with 95 % interval (Wilson); then wrong, missing and",
        "added digits as a share of all digits; then the median time of a picture.",
        "",
        "| pictures | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for group, per_reader in scores.items():
        lines.append(f"| {group} | " + " | ".join(map(summary, per_reader.values())) + " |")
    return "\n".join(lines) + "\n"


def summary(scores: list[Score]) -> str:
    """Format the scores of a group and a reader."""
    exact, digits = sum(score.exact for score in scores), sum(score.digits for score in scores)
    low, high = wilson_interval(exact, len(scores))
    errors = f", {sum(score.errors for score in scores) / digits:.2%}" if digits else ""
    milliseconds = 1000 * statistics.median(score.seconds for score in scores)
    return f"{exact / len(scores):.1%} ({low:.1%} to {high:.1%}){errors}, {milliseconds:.0f} ms"


def command(output: Path = Path(__file__).parent, pictures: int = 200, data_dir: Path | None = None) -> None:
    """Draw pictures of MNIST's test images, read them with every reader that is installed, and write a table.

    Args:
        output: Folder for reading.json and reading.md.
        pictures: Pictures of each group.
        data_dir: Folder with the data, searched before $MNIST_CNN_DATA and ./data.
    """
    test = load_dataset("mnist", data_dir).test
    glyphs = make_glyphs(test.images[:, 0].numpy(), test.labels.numpy().astype(np.uint8), traced=100)
    others = readers()
    scores: dict[str, dict[str, list[Score]]] = {group: {name: [] for name in others} for group in DOCUMENTS}
    with tqdm(total=pictures * len(DOCUMENTS), unit=" pictures", disable=None) as bar:
        for group in DOCUMENTS:
            for document in draw(group, glyphs, pictures):
                for name, read in others.items():
                    scores[group][name].append(measure(read, document))
                bar.update()
    rows = {group: {name: list(map(asdict, one)) for name, one in both.items()} for group, both in scores.items()}
    result = {"pictures": pictures, "scores": rows, **environment(PRESETS["default"].train)}
    keep(output, "reading", result, table(scores, pictures))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "reading.py")()
