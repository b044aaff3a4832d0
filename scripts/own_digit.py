"""Draw README's pictures of a digit on paper, and of how the program reads it.

The pictures are drawn, not taken: a felt pen's 4 and a row of digits on squared paper, in uneven light.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mnist_cnn import predict
from mnist_cnn.picture_files import FileOptions

IMAGES = Path(__file__).parent.parent / "images"
STROKES = {  # points of each stroke, in a box of 100 x 140
    1: [[(20, 40), (55, 5), (52, 138)]],
    2: [[(12, 35), (30, 8), (62, 6), (78, 34), (60, 75), (8, 134), (50, 124), (92, 132)]],
    3: [[(14, 14), (50, 3), (78, 24), (64, 54), (36, 66), (72, 76), (84, 108), (52, 138), (8, 124)]],
    4: [[(48, 4), (28, 50), (8, 86), (50, 82), (94, 84)], [(66, 40), (64, 90), (60, 138)]],
    7: [[(10, 12), (50, 8), (88, 12), (64, 70), (44, 138)], [(30, 74), (84, 70)]],
}


def paper(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Make squared paper in the light of a lamp at its upper left, as shares of white [H, W]."""
    y, x = np.mgrid[0:height, 0:width]
    page = np.full((height, width), 0.93)
    page[(y % 46 < 2) | (x % 46 < 2)] = 0.8
    light = 1 - 0.45 * np.hypot(x / width - 0.2, y / height - 0.1)
    return np.asarray(page * light + rng.normal(0, 0.012, page.shape))


def photo(digits: list[int], seed: int) -> Image.Image:
    """Write digits on paper and photograph them."""
    rng = np.random.default_rng(seed)
    height, width = 420, 160 + 260 * len(digits)
    ink = np.zeros((height, width), np.uint8)
    for place, digit in enumerate(digits):
        corner = np.array([110 + 260 * place, 70]) + rng.normal(0, 10, 2)
        for stroke in STROKES[digit]:
            smooth = cv2.GaussianBlur(np.repeat(np.array(stroke, np.float64), 12, axis=0)[:, None], (1, 0), 0, sigmaY=5)
            points = (corner + 1.9 * smooth[:, 0] + rng.normal(0, 0.6, (len(smooth), 2))).astype(np.int32)
            cv2.polylines(ink, [points], False, 255, 13, cv2.LINE_AA)
    cover = cv2.GaussianBlur(ink, (0, 0), 2)[:, :, None] / 255
    grey = np.repeat(255 * paper(height, width, rng)[:, :, None], 3, axis=2)
    pixels = grey * (1 - cover) + np.array([38, 40, 92]) * cover
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    photo([1, 7, 3, 2, 4], seed=3).save(IMAGES / "own_digits.jpg", quality=85)
    file, folder = IMAGES / "own_digit.jpg", IMAGES / "own_digit"
    photo([4], seed=3).save(file, quality=85)
    predict.command(FileOptions((str(file),), show_steps=folder))
    (folder / "0000_own_digit.png").replace(IMAGES / "own_digit_read.png")
    folder.rmdir()
