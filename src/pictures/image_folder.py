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
    """List the class folders by name, or none if no subfolder holds a picture; print skipped files on stderr.

    Raises:
        InputError: a class has no picture.
    """
    classes = contents(folder)
    if not any(kinds[PICTURE] for kinds in classes.values()):
        return []
    for subfolder, kinds in classes.items():
        if not kinds[PICTURE]:
            raise InputError(
                f"the class {subfolder} holds no picture that can be read "
                f"({without_pictures(kinds) or 'it is empty'}); "
                f"put some there ({', '.join(SUFFIXES)}) or move it out of {folder}"
            )
    beside = Counter(kind(path) if is_hidden(path) else "stray file" for path in {*folder.iterdir()} - {*classes})
    skipped = without_pictures(sum(classes.values(), beside))
    if skipped and rank() == 0:
        print(f"skipped in {folder}: {skipped}", file=sys.stderr)
    return list(classes)


def contents(folder: Path) -> dict[Path, Counter[str]]:
    """Count the entries of each subfolder that is not hidden by kind; sorted by name."""
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path))
    return {path: Counter(map(kind, path.iterdir())) for path in subfolders}


def read_folders(folders: list[Path]) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Read and prepare all pictures of some folders in a thread pool, with a progress bar.

    Returns:
        Images, uint8 [N, 28, 28], and the index of each image's folder, int64 [N].

    Raises:
        InputError: a picture cannot be read or is blank.
    """
    files = [
        (file, index)
        for index, folder in enumerate(folders)
        for file in sorted(path for path in folder.iterdir() if kind(path) == PICTURE)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = threads.map(prepare_image, (file for file, _ in files))
        images = list(tqdm(results, total=len(files), desc="pictures", unit=" files", leave=False, disable=None))
    return np.stack(images), np.array([index for _, index in files], dtype=np.int64)


def prepare_image(file: Path) -> Pixels:
    """Read a picture and convert it to uint8 [28, 28], unless it is in MNIST's style already.

    Raises:
        InputError: it cannot be read or is blank.
    """
    grey = read_picture(file).grey
    if grey.shape == (SIDE, SIDE) and is_mnist_style(grey[None])[0]:
        return grey
    image = to_mnist(find_foreground(grey).mask)
    if not image.any():
        raise InputError(f"{file}: nothing is drawn on it; take it out of the dataset")
    return image
