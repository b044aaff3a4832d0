"""A loaded model and what it answers to requests, whatever brings them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Counter, Histogram

from mnist_cnn.classifier import Classifier, Prediction
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.candidates import NamedPicture, Prepared
from mnist_cnn.pictures.image_io import TooCostlyError, TooLargeError
from mnist_cnn.pictures.sandbox import MAX_CANDIDATES, LostError, Sandbox
from mnist_cnn.predict import Reading, as_dict
from mnist_cnn.serving.batching import WAITING, Batcher, BusyError
from mnist_cnn.serving.request_body import MemoryBudget, RefusedError, read_pictures
from mnist_cnn.serving.schemas import Card

PATIENCE = 30.0  # seconds that the files of a request may wait for the sandbox
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds


class Metrics:
    """What Prometheus may know."""

    def __init__(self) -> None:
        """Register with a registry of one's own, so that two services in a process do not meet."""
        self.registry = CollectorRegistry()
        self.requests = Counter("mnist_requests", "Requests", ["path", "status"], registry=self.registry)
        self.seconds = Histogram("mnist_request_seconds", "Latency", ["path"], registry=self.registry, buckets=BUCKETS)
        self.digits = Counter("mnist_digits", "Digits predicted", ["digit"], registry=self.registry)
        self.rejected = Counter("mnist_rejected", "Requests refused", ["code"], registry=self.registry)

    def count(self, path: str, status: int, code: str) -> None:
        """Count a response, and where it is a refusal also the code of what is wrong."""
        self.requests.labels(path, str(status)).inc()
        if status >= 400:
            self.rejected.labels(code).inc()


class Service:
    """A model, once it is loaded, and what answers with it."""

    def __init__(self, checkpoint: Path, most: int) -> None:
        """Remember what to load and how many bytes a body may have."""
        self.checkpoint, self.most, self.metrics = checkpoint, most, Metrics()
        self.batchers: dict[bool, Batcher] = {}  # one for pictures of one digit, which wait for no page of many
        self.sandbox, self.room = Sandbox(), MemoryBudget()
        self.preparing = 0
        self.card: Card | None = None

    @contextlib.asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[dict[str, Metrics]]:
        """Load the model while requests are accepted already, then answer them until the end."""
        with self.sandbox:
            await asyncio.to_thread(self.sandbox.start)
            work = asyncio.create_task(self.work())
            yield {"metrics": self.metrics}
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def work(self) -> None:
        """Load the model in a thread and answer."""
        classifier = await asyncio.to_thread(Classifier.load, self.checkpoint)
        about = classifier.model.metadata
        self.card = Card(
            name=about["name"],
            hash=about["checkpoint_sha256"],
            version=about["version"],
            dataset=about["dataset"],
            classes=list(classifier.classes),
            accuracy=float(about["accuracy"]) if "accuracy" in about else None,
            temperature=float(about["temperature"]),
            probability_threshold=classifier.model.probability_threshold,
            ood_threshold=classifier.model.ood_threshold,
        )
        self.batchers = {several: Batcher(classifier, several) for several in (False, True)}
        await asyncio.gather(*(batcher.run() for batcher in self.batchers.values()))

    def ready(self) -> tuple[dict[bool, Batcher], Card]:
        """Return what answers.

        Raises:
            RefusedError: it is not loaded yet.
        """
        if not self.batchers or self.card is None:
            raise RefusedError(503, "loading", "the model is being loaded; try again in a second")
        return self.batchers, self.card

    async def predict(self, request: Request, several: bool, images: bool) -> dict[str, Any]:
        """Answer a request.

        Raises:
            RefusedError: it cannot be answered.
        """
        start = time.perf_counter()
        batchers, card = self.ready()
        with self.room.share() as take:
            pictures = await read_pictures(request, self.most, take)
            try:
                answers = await batchers[several].ask(await self.prepare(pictures, several))
            except BusyError:
                raise RefusedError(503, "busy", "too many pictures are waiting; try again later") from None
        readings = [
            Reading(name, checked(answer), card.classes, several)
            for (_, name), answer in zip(pictures, answers, strict=True)
        ]
        if await request.is_disconnected():
            raise RefusedError(400, "disconnected", "the client went away before it was answered")
        for name in (name for reading in readings for name in reading.names):
            self.metrics.digits.labels(name).inc()
        results = [as_dict(reading) | shown(reading, images) for reading in readings]
        about = {
            "model": {"name": card.name, "hash": card.hash, "version": card.version},
            "milliseconds": round(1000 * (time.perf_counter() - start), 3),
        }
        return results[0] | about if len(results) == 1 else {"results": results} | about

    async def prepare(self, pictures: list[NamedPicture], several: bool) -> list[NamedPicture]:
        """Prepare files in the sandbox, where they hold nobody up; arrays are left to the batcher.

        Raises:
            BusyError: too many files are waiting, or these have waited for too long.
            RefusedError: they seem to have too many digits.
        """
        names = {place: name for place, (source, name) in enumerate(pictures) if isinstance(source, bytes)}
        if self.preparing + len(names) > WAITING:
            raise BusyError
        self.preparing += len(names)
        try:
            futures = {place: self.sandbox.submit(*pictures[place], several) for place in names}
            together = asyncio.gather(*map(asyncio.wrap_future, futures.values()), return_exceptions=True)
            await asyncio.wait_for(together, PATIENCE)
        except asyncio.TimeoutError:
            raise BusyError from None
        finally:
            self.preparing -= len(names)
        done = {place: self.sandbox.outcome(future, names[place]) for place, future in futures.items()}
        if any(isinstance(one, LostError) for one in done.values()):
            raise BusyError
        found = sum(len(choice) for one in done.values() if isinstance(one, Prepared) for choice in one.choices)
        if found > MAX_CANDIDATES:
            raise RefusedError(
                413, "too_many_digits", f"more than {MAX_CANDIDATES:,} strokes that may be digits; send fewer pictures"
            )
        return [(done.get(place, source), name) for place, (source, name) in enumerate(pictures)]


def checked(answer: list[Prediction] | InputError) -> list[Prediction]:
    """Return the answer to a picture.

    Raises:
        RefusedError: there is none.
    """
    if isinstance(answer, TooCostlyError):
        raise RefusedError(413, "too_costly", str(answer))
    if isinstance(answer, TooLargeError):
        raise RefusedError(413, "too_many_pixels", str(answer))
    if isinstance(answer, InputError):
        raise RefusedError(422, "not_a_picture", str(answer))
    return answer


def shown(reading: Reading, images: bool) -> dict[str, object]:
    """Return what the network saw of a picture, where it is asked for."""
    return {"images": [one.image.tolist() for one in reading.found]} if images else {}
