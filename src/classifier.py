"""The public reader: a picture becomes a digit or a number, with calibrated probabilities."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_model import PACKAGED, Floats, load_onnx
from mnist_cnn.pictures.binarize import Box
from mnist_cnn.pictures.candidates import Candidate, Choice, NamedPicture, Outcome, Prepared, prepare_all
from mnist_cnn.pictures.image_io import PictureSource, Pixels
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.pictures.segment import Span

CHUNK = 128  # pictures prepared before the first of them is classified
CHUNK_PER_THREAD = 16
DIGITS = tuple("0123456789")
WEIGHT = 0.1  # of the packaged classifier beside the spotter; a model that a person names decides alone
LEAST = 1e-4  # of either's probabilities
PLATT = 3.782, 0.994  # slope and intercept of the spotter's log-odds (Platt 1999), from drawn validation pages

Source = TypeVar("Source", bound=PictureSource)
Prepare = Callable[[Sequence[NamedPicture], bool, bool], list[Outcome]]


class Model(Protocol):
    """The interface of `OnnxModel`, which documents it, and `TorchModel`."""

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def probability_threshold(self) -> float: ...  # noqa: D102
    @property
    def ood_threshold(self) -> float: ...  # noqa: D102
    @property
    def metadata(self) -> dict[str, str]: ...  # noqa: D102
    def infer(self, images: Pixels) -> tuple[Floats, Floats]: ...  # noqa: D102


@dataclass(frozen=True)
class Prediction:
    """One digit, or that there is none.

    Attributes:
        digit: the most probable class, from 0; None where no digit was found.
        label: the name of that class; None where no digit was found.
        probabilities: calibrated, float64 [classes]; empty where no digit was found.
        confident: whether the probability and the out-of-distribution score pass the model's thresholds.
        box: left, top, width and height of the digit, in pixels of the picture.
        line: index of the line of text, from 0.
        image: the network's input, uint8 [28, 28].
    """

    digit: int | None
    label: str | None
    probabilities: Floats
    confident: bool
    box: Box | None
    line: int
    image: Pixels

    @property
    def probability(self) -> float:
        """Probability of `digit`, 0 where no digit was found."""
        return float(self.probabilities.max(initial=0))


NO_DIGIT = Prediction(None, None, np.zeros(0), False, None, 0, np.zeros((SIDE, SIDE), np.uint8))


@dataclass(frozen=True)
class Reading:
    """The digits of a picture in reading order: lines from top to bottom, each from left to right.

    Attributes:
        digits: one after the other; their boxes lie in the picture as given.
        turned: degrees clockwise by which the picture was turned to be read: 0, 90, 180 or 270.
    """

    digits: tuple[Prediction, ...]
    turned: int = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The text of each line; names of more than one letter are separated by spaces."""
        lines = itertools.groupby(self.digits, key=lambda digit: digit.line)
        return tuple(joined([digit.label or "" for digit in line]) for _, line in lines)

    @property
    def text(self) -> str:
        """The lines, separated by line breaks."""
        return "\n".join(self.lines)

    @property
    def probability(self) -> float:
        """The probability of the least probable digit, 0 where there is none."""
        return min((digit.probability for digit in self.digits), default=0.0)

    @property
    def confident(self) -> bool:
        """Whether there is a digit and every digit is confident."""
        return bool(self.digits) and all(digit.confident for digit in self.digits)


def joined(labels: Sequence[str]) -> str:
    """Join labels to text: digits and letters without spaces, longer names with."""
    return ("" if all(len(label) == 1 for label in labels) else " ").join(labels)


def best_path(segments: list[tuple[Span, Prediction]]) -> list[Prediction]:
    """Choose the segmentation of the largest probability: dynamic programming over adjacent spans."""
    best: dict[int, tuple[float, list[Prediction]]] = {0: (0.0, [])}
    for (first, last), prediction in sorted(segments, key=lambda segment: segment[0]):
        if first not in best:
            continue
        probability = max(prediction.probability, 1e-9) * (1.0 if prediction.confident else 0.5)
        log_probability, path = best[first][0] + math.log(probability), [*best[first][1], prediction]
        if last not in best or log_probability > best[last][0]:
            best[last] = log_probability, path
    return best[max(best)][1]


