"""Loads a dataset by name: published files, a folder, a .csv or .npz become uint8 tensors in memory."""

import gzip
import os
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.names import check_classes, check_name
from mnist_cnn.data_files import (
    MAX_BYTES,
    framed,
    parse_idx,
    parse_qmnist_labels,
    parse_usps,
    read_csv,
    read_npz,
)
from mnist_cnn.download import MirrorError, find_files, list_data, read_published
from mnist_cnn.pictures.file_types import PICTURE, kind, without_pictures
from mnist_cnn.pictures.image_folder import class_folders, contents, read_folders
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.sources import FILES, SOURCES
from mnist_cnn.splits import Dataset, Split, every_fifth, split_off

DIGITS = tuple("0123456789")
GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
NAMES = ("auto", "digits", *SOURCES)


def load_dataset(name: str | os.PathLike[str] = "auto", data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a dataset.

    Args:
        name: one of `NAMES`, of which "digits" is bundled with scikit-learn and "auto" is MNIST, or the bundled digits
            if MNIST is neither on disk nor on a mirror; or a .csv or .npz, or a folder with four IDX files or with a
            subfolder of pictures per class.
        data_dir: searched before `$MNIST_CNN_DATA` and `./data`; downloads go there.

    Raises:
        InputError: there is no such dataset, or its files are missing, damaged or inconsistent.
    """
    data_dir = Path(data_dir) if data_dir else None
    if name == "auto":
        try:
            return load_published("mnist", data_dir)
        except MirrorError as error:
            print(f"NOTE: {error}\nNOTE: using scikit-learn's 1,797 bundled digits, not MNIST", file=sys.stderr)
            name = "digits"
    if name == "digits":
        return bundled_digits()
    if isinstance(name, str) and name in SOURCES:
        return load_published(name, data_dir)
    if Path(name).is_dir():
        return load_folder(name)
    if Path(name).is_file():
        return load_file(Path(name))
    given = str(name).lower()
    near = [known for known in NAMES if known.startswith(given)] or get_close_matches(given, NAMES, n=1)
    raise InputError(
        f"no dataset {str(name)!r}{f' (do you mean {near[0]}?)' if near else ''}: use {', '.join(NAMES)}, a .csv or "
        f".npz, a folder with a subfolder of pictures per class or one with the files {', '.join(FILES)}"
    )


def load_published(name: str, data_dir: Path | None) -> Dataset:
    """Load a published dataset from files whose hashes were checked."""
    files = read_published(name, data_dir)
    if name == "usps":
        (train, labels), (test, test_labels) = map(parse_usps, files)
        return from_arrays(name, (train, labels, test, test_labels), DIGITS)
    if name == "qmnist":
        images = parse_idx(files[0], name), parse_idx(files[2], name)
        return from_arrays(
            name, (images[0], parse_qmnist_labels(files[1]), images[1], parse_qmnist_labels(files[3])), DIGITS
        )
    arrays = [parse_idx(content, where) for where, content in zip(FILES, files, strict=True)]
    if name == "emnist-digits":  # its files hold columns where MNIST's hold rows
        arrays = [array.swapaxes(1, 2) if array.ndim == 3 else array for array in arrays]
    return from_arrays(name, arrays, {"fashion-mnist": GARMENTS, "kmnist": KANA}.get(name, DIGITS))


def load_file(path: Path) -> Dataset:
    """Load a dataset from an .npz, or from CSV: of `a_train.csv` the test split is `a_test.csv` beside it.

    Where there is no such file, every fifth image of a class is in the test split. Classes are the labels of train.

    Raises:
        InputError: the file is neither, or holds something else.
    """
    try:
        check_name(path.stem, "the name")
    except ValueError as error:
        raise InputError(f"{str(path)!a} has {error}; rename it") from None
    name = f"{path.stem}-file" if path.stem in NAMES else path.stem
    if path.suffix == ".npz":
        return from_arrays(name, read_npz(path))
    if path.suffix != ".csv":
        raise InputError(f"{path} is no dataset: give a .csv, an .npz or a folder")
    images, labels = read_csv(path)
    beside = path.with_name(path.name.replace("train", "test"))
    if beside != path and beside.is_file():
        return from_arrays(name, (images, labels, *read_csv(beside)))
    is_test = every_fifth(labels)
    return from_arrays(name, (images[~is_test], labels[~is_test], images[is_test], labels[is_test]))


def load_folder(folder: str | os.PathLike[str]) -> Dataset:
    """Load the four IDX files of a folder (KMNIST, say), packed or not, or its pictures, a subfolder per class.

    The classes are the labels of train, or the names of the subfolders: the ten digits if all names are digits.

    Raises:
        InputError: a file is missing, damaged, or inconsistent with the others, or a name cannot be printed.
    """
    folder = Path(folder)
    folders, name = class_folders(folder), folder.resolve().name
    try:
        check_name(name, "the name")
        check_classes([one.name for one in folders] or DIGITS)
    except ValueError as error:
        raise InputError(f"{str(folder)!a} has {error}; rename it") from None
    if name in NAMES:  # not to be mistaken for the published dataset
        name = f"{name}-folder"
    if folders:
        return load_pictures(name, folders)
    paths = find_files([folder])
    if missing := ", ".join(file for file in FILES if file not in paths):
        kinds = without_pictures(sum(contents(folder).values(), Counter()))
        found = list_data([folder]) + (f"; in its subfolders: {kinds}" if kinds else "")
        raise InputError(
            f"{folder} lacks {missing} (or .gz){found}; put the four IDX files of a dataset there, "
            "or a subfolder of pictures per class"
        )
    return from_arrays(name, [parse_idx(read_unverified(path), str(path)) for path in paths.values()])


def load_pictures(name: str, folders: list[Path]) -> Dataset:
    """Load pictures from one folder per class; every fifth picture of a class, by name, is in the test split.

    Names are compared in Unicode's composed form, since file systems differ in how they store accents.
    """
    names = [unicodedata.normalize("NFC", folder.name) for folder in folders]
    classes = DIGITS if set(names) <= set(DIGITS) else tuple(dict.fromkeys(names))
    images, numbers = read_folders(folders)
    files = np.array([str(path) for folder in folders for path in sorted(folder.iterdir()) if kind(path) == PICTURE])
    labels = torch.tensor([classes.index(names[number]) for number in numbers])
    pictures = Split(torch.from_numpy(images)[:, None], labels, files)
    is_test = torch.from_numpy(every_fifth(numbers))
    return Dataset(name, classes, pictures[~is_test], pictures[is_test])


def read_unverified(path: Path) -> bytes:
    """Read an untrusted file, unpacked if its name ends in .gz; at most 1 GiB.

    Raises:
        InputError: it is no complete gzip file, or too large.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}; get it again") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} holds more than {MAX_BYTES} bytes; this is no dataset of 28x28 images")
    return content


