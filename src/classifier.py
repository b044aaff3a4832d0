"""Pictures become digits, with a probability and a word on whether to trust it."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_model import PACKAGED, Floats, load_onnx
from mnist_cnn.pictures.binarize import Box
from mnist_cnn.pictures.candidates import Candidate, Choice, Outcome, Prepared, prepare_all
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.pictures.segment import Span

CHUNK = 128  # pictures read before the first of them is answered
PART = 16  # of them, to a thread

Preparation = Callable[[Sequence[tuple[object, str]], bool], list[Outcome]]


class Model(Protocol):
    """What `OnnxModel` and `TorchModel` have in common; the attributes are described in the first."""

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
    """An answer.

    Attributes:
        digit: the most probable class; None where the page is blank.
        probabilities: of each class, calibrated, float64 [classes]; empty where the page is blank.
        confident: whether it is probable enough, and the picture enough like a digit, to be trusted.
        box: left, top, width and height of the ink in the picture's own pixels.
        line: number of the line of text, from 0.
        image: what the network saw, uint8 [28, 28].
    """

    digit: int | None
    probabilities: Floats
    confident: bool
    box: Box | None
    line: int
    image: Pixels

    @property
    def probability(self) -> float:
        """Probability of the digit, 0 where there is none."""
        return float(self.probabilities.max(initial=0))


def best_path(found: list[tuple[Span, Prediction]]) -> list[Prediction]:
    """Choose the predictions whose spans join from first edge to last and whose product of sureties is largest."""
    best: dict[int, tuple[float, list[Prediction]]] = {0: (0.0, [])}
    for (first, last), prediction in sorted(found, key=lambda pair: pair[0]):
        if first not in best:
            continue
        surety = max(prediction.probability, 1e-9) * (1.0 if prediction.confident else 0.5)
        before, path = best[first]
        if last not in best or before + math.log(surety) > best[last][0]:
            best[last] = before + math.log(surety), [*path, prediction]
    return best[max(best)][1]


def prepare_in_threads(pictures: Sequence[tuple[object, str]], several: bool = False) -> list[Outcome]:
    """Do what `prepare_all` does, with all cores."""
    parts = [pictures[start : start + PART] for start in range(0, len(pictures), PART)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [one for part in threads.map(prepare_all, parts, itertools.repeat(several)) for one in part]


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
    """A trained network that reads pictures."""

    def __init__(self, model: Model) -> None:
        """Keep the model."""
        self.model = model
        self.classes = model.classes

    @classmethod
    def load(cls, path: Path | str = PACKAGED) -> "Classifier":
        """Load a trained model, .onnx or .pth, the shipped one unless a file is named.

        Raises:
            InputError: there is none, it is damaged or foreign, or it is a .pth and PyTorch is not installed.
        """
        file = Path(path)
        if file.suffix.lower() not in (".onnx", ".pth"):
            raise InputError(f"{path} ends in neither .onnx nor .pth, as models do; rename it or name another")
        reader = cls(load_onnx(file) if file.suffix.lower() == ".onnx" else load_pth(file))
        reader.infer(np.zeros((1, SIDE, SIDE), np.uint8))  # fails now rather than at the first picture
        return reader

    def probabilities(self, images: Pixels) -> Floats:
        """Classify images that are MNIST's in style already.

        Args:
            images: uint8 [N, 28, 28].

        Returns:
            float64 [N, classes], calibrated.

        Raises:
            InputError: another shape or dtype.
        """
        return self.infer(images)[0]

    def predict(self, pictures: Iterable[object]) -> list[Prediction]:
        """Read pictures of one digit each.

        Args:
            pictures: each a path, the bytes of a file, a PIL image, or an array of bools, integers or floats, 0..1,
                0..255 or 0..65535, as `read_picture` takes it.

        Raises:
            InputError: one of them cannot be read; its place in the order is in the message.
        """
        return [only for (only,) in self.read_or_raise(pictures)]

    def predict_several(self, picture: object) -> list[Prediction]:
        """Read all digits of a picture, in reading order.

        Raises:
            InputError: it cannot be read.
        """
        return next(self.read_or_raise([picture], several=True))

    def read_or_raise(self, pictures: Iterable[object], several: bool = False) -> Iterator[list[Prediction]]:
        """Yield the answers to each picture.

        Raises:
            InputError: one of them cannot be read.
        """
        for found in self.read(zip(pictures, (f"picture {n}" for n in itertools.count()), strict=False), several):
            if isinstance(found, InputError):
                raise found
            yield found

    def read(
        self, pictures: Iterable[tuple[object, str]], several: bool = False, prepare: Preparation = prepare_in_threads
    ) -> Iterator[list[Prediction] | InputError]:
        """Yield, in order and as soon as they are there, the answers to each picture or what is wrong with it.

        Args:
            pictures: each as `prepare_all` takes it, with its name.
            several: whether to read all digits of each picture instead of one.
            prepare: what prepares pictures: threads of this process, or a `Sandbox`.
        """
        waiting = iter(pictures)
        while chunk := list(itertools.islice(waiting, CHUNK)):
            outcomes = prepare(chunk, several)
            found = [one.choices if isinstance(one, Prepared) else () for one in outcomes]
            answers = iter(self.answer([choice for choices in found for choice in choices]))
            for one, choices in zip(outcomes, found, strict=True):
                yield one if isinstance(one, InputError) else [digit for _ in choices for digit in next(answers)]

    def answer(self, choices: Sequence[Choice]) -> list[list[Prediction]]:
        """Classify what has been prepared, and keep of each choice the digits that are best_path together."""
        candidates = [candidate for choice in choices for candidate in choice]
        images = [image for candidate in candidates for image in candidate.images]
        looked = self.infer(np.stack(images) if images else np.zeros((0, SIDE, SIDE), np.uint8))
        ends = np.cumsum([len(candidate.images) for candidate in candidates], dtype=np.int64)
        parts = zip(*(np.split(result, ends[:-1]) for result in looked), strict=True) if candidates else ()
        predictions = iter([self.predict_one(*pair) for pair in zip(candidates, parts, strict=True)])
        return [best_path([(candidate.span, next(predictions)) for candidate in choice]) for choice in choices]

    def predict_one(self, candidate: Candidate, looked: tuple[Floats, Floats]) -> Prediction:
        """Average the probabilities [views, classes] and the OOD scores [views] of one digit's views."""
        if not candidate.images:
            return Prediction(None, np.zeros(0), False, None, candidate.line, np.zeros((SIDE, SIDE), np.uint8))
        mean, ood_score = looked[0].mean(axis=0), looked[1].mean()
        trusted = bool(mean.max() >= self.model.probability_threshold and ood_score <= self.model.ood_threshold)
        return Prediction(int(mean.argmax()), mean, trusted, candidate.box, candidate.line, candidate.images[0])

    def infer(self, images: Pixels) -> tuple[Floats, Floats]:
        """Return probabilities [N, classes] and OOD scores [N] of uint8 images [N, 28, 28].

        Raises:
            InputError: another shape or dtype, or a model whose answers are not finite.
        """
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
            what = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise InputError(f"images are {what}; give a uint8 array [N, 28, 28], or use predict for other pictures")
        if not len(images):
            return np.zeros((0, len(self.classes))), np.zeros(0)
        looked = self.model.infer(np.ascontiguousarray(images))
        if not all(np.isfinite(values).all() for values in looked):
            raise InputError(
                f"the model {self.model.metadata['name']} gives probabilities or OOD scores that are not finite; "
                "train or export it again, or name another with --checkpoint"
            )
        return looked
