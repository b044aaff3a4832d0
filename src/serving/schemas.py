"""Schemas of the REST service, version 1, with their documentation in OpenAPI."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mnist_cnn.constraints import LONGEST, MOST_ALTERNATIVES, Constraint, parse_grid
from mnist_cnn.reading import Doubt
from mnist_cnn.serving.request_body import Drawing

MOST_LISTED = 1000  # numbers of a request


def example(**values: Any) -> ConfigDict:
    """Show one value in the OpenAPI documentation."""
    return ConfigDict(json_schema_extra={"examples": [values]})


DIGIT: dict[str, Any] = {
    "digit": 4,
    "label": "4",
    "probability": 0.99,
    "probabilities": [0.001, 0.001, 0.001, 0.001, 0.99, 0.001, 0.001, 0.001, 0.001, 0.002],
    "confident": True,
    "doubt": None,
    "box": [268, 224, 213, 330],
    "line": 0,
}
RESULT: dict[str, Any] = {
    "file": "four.jpg",
    "text": "4",
    "probability": 0.99,
    "confident": True,
    "doubt": None,
    "digits": [DIGIT],
    "turned": 0,
    "alternatives": [],
    "error": None,
}
ALTERNATIVE: dict[str, Any] = {"line": 0, "text": "17324", "probability": 0.97}
MODEL = {"name": "mnist_cnn_final", "hash": "9f4b067815aa105e...", "version": "0.2.0"}


class Digit(BaseModel):
    """One digit of a picture."""

    model_config = example(**DIGIT)

    digit: int = Field(description="index of the most probable class")
    label: str = Field(description="name of that class")
    probability: float = Field(description="of that class, calibrated, 0 to 1")
    probabilities: list[float] = Field(description="of each class, in the order of `classes` of /api/v1/model")
    confident: bool = Field(description="whether probability and out-of-distribution score pass the thresholds")
    doubt: Doubt | None = Field(None, description="which of them does not, or the former if neither; null if sure")
    box: tuple[int, int, int, int] = Field(description="left, top, width and height, in pixels of the picture")
    line: int = Field(description="index of the line of text or the row of the grid, from 0")
    image: list[list[int]] | None = Field(None, description="with `images=true`: the network's input, 28 rows of 28")


class Problem(BaseModel):
    """An error: a code that stays, and a sentence that may change."""

    model_config = example(code="not_a_picture", message="four.txt: damaged or not a picture; give PNG, JPEG, ...")

    code: str
    message: str


class Alternative(BaseModel):
    """A possible number of a line."""

    model_config = example(**ALTERNATIVE)

    line: int = Field(description="index of the line, from 0")
    text: str
    probability: float = Field(description="given the parameters, and that they may be wrong once in a thousand")


class Result(BaseModel):
    """One picture: its digits in reading order, or why it could not be read."""

    model_config = example(**RESULT)

    file: str = Field(description="name of the file in a form, `pixels` for a drawing, `body` for raw bytes")
    text: str = Field(
        description="the labels, with line breaks between lines and spaces between numbers; a point for an empty cell"
    )
    probability: float = Field(description="of the least probable digit or, with a parameter, of the number; 0 to 1")
    confident: bool = Field(description="whether there is a digit and all are confident")
    doubt: Doubt | None = Field(None, description="of the least probable digit that is not confident")
    digits: list[Digit]
    turned: int = Field(description="degrees clockwise that the picture was turned to be read: 0, 90, 180 or 270")
    alternatives: list[Alternative] = Field(
        description="with a parameter, each line's most probable numbers, the one that is read first"
    )
    error: Problem | None = Field(None, description="null unless the picture could not be read")


class ModelName(BaseModel):
    """The model that answered."""

    model_config = example(**MODEL)

    name: str
    hash: str = Field(description="SHA-256 of its checkpoint")
    version: str = Field(description="of the program that exported it")


class ModelInfo(ModelName):
    """The loaded model."""

    trained: str | None = Field(description="date on which its training ended, YYYY-MM-DD; null if not recorded")
    dataset: str
    classes: list[str]
    accuracy: float | None = Field(description="on the dataset's test split; null if it was not measured")
    weights: int | None = Field(description="of its convolutions and linear layers; null for a .pth")
    explains: list[str] = Field(description="what can be asked of it beside answers: layers, features, gradient")
    links: dict[str, str] = Field(description="where the package's source, documentation, ... are")
    temperature: float
    probability_threshold: float
    ood_threshold: float


class Layer(BaseModel):
    """The activations of a layer."""

    channels: int
    height: int
    width: int
    values: str = Field(description="base64 of channels x height x width bytes; 255 is the largest activation")


class Explanation(BaseModel):
    """What the network does with an image."""

    layers: list[Layer]
    occlusion: list[list[float]] = Field(
        description="by how much the digit's log-odds fall without the pixels around each place, 14 rows of 14"
    )


class Features(BaseModel):
    """What the last layer gets of each image."""

    count: int
    size: int = Field(description="of an image's features")
    values: str = Field(description="base64 of count x size float32, little-endian")


class LastLayer(BaseModel):
    """The linear layer that makes logits of the last features."""

    size: int = Field(description="of the features")
    weights: str = Field(description="base64 of classes x size float32, little-endian")
    biases: list[float]


class Filter(BaseModel):
    """The filter that makes a feature map."""

    inputs: int = Field(description="maps of the layer before, or 1 for the image")
    height: int
    width: int
    values: list[float]


class Gradient(BaseModel):
    """By how much each grey of an image raises what was asked for."""

    gradient: list[list[float]] = Field(description="with respect to the normalised image, 28 rows of 28")


class Response(BaseModel):
    """The answer to a request, however many pictures it has."""

    model_config = example(results=[RESULT], model=MODEL, milliseconds=3.2)

    results: list[Result]
    model: ModelName
    milliseconds: float


class ReadQuery(BaseModel):
    """The parameters of `read`: what is known of the numbers, and how to answer."""

    images: bool = Field(False, description="whether each digit gets `image`, the 28x28 input of the network")
    length: int | None = Field(None, ge=1, le=LONGEST, description="digits that each number has", examples=[8])
    among: list[Annotated[str, Field(pattern=f"^[0-9]{{1,{LONGEST}}}$")]] | None = Field(
        None,
        min_length=1,
        max_length=MOST_LISTED,
        description="the numbers that each may be, a parameter each; excludes `length` and `at_least`",
        examples=[["004711", "004712"]],
    )
    at_least: int | None = Field(
        None, ge=0, lt=10**LONGEST, description="smallest value of each number", examples=[24817]
    )
    alternatives: int | None = Field(
        None, ge=1, le=MOST_ALTERNATIVES, description="how many of the most probable numbers to give", examples=[3]
    )
    grid: str | None = Field(
        None,
        pattern="^[0-9]{1,3}x[0-9]{1,3}$",
        description="rows and columns of a ruled grid whose cells are read; excludes all of the above but `images`",
        examples=["9x9"],
    )

    def constraint(self) -> Constraint:
        """Return what is known of the numbers.

        Raises:
            InputError: two parameters exclude each other.
        """
        grid = parse_grid(self.grid) if self.grid is not None else None
        return Constraint(self.length, self.among, self.at_least, self.alternatives, grid)


class GradientQuery(BaseModel):
    """What is to rise: a class, against another; or a feature map."""

    toward: int | None = Field(None, ge=0, description="index of the class whose logit counts")
    against: int | None = Field(None, ge=0, description="index of a class whose logit is subtracted")
    layer: int | None = Field(None, ge=0, description="index of the layer, with `channel`")
    channel: int | None = Field(None, ge=0, description="index of its feature map")

    def weights(self) -> tuple[dict[int, float], dict[tuple[int, int], float]]:
        """Return the weights of classes and of feature maps; see `Explainer.gradient`."""
        logits = {place: weight for place, weight in ((self.against, -1.0), (self.toward, 1.0)) if place is not None}
        maps = {} if self.layer is None or self.channel is None else {(self.layer, self.channel): 1.0}
        return logits, maps


TAGS = [
    {"name": "reading", "description": "Pictures in, digits out."},
    {"name": "model", "description": "What is loaded."},
    {"name": "monitoring", "description": "For load balancers and Prometheus."},
]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "no valid HTTP, or a body that is no JSON or no form"},
    408: {"model": Problem, "description": "the body took more than 10 s to arrive"},
    413: {"model": Problem, "description": "too many bytes, pixels or digits, or too costly to decode"},
    415: {"model": Problem, "description": "another content type"},
    422: {"model": Problem, "description": "no picture, or pixels or parameters of another shape or value"},
    503: {"model": Problem, "description": "too many requests; `Retry-After` says when to try again"},
}
JSON = {
    "schema": Drawing.model_json_schema(),
    "example": {"pixels": [[255 if 12 < x < 16 and 4 < y < 24 else 0 for x in range(28)] for y in range(28)]},
}
PIXELS = {"requestBody": {"required": True, "content": {"application/json": JSON}}}
IMAGES = {
    "requestBody": {
        "required": True,
        "description": "1 to 256 images of 28x28 greys in MNIST's style, one after the other, a byte a pixel.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
BODY = {
    "requestBody": {
        "required": True,
        "description": "A picture or PDF of one page as raw bytes, up to 50 as a form, or 28x28 pixels as JSON.",
        "content": {
            "application/json": JSON,
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/pdf": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": ["file"],
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
