"""What the shipped networks read when MNIST arrives corrupted, and what they turn away that is no digit."""

import datetime
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from results import keep, percent
from sklearn.metrics import roc_auc_score, roc_curve
from tqdm import tqdm

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.metrics import wilson_interval
from mnist_cnn.models.checkpoint import SHIPPED, load_checkpoint
from mnist_cnn.models.torch_model import TorchModel
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.plots import saved, show_tiles
from mnist_cnn.reading import Prediction
from mnist_cnn.splits import Dataset, Split
from mnist_cnn.synthetic import negatives
from mnist_cnn.synthetic.negatives import Draw
from mnist_cnn.synthetic.schools import School, make_school
from mnist_cnn.synthetic.singles import HEIGHTS, prepare
from mnist_cnn.synthetic.writing import sample_style
from mnist_cnn.train import add_ood_detector

Image = npt.NDArray[np.float32]
"""One digit, [28, 28], 0 paper and 1 ink."""
CounterRNG = np.random.Generator
Result = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Of each network, of corrupted images and of no digits, for each kind."""
Rocs = dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]]
"""False positive rates, true positive rates and area of each kind."""
DRAWN: dict[str, Draw] = {
    "letters": negatives.letter,
    "signs": negatives.sign,
    "faces": negatives.smiley,
    "stamps": negatives.stamp,
    "halves of digits": negatives.half,
    "two digits": negatives.two_digits,
}
BLACK_OR_WHITE = "16x16 pixels, black or white"  # which `predict` binarizes anew: the network alone does not read them
Y, X = np.mgrid[0:28, 0:28].astype(np.float32) / 27


def moved(image: Image, angle: float = 0, scale: float = 1, x: float = 0, y: float = 0) -> Image:
    """Rotate, scale and shift."""
    matrix = cv2.getRotationMatrix2D((13.5, 13.5), angle, scale)
    matrix[:, 2] += np.array([x, y])
    return np.asarray(cv2.warpAffine(image, matrix, (28, 28)), dtype=np.float32)


def shifted(image: Image, rng: CounterRNG, most: int) -> Image:
    """Shift by whole pixels; what leaves the image is lost."""
    x, y = rng.integers(-most, most + 1, 2)
    return moved(image, x=float(x), y=float(y))


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


def hollow(image: Image) -> Image:
    """Keep the outline only, as stencils have it."""
    large = cv2.resize(image, (112, 112), interpolation=cv2.INTER_CUBIC) > 0.4
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    outline = cv2.morphologyEx(large.astype(np.float32), cv2.MORPH_GRADIENT, brush)
    return np.asarray(cv2.resize(outline, (28, 28), interpolation=cv2.INTER_AREA), dtype=np.float32)


def zigzag(image: Image, rng: CounterRNG) -> Image:
    """Draw a zigzag across, as strong as the ink."""
    count, level, height = int(rng.integers(4, 10)), rng.uniform(6, 21), rng.uniform(2, 5)
    points = [(27 * number / count, level + height * (-1) ** number) for number in range(count + 1)]
    corners = np.round(16 * np.array(points)).astype(np.int32)
    return np.asarray(cv2.polylines(image.copy(), [corners], False, 1.0, 1, cv2.LINE_8, 4), dtype=np.float32)


def side(rng: CounterRNG) -> npt.NDArray[np.bool_]:
    """Choose the pixels on one side of a line near the middle: bool [28, 28]."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(np.cos(angle) * (X - 0.5) + np.sin(angle) * (Y - 0.5) > rng.uniform(-0.2, 0.2))


def stripe(image: Image, rng: CounterRNG) -> Image:
    """Let the digit cross a dark stripe, where it is light."""
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.2, 0.2)
    dark = np.abs(np.cos(angle) * (X - 0.5) + np.sin(angle) * (Y - 0.5) - offset) < rng.uniform(0.08, 0.2)
    return np.where(dark, 1 - image, image).astype(np.float32)


