"""A dataset's name becomes uint8 tensors in memory: read, parse, split, iterate in batches."""

import dataclasses
import gzip
import hashlib
import math
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
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
from mnist_cnn.download import FILES, SOURCES, MirrorError, find_file, found_instead, lacking, read_published
from mnist_cnn.pictures.file_types import without_pictures
from mnist_cnn.pictures.image_folder import class_folders, contents, read_folders
from mnist_cnn.pictures.preprocess import SIDE

DIGITS = tuple("0123456789")
GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
LARGEST_FILE = 1 << 30  # bytes of one unpacked IDX file
MOST_NAMES, MOST_LETTERS = 10, 30  # of classes in an error line


@dataclass(frozen=True)
class Split:
    """Images and their labels, in the same order.

    Attributes:
        images: uint8 [N, 1, 28, 28], 0 is background and 255 is ink.
        labels: int64 [N], 0..classes-1.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> "Split":
        """Take the images and labels at `index`, int64 [n]."""
        return Split(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> "Split":
        """Move both tensors to a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """A named dataset: `train` to learn and choose from, `test` to score once."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split


def load_dataset(name: str = "auto", data_dir: Path | None = None) -> Dataset:
    """Load a dataset by name.

    Args:
        name: "mnist", "fashion-mnist", "digits" (bundled with scikit-learn), "auto" (MNIST, or the bundled
            digits where MNIST is not on disk and no mirror answers), or a folder with four IDX files or with a
            subfolder of pictures per class.
        data_dir: looked in before `$MNIST_CNN_DATA` and `./data`; downloads go there.

    Raises:
        InputError: no such dataset, or its files are missing, damaged or in disagreement.
    """
    if name == "auto":
        try:
            return load_published("mnist", data_dir)
        except MirrorError as error:
            print(f"NOTE: {error}\nNOTE: using scikit-learn's 1,797 bundled digits, not MNIST", file=sys.stderr)
            return bundled_digits()
    if name == "digits":
        return bundled_digits()
    if name in SOURCES:
        return load_published(name, data_dir)
    if Path(name).is_dir():
        return load_folder(Path(name))
    raise InputError(
        f"no dataset {name!r}: use auto, mnist, fashion-mnist, digits, a folder with a subfolder of pictures per class "
        f"or one with the files {', '.join(FILES)}"
    )


def load_published(name: str, data_dir: Path | None) -> Dataset:
    """Load MNIST or Fashion-MNIST from files whose SHA-256 was checked."""
    arrays = [parse_idx(content, file) for file, content in zip(FILES, read_published(name, data_dir), strict=True)]
    return assemble(name, GARMENTS if name == "fashion-mnist" else DIGITS, arrays)


def load_folder(folder: Path) -> Dataset:
    """Load the four IDX files of a folder (KMNIST, say), packed or not, or its pictures, a subfolder per class.

    The classes are the labels of train, or the names of the subfolders: the ten digits where all are named by digits.

    Raises:
        InputError: a file is missing, damaged, or disagrees with the others, or a name cannot be printed.
    """
    folders = class_folders(folder)
    try:
        check_name(folder.resolve().name, "the name")
        check_classes([one.name for one in folders] or DIGITS)
    except ValueError as error:
        raise InputError(f"{str(folder)!a} has {error}; rename it") from None
    if folders:
        return load_pictures(folder.resolve().name, folders)
    if missing := lacking([folder]):
        below = without_pictures(sum(contents(folder).values(), Counter()))
        found = found_instead([folder]) + (f"; in its subfolders: {below}" if below else "")
        raise InputError(
            f"{folder} lacks {missing} (or .gz){found}; put the four IDX files of a dataset there, "
            "or a subfolder of pictures per class"
        )
    arrays = [parse_idx(read_unverified(path), str(path)) for file in FILES if (path := find_file(file, [folder]))]
    classes = tuple(str(label) for label in range(int(arrays[1].max(initial=0)) + 1))
    return assemble(own_name(folder.resolve().name), classes, arrays)


def own_name(name: str) -> str:
    """Keep a folder's name apart from the names of known datasets."""
    return f"{name}-folder" if name in (*SOURCES, "digits") else name


