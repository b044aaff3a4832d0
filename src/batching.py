"""Concurrent requests are answered together, off the event loop."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mnist_cnn.classifier import Classifier, Prediction
from mnist_cnn.errors import InputError

WAITING = 512  # pictures that may wait; more are turned away
TOGETHER = 64  # pictures answered at once
WINDOW = 0.002  # seconds that the first of them waits for others

Answer = list[Prediction] | InputError


class BusyError(Exception):
    """Too many pictures are waiting."""


@dataclass(frozen=True)
class Question:
    """A picture that waits for its answer."""

    source: object
    name: str
    several: bool
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Gathers the pictures of concurrent requests for a moment and reads them in one call."""

    def __init__(self, classifier: Classifier) -> None:
        """Keep the classifier; `run` does the work."""
        self.classifier = classifier
        self.waiting: asyncio.Queue[Question] = asyncio.Queue(WAITING)

    async def ask(self, pictures: Sequence[tuple[object, str]], several: bool) -> list[Answer]:
        """Return the answers to some pictures, each with its name, or what is wrong with it.

        Raises:
            BusyError: they do not fit into the queue.
        """
        questions = [Question(source, name, several) for source, name in pictures]
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
            while len(questions) < TOGETHER and not self.waiting.empty():
                questions.append(self.waiting.get_nowait())
            for several in (False, True):
                alike = [question for question in questions if question.several == several]
                if alike:
                    await self.settle(alike, several)

    async def settle(self, questions: Sequence[Question], several: bool) -> None:
        """Answer some questions of one kind in a thread."""
        pictures = [(question.source, question.name) for question in questions]
        try:
            answers = await asyncio.to_thread(lambda: list(self.classifier.read(pictures, several)))
        except InputError as error:  # the model's
            answers = [error] * len(pictures)
        for question, answer in zip(questions, answers, strict=True):
            if not question.answer.done():  # else its client has gone
                question.answer.set_result(answer)
