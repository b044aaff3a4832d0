"""What the shipped model reads when MNIST arrives corrupted, and what it turns away that is no digit."""

import datetime
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from results import keep
from tqdm import tqdm

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.metrics import wilson_interval
from mnist_cnn.models.checkpoint import SHIPPED
from mnist_cnn.pictures.image_io import Pixels

Image = npt.NDArray[np.float32]
"""One digit, [28, 28], 0 paper and 1 ink."""
CounterRNG = np.random.Generator
Y, X = np.mgrid[0:28, 0:28].astype(np.float32) / 27


def moved(image: Image, angle: float = 0, scale: float = 1, x: float = 0, y: float = 0) -> Image:
    """Rotate, scale and shift."""
    matrix = cv2.getRotationMatrix2D((13.5, 13.5), angle, scale)
    matrix[:, 2] += np.array([x, y])
    return np.asarray(cv2.warpAffine(image, matrix, (28, 28)), dtype=np.float32)


def blurred(image: Image, sigma: float) -> Image:
    """Put a lens out of focus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)


def dead_pixels(image: Image, rng: CounterRNG) -> Image:
    """Set a pixel in fourteen to black or white."""
    chance = rng.random((28, 28))
    return np.where(chance < 0.035, 0, np.where(chance > 0.965, 1, image)).astype(np.float32)


def crossed(image: Image, rng: CounterRNG) -> Image:
    """Draw a line across, from one side to the other."""
    lined, ends = image.copy(), rng.integers(4, 24, 2).tolist()
    upright = rng.random() < 0.5
    start, end = ((ends[0], 0), (ends[1], 27)) if upright else ((0, ends[0]), (27, ends[1]))
    return np.asarray(cv2.line(lined, start, end, float(rng.uniform(0.5, 1)), 1), dtype=np.float32)


def slope(image: Image, rng: CounterRNG) -> Image:
    """Let the paper's brightness fall off in some direction, by up to six tenths."""
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * X + np.sin(angle) * Y
    ramp = rng.uniform(0.3, 0.6) * (ramp - ramp.min()) / np.ptp(ramp)
    return np.asarray(ramp + image * (1 - ramp), dtype=np.float32)


def spot(image: Image, rng: CounterRNG) -> Image:
    """Shine a lamp on a part of the paper."""
    x, y = rng.uniform(0.2, 0.8, 2)
    light = 0.6 * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / 0.15)
    return np.asarray(light + image * (1 - light), dtype=np.float32)


def covered(image: Image, rng: CounterRNG) -> Image:
    """Hide a square of 5x5 pixels."""
    y, x = rng.integers(6, 17, 2)
    hidden = np.array(image)
    hidden[y : y + 5, x : x + 5] = 0
    return hidden


SPOILT: dict[str, Callable[[Image, CounterRNG], Image]] = {
    "clean": lambda image, _: image,
    "sensor noise, sigma 0.2": lambda image, rng: image + rng.normal(0, 0.2, (28, 28)).astype(np.float32),
    "sensor noise, sigma 0.35": lambda image, rng: image + rng.normal(0, 0.35, (28, 28)).astype(np.float32),
    "dead pixels, 7 %": dead_pixels,
    "blur, sigma 1": lambda image, _: blurred(image, 1),
    "blur, sigma 2": lambda image, _: blurred(image, 2),
    "motion, 5 pixels": lambda image, _: np.asarray(cv2.filter2D(image, -1, np.eye(5, dtype=np.float32) / 5)),
    "a quarter of the contrast": lambda image, _: np.asarray(0.4 + image / 4, dtype=np.float32),
    "dark on light": lambda image, _: 1 - image,
    "light falls off": slope,
    "a lamp's spot": spot,
    "a line across": crossed,
    "a square covered": covered,
    "shifted up to 4 pixels": lambda image, rng: moved(
        image, x=float(rng.integers(-4, 5)), y=float(rng.integers(-4, 5))
    ),
    "rotated 10 to 20 degrees": lambda image, rng: moved(image, rng.choice((-1, 1)) * rng.uniform(10, 20)),
    "scaled 0.7 to 1.25": lambda image, rng: moved(image, scale=rng.uniform(0.7, 1.25)),
}


