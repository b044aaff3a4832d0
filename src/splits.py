"""Images with their labels in memory: the splits of a dataset, and what is done with them."""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import cv2
import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from mnist_cnn.common.errors import InputError

MAX_NAMES, MAX_CHARACTERS = 10, 30  # of class names in an error


@dataclass(frozen=True)
class Split:
    """Images and their labels, in the same order; a dataset for `torch.utils.data.DataLoader` too.

    Attributes:
        images: uint8 [N, 1, 28, 28], 0 is background, 255 foreground.
        labels: int64 [N], 0..classes-1.
        files: paths of the pictures that the images come from, str [N]; None where images are no files of their own.
    """

    images: Tensor
    labels: Tensor
    files: npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...

    @overload
    def __getitem__(self, index: Tensor) -> "Split": ...

    def __getitem__(self, index: int | Tensor) -> "tuple[Tensor, Tensor] | Split":
        """Select the images and labels at `index`, int64 [n] or bool [N]; of a number the image and its label."""
        if isinstance(index, Tensor):
            files = None if self.files is None else self.files[index.cpu().numpy()]
            rows = index.nonzero().flatten() if index.dtype == torch.bool else index
            return Split(self.images.index_select(0, rows), self.labels[rows], files)
        return self.images[index], self.labels[index]

    def to(self, device: torch.device) -> "Split":
        """Move both tensors to a device, without the names of files."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """A named dataset: `train` for training and model selection, `test` to evaluate once."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split


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


def every_fifth(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return whether each image, in order, is the fifth, tenth, ... of its label: bool [N]."""
    position = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        position[labels == label] = np.arange(np.sum(labels == label))
    return np.asarray(position % 5 == 4)


def concatenate(*splits: Split) -> Split:
    """Concatenate splits; the names of files are kept if all have some."""
    files = [split.files for split in splits if split.files is not None]
    return Split(
        torch.cat([split.images for split in splits]),
        torch.cat([split.labels for split in splits]),
        np.concatenate(files) if len(files) == len(splits) else None,
    )


def batches(split: Split, batch_size: int) -> Iterator[Split]:
    """Yield batches in order; the last one may be smaller."""
    yield from map(Split, torch.split(split.images, batch_size), torch.split(split.labels, batch_size))


def pixel_statistics(images: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of uint8 images, divided by 255; MNIST's are 0.1307 and 0.3081."""
    mean, std = cv2.meanStdDev(images.flatten(1).numpy())
    return float(mean[0, 0]) / 255, float(std[0, 0]) / 255


def fingerprint(split: Split) -> str:
    """Return the SHA-256 of a split's images and labels in hexadecimal."""
    sha256 = hashlib.sha256(np.ascontiguousarray(split.images).data)
    sha256.update(np.ascontiguousarray(split.labels).data)
    return sha256.hexdigest()


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
    train, test = (Split(split.images, index[split.labels], split.files) for split in (dataset.train, dataset.test))
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
