"""The shapes of what the service replies."""

from pydantic import BaseModel


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
    probability_threshold: float
    ood_threshold: float


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
