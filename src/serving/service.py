"""The loaded model, and what it answers to requests."""

import asyncio
import contextlib
import os
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.errors import InputError
from mnist_cnn.constraints import UNKNOWN, Constraint
from mnist_cnn.formatting import result
from mnist_cnn.models.onnx_model import OnnxModel
from mnist_cnn.pictures.candidates import MAX_CANDIDATES, NamedPicture, Prepared, Search
from mnist_cnn.pictures.grid import NoGridError
from mnist_cnn.pictures.image_io import Pixels, TooCostlyError, TooLargeError
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.pictures.sandbox import LostError, Sandbox
from mnist_cnn.reading import Reading
from mnist_cnn.serving.batching import QUEUE_SIZE, Batcher, BusyError
from mnist_cnn.serving.explain import Explainer
from mnist_cnn.serving.request_body import MemoryBudget, RefusedError, read_pictures
from mnist_cnn.serving.schemas import ModelInfo
from mnist_cnn.serving.static_page import describe_model

MOST_IMAGES = 256  # whose features a request gets
SANDBOX_TIMEOUT = 30.0  # seconds that the files of a request may wait for the sandbox
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # environment variable of prometheus_client: workers count in its files
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds


class Metrics:
    """Prometheus metrics, in a registry of their own so that two services in a process stay apart."""

    def __init__(self) -> None:
        """Register the metrics."""
        self.registry = CollectorRegistry()
        self.requests = Counter("mnist_requests", "Requests", ["path", "status"], registry=self.registry)
        self.seconds = Histogram("mnist_request_seconds", "Latency", ["path"], registry=self.registry, buckets=BUCKETS)
        self.digits = Counter("mnist_digits", "Digits predicted", ["digit"], registry=self.registry)
        self.rejected = Counter("mnist_rejected", "Requests refused", ["code"], registry=self.registry)

    def count(self, path: str, status: int, code: str) -> None:
        """Count a response, and the error code of a refusal."""
        self.requests.labels(path, str(status)).inc()
        if status >= 400:
            self.rejected.labels(code).inc()

    def text(self) -> bytes:
        """Lay out the metrics, of all workers if there are several, in Prometheus' text format."""
        if METRICS_FOLDER not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class Service:
    """A classifier behind batchers, and the sandbox that decodes uploads."""

    def __init__(self, classifier: Classifier, max_body: int) -> None:
        """Serve a classifier; bodies have at most `max_body` bytes."""
        self.max_body, self.metrics, self.memory_budget = max_body, Metrics(), MemoryBudget()
        self.batchers = [Batcher(classifier, several) for several in (False, True)]  # no digit waits for a page of many
        self.sandbox, self.preparing, self.classifier = Sandbox(), 0, classifier
        self.model = ModelInfo(**describe_model(classifier))
        self.explainer = Explainer(classifier.model) if isinstance(classifier.model, OnnxModel) else None

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[dict[str, Metrics]]:
        """Run the sandbox and the batchers while the application runs; the protocol counts in the metrics."""
        with self.sandbox:
            await asyncio.to_thread(self.sandbox.start)
            batching = asyncio.gather(*(batcher.run() for batcher in self.batchers))
            yield {"metrics": self.metrics}
            batching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await batching

    async def answer(
        self, request: Request, several: bool, images: bool, constraint: Constraint = UNKNOWN
    ) -> dict[str, Any]:
        """Read the pictures of a request: a `schemas.Response`.

        Raises:
            RefusedError: none of them can be read.
            InputError: the model does not read numbers.
        """
        start, search = time.perf_counter(), self.classifier.search(several, constraint)
        with self.memory_budget.reserve() as reserve:
            pictures = await read_pictures(request, self.max_body, reserve)
            try:
                readings = await self.batchers[several].read(await self.prepare(pictures, search), constraint)
            except BusyError:
                raise RefusedError(503, "busy", "too many pictures are waiting; try again later") from None
        errors = [refusal(reading) for reading in readings if isinstance(reading, InputError)]
        if len(errors) == len(readings):
            raise errors[0]
        if await request.is_disconnected():
            raise RefusedError(400, "disconnected", "the client disconnected before it was answered")
        results = [answered(name, reading, images) for (_, name), reading in zip(pictures, readings, strict=True)]
        for digit in (digit for one in results for digit in one["digits"]):
            self.metrics.digits.labels(digit["label"]).inc()
        return {
            "results": results,
            "model": {"name": self.model.name, "hash": self.model.hash, "version": self.model.version},
            "milliseconds": round(1000 * (time.perf_counter() - start), 3),
        }

    async def explain(self, request: Request, digit: int) -> dict[str, Any]:
        """Explain an answer to 28x28 pixels: a `schemas.Explanation`.

        Raises:
            RefusedError: the body is something else, or the model is a .pth.
            InputError: there is no such class.
        """
        explainer, image = self.explains(), await self.read_pixels(request)
        if digit >= len(self.model.classes):
            raise InputError(f"digit is {digit}; the model has {len(self.model.classes)} classes")
        explanation = await asyncio.to_thread(explainer.explain, image, digit)
        layers = [
            dict(zip(("channels", "height", "width"), values.shape, strict=True)) | {"values": encoded(values)}
            for values in explanation.layers
        ]
        return {"layers": layers, "occlusion": explanation.occlusion.round(4).tolist()}

    async def features(self, request: Request) -> dict[str, Any]:
        """Compute the last features of 28x28 images, which are all bytes of the body: a `schemas.Features`.

        Raises:
            RefusedError: the body is something else, or the model is a .pth.
            InputError: the last layer is not linear.
        """
        explainer = self.explains()
        with self.memory_budget.reserve() as reserve:
            [(body, _), *_] = await read_pictures(request, self.max_body, reserve)
        if not isinstance(body, bytes) or len(body) % SIDE**2 or not 1 <= len(body) // SIDE**2 <= MOST_IMAGES:
            raise RefusedError(422, "wrong_shape", f"send 1 to {MOST_IMAGES} images of {SIDE**2} bytes each")
        images = np.frombuffer(body, np.uint8).reshape(-1, SIDE, SIDE)
        values = await asyncio.to_thread(explainer.features, images)
        return {"count": len(values), "size": values.shape[1], "values": encoded(values)}

    def last_layer(self) -> dict[str, Any]:
        """Return the last layer's parameters: a `schemas.LastLayer`.

        Raises:
            RefusedError: the model is a .pth.
            InputError: the last layer is not linear.
        """
        weights, biases = self.explains().last_weights()
        return {"size": weights.shape[1], "weights": encoded(weights), "biases": biases.tolist()}

    def filter(self, layer: int, channel: int) -> dict[str, Any]:
        """Return the filter of a feature map: a `schemas.Filter`.

        Raises:
            RefusedError: the model is a .pth.
            InputError: there is no such filter.
        """
        values = self.explains().filter(layer, channel)
        sizes = dict(zip(("inputs", "height", "width"), values.shape, strict=True))
        return sizes | {"values": values.ravel().tolist()}

    async def gradient(
        self, request: Request, logits: dict[int, float], maps: dict[tuple[int, int], float]
    ) -> dict[str, Any]:
        """Compute how 28x28 pixels raise logits and feature maps: a `schemas.Gradient`.

        Raises:
            RefusedError: the body is something else, or the model is a .pth.
            InputError: there is no such class or map, or the network cannot be run backwards.
        """
        explainer, image = self.explains(), await self.read_pixels(request)
        return {"gradient": (await asyncio.to_thread(explainer.gradient, image, logits, maps)).tolist()}

    def explains(self) -> Explainer:
        """Return what explains the model.

        Raises:
            RefusedError: the model is a .pth.
        """
        if self.explainer is None:
            raise RefusedError(422, "not_explained", "only a model that was exported to .onnx can be explained")
        return self.explainer

    async def read_pixels(self, request: Request) -> Pixels:
        """Read a body of 28x28 pixels, uint8.

        Raises:
            RefusedError: it is something else.
        """
        with self.memory_budget.reserve() as reserve:
            [(image, _), *_] = await read_pictures(request, self.max_body, reserve)
        if not isinstance(image, np.ndarray):
            raise RefusedError(415, "unsupported_type", "send 28x28 pixels as application/json")
        return image

    async def prepare(self, pictures: list[NamedPicture], search: Search) -> list[NamedPicture]:
        """Prepare files in the sandbox; arrays are left to the batcher.

        Raises:
            BusyError: too many files are waiting, or these have waited for too long.
            RefusedError: they have too many candidates.
        """
        names = {place: name for place, (source, name) in enumerate(pictures) if isinstance(source, bytes)}
        if self.preparing + len(names) > QUEUE_SIZE:
            raise BusyError
        self.preparing += len(names)
        try:
            futures = {place: self.sandbox.submit(*pictures[place], search) for place in names}
            together = asyncio.gather(*map(asyncio.wrap_future, futures.values()), return_exceptions=True)
            await asyncio.wait_for(together, SANDBOX_TIMEOUT)
        except asyncio.TimeoutError:
            raise BusyError from None
        finally:
            self.preparing -= len(names)
        done = {place: self.sandbox.outcome(future, names[place]) for place, future in futures.items()}
        if any(isinstance(one, LostError) for one in done.values()):
            raise BusyError
        found = sum(len(choice) for one in done.values() if isinstance(one, Prepared) for choice in one.choices)
        if found > MAX_CANDIDATES:
            raise RefusedError(413, "too_many_digits", f"more than {MAX_CANDIDATES:,} digits; send fewer pictures")
        return [(done.get(place, source), name) for place, (source, name) in enumerate(pictures)]


def encoded(values: npt.NDArray[Any]) -> str:
    """Encode an array's bytes as base64."""
    return b64encode(values.tobytes()).decode()


def refusal(error: InputError) -> RefusedError:
    """Give the error of a picture its HTTP status and code."""
    if isinstance(error, TooCostlyError):
        return RefusedError(413, "too_costly", str(error))
    if isinstance(error, TooLargeError):
        return RefusedError(413, "too_many_pixels", str(error))
    if isinstance(error, NoGridError):
        return RefusedError(422, "no_grid", str(error))
    return RefusedError(422, "not_a_picture", str(error))


def answered(name: str, reading: Reading | InputError, images: bool) -> dict[str, Any]:
    """Format a reading, or its error, as a `schemas.Result`."""
    if not isinstance(reading, InputError):
        return result(name, reading, images)
    error = refusal(reading)
    return result(name, Reading(())) | {"error": {"code": error.code, "message": error.message}}
