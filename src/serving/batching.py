"""Dynamic batching: concurrent requests share one call of the network, in a thread beside the event loop."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.errors import InputError
from mnist_cnn.constraints import UNKNOWN, Constraint
from mnist_cnn.pictures.candidates import NamedPicture, Outcome
from mnist_cnn.pictures.image_io import PictureSource
from mnist_cnn.reading import Reading

QUEUE_SIZE = 512  # pictures; more are refused
BATCH_SIZE = 64  # pictures of one digit; a picture of several has as many images by itself
BATCH_WINDOW = 0.002  # seconds that the first picture of a batch waits for others

Answer = Reading | InputError


class BusyError(Exception):
    """The queue is full."""


@dataclass(frozen=True)
class Request:
    """A queued picture, what is known of its numbers, and the future of its answer."""

    source: PictureSource | Outcome
    name: str
    constraint: Constraint
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Collects the pictures of concurrent requests for `BATCH_WINDOW` seconds and reads them in one call."""

    def __init__(self, classifier: Classifier, several: bool) -> None:
        """Read one digit of each picture, or several; `run` does the work."""
        self.classifier, self.several = classifier, several
        self.queue: asyncio.Queue[Request] = asyncio.Queue(QUEUE_SIZE)

    async def read(self, pictures: Sequence[NamedPicture], constraint: Constraint = UNKNOWN) -> list[Answer]:
        """Return the reading of each named picture, or its error.

        Raises:
            BusyError: the queue is full.
        """
        requests = [Request(source, name, constraint) for source, name in pictures]
        if self.queue.qsize() + len(requests) > QUEUE_SIZE:
            raise BusyError
        for request in requests:
            self.queue.put_nowait(request)
        return list(await asyncio.gather(*(request.answer for request in requests)))

    async def run(self) -> None:
        """Process the queue until cancelled."""
        while True:
            requests = [await self.queue.get()]
            await asyncio.sleep(BATCH_WINDOW)
            while len(requests) < (1 if self.several else BATCH_SIZE) and not self.queue.empty():
                requests.append(self.queue.get_nowait())
            await self.process(requests)

    async def process(self, requests: Sequence[Request]) -> None:
        """Read a batch, of one constraint, in a thread and set its futures."""
        pictures, constraint = [(request.source, request.name) for request in requests], requests[0].constraint
        try:
            answers = await asyncio.to_thread(lambda: list(self.classifier.stream(pictures, self.several, constraint)))
        except InputError as error:  # of the model
            answers = [error] * len(pictures)
        for request, answer in zip(requests, answers, strict=True):
            if not request.answer.done():  # else its client has disconnected
                request.answer.set_result(answer)
