"""Draw README's samples of MNIST's test images, a page, an amount and a form, and how the program reads them."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mnist_cnn import read
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.picture_files import FileOptions
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.synthetic.documents import DOCUMENTS
from mnist_cnn.synthetic.glyphs import make_glyphs

ROOT = Path(__file__).parent.parent
SAMPLES = {  # kind of document, and the seed of one that looks like many
    "page": ("ruled page of ten lines", 4),
    "amount": ("amount on security paper", 10),
    "form": ("cells of a form", 0),
}
HEIGHT, GAP = 330, 12  # pixels: of the picture of all, and between its parts
WHITE = (255, 255, 255)


def padded(image: Pixels, below: int, width: int) -> Pixels:
    """Put white below a picture, RGB, and beside it up to a width."""
    right = width - image.shape[1]
    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=WHITE), np.uint8)


def framed(image: Pixels, height: int) -> Pixels:
    """Put a picture, RGB, on white of a height; a higher one is scaled down to it."""
    scale = min(height / len(image), 1)
    size = round(image.shape[1] * scale), round(len(image) * scale)
    smaller = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return padded(smaller, height - len(smaller), size[0] + GAP)


if __name__ == "__main__":
    test = load_dataset("mnist").test
    glyphs = make_glyphs(test.images[:, 0].numpy(), test.labels.numpy().astype(np.uint8), traced=100)
    folder, boxes = ROOT / "samples", ROOT / "samples" / "boxes"
    folder.mkdir(exist_ok=True)
    for name, (kind, seed) in SAMPLES.items():
        Image.fromarray(DOCUMENTS[kind](np.random.default_rng(seed), glyphs).grey).save(folder / f"{name}.png")
    files = [folder / f"{name}.png" for name in SAMPLES]
    read.command(FileOptions(tuple(map(str, files)), annotate=boxes))
    page, amount, form = (np.asarray(Image.open(boxes / f"{n:04d}_{file.stem}.png")) for n, file in enumerate(files))
    width = max(amount.shape[1], form.shape[1])
    beside = np.vstack([padded(part, GAP, width) for part in (amount, form)])
    both = np.hstack([framed(page, HEIGHT), framed(beside, HEIGHT)])
    Image.fromarray(both).save(ROOT / "images" / "samples_read.png")
    for part in boxes.iterdir():
        part.unlink()
    boxes.rmdir()