def scribbles(rng: CounterRNG, count: int) -> Pixels:
    """Draw random strokes of three to eight points, half of them round."""
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        points = rng.uniform(3, 25, (rng.integers(3, 9), 2))
        curve = np.stack(
            [np.interp(np.linspace(0, len(points) - 1, 60), range(len(points)), axis) for axis in points.T], 1
        )
        if rng.random() < 0.5:
            curve = cv2.GaussianBlur(curve, (1, 9), 2)
        cv2.polylines(image, [(16 * curve).astype(np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
    return images


def no_digits(data_dir: Path | None, count: int) -> dict[str, Pixels]:
    """Gather images that show no digit."""
    rng = np.random.default_rng(0)
    paper = rng.uniform(0, 255, (count, 1, 1)) + rng.uniform(0, 12, (count, 1, 1)) * rng.normal(0, 1, (count, 28, 28))
    return {
        "Fashion-MNIST": load_dataset("fashion-mnist", data_dir).test.images[:count, 0].numpy(),
        "noise": rng.integers(0, 256, (count, 28, 28)).astype(np.uint8),
        "blank paper": paper.clip(0, 255).astype(np.uint8),
        "random strokes": scribbles(rng, count),
    }


def table(result: dict[str, dict[str, dict[str, float]]], count: int, checkpoint: str) -> str:
    """Lay out both parts."""
    lines = ["| MNIST's test images, corrupted | read right % | trusted % |", "|---|---|---|"]
    for name, row in result["corrupted"].items():
        low, high = wilson_interval(round(row["accuracy"] * count), count)
        lines.append(f"| {name} | {row['accuracy']:.1%} ({low:.1%} to {high:.1%}) | {row['trusted']:.1%} |")
    mean = np.mean([row["accuracy"] for name, row in result["corrupted"].items() if name != "clean"])
    lines += [f"| **mean of the {len(result['corrupted']) - 1} kinds** | **{mean:.1%}** | |", ""]
    lines += ["| no digits | turned away % |", "|---|---|"]
    lines += [f"| {name} | {row['turned_away']:.1%} |" for name, row in result["no digits"].items()]
    lines += ["", f"{checkpoint}, {count:,} images of each, 95 % Wilson intervals; turned away: not trusted."]
    return "\n".join(lines) + "\n"


def command(images: int = 2000, data_dir: Path | None = None, output: Path = Path("benchmarks")) -> None:
    """Measure both.

    Args:
        images: Of each kind, the first of the test split.
        data_dir: Folder with MNIST and Fashion-MNIST, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets robustness.json and .md.
    """
    classifier, test = Classifier.load(), load_dataset("mnist", data_dir).test
    clean = test.images[:images, 0].numpy().astype(np.float32) / 255
    labels = test.labels[:images].tolist()
    result: dict[str, dict[str, dict[str, float]]] = {"corrupted": {}, "no digits": {}}
    for name, corrupt in tqdm(SPOILT.items(), desc="kinds"):
        rng = np.random.default_rng(0)
        pictures = [(255 * corrupt(image, rng)).clip(0, 255).astype(np.uint8) for image in clean]
        answers = classifier.predict(pictures)
        right = [answer.digit == label for answer, label in zip(answers, labels, strict=True)]
        trusted = [answer.confident for answer in answers]
        result["corrupted"][name] = {"accuracy": float(np.mean(right)), "trusted": float(np.mean(trusted))}
    for name, strange in no_digits(data_dir, images).items():
        away = [not answer.confident for answer in classifier.predict(list(strange))]
        result["no digits"][name] = {"turned_away": float(np.mean(away))}
    about = {"checkpoint": SHIPPED.name, "images": images, "date": datetime.datetime.now(datetime.timezone.utc).date()}
    keep(output, "robustness", about | result, table(result, len(clean), SHIPPED.name))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "robustness.py")()