def prepare_in_threads(pictures: Sequence[NamedPicture], several: bool, spot: bool) -> list[Outcome]:
    """Call `prepare_all` in a thread for each core."""
    chunks = [pictures[start : start + CHUNK_PER_THREAD] for start in range(0, len(pictures), CHUNK_PER_THREAD)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [
            one
            for chunk in threads.map(prepare_all, chunks, itertools.repeat(several), itertools.repeat(spot))
            for one in chunk
        ]


def load_pth(path: Path) -> Model:
    """Load a .pth file.

    Raises:
        InputError: there is none, it is damaged or foreign, or PyTorch is not installed.
    """
    try:
        from mnist_cnn.models.torch_model import load_torch
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} needs {error.name}: run pip install -e '.[train]' in the checkout, or export the model to .onnx"
        ) from None
    return load_torch(path)


class Classifier:
    """A trained network that reads pictures. It can be pickled and sent to a worker process."""

    def __init__(self, model: Model, weight: float = 1.0) -> None:
        """Wrap a loaded model; `weight`, 0..1, is that of its opinion beside the spotter's on which digit it is."""
        self.model, self.weight = model, weight
        self.classes = model.classes
        self.reads_digits = model.classes == DIGITS

    @classmethod
    def load(cls, path: str | os.PathLike[str] = PACKAGED) -> "Classifier":
        """Load a trained model, .onnx or .pth; the default is the model that ships with the package.

        Raises:
            InputError: there is none, it is damaged or foreign, or it is a .pth and PyTorch is not installed.
        """
        file = Path(path)
        if file.suffix.lower() not in (".onnx", ".pth"):
            raise InputError(f"{path} ends in neither .onnx nor .pth, as models do; rename it or name another")
        model = load_onnx(file) if file.suffix.lower() == ".onnx" else load_pth(file)
        classifier = cls(model, WEIGHT if file == PACKAGED else 1.0)
        classifier.infer(np.zeros((1, SIDE, SIDE), np.uint8))  # fails now rather than at the first picture
        return classifier

    def probabilities(self, images: Pixels) -> Floats:
        """Classify images that are in MNIST's style already.

        Args:
            images: uint8 [N, 28, 28].

        Returns:
            float64 [N, classes], calibrated.

        Raises:
            InputError: another shape or dtype.
        """
        return self.infer(images)[0]

    @overload
    def predict(self, pictures: list[PictureSource] | tuple[PictureSource, ...]) -> list[Prediction]: ...
    @overload
    def predict(self, pictures: list[Source]) -> list[Prediction]: ...
    @overload
    def predict(self, pictures: PictureSource) -> Prediction: ...
    def predict(
        self, pictures: PictureSource | list[Source] | tuple[PictureSource, ...]
    ) -> Prediction | list[Prediction]:
        """Read a picture of one digit, or a list of such pictures.

        Args:
            pictures: a picture as `read_picture` takes it (a path, bytes, an open binary file, a PIL image or an
                array), or a list of them, which is read in batches on all cores.

        Returns:
            The prediction, or a list of one for each picture.

        Raises:
            InputError: a picture cannot be read; the message gives its path, or its index in the list.
        """
        if isinstance(pictures, list | tuple):
            named = ((picture, f"picture {index}") for index, picture in enumerate(pictures))
            return [reading.digits[0] if reading.digits else NO_DIGIT for reading in map(checked, self.stream(named))]
        (reading,) = map(checked, self.stream([(pictures, "picture")]))
        return reading.digits[0] if reading.digits else NO_DIGIT

    def read(self, picture: PictureSource) -> Reading:
        """Read every digit of a picture, in reading order.

        Raises:
            InputError: it cannot be read.
        """
        return checked(next(self.stream([(picture, "picture")], several=True)))

    def stream(
        self, pictures: Iterable[NamedPicture], several: bool = False, prepare: Prepare = prepare_in_threads
    ) -> Iterator[Reading | InputError]:
        """Yield the reading of each picture, or its error, in order and as soon as it is known.

        Args:
            pictures: each as `prepare_all` takes it, with its name.
            several: whether to read every digit of each picture instead of one.
            prepare: prepares pictures: in threads of this process, or in a `Sandbox`.
        """
        waiting = iter(pictures)
        while chunk := list(itertools.islice(waiting, CHUNK)):
            outcomes = prepare(chunk, several, self.reads_digits)
            choices = [one.choices if isinstance(one, Prepared) else () for one in outcomes]
            digits = iter(self.classify([choice for per_picture in choices for choice in per_picture]))
            for outcome, per_picture in zip(outcomes, choices, strict=True):
                found = tuple(digit for _ in per_picture for digit in next(digits))
                yield Reading(found, outcome.turned) if isinstance(outcome, Prepared) else outcome

    def classify(self, choices: Sequence[Choice]) -> list[list[Prediction]]:
        """Classify all candidates in one batch, and keep the best path through each choice."""
        candidates = [candidate for choice in choices for candidate in choice]
        if not candidates:
            return []
        probabilities, ood_scores = self.infer(np.stack([image for one in candidates for image in one.images]))
        ends = np.cumsum([len(candidate.images) for candidate in candidates], dtype=np.int64)[:-1]
        each = zip(candidates, np.split(probabilities, ends), np.split(ood_scores, ends), strict=True)
        predictions = itertools.starmap(self.prediction, each)
        return [best_path([(candidate.span, next(predictions)) for candidate in choice]) for choice in choices]

    def prediction(self, candidate: Candidate, probabilities: Floats, ood_scores: Floats) -> Prediction:
        """Average the probabilities [A, classes] and scores [A] of a candidate's A test-time augmentations."""
        mean = probabilities.mean(axis=0)
        if candidate.scores is not None:
            mean = combine(candidate.scores, mean, self.weight)
        digit = int(mean.argmax())
        trusted = mean[digit] >= self.model.probability_threshold and ood_scores.mean() <= self.model.ood_threshold
        confident = bool(trusted and not candidate.unspotted)
        label, image = self.classes[digit], candidate.images[0]
        return Prediction(digit, label, mean, confident, candidate.box, candidate.line, image)

    def infer(self, images: Pixels) -> tuple[Floats, Floats]:
        """Return probabilities [N, classes] and out-of-distribution scores [N] of uint8 images [N, 28, 28].

        Raises:
            InputError: another shape or dtype, or a model whose outputs are not finite.
        """
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
            what = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise InputError(f"images are {what}; give a uint8 array [N, 28, 28], or use predict for other pictures")
        if not len(images):
            return np.zeros((0, len(self.classes))), np.zeros(0)
        outputs = self.model.infer(np.ascontiguousarray(images))
        if not all(np.isfinite(values).all() for values in outputs):
            raise InputError(
                f"the model {self.model.metadata['name']} gives probabilities or OOD scores that are not finite; "
                "train or export it again, or name another with --checkpoint"
            )
        return outputs


def combine(scores: npt.NDArray[np.float32], probabilities: Floats, weight: float) -> Floats:
    """Combine the spotter's scores [10] and the classifier's probabilities [10] of a detected digit.

    Returns:
        float64 [10]: their weighted geometric mean; what the calibrated probability of the detection lacks to 1 is
        spread evenly.
    """
    log_mean = (1 - weight) * np.log(np.maximum(scores, LEAST)) + weight * np.log(np.maximum(probabilities, LEAST))
    mean = np.exp(log_mean - log_mean.max())
    presence = float(np.clip(scores.max(), LEAST, 1 - LEAST))
    log_odds = PLATT[0] * math.log(presence / (1 - presence)) + PLATT[1]
    probability = 1 / (1 + math.exp(-log_odds))
    return np.asarray(probability * mean / mean.sum() + (1 - probability) / len(mean), dtype=np.float64)


def checked(reading: Reading | InputError) -> Reading:
    """Return a reading.

    Raises:
        InputError: it is one.
    """
    if isinstance(reading, InputError):
        raise reading
    return reading