def scanned(image: Image) -> Image:
    """Scan the digit's bounding box with 16x16 pixels, black or white, as Semeion was, and enlarge them to squares."""
    rows, columns = (np.nonzero(image.max(axis=axis) > 0.2)[0] for axis in (1, 0))
    digit = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(16 * side / max(digit.shape))) for side in digit.shape)
    small = (cv2.resize(digit, (width, height), interpolation=cv2.INTER_AREA) > 0.4).astype(np.float32)
    top, left = (16 - height) // 2, (16 - width) // 2
    square = np.pad(small, ((top, 16 - height - top), (left, 16 - width - left)))
    return np.asarray(cv2.resize(square, (28, 28), interpolation=cv2.INTER_NEAREST), dtype=np.float32)


def through_glass(image: Image, rng: CounterRNG) -> Image:
    """Look through frosted glass: each pixel shows one of its neighbours or itself, a little blurred."""
    x, y = rng.integers(-1, 2, (2, 28, 28)).astype(np.float32)
    return blurred(cv2.remap(image, 27 * X + x, 27 * Y + y, cv2.INTER_NEAREST).astype(np.float32), 0.5)


def spattered(image: Image, rng: CounterRNG) -> Image:
    """Spatter with 8 to 15 drops of some shade."""
    wet = np.array(image)
    for x, y in rng.uniform(0, 27, (rng.integers(8, 16), 2)):
        radius = round(16 * rng.uniform(0.5, 1.8))
        cv2.circle(wet, (round(16 * x), round(16 * y)), radius, float(rng.random()), -1, cv2.LINE_8, 4)
    return wet


def foggy(image: Image, rng: CounterRNG) -> Image:
    """Let fog drift over it, by up to seven tenths."""
    fog = cv2.resize(rng.random((5, 5)), (28, 28), interpolation=cv2.INTER_CUBIC).clip(0, 1) * rng.uniform(0.4, 0.7)
    return np.asarray(fog + image * (1 - fog), dtype=np.float32)


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
    "shifted up to 4 pixels": lambda image, rng: shifted(image, rng, 4),
    "rotated 10 to 20 degrees": lambda image, rng: moved(image, rng.choice((-1, 1)) * rng.uniform(10, 20)),
    "scaled 0.7 to 1.25": lambda image, rng: moved(image, scale=rng.uniform(0.7, 1.25)),
    "hollow": lambda image, _: hollow(image),
    "a zigzag across": zigzag,
    "half in shadow": lambda image, rng: np.where(side(rng), 0.5 + image / 2, image).astype(np.float32),
    "half inverted": lambda image, rng: np.where(side(rng), 1 - image, image).astype(np.float32),
    "a dark stripe": stripe,
    BLACK_OR_WHITE: lambda image, _: scanned(image),
    "through frosted glass": through_glass,
    "spattered": spattered,
    "in fog": foggy,
    "shifted up to 9 pixels": lambda image, rng: shifted(image, rng, 9),
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


def no_digits(data_dir: Path | None, count: int, test: Split) -> dict[str, Pixels]:
    """Gather images that show no digit; those that are drawn, in fonts and forms that no training sees."""
    rng = np.random.default_rng(0)
    paper = rng.uniform(0, 255, (count, 1, 1)) + rng.uniform(0, 12, (count, 1, 1)) * rng.normal(0, 1, (count, 28, 28))
    school = make_school(test.images[:, 0].numpy(), test.labels.numpy().astype(np.uint8), 1000, held_out=True)
    return {
        "Fashion-MNIST": load_dataset("fashion-mnist", data_dir).test.images[:count, 0].numpy(),
        "noise": rng.integers(0, 256, (count, 28, 28)).astype(np.uint8),
        "blank paper": paper.clip(0, 255).astype(np.uint8),
        "random strokes": scribbles(rng, count),
        **{name: drawn(draw, school, count) for name, draw in DRAWN.items()},
    }


def drawn(draw: Draw, school: School, count: int) -> Pixels:
    """Draw negatives of one kind, uint8 [count, 28, 28]."""
    images = []
    for number in range(count):
        rng = np.random.default_rng(number)
        images.append(prepare(rng, draw(rng, school, sample_style(rng, school.glyphs, *HEIGHTS))))
    return np.stack(images)


def shares(answers: Sequence[Prediction], labels: Sequence[int]) -> dict[str, float]:
    """Return which share of answers is right, which is trusted, and of the trusted ones which is right."""
    right = np.array([answer.digit == label for answer, label in zip(answers, labels, strict=True)])
    trusted = np.array([answer.confident for answer in answers])
    return {
        "accuracy": float(right.mean()),
        "trusted": float(trusted.mean()),
        "precision": float(right[trusted].mean()) if trusted.any() else 1.0,
    }