def load_pictures(name: str, folders: list[Path]) -> Dataset:
    """Load pictures from one folder per class; every fifth picture of a class, by name, is in the test split.

    Names are compared in Unicode's composed form: file systems differ in how they keep an accent.
    """
    names = [unicodedata.normalize("NFC", folder.name) for folder in folders]
    classes = DIGITS if set(names) <= set(DIGITS) else tuple(dict.fromkeys(names))
    images, numbers = read_folders(folders)
    labels = torch.tensor([classes.index(names[number]) for number in numbers])
    place = torch.cat([torch.arange(int(count)) for count in np.bincount(numbers)])
    everything, held_out = Split(torch.from_numpy(images)[:, None], labels), place % 5 == 4
    return Dataset(own_name(name), classes, everything[~held_out], everything[held_out])


def check_testable(dataset: Dataset) -> None:
    """Check that a dataset teaches something, and that this can be tested in the end.

    Raises:
        InputError: it has one class only, or no image in its test split.
    """
    if len(dataset.classes) < 2:
        raise InputError(
            f"{dataset.name} has one class, {dataset.classes[0]}: nothing to tell apart; add another folder"
        )
    if not len(dataset.test):
        raise InputError(f"no class of {dataset.name} has five pictures, of which one would be for the test; add some")


def all_as_test(dataset: Dataset) -> Dataset:
    """Put all images into the test split, for a model that was trained on none of them."""
    images = torch.cat([dataset.train.images, dataset.test.images])
    labels = torch.cat([dataset.train.labels, dataset.test.labels])
    return dataclasses.replace(dataset, test=Split(images, labels))


def with_classes(dataset: Dataset, classes: tuple[str, ...], model: Path) -> Dataset:
    """Number the labels as a model does, whose classes may be more, or in another order: names decide.

    Args:
        dataset: whose classes without an image do not matter.
        classes: the name of each logit.
        model: where the model is, for the error.

    Raises:
        InputError: an image is of a class that the model does not know.
    """
    used = set(dataset.train.labels.tolist() + dataset.test.labels.tolist())
    if not {dataset.classes[label] for label in used} <= set(classes):
        raise InputError(
            f"{model} tells {shortened(classes)} apart, {dataset.name} has {shortened(dataset.classes)}; rename its "
            "folders after the model's classes, name a matching dataset with --dataset, or a model of the same classes "
            "with --checkpoint or --init-from"
        )
    number = torch.tensor([classes.index(name) if name in classes else -1 for name in dataset.classes])
    train, test = (Split(split.images, number[split.labels]) for split in (dataset.train, dataset.test))
    return Dataset(dataset.name, classes, train, test)


def shortened(names: tuple[str, ...]) -> str:
    """List the first names, and the first letters of each."""
    shown = [name if len(name) <= MOST_LETTERS else f"{name[:MOST_LETTERS]}..." for name in names[:MOST_NAMES]]
    return ", ".join(shown + ["..."] * (len(names) > MOST_NAMES))


def rehearse(dataset: Dataset, known: Dataset, count: int = 5000) -> Dataset:
    """Mix what a model is to learn with what it knows, lest it forgets (Robins 1995, "Catastrophic Forgetting").

    Args:
        dataset: its train split is repeated until it is a tenth of the mixture or more.
        known: the dataset that the model was trained on, of the same classes.
        count: how many of its training images to take.
    """
    old = known.train[torch.randperm(len(known.train), generator=torch.Generator().manual_seed(0))[:count]]
    times = max(1, round(len(old) / 9 / len(dataset.train)))
    images = torch.cat([old.images, dataset.train.images.repeat(times, 1, 1, 1)])
    return dataclasses.replace(
        dataset, train=Split(images, torch.cat([old.labels, dataset.train.labels.repeat(times)]))
    )


