"""Readings as text, JSON and CSV, for people and programs."""

import csv
import io
from typing import Any

from mnist_cnn.common.names import cell, printable
from mnist_cnn.models.onnx_model import Floats
from mnist_cnn.reading import IMPROBABLE, OUT_OF_DISTRIBUTION, Prediction, Reading

CSV_FIELDS = ("probability", "confident", "doubt", "turned")
DOUBTS = {IMPROBABLE: "improbable", OUT_OF_DISTRIBUTION: "unlike the training images"}


def text_line(file: str, reading: Reading, remark: str = "") -> str:
    """Format a reading for a person; the remark follows its probability."""
    if not reading.digits:
        return f"{printable(file)}: no digit found"
    doubt = f", not sure: {DOUBTS[reading.doubt]}" if reading.doubt else ""
    doubt += f", turned by {reading.turned} degrees" if reading.turned else ""
    return f"{printable(file)}: {printable(' '.join(reading.lines))} ({reading.probability:.1%}{doubt}{remark})"


def csv_line(file: str, reading: Reading) -> str:
    """Format a reading as a line of CSV: file, text, and `CSV_FIELDS`."""
    line = io.StringIO()
    confident, doubt = str(reading.confident).lower(), reading.doubt or ""
    values = [cell(" ".join(reading.lines)), f"{reading.probability:.6f}", confident, doubt, reading.turned]
    csv.writer(line).writerow([cell(file), *values])
    return line.getvalue().rstrip("\r\n")


def rounded(probabilities: Floats) -> list[float]:
    """Round probabilities [classes] to six decimals, as plain floats."""
    return [round(float(probability), 6) for probability in probabilities]


def result(file: str, reading: Reading, images: bool = False) -> dict[str, Any]:
    """Format a reading as `read --json` and the REST service give it; `images` adds the network's inputs."""
    return {
        "file": file,
        "text": reading.text,
        "probability": round(reading.probability, 6),
        "confident": reading.confident,
        "doubt": reading.doubt,
        "digits": [digit(prediction, images) for prediction in reading.digits],
        "turned": reading.turned,
        "alternatives": [
            {"line": one.line, "text": one.text, "probability": round(one.probability, 6)}
            for one in reading.alternatives
        ],
        "error": None,
    }


def digit(prediction: Prediction, image: bool) -> dict[str, Any]:
    """Format a digit of a result."""
    values = {
        "digit": prediction.digit,
        "label": prediction.label,
        "probability": round(prediction.probability, 6),
        "probabilities": rounded(prediction.probabilities),
        "confident": prediction.confident,
        "doubt": prediction.doubt,
        "box": prediction.box,
        "line": prediction.line,
    }
    return values | {"image": prediction.image.tolist()} if image else values
