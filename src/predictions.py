"""What a model answers for every image of a split, and its file: .csv, .npz or .parquet."""

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.common.names import cell
from mnist_cnn.metrics import Floats
from mnist_cnn.splits import Split

FORMATS = (".csv", ".npz", ".parquet")


@dataclass(frozen=True)
class Predictions:
    """The answers for N images.

    Attributes:
        logits: float64 [N, classes].
        probabilities: calibrated, float64 [N, classes].
        confident: whether each answer is to be trusted, bool [N]; None if the model has no thresholds.
    """

    logits: Floats
    probabilities: Floats
    confident: npt.NDArray[np.bool_] | None


def check_predictions_file(path: Path) -> None:
    """Check that a file of predictions can be written, before anything is computed.

    Raises:
        InputError: its suffix is another, its folder cannot be written to, or PyArrow is missing for .parquet.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"--predictions is {path}; its name must end in {', '.join(FORMATS)}")
    check_writable(path.parent, "--predictions")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise InputError(
                "--predictions needs pyarrow for .parquet: run pip install -e '.[parquet]' in the checkout, "
                "or name a .csv or .npz"
            ) from None


def write_predictions(predictions: Predictions, split: Split, classes: tuple[str, ...], path: Path) -> None:
    """Write a row per image, in order: index, file, true and predicted class, confident, probability of each class.

    `file` is empty where images are no files of their own. An .npz holds one array per column, the probabilities as one
    [N, classes], the logits and the classes too; `np.load` reads it without pickle.
    """
    columns = as_columns(predictions, split, classes)
    names = [f"probability_{name}" for name in classes]
    with atomic_write(path) as temporary:
        if path.suffix == ".npz":
            arrays: dict[str, Any] = {"probabilities": predictions.probabilities, "logits": predictions.logits}
            write_npz(columns | arrays | {"classes": np.array(classes)}, temporary)
        elif path.suffix == ".csv":
            write_csv(columns | dict(zip(names, predictions.probabilities.T, strict=True)), temporary)
        else:
            import pyarrow
            import pyarrow.parquet

            table = columns | dict(zip(names, predictions.probabilities.T, strict=True))
            pyarrow.parquet.write_table(pyarrow.table(table), temporary)


def as_columns(predictions: Predictions, split: Split, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the columns before the probabilities, arrays by name; without thresholds none is called `confident`."""
    names = np.array(classes)
    columns: dict[str, npt.NDArray[Any]] = {
        "index": np.arange(len(split)),
        "file": np.full(len(split), "") if split.files is None else split.files,
        "true": names[split.labels.cpu().numpy()],
        "predicted": names[predictions.probabilities.argmax(axis=1)],
    }
    return columns if predictions.confident is None else columns | {"confident": predictions.confident}


def write_npz(arrays: dict[str, npt.NDArray[Any]], path: Path) -> None:
    """Write arrays as `np.savez_compressed` would, but for its own parameter `file`, which no array can be called."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def write_csv(columns: dict[str, Any], path: Path) -> None:
    """Write columns as CSV; a ' goes before text that a spreadsheet would compute."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow([cell(name) for name in columns])
        lines.writerows(map(as_cells, zip(*columns.values(), strict=True)))


def as_cells(row: tuple[Any, ...]) -> list[str]:
    """Format a row: text as it is safe, true or false, nine digits of a probability."""
    cells = []
    for value in row:
        if isinstance(value, np.bool_):
            cells.append(str(value).lower())
        elif isinstance(value, np.floating):
            cells.append(f"{value:.9g}")
        else:
            cells.append(cell(str(value)))
    return cells
