"""Concurrent requests are answered together, off the event loop."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mnist_cnn.classifier import Classifier, Prediction
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.candidates import NamedPicture, Outcome
from mnist_cnn.pictures.image_io import PictureSource

WAITING = 512  # pictures that may wait; more are turned away
TOGETHER = 64  # pictures of one digit answered at once; of several, one alone has as many images
WINDOW = 0.002  # seconds that the first of them waits for others

Answer = list[Prediction] | InputError


class BusyError(Exception):
    """Too many pictures are waiting."""


@dataclass(frozen=True)
class Question:
    """A picture that waits for its answer."""

    source: PictureSource | Outcome
    name: str
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Gathers the pictures of concurrent requests for a moment and reads them in one call."""

    def __init__(self, classifier: Classifier, several: bool) -> None:
        """Keep the classifier, and whether to read several digits of each picture; `run` does the work."""
        self.classifier, self.several = classifier, several
        self.waiting: asyncio.Queue[Question] = asyncio.Queue(WAITING)

    async def ask(self, pictures: Sequence[NamedPicture]) -> list[Answer]:
        """Return the answers to some pictures, each with its name, or what is wrong with it.

        Raises:
            BusyError: they do not fit into the queue.
        """
        questions = [Question(source, name) for source, name in pictures]
        if self.waiting.qsize() + len(questions) > WAITING:
            raise BusyError
        for question in questions:
            self.waiting.put_nowait(question)
        return list(await asyncio.gather(*(question.answer for question in questions)))

    async def run(self) -> None:
        """Answer questions until cancelled."""
        while True:
            questions = [await self.waiting.get()]
            await asyncio.sleep(WINDOW)
            while len(questions) < (1 if self.several else TOGETHER) and not self.waiting.empty():
                questions.append(self.waiting.get_nowait())
            await self.settle(questions)

    async def settle(self, questions: Sequence[Question]) -> None:
        """Answer some questions in a thread."""
        pictures = [(question.source, question.name) for question in questions]
        try:
            answers = await asyncio.to_thread(lambda: list(self.classifier.read(pictures, self.several)))
        except InputError as error:  # the model's
            answers = [error] * len(pictures)
        for question, answer in zip(questions, answers, strict=True):
            if not question.answer.done():  # else its client has gone
                question.answer.set_result(answer)
