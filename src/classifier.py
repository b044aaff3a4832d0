"""The public reader: a picture becomes a digit or a number, with calibrated probabilities."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar, overload

import numpy as np

from mnist_cnn.common.errors import InputError
from mnist_cnn.constraints import UNKNOWN, Constraint, constrain
from mnist_cnn.fusion import SURE, combine
from mnist_cnn.models.onnx_model import PACKAGED, Floats, load_onnx
from mnist_cnn.pictures.candidates import (
    AUGMENTATIONS,
    Candidate,
    Choice,
    NamedPicture,
    Outcome,
    Prepared,
    Search,
    prepare_all,
)
from mnist_cnn.pictures.image_io import PictureSource, Pixels
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.reading import IMPROBABLE, NO_DIGIT, OUT_OF_DISTRIBUTION, Prediction, Reading, best_path, grid_lines

CHUNK = 128  # pictures prepared before the first of them is classified
CHUNK_PER_THREAD = 16
DIGITS = tuple("0123456789")
WEIGHT = 0.1  # of the packaged classifier beside the spotter; a model that a person names decides alone

Source = TypeVar("Source", bound=PictureSource)
Prepare = Callable[[Sequence[NamedPicture], Search], list[Outcome]]


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


def prepare_in_threads(pictures: Sequence[NamedPicture], search: Search) -> list[Outcome]:
    """Call `prepare_all` in a thread for each core."""
    chunks = [pictures[start : start + CHUNK_PER_THREAD] for start in range(0, len(pictures), CHUNK_PER_THREAD)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [one for chunk in threads.map(prepare_all, chunks, itertools.repeat(search)) for one in chunk]


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

    def read(
        self,
        picture: PictureSource,
        *,
        length: int | None = None,
        among: Sequence[str] | None = None,
        at_least: int | None = None,
        alternatives: int | None = None,
        grid: tuple[int, int] | None = None,
    ) -> Reading:
        """Read every digit of a picture, in reading order.

        The options say what is known of the numbers; with any of the first four, each line is read as one number, the
        most probable one that agrees.

        Args:
            picture: as `read_picture` takes it.
            length: digits of each number, 1 to 20.
            among: the numbers that each may be, as texts of 1 to 20 digits; excludes length and at_least.
            at_least: smallest value of each number.
            alternatives: how many of the most probable numbers `Reading.alternatives` has of each line, 1 to 20.
            grid: rows and columns of the ruled grid whose cells are read; excludes all others.

        Raises:
            InputError: it cannot be read, has no such grid, an option is out of range or excludes another, or the
                model's classes are not the ten digits.
        """
        constraint = Constraint(length, among, at_least, alternatives, grid)
        return checked(next(self.stream([(picture, "picture")], True, constraint)))

    def search(self, several: bool, constraint: Constraint = UNKNOWN) -> Search:
        """Return what has to be sought in a picture that is read so.

        Raises:
            InputError: the model cannot be told what its numbers are.
        """
        if constraint != UNKNOWN and not self.reads_digits:
            raise InputError("what is known of numbers helps only a model of the ten digits; name another")
        return Search(several, self.reads_digits, constraint.decodes, constraint.grid)

    def stream(
        self,
        pictures: Iterable[NamedPicture],
        several: bool = False,
        constraint: Constraint = UNKNOWN,
        prepare: Prepare = prepare_in_threads,
    ) -> Iterator[Reading | InputError]:
        """Yield the reading of each picture, or its error, in order and as soon as it is known.

        Args:
            pictures: each as `prepare_all` takes it, with its name.
            several: whether to read every digit of each picture instead of one.
            constraint: what is known of the numbers of each picture.
            prepare: prepares pictures: in threads of this process, or in a `Sandbox`.
        """
        waiting, search = iter(pictures), self.search(several, constraint)
        while chunk := list(itertools.islice(waiting, CHUNK)):
            outcomes = prepare(chunk, search)
            choices = [one.choices if isinstance(one, Prepared) else () for one in outcomes]
            digits = iter(self.classify([choice for per_picture in choices for choice in per_picture]))
            for outcome, per_picture in zip(outcomes, choices, strict=True):
                found = tuple(digit for _ in per_picture for digit in next(digits))
                if isinstance(outcome, Prepared):
                    yield self.finish(Reading(found, turned=outcome.turned), per_picture, constraint)
                else:
                    yield outcome

    def finish(self, found: Reading, choices: Sequence[Choice], constraint: Constraint) -> Reading:
        """Apply what is known of a picture's numbers to what was found in it."""
        if constraint.grid:
            columns = [choice[0].column for choice in choices]
            return dataclasses.replace(found, written=grid_lines(found.digits, columns, *constraint.grid))
        if constraint.decodes:
            each = zip(found.digits, choices, strict=True)
            clear = tuple(digit for digit, choice in each if not choice[0].faint)
            plain = dataclasses.replace(found, digits=clear)
            return constrain(found, plain, constraint, SURE)
        return found

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
        """Predict from the probabilities [A, classes] and scores [A] of a candidate's A images.

        They are averaged over the test-time augmentations of each way in which it was prepared; the clearest decides.
        """
        ways = probabilities.reshape(-1, min(len(probabilities), AUGMENTATIONS), len(self.classes)).mean(axis=1)
        clearest = ways.max(axis=1).argmax()
        ood_score = ood_scores.reshape(len(ways), -1).mean(axis=1)[clearest]
        mean, present, threshold = ways[clearest], 1.0, self.model.probability_threshold
        if candidate.scores is not None:
            mean, present = combine(candidate.scores, mean, self.weight)
            threshold = SURE
        digit, doubt = int(mean.argmax()), None
        if mean[digit] < threshold:
            doubt = IMPROBABLE
        elif candidate.unspotted or ood_score > self.model.ood_threshold:
            doubt = OUT_OF_DISTRIBUTION
        label, image = self.classes[digit], candidate.images[0]
        return Prediction(digit, label, mean, doubt, candidate.box, candidate.line, image, present)

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


def checked(reading: Reading | InputError) -> Reading:
    """Return a reading.

    Raises:
        InputError: it is one.
    """
    if isinstance(reading, InputError):
        raise reading
    return reading
