"""Dynamic batching: concurrent requests share one call of the network, in a thread beside the event loop."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mnist_cnn.classifier import Classifier, Reading
from mnist_cnn.common.errors import InputError

QUEUE_SIZE = 512  # pictures; more are refused
BATCH_SIZE = 64  # pictures of one digit; a picture of several has as many images by itself
BATCH_WINDOW = 0.002  # seconds that the first picture of a batch waits for others

Answer = Reading | InputError


class BusyError(Exception):
    """The queue is full."""


@dataclass(frozen=True)
class Request:
    """A queued picture and the future of its answer."""

    source: object
    name: str
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Collects the pictures of concurrent requests for `BATCH_WINDOW` seconds and reads them in one call."""

    def __init__(self, classifier: Classifier, several: bool) -> None:
        """Read one digit of each picture, or several; `run` does the work."""
        self.classifier, self.several = classifier, several
        self.queue: asyncio.Queue[Request] = asyncio.Queue(QUEUE_SIZE)

    async def read(self, pictures: Sequence[tuple[object, str]]) -> list[Answer]:
        """Return the reading of each named picture, or its error.

        Raises:
            BusyError: the queue is full.
        """
        requests = [Request(source, name) for source, name in pictures]
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
        """Read a batch in a thread and set its futures."""
        pictures = [(request.source, request.name) for request in requests]
        try:
            answers = await asyncio.to_thread(lambda: list(self.classifier.stream(pictures, self.several)))
        except InputError as error:  # of the model
            answers = [error] * len(pictures)
        for request, answer in zip(requests, answers, strict=True):
            if not request.answer.done():  # else its client has disconnected
                request.answer.set_result(answer)
