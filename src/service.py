"""A loaded model and what it answers to requests, whatever brings them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from pydantic import BaseModel

from mnist_cnn.batching import WAITING, Batcher, BusyError
from mnist_cnn.classifier import Classifier
from mnist_cnn.errors import InputError
from mnist_cnn.picture import TooCostlyError, TooLargeError
from mnist_cnn.predict import Reading, as_dict
from mnist_cnn.sandbox import Sandbox
from mnist_cnn.upload import RefusedError, read_pictures

PATIENCE = 30.0  # seconds that the files of a request may wait for the sandbox


class Model(BaseModel):
    """Which model answered."""

    name: str
    hash: str
    version: str


class Card(Model):
    """The model that is loaded."""

    dataset: str
    classes: list[str]
    accuracy: float | None
    temperature: float
    least_probability: float
    most_distance: float


class Result(BaseModel):
    """What one picture says; lists of everything where several digits were asked for."""

    file: str
    digit: int | str | None
    probabilities: list[float] | list[list[float]]
    confident: bool | list[bool]
    boxes: list[list[int]]
    images: list[list[list[int]]] | None = None


class Answer(Result):
    """The answer to one picture."""

    model: Model
    milliseconds: float


class Answers(BaseModel):
    """The answers to several files of a form."""

    results: list[Result]
    model: Model
    milliseconds: float


class Problem(BaseModel):
    """What is wrong with a request: a code that stays, and a sentence that may change."""

    code: str
    message: str


class Metrics:
    """What Prometheus may know."""

    def __init__(self) -> None:
        """Register with a registry of one's own, so that two services in a process do not meet."""
        self.registry = CollectorRegistry()
        self.requests = Counter("mnist_requests", "Requests", ["path", "status"], registry=self.registry)
        self.seconds = Histogram("mnist_request_seconds", "Latency", ["path"], registry=self.registry)
        self.digits = Counter("mnist_digits", "Digits predicted", ["digit"], registry=self.registry)
        self.rejected = Counter("mnist_rejected", "Requests refused", ["code"], registry=self.registry)


class Service:
    """A model, once it is loaded, and what answers with it."""

    def __init__(self, checkpoint: Path, most: int) -> None:
        """Remember what to load and how many bytes a body may have."""
        self.checkpoint, self.most, self.metrics = checkpoint, most, Metrics()
        self.batcher: Batcher | None = None
        self.sandbox = Sandbox()
        self.preparing = 0
        self.card: Card | None = None

    @contextlib.asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Load the model while requests are accepted already, then answer them until the end."""
        with self.sandbox:
            work = asyncio.create_task(self.work())
            yield
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def work(self) -> None:
        """Load the model in a thread and answer."""
        await asyncio.to_thread(self.sandbox.start)
        classifier = await asyncio.to_thread(Classifier.load, self.checkpoint)
        about = classifier.model.about
        self.card = Card(
            name=about["name"],
            hash=about["checkpoint_sha256"],
            version=about["version"],
            dataset=about["dataset"],
            classes=list(classifier.classes),
            accuracy=float(about["accuracy"]) if "accuracy" in about else None,
            temperature=float(about["temperature"]),
            least_probability=classifier.model.least_probability,
            most_distance=classifier.model.most_distance,
        )
        batcher = Batcher(classifier)
        self.batcher = batcher
        await batcher.run()

    def ready(self) -> tuple[Batcher, Card]:
        """Return what answers.

        Raises:
            RefusedError: it is not loaded yet.
        """
        if self.batcher is None or self.card is None:
            raise RefusedError(503, "loading", "the model is being loaded; try again in a second")
        return self.batcher, self.card

    async def predict(self, request: Request, several: bool, images: bool) -> dict[str, Any]:
        """Answer a request.

        Raises:
            RefusedError: it cannot be answered.
        """
        start = time.perf_counter()
        batcher, card = self.ready()
        pictures = await read_pictures(request, self.most)
        try:
            answers = await batcher.ask(await self.prepare(pictures, several), several)
        except BusyError:
            raise RefusedError(503, "busy", "too many pictures are waiting; try again later") from None
        results = []
        for (_, name), answer in zip(pictures, answers, strict=True):
            if isinstance(answer, TooCostlyError):
                raise RefusedError(413, "too_costly", str(answer))
            if isinstance(answer, TooLargeError):
                raise RefusedError(413, "too_many_pixels", str(answer))
            if isinstance(answer, InputError):
                raise RefusedError(422, "not_a_picture", str(answer))
            reading = Reading(name, answer, card.classes, several)
            results.append(as_dict(reading))
            if images:
                results[-1]["images"] = [one.image.tolist() for one in reading.found]
            for digit in reading.names:
                self.metrics.digits.labels(digit).inc()
        about = {
            "model": {"name": card.name, "hash": card.hash, "version": card.version},
            "milliseconds": round(1000 * (time.perf_counter() - start), 3),
        }
        return results[0] | about if len(results) == 1 else {"results": results} | about

    async def prepare(self, pictures: list[tuple[object, str]], several: bool) -> list[tuple[object, str]]:
        """Prepare files in the sandbox, where they hold nobody up; arrays are left to the batcher.

        Raises:
            BusyError: too many files are waiting, or these have waited for too long.
        """
        names = {place: name for place, (source, name) in enumerate(pictures) if isinstance(source, bytes)}
        if self.preparing + len(names) > WAITING:
            raise BusyError
        self.preparing += len(names)
        try:
            futures = {place: self.sandbox.submit(*pictures[place], several) for place in names}
            waiting = [asyncio.wrap_future(future) for future in futures.values()]
            late = (await asyncio.wait(waiting, timeout=PATIENCE))[1] if waiting else ()
            if late:
                for future in late:
                    future.cancel()
                raise BusyError
        finally:
            self.preparing -= len(names)
        done = {place: (self.sandbox.outcome(future, names[place]), names[place]) for place, future in futures.items()}
        return [done.get(place, picture) for place, picture in enumerate(pictures)]
