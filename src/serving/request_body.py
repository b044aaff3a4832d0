"""What a client sends becomes pictures, in bounded memory and time; nothing touches the disk."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import numpy as np
from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mnist_cnn.pictures.candidates import NamedPicture
from mnist_cnn.pictures.preprocess import SIDE

MOST_FILES = 50  # in one request
SECONDS = 10.0  # for the whole body to arrive
MOST_HELD = 100_000_000  # bytes of all bodies at once
ALWAYS = 2**16  # bytes that a body may have, however many are held: drawings are answered beside large uploads
MOST_JSON = 200_000  # bytes of a drawing, which has about 3,000

Take = Callable[[int], None]

Grey = Annotated[int, Field(strict=True, ge=0, le=255)]
Row = Annotated[list[Grey], Len(SIDE, SIDE)]


class Drawing(BaseModel):
    """A 28x28 grey image, rows of 0 to 255."""

    model_config = ConfigDict(extra="forbid")

    pixels: Annotated[list[Row], Len(SIDE, SIDE)]


class RefusedError(Exception):
    """A request that cannot be answered: a status, a stable code and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep all three."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class MemoryBudget:
    """Counts the bytes of bodies that are held, of all requests together."""

    def __init__(self) -> None:
        """Begin with none."""
        self.held = 0

    @contextmanager
    def share(self) -> Iterator[Take]:
        """Yield what counts more bytes of one body, and raises a RefusedError where they are too many."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self.held + count > MOST_HELD and taken + count > ALWAYS:
                raise RefusedError(503, "busy", f"{MOST_HELD >> 20} MiB of uploads are being answered; try again later")
            self.held += count
            taken += count

        try:
            yield take
        finally:
            self.held -= taken


async def read_pictures(request: Request, most: int, take: Take) -> list[NamedPicture]:
    """Read the pictures of a request, each with its name: a JSON drawing, a picture's bytes, or a form with files.

    Args:
        request: its body has not been read.
        most: bytes of the body.
        take: counts them as they come.

    Raises:
        RefusedError: it is too large, beside others or alone, too slow, of another type, or not what its type says.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    known = kind in ("application/json", "multipart/form-data", "application/octet-stream") or kind.startswith("image/")
    if not known:
        kinds = "application/json, image/..., application/octet-stream or multipart/form-data"
        raise RefusedError(415, "unsupported_type", f"content type is {kind or 'missing'}; send {kinds}")
    most = min(most, MOST_JSON) if kind == "application/json" else most
    try:
        body = await asyncio.wait_for(read_body(request, most, take), SECONDS)
    except asyncio.TimeoutError:
        raise RefusedError(408, "too_slow", f"the body took more than {SECONDS:.0f} s; send it faster") from None
    except ClientDisconnect:
        raise RefusedError(400, "disconnected", "the client went away before the body was whole") from None
    if kind == "application/json":
        return [(read_drawing(body), "pixels")]
    if kind == "multipart/form-data":
        return await read_form(request.headers, body)
    return [(body, "body")]


async def read_body(request: Request, most: int, take: Take) -> bytes:
    """Read a body, counting its bytes as they come.

    Raises:
        RefusedError: there are too many.
    """
    body = bytearray()
    async for chunk in request.stream():
        take(len(chunk))
        body += chunk
        if len(body) > most:
            raise RefusedError(413, "too_large", f"the body has more than {most:,} bytes; scale the picture down")
    return bytes(body)


def read_drawing(body: bytes) -> np.ndarray:
    """Read `{"pixels": [[...], ...]}` as uint8 [28, 28].

    Raises:
        RefusedError: it is no JSON, or of another shape, or has other values.
    """
    try:
        return np.array(Drawing.model_validate_json(body).pixels, dtype=np.uint8)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "body"
    if first["type"] == "json_invalid":
        raise RefusedError(400, "invalid_json", f"the body is no JSON: {first['msg']}")
    code = "wrong_shape" if first["type"] in ("too_short", "too_long", "list_type") else "wrong_value"
    raise RefusedError(422, code, f"{where}: {first['msg']}; send pixels as 28 rows of 28 whole numbers from 0 to 255")


async def read_form(headers: Mapping[str, str], body: bytes) -> list[NamedPicture]:
    """Read the files of a form.

    Raises:
        RefusedError: it is damaged or has no file.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(Headers(dict(headers)), stream(), max_files=MOST_FILES, max_fields=MOST_FILES)
    parser.spool_max_size = len(body) + 1  # so that no file is put on the disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise RefusedError(400, "invalid_form", f"the form cannot be read: {error}") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise RefusedError(422, "no_file", "the form has no file; send one or more")
    return [(await file.read(), file.filename or "file") for file in files]
