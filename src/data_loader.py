"""Loads a dataset by name as uint8 tensors in memory; splits it and iterates over it in batches."""

import dataclasses
import gzip
import hashlib
import math
import os
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional as F

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.names import check_classes, check_name
from mnist_cnn.download import FILES, SOURCES, MirrorError, find_files, list_data, read_published
from mnist_cnn.pictures.file_types import without_pictures
from mnist_cnn.pictures.image_folder import class_folders, contents, read_folders
from mnist_cnn.pictures.preprocess import SIDE

DIGITS = tuple("0123456789")
GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
MAX_BYTES = 1 << 30  # of an unpacked IDX file
MAX_NAMES, MAX_CHARACTERS = 10, 30  # of class names in an error


@dataclass(frozen=True)
class Split:
    """Images and their labels, in the same order.

    Attributes:
        images: uint8 [N, 1, 28, 28], 0 is background, 255 foreground.
        labels: int64 [N], 0..classes-1.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> "Split":
        """Select the images and labels at `index`, int64 [n] or bool [N]."""
        return Split(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> "Split":
        """Move both tensors to a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """A named dataset: `train` for training and model selection, `test` to evaluate once."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split


def load_dataset(name: str | os.PathLike[str] = "auto", data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a dataset.

    Args:
        name: "mnist", "fashion-mnist", "digits" (bundled with scikit-learn), "auto" (MNIST, or the bundled digits if
            MNIST is neither on disk nor on a mirror), or a folder with four IDX files or with a subfolder of pictures
            per class.
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
    raise InputError(
        f"no dataset {str(name)!r}: use auto, mnist, fashion-mnist, digits, a folder with a subfolder of pictures per "
        f"class or one with the files {', '.join(FILES)}"
    )


def load_published(name: str, data_dir: Path | None) -> Dataset:
    """Load MNIST or Fashion-MNIST from files whose SHA-256 was checked."""
    files = zip(FILES, read_published(name, data_dir), strict=True)
    return from_idx(name, files, GARMENTS if name == "fashion-mnist" else DIGITS)


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
    if name in (*SOURCES, "digits"):  # not to be mistaken for the published dataset
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
    return from_idx(name, ((str(path), read_unverified(path)) for path in paths.values()))


def load_pictures(name: str, folders: list[Path]) -> Dataset:
    """Load pictures from one folder per class; every fifth picture of a class, by name, is in the test split.

    Names are compared in Unicode's composed form, since file systems differ in how they store accents.
    """
    names = [unicodedata.normalize("NFC", folder.name) for folder in folders]
    classes = DIGITS if set(names) <= set(DIGITS) else tuple(dict.fromkeys(names))
    images, numbers = read_folders(folders)
    labels = torch.tensor([classes.index(names[number]) for number in numbers])
    position = torch.cat([torch.arange(int(count)) for count in np.bincount(numbers)])
    pictures, is_test = Split(torch.from_numpy(images)[:, None], labels), position % 5 == 4
    return Dataset(name, classes, pictures[~is_test], pictures[is_test])


def check_testable(dataset: Dataset) -> None:
    """Check that a dataset can be trained and tested on.

    Raises:
        InputError: it has only one class, or no image in its test split.
    """
    if len(dataset.classes) < 2:
        raise InputError(
            f"{dataset.name} has one class, {dataset.classes[0]}: nothing to tell apart; add another folder"
        )
    if not len(dataset.test):
        raise InputError(f"no class of {dataset.name} has five pictures, of which one would be for the test; add some")


def all_as_test(dataset: Dataset) -> Dataset:
    """Put all images into the test split, for a model that was trained on none of them."""
    return dataclasses.replace(dataset, test=concatenate(dataset.train, dataset.test))


def concatenate(*splits: Split) -> Split:
    """Concatenate splits."""
    return Split(torch.cat([split.images for split in splits]), torch.cat([split.labels for split in splits]))


def with_classes(dataset: Dataset, classes: tuple[str, ...], model: Path) -> Dataset:
    """Map labels to a model's class indices by name; the model may have more classes, in another order.

    Args:
        dataset: its classes without an image are ignored.
        classes: the name of each logit's class.
        model: its path, for the error.

    Raises:
        InputError: an image's class is not one of the model's.
    """
    used = set(dataset.train.labels.tolist() + dataset.test.labels.tolist())
    if not {dataset.classes[label] for label in used} <= set(classes):
        raise InputError(
            f"{model} has classes {abbreviate(classes)}, {dataset.name} has {abbreviate(dataset.classes)}; rename its "
            "folders after the model's classes, name a matching dataset with --dataset, or a model of the same classes "
            "with --checkpoint or --init-from"
        )
    index = torch.tensor([classes.index(name) if name in classes else -1 for name in dataset.classes])
    train, test = (Split(split.images, index[split.labels]) for split in (dataset.train, dataset.test))
    return Dataset(dataset.name, classes, train, test)


def abbreviate(names: tuple[str, ...]) -> str:
    """List the first names, each up to a number of characters."""
    short = [name if len(name) <= MAX_CHARACTERS else f"{name[:MAX_CHARACTERS]}..." for name in names[:MAX_NAMES]]
    return ", ".join(short + ["..."] * (len(names) > MAX_NAMES))


def rehearse(dataset: Dataset, known: Dataset, count: int = 5000) -> Dataset:
    """Mix in images that a model was trained on (rehearsal: Robins 1995, "Catastrophic Forgetting").

    Args:
        dataset: to fine-tune on; its train split is repeated until it is at least a tenth of the mixture.
        known: the dataset that the model was trained on, of the same classes.
        count: how many of its training images to mix in.
    """
    old = known.train[torch.randperm(len(known.train), generator=torch.Generator().manual_seed(0))[:count]]
    times = max(1, round(len(old) / 9 / len(dataset.train)))
    return dataclasses.replace(dataset, train=concatenate(old, *[dataset.train] * times))


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


def parse_idx(content: bytes, where: str) -> npt.NDArray[np.uint8]:
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


def from_idx(name: str, files: Iterable[tuple[str, bytes]], classes: tuple[str, ...] | None = None) -> Dataset:
    """Parse the IDX files of train images, train labels, test images and test labels, each with its path for errors.

    The classes are the labels of train by default.
    """
    arrays = [parse_idx(content, where) for where, content in files]
    classes = classes or tuple(map(str, range(int(arrays[1].max()) + 1)))
    train = pair(arrays[0], arrays[1], len(classes), f"{name}'s train split")
    return Dataset(name, classes, train, pair(arrays[2], arrays[3], len(classes), f"{name}'s test split"))


def pair(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], classes: int, where: str) -> Split:
    """Make a split of images [N, 28, 28] and labels [N], 0..classes-1.

    Raises:
        InputError: they have other shapes, sizes or values.
    """
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise InputError(f"{where} has images of shape {list(images.shape)}, expected [N, 28, 28]; check its files")
    if labels.ndim != 1 or len(images) != len(labels) or not len(labels):
        raise InputError(f"{where} has {len(images)} images but {len(labels)} labels; check its files")
    if labels.max() >= classes:
        raise InputError(f"{where} has label {labels.max()}, expected 0..{classes - 1}; check its files")
    return Split(torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def bundled_digits() -> Dataset:
    """Load the 1,797 real digits inside scikit-learn (UCI Optical Recognition, 8x8, 0..16), scaled to 28x28.

    As in MNIST the digit takes 20x20 pixels inside a margin of 4. A fifth of the images is the test split.
    """
    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1)
    large = F.interpolate(small, size=(20, 20), mode="bicubic").mul(255 / 16).round().clamp(0, 255)
    images = Split(F.pad(large, (4, 4, 4, 4)).byte(), torch.from_numpy(digits.target).long())
    train, test = split_off(images, size=360)
    return Dataset("digits", DIGITS, train, test)


def split_off(split: Split, size: float) -> tuple[Split, Split]:
    """Hold out some images of a split, stratified by class: a fraction if `size` is below 1, else a count.

    It is the same images for any training seed: models can be compared and ensembled on images that none has seen.

    Returns:
        The remaining images, and those held out.

    Raises:
        InputError: `size` leaves a class without an image on one side.
    """
    indices, labels, test_size = np.arange(len(split)), split.labels.numpy(), size if size < 1 else int(size)
    try:
        rest, held_out = train_test_split(indices, test_size=test_size, random_state=0, stratify=labels)
    except ValueError as error:
        raise InputError(f"cannot set {size} of {len(split)} images aside: {error}; change --val-size") from None
    return split[torch.from_numpy(rest)], split[torch.from_numpy(held_out)]


def pixel_statistics(images: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of uint8 images, divided by 255; MNIST's are 0.1307 and 0.3081."""
    frequency = torch.bincount(images.flatten(), minlength=256).double() / images.numel()
    values = torch.arange(256).double() / 255
    mean = (frequency * values).sum()
    return mean.item(), (frequency * (values - mean) ** 2).sum().sqrt().item()


def fingerprint(split: Split) -> str:
    """Return the SHA-256 of a split's images and labels in hexadecimal."""
    sha256 = hashlib.sha256(split.images.numpy().tobytes())
    sha256.update(split.labels.numpy().tobytes())
    return sha256.hexdigest()


def batches(split: Split, batch_size: int) -> Iterator[Split]:
    """Yield batches in order; the last one may be smaller."""
    yield from map(Split, torch.split(split.images, batch_size), torch.split(split.labels, batch_size))