def from_arrays(name: str, arrays: Sequence[npt.NDArray[Any]], classes: tuple[str, ...] | None = None) -> Dataset:
    """Make a dataset of train images, train labels, test images and test labels.

    The classes are the labels of train by default.
    """
    classes = classes or tuple(map(str, range(int(arrays[1].max(initial=0)) + 1)))
    train = pair(arrays[0], arrays[1], len(classes), f"{name}'s train split")
    return Dataset(name, classes, train, pair(arrays[2], arrays[3], len(classes), f"{name}'s test split"))


def pair(images: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int, where: str) -> Split:
    """Make a split of images, uint8 [N, 28, 28], and labels, integers [N], 0..classes-1.

    Raises:
        InputError: they have other types, shapes, sizes or values.
    """
    if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
        kinds = f"images of {images.dtype} and labels of {labels.dtype}"
        raise InputError(f"{where} has {kinds}, expected uint8 (0..255) and integers; check its files")
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise InputError(f"{where} has images of shape {list(images.shape)}, expected [N, 28, 28]; check its files")
    if labels.ndim != 1 or len(images) != len(labels) or not len(labels):
        raise InputError(f"{where} has {len(images)} images but {len(labels)} labels; check its files")
    wrong = [label for label in (labels.max(), labels.min()) if not 0 <= label < classes]
    if wrong:
        raise InputError(f"{where} has label {wrong[0]}, expected 0..{classes - 1}; check its files")
    return Split(torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def bundled_digits() -> Dataset:
    """Load the 1,797 real digits inside scikit-learn (UCI Optical Recognition, 8x8, 0..16), scaled to 28x28.

    As in MNIST the digit takes 20x20 pixels inside a margin of 4. A fifth of the images is the test split.
    """
    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1)
    images = Split(framed(small, maximum=16), torch.from_numpy(digits.target).long())
    train, test = split_off(images, size=360)
    return Dataset("digits", DIGITS, train, test)