def table(result: Result, count: int) -> str:
    """Lay out both parts; all networks but the default one are trainings of the reader."""
    readers = [part for name, part in result.items() if name != "default"]
    reader, default = result["reader"], result["default"]
    lines = [
        "| MNIST's test images, corrupted | reader | trusted | of these right | trainings, % | default | trusted |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in reader["corrupted"].items():
        low, high = wilson_interval(round(row["accuracy"] * count), count)
        trained = percent([part["corrupted"][name]["accuracy"] for part in readers], 1)
        other = default["corrupted"][name]
        lines.append(
            f"| {name} | {row['accuracy']:.1%} ({low:.1%} to {high:.1%}) | {row['trusted']:.1%} "
            f"| {row['precision']:.1%} | {trained} | {other['accuracy']:.1%} | {other['trusted']:.1%} |"
        )
    means = [mean_of_kinds(part["corrupted"]) for part in readers]
    kinds, other_mean = len(reader["corrupted"]) - 1, mean_of_kinds(default["corrupted"])
    lines += [
        f"| **mean of {kinds} kinds** | **{means[0]:.1%}** | | | **{percent(means, 1)}** | **{other_mean:.1%}** | |",
        "",
        "| no digits | reader: turned away | trainings, % | ROC area, probability | OOD score | default |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in reader["no digits"].items():
        trained = percent([part["no digits"][name]["away"] for part in readers], 1)
        lines.append(
            f"| {name} | {row['away']:.1%} | {trained} | {row['1 - probability']:.3f} "
            f"| {row['out-of-distribution score']:.3f} | {default['no digits'][name]['away']:.1%} |"
        )
    lines += [
        "",
        f"{count:,} images of each kind, right answers with 95 % Wilson intervals; turned away: not trusted.",
        "ROC: against digits, clean and of all kinds of corruption but the 16x16 pixels, by the largest probability of",
        "the network and by the OOD score.",
        f"Trainings of the reader, the shipped one among them: mean ± standard deviation, n = {len(readers)}.",
    ]
    return "\n".join(lines) + "\n"


def mean_of_kinds(corrupted: dict[str, dict[str, float]]) -> float:
    """Return the mean accuracy over the kinds of corruption."""
    return statistics.mean(row["accuracy"] for name, row in corrupted.items() if name != "clean")


def measure(
    classifier: Classifier, corrupted: dict[str, list[Pixels]], labels: Sequence[int], strange: dict[str, Pixels]
) -> dict[str, dict[str, dict[str, float]]]:
    """Let a network read what is corrupted and what is no digit."""
    found = {
        name: shares(classifier.predict(pictures), labels)
        for name, pictures in tqdm(corrupted.items(), desc="corruptions")
    }
    away = {
        name: {"away": float(np.mean([not answer.confident for answer in classifier.predict(list(pictures))]))}
        for name, pictures in tqdm(strange.items(), desc="no digits")
    }
    return {"corrupted": found, "no digits": away}


def rocs(classifier: Classifier, digits: Pixels, strange: dict[str, Pixels]) -> dict[str, Rocs]:
    """Return of each score that tells digits from each kind of no digit: its curves and their areas.

    The scores are that the answer is improbable (Hendrycks, Gimpel 2017, arXiv 1610.02136), and the detector's.
    """
    familiar = scores_of(classifier, digits)
    found: dict[str, Rocs] = {name: {} for name in familiar}
    for kind, images in strange.items():
        for name, values in scores_of(classifier, images).items():
            scores = np.concatenate([familiar[name], values])
            positive = np.arange(len(scores)) >= len(familiar[name])
            found[name][kind] = *roc_curve(positive, scores)[:2], float(roc_auc_score(positive, scores))
    return found


def scores_of(classifier: Classifier, images: Pixels) -> dict[str, npt.NDArray[np.float64]]:
    """Score images [N, 28, 28] in both ways: float64 [N], higher for what is no digit."""
    probabilities, ood_scores = classifier.infer(images)
    return {"1 - probability": 1 - probabilities.max(axis=1), "out-of-distribution score": ood_scores}


def draw_rocs(curves: dict[str, Rocs], path: Path, count: int) -> None:
    """Draw the curves of each score."""
    with saved(path, (11, 4.6)) as figure:
        for axes, (score, found) in zip(figure.subplots(1, 2), curves.items(), strict=True):
            for number, (kind, (false, true, area)) in enumerate(found.items()):
                axes.plot(
                    100 * false, 100 * true, color=f"C{number % 5}", ls="-:"[number // 5], label=f"{kind} {area:.3f}"
                )
            axes.set(
                xscale="log", xlim=(0.1, 100), ylim=(0, 101), xlabel="digits turned away, %",
                ylabel="no digits turned away, %", title=score,
            )  # fmt: skip
            axes.legend(title="area under the curve", loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
        figure.suptitle(f"The reader tells what is no digit from {count:,} digits, clean and corrupted, by two scores")


def draw_trusted(classifier: Classifier, images: Pixels, path: Path) -> None:
    """Show the random strokes that a network trusts itself to read, and as what; they may well be digits."""
    answers = classifier.predict(list(images))
    trusted = [number for number, answer in enumerate(answers) if answer.confident]
    columns = 16
    rows = max(1, -(-len(trusted) // columns))
    with saved(path, (10, 0.4 + 0.75 * rows)) as figure:
        title = f"{len(trusted)} of {len(images):,} random strokes are trusted to be digits, each as the one above it"
        figure.suptitle(title)
        places = show_tiles(figure.subplots(), images[trusted], rows, columns, above=9)
        for number, (x, y) in zip(trusted, places, strict=False):
            figure.axes[0].text(x, y, str(answers[number].label), fontsize=8, ha="center", va="bottom")


def of_seed(file: Path, dataset: Dataset) -> Classifier:
    """Load a training that `mnist-cnn study --keep` kept, and choose its thresholds."""
    return Classifier(TorchModel(add_ood_detector(load_checkpoint(file), dataset), file))


def command(
    images: int = 1000,
    trainings: tuple[Path, ...] = (),
    data_dir: Path | None = None,
    output: Path = Path("benchmarks"),
) -> None:
    """Measure both, of the reader, which answers where none is named, and of the network that `main.py` trains.

    Args:
        images: Of each kind, the first of the test split.
        trainings: Further trainings of the reader, kept by `mnist-cnn study --keep`, for a mean and its spread.
        data_dir: Folder with MNIST and Fashion-MNIST, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets robustness.json, .md and .png: ROC curves, of digits clean and corrupted; robustness_strokes.png:
            the random strokes that the reader trusts itself to read.
    """
    dataset = load_dataset("mnist", data_dir)
    test = dataset.test
    clean = np.asarray(test.images[:images, 0].numpy() / 255, dtype=np.float32)
    corrupted = {name: list(spoil(clean, corrupt)) for name, corrupt in SPOILT.items()}
    strange, labels = no_digits(data_dir, images, test), test.labels[:images].tolist()
    networks = {"reader": Classifier.load(), "default": Classifier.load(SHIPPED)}
    networks |= {file.stem: of_seed(file, dataset) for file in trainings}
    result = {name: measure(network, corrupted, labels, strange) for name, network in networks.items()}
    digits = np.concatenate([np.stack(pictures) for name, pictures in corrupted.items() if name != BLACK_OR_WHITE])
    curves = rocs(networks["reader"], digits, strange)
    for score, found in curves.items():
        for kind, (*_, area) in found.items():
            result["reader"]["no digits"][kind][score] = area
    draw_rocs(curves, output / "robustness.png", len(digits))
    draw_trusted(networks["reader"], strange["random strokes"], output / "robustness_strokes.png")
    about = {"images": images, "date": datetime.datetime.now(datetime.timezone.utc).date()}
    keep(output, "robustness", about | result, table(result, len(clean)))


def spoil(clean: Image, corrupt: Callable[[Image, CounterRNG], Image]) -> Iterator[Pixels]:
    """Corrupt images [N, 28, 28] in one way."""
    rng = np.random.default_rng(0)
    for image in clean:
        yield (255 * corrupt(image, rng)).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "robustness.py")()
