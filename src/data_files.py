"""The formats that datasets come in, parsed: IDX, LIBSVM's text, CSV and .npz become arrays of images and labels."""

import math
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.preprocess import SIDE

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
MAX_BYTES = 1 << 30  # of an unpacked file
ARRAYS = ("x_train", "y_train", "x_test", "y_test")  # of an .npz, as Keras names them


def parse_idx(content: bytes, where: str) -> Images:
    """Parse IDX: 0, 0, 8 for uint8, 1 dimension for labels or 3 for images, big-endian uint32 sizes, values.

    Source: LeCun, Cortes, Burges, "The MNIST database".

    Raises:
        InputError: the content is invalid; the message names `where` it came from.
    """
    if content[:4] not in (b"\0\0\x08\x01", b"\0\0\x08\x03"):
        raise InputError(f"{where} is not an IDX file of labels or images (it starts {content[:4]!r}); get it again")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise InputError(f"{where} ends inside its header; get it again")
    shape: list[int] = np.frombuffer(content[4:header], ">u4").tolist()
    if not 0 < math.prod(shape) == len(content) - header:
        raise InputError(f"{where} holds {len(content) - header} values, its header says {shape}; get it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def parse_qmnist_labels(content: bytes) -> Labels:
    """Parse QMNIST's labels, verified IDX of int32 [N, 8], whose first column is the digit; int64 [N]."""
    assert content[:4] == b"\0\0\x0c\x02"
    shape = np.frombuffer(content[4:12], ">u4").tolist()
    table = np.frombuffer(content, ">i4", offset=12).reshape(shape)
    return np.asarray(table[:, 0], np.int64)


def parse_usps(content: bytes) -> tuple[Images, Labels]:
    """Parse verified USPS in LIBSVM's format: a label 1..10, then 256 pixels as index:value, -1..1, per line.

    Returns:
        The digits, 16x16 scaled to 20x20 in the middle as MNIST's are, uint8 [N, 28, 28]; labels 0..9, int64 [N].
    """
    rows = [line.split() for line in content.splitlines()]
    labels = np.array([int(row[0]) - 1 for row in rows], np.int64)
    pixels = np.array([[float(cell.partition(b":")[2]) for cell in row[1:]] for row in rows], np.float32)
    return framed(torch.from_numpy(pixels + 1).reshape(-1, 1, 16, 16), maximum=2)[:, 0].numpy(), labels


def framed(grey: torch.Tensor, maximum: float) -> torch.Tensor:
    """Scale digits [N, 1, H, W], 0..maximum, to 20x20 (bicubic) inside a margin of 4: uint8 [N, 1, 28, 28]."""
    large = F.interpolate(grey, size=(20, 20), mode="bicubic").mul(255 / maximum).round().clamp(0, 255)
    return F.pad(large, (4, 4, 4, 4)).byte()


def read_csv(path: Path) -> tuple[Images, npt.NDArray[np.int64]]:
    """Read a label and 784 pixels, 0..255, per line; a header may name the column `label`, else it is the first.

    Returns:
        Images, uint8 [N, 28, 28], and labels, int64 [N].

    Raises:
        InputError: the file holds something else.
    """
    expected = f"a label and {SIDE * SIDE} pixels, 0..255, separated by commas"
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline().strip().replace('"', "").split(",")
        is_header = not header[0].isdigit()
        column = header.index("label") if "label" in header else 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a file without data, which is refused below
            table = np.loadtxt(path, np.int32, delimiter=",", skiprows=int(is_header), ndmin=2, encoding="utf-8-sig")
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}; give a line per image, {expected}") from None
    if table.shape[1] != 1 + SIDE * SIDE or not len(table):
        raise InputError(f"{path} has {len(table):,} lines of {table.shape[1]} numbers; give {expected}")
    pixels, labels = np.delete(table, column, axis=1), table[:, column].astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 255 or labels.min() < 0:
        raise InputError(f"{path} has labels below 0, or pixels outside 0..255; give {expected}")
    return pixels.reshape(-1, SIDE, SIDE).astype(np.uint8), labels


def read_npz(path: Path) -> Sequence[npt.NDArray[np.generic]]:
    """Read the arrays x_train, y_train, x_test and y_test, without pickle.

    Raises:
        InputError: it is damaged or too large, or lacks one of them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise InputError(f"{path} holds more than {MAX_BYTES} bytes; this is no dataset of 28x28 images")
        with np.load(path, allow_pickle=False) as arrays:
            if missing := [name for name in ARRAYS if name not in arrays]:
                found = ", ".join(arrays) or "none"
                raise InputError(f"{path} lacks the arrays {', '.join(missing)} (it has {found}); name them so")
            return [arrays[name] for name in ARRAYS]
    except InputError:
        raise
    except (EOFError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as .npz: {error}; write it with numpy.savez, without objects"
        ) from None
