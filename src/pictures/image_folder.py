"""A folder of pictures with one subfolder per class becomes 28x28 images and labels."""

import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mnist_cnn.common.distributed import rank
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.binarize import find_foreground
from mnist_cnn.pictures.file_types import PICTURE, is_hidden, kind, without_pictures
from mnist_cnn.pictures.image_io import SUFFIXES, Pixels, read_picture
from mnist_cnn.pictures.preprocess import SIDE, is_mnist_style, to_mnist


def class_folders(folder: Path) -> list[Path]:
    """List the class folders, sorted by name; none where no subfolder holds a picture. Say on stderr what is skipped.

    Raises:
        InputError: a class has no picture.
    """
    classes = contents(folder)
    if not any(kinds[PICTURE] for kinds in classes.values()):
        return []
    for below, kinds in classes.items():
        check_class(below, kinds)
    others = set(folder.iterdir()) - set(classes)
    beside = Counter(kind(below) if is_hidden(below) else "stray file" for below in others)
    skipped = without_pictures(sum(classes.values(), beside))
    if skipped and rank() == 0:
        print(f"skipped in {folder}: {skipped}", file=sys.stderr)
    return list(classes)


def contents(folder: Path) -> dict[Path, Counter[str]]:
    """Count what is in each subfolder that is not hidden, by kind; sorted by name."""
    folders = sorted(below for below in folder.iterdir() if below.is_dir() and not is_hidden(below))
    return {below: Counter(map(kind, below.iterdir())) for below in folders}


def check_class(folder: Path, kinds: Counter[str]) -> None:
    """Check that a class has a picture.

    Raises:
        InputError: it has not.
    """
    if not kinds[PICTURE]:
        raise InputError(
            f"the class {folder} holds no picture that can be read ({without_pictures(kinds) or 'it is empty'}); "
            f"put some there ({', '.join(SUFFIXES)}) or move it out of {folder.parent}"
        )


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures of a folder, sorted by name."""
    return sorted(file for file in folder.iterdir() if kind(file) == PICTURE)


def read_folders(folders: list[Path]) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Read and prepare all pictures of some folders, with a progress bar.

    Returns:
        Images, uint8 [N, 28, 28], and the number of the folder each came from, int64 [N].

    Raises:
        InputError: one cannot be read or shows nothing.
    """
    files = [(file, label) for label, folder in enumerate(folders) for file in pictures_in(folder)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        prepared = threads.map(prepared_image, (file for file, _ in files))
        images = list(tqdm(prepared, total=len(files), desc="pictures", unit=" files", leave=False, disable=None))
    return np.stack(images), np.array([label for _, label in files], dtype=np.int64)


def prepared_image(file: Path) -> Pixels:
    """Read a picture and bring it to uint8 [28, 28], unless it is so already.

    Raises:
        InputError: it cannot be read or shows nothing.
    """
    grey = read_picture(file).grey
    if grey.shape == (SIDE, SIDE) and is_mnist_style(grey[None])[0]:
        return grey
    image = to_mnist(find_foreground(grey).mask)
    if not image.any():
        raise InputError(f"{file}: nothing is drawn on it; take it out of the dataset")
    return image
