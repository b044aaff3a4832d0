"""A folder of pictures with one subfolder per class becomes 28x28 images and labels."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mnist_cnn.errors import InputError
from mnist_cnn.ink import find_ink
from mnist_cnn.picture import SUFFIXES, Pixels, read_picture
from mnist_cnn.preprocess import SIDE, is_mnist_style, to_mnist


def class_folders(folder: Path) -> list[Path]:
    """List the subfolders that hold pictures, sorted by name."""
    return sorted(below for below in folder.iterdir() if below.is_dir() and pictures_in(below))


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures of a folder, sorted by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def read_folders(folders: list[Path]) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """Read and prepare all pictures of some folders, with a progress bar.

    Returns:
        Images, uint8 [N, 28, 28], and the number of the folder each came from, uint8 [N].

    Raises:
        InputError: one cannot be read or shows nothing.
    """
    files = [(file, label) for label, folder in enumerate(folders) for file in pictures_in(folder)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        prepared = threads.map(prepared_image, (file for file, _ in files))
        images = list(tqdm(prepared, total=len(files), desc="pictures", unit=" files", leave=False, disable=None))
    return np.stack(images), np.array([label for _, label in files], dtype=np.uint8)


def prepared_image(file: Path) -> Pixels:
    """Read a picture and bring it to uint8 [28, 28], unless it is so already.

    Raises:
        InputError: it cannot be read or shows nothing.
    """
    grey = read_picture(file).grey
    if grey.shape == (SIDE, SIDE) and is_mnist_style(grey[None])[0]:
        return grey
    image = to_mnist(find_ink(grey).mask)
    if not image.any():
        raise InputError(f"{file}: nothing is drawn on it; take it out of the dataset")
    return image
