"""Parses request bodies into pictures, in bounded memory and time; nothing touches the disk."""

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

MAX_FILES = 50  # in one request
TIMEOUT = 10.0  # seconds for the whole body
MEMORY_LIMIT = 100_000_000  # bytes of all bodies together
ALWAYS_ALLOWED = 2**16  # bytes of a body beyond that limit: drawings are answered beside large uploads
MAX_JSON = 200_000  # bytes of a drawing, which has about 3,000

Reserve = Callable[[int], None]

Grey = Annotated[int, Field(strict=True, ge=0, le=255)]
Row = Annotated[list[Grey], Len(SIDE, SIDE)]


class Drawing(BaseModel):
    """A 28x28 grey image, rows of 0 to 255."""

    model_config = ConfigDict(extra="forbid")

    pixels: Annotated[list[Row], Len(SIDE, SIDE)]


class RefusedError(Exception):
    """An error response: HTTP status, stable code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Set all three."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class MemoryBudget:
    """Limits the bytes of all request bodies in memory."""

    def __init__(self) -> None:
        """Start empty."""
        self.used = 0

    @contextmanager
    def reserve(self) -> Iterator[Reserve]:
        """Yield a function that reserves bytes for one body until the end, or raises a RefusedError."""
        own = 0

        def reserve(count: int) -> None:
            nonlocal own
            if self.used + count > MEMORY_LIMIT and own + count > ALWAYS_ALLOWED:
                in_use = f"{MEMORY_LIMIT >> 20} MiB of uploads are being answered"
                raise RefusedError(503, "busy", f"{in_use}; try again later")
            self.used += count
            own += count

        try:
            yield reserve
        finally:
            self.used -= own


async def read_pictures(request: Request, max_body: int, reserve: Reserve) -> list[NamedPicture]:
    """Read the pictures of a request, each with its name: a JSON drawing, a picture's bytes, or a form with files.

    Args:
        request: its body has not been read.
        max_body: largest body, in bytes.
        reserve: reserves memory for bytes as they arrive.

    Raises:
        RefusedError: it is too large, beside others or alone, too slow, of another type, or not what its type says.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    known = ("application/json", "multipart/form-data", "application/octet-stream", "application/pdf")
    if kind not in known and not kind.startswith("image/"):
        kinds = "application/json, image/..., application/pdf, application/octet-stream or multipart/form-data"
        raise RefusedError(415, "unsupported_type", f"content type is {kind or 'missing'}; send {kinds}")
    max_body = min(max_body, MAX_JSON) if kind == "application/json" else max_body
    try:
        body = await asyncio.wait_for(read_body(request, max_body, reserve), TIMEOUT)
    except asyncio.TimeoutError:
        raise RefusedError(408, "too_slow", f"the body took more than {TIMEOUT:.0f} s; send it faster") from None
    except ClientDisconnect:
        raise RefusedError(400, "disconnected", "the client disconnected before the body was complete") from None
    if kind == "application/json":
        return [(read_drawing(body), "pixels")]
    if kind == "multipart/form-data":
        return await read_form(request.headers, body)
    return [(body, "body")]


async def read_body(request: Request, max_body: int, reserve: Reserve) -> bytes:
    """Read a body chunk by chunk.

    Raises:
        RefusedError: there are too many.
    """
    body = bytearray()
    async for chunk in request.stream():
        reserve(len(chunk))
        body += chunk
        if len(body) > max_body:
            raise RefusedError(413, "too_large", f"the body has more than {max_body:,} bytes; scale the picture down")
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

    parser = MultiPartParser(Headers(dict(headers)), stream(), max_files=MAX_FILES, max_fields=MAX_FILES)
    parser.spool_max_size = len(body) + 1  # so that no file is put on the disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise RefusedError(400, "invalid_form", f"the form cannot be read: {error}") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise RefusedError(422, "no_file", "the form has no file; send one or more")
    return [(await file.read(), file.filename or "file") for file in files]
