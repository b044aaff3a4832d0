"""Collect the MNIST digits that the page ships: sprites of 28x28 images, and their labels.

The test images are those that the packaged reader is least sure of, worst first, its errors among them; the training
images are, of each digit, as many that it is least sure of as of any others.
"""

import json

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnist_cnn.data_loader import load_dataset
from mnist_cnn.models.onnx_model import PACKAGED, load_onnx
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.serving.static_page import WEB

WORST, NEXT = 100, 400  # test images of the first sprite, and of the second
EACH, SEARCHED = 25, 20_000  # training images of a digit and a kind, and of how many they are chosen
COLUMNS = 20
Indices = npt.NDArray[np.int64]


def margins(images: Pixels, labels: Indices) -> npt.NDArray[np.float64]:
    """Return how much more likely, as a difference of logarithms, the label is than any other: float64 [N]."""
    logs = np.log(np.maximum(load_onnx(PACKAGED).infer(images)[0], 1e-30))
    own = logs[np.arange(len(labels)), labels]
    logs[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(own - logs.max(axis=1))


def write_sprite(name: str, images: Pixels) -> None:
    """Write images side by side, `COLUMNS` of them in a row."""
    rows = images.reshape(-1, COLUMNS, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(-1, COLUMNS * SIDE)
    Image.fromarray(rows).save(WEB / name, optimize=True)
    print(f"{name}: {(WEB / name).stat().st_size:,} bytes")


def main() -> None:
    """Write the sprites and their labels into the page's folder."""
    data, rng = load_dataset("mnist"), np.random.default_rng(0)
    images, labels = data.test.images[:, 0].numpy(), data.test.labels.numpy()
    hardest = np.argsort(margins(images, labels))[: WORST + NEXT]
    write_sprite("mnist_test_worst.png", images[hardest[:WORST]])
    write_sprite("mnist_test_next.png", images[hardest[WORST:]])
    found = {"test": "".join(map(str, labels[hardest]))}
    images, labels = data.train.images[:SEARCHED, 0].numpy(), data.train.labels[:SEARCHED].numpy()
    order = np.argsort(margins(images, labels))
    chosen: list[int] = []
    for digit in range(10):
        own = order[labels[order] == digit]
        chosen += [*own[:EACH], *rng.choice(own[EACH:], EACH, replace=False)]
    write_sprite("mnist_train.png", images[chosen])
    found["train"] = "".join(map(str, labels[chosen]))
    (WEB / "mnist.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