def read_unverified(path: Path) -> bytes:
    """Read a file of unknown content, unpacked if its name ends in .gz, and never more than 1 GiB of it.

    Raises:
        InputError: not a whole gzip file, or too large.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}; get it again") from None
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path} holds more than {LARGEST_FILE} bytes; this is no dataset of 28x28 images")
    return content


def parse_idx(content: bytes, where: str) -> npt.NDArray[np.uint8]:
    """Parse IDX: 0, 0, 8 for uint8, 1 dimension for labels or 3 for images, big-endian uint32 sizes, values.

    The format is described on the page that MNIST came from (LeCun, Cortes, Burges: The MNIST database).

    Raises:
        InputError: anything else, naming `where` it came from.
    """
    if content[:4] not in (b"\0\0\x08\x01", b"\0\0\x08\x03"):
        raise InputError(f"{where} is not an IDX file of labels or images (it starts {content[:4]!r}); get it again")
    sizes = np.frombuffer(content[4 : 4 + 4 * content[3]], dtype=np.uint8)
    if len(sizes) < 4 * content[3]:
        raise InputError(f"{where} ends inside its header; get it again")
    shape = [int(size) for size in sizes.view(">u4")]
    values = len(content) - 4 - len(sizes)
    if values != math.prod(shape) or values == 0:
        raise InputError(f"{where} holds {values} values, its header says {shape}; get it again")
    return np.frombuffer(content, np.uint8, offset=4 + len(sizes)).reshape(shape)


def assemble(name: str, classes: tuple[str, ...], arrays: list[npt.NDArray[np.uint8]]) -> Dataset:
    """Pair train images, train labels, test images and test labels into a dataset."""
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        name,
        classes,
        pair(train_images, train_labels, len(classes), f"{name}'s train split"),
        pair(test_images, test_labels, len(classes), f"{name}'s test split"),
    )


def pair(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], classes: int, where: str) -> Split:
    """Check that images [N, 28, 28] and labels [N] belong together.

    Raises:
        InputError: they don't.
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

    As in MNIST the digit takes 20x20 pixels inside a margin of 4. A fifth is the test split.
    """
    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1)
    large = F.interpolate(small, size=(20, 20), mode="bicubic").mul(255 / 16).round().clamp(0, 255)
    everything = Split(F.pad(large, (4, 4, 4, 4)).byte(), torch.from_numpy(digits.target).long())
    train, test = split_off(everything, size=360)
    return Dataset("digits", DIGITS, train, test)


def split_off(split: Split, size: float) -> tuple[Split, Split]:
    """Cut some images off a split, each class in proportion: a share of them if `size` is below 1, else a count.

    The same ones each time: networks of any seed can be compared, and averaged, on images that none has seen.

    Returns:
        What remains, and what was cut off.

    Raises:
        InputError: `size` leaves a class without an image on one side.
    """
    try:
        rest, cut = train_test_split(
            np.arange(len(split)),
            test_size=size if size < 1 else int(size),
            random_state=0,
            stratify=split.labels.numpy(),
        )
    except ValueError as error:
        raise InputError(f"cannot set {size} of {len(split)} images aside: {error}; change --val-size") from None
    return split[torch.from_numpy(rest)], split[torch.from_numpy(cut)]


def pixel_statistics(images: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of uint8 images, as shares of 255; MNIST's are 0.1307 and 0.3081."""
    share = torch.bincount(images.flatten(), minlength=256).double() / images.numel()
    values = torch.arange(256).double() / 255
    mean = (share * values).sum()
    return mean.item(), (share * (values - mean) ** 2).sum().sqrt().item()


def fingerprint(split: Split) -> str:
    """Hash the images and labels of a split: SHA-256, in hexadecimal."""
    sha256 = hashlib.sha256(split.images.numpy().tobytes())
    sha256.update(split.labels.numpy().tobytes())
    return sha256.hexdigest()


def batches(split: Split, batch_size: int) -> Iterator[Split]:
    """Yield the split in batches, in order, the last one smaller."""
    yield from map(Split, torch.split(split.images, batch_size), torch.split(split.labels, batch_size))
