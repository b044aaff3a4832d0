"""The web page and the REST service: pictures in, digits out, over HTTP."""

import gc
import importlib.metadata
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from tyro.conf import arg

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.signals import exit_immediately, signal_handler
from mnist_cnn.models.onnx_model import PACKAGED
from mnist_cnn.serving.middleware import LimitMiddleware, problem
from mnist_cnn.serving.request_body import Drawing, RefusedError
from mnist_cnn.serving.schemas import Answer, Answers, Card, Problem
from mnist_cnn.serving.service import Service
from mnist_cnn.serving.static_page import WEB
from mnist_cnn.serving.timeouts import TimeoutProtocol

STOPPING = 10  # seconds for what has been accepted to be answered


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 405, 408, 413, 415, 422, 503)
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": Drawing.model_json_schema(),
                "example": {
                    "pixels": [[255 if 12 < x < 16 and 4 < y < 24 else 0 for x in range(28)] for y in range(28)]
                },
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": ["file"],
                }
            },
        },
    }
}


def create_app(checkpoint: Path = PACKAGED, most: int = 10_000_000, allow_origin: Sequence[str] = ()) -> FastAPI:
    """Build the application.

    Args:
        checkpoint: the model.
        most: bytes of a request's body.
        allow_origin: web pages of which other origins may ask.
    """
    service = Service(checkpoint, most)
    version = importlib.metadata.version("mnist-cnn")
    app = FastAPI(
        title="MNIST CNN Classifier", version=version, docs_url=None, redoc_url=None, lifespan=service.running
    )

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return problem(request, error.status, error.code, error.message)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(request, 422, "wrong_value", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "refused")
        return problem(
            request, error.status_code, code, f"{request.method} {request.url.path}: {error.detail}; see /docs"
        )

    @app.post("/api/predict", response_model=Answer | Answers, responses=PROBLEMS, openapi_extra=BODY)
    async def predict(request: Request, several: bool = False, images: bool = False) -> Response:
        """Read the digit, or with `several=true` all digits, of a picture; with `images=true` show what was seen."""
        return JSONResponse(await service.predict(request, several, images))

    @app.get("/api/model", responses={503: {"model": Problem}})
    async def model() -> Card:
        """Tell which model is loaded."""
        return service.ready()[1]

    @app.get("/healthz")
    async def live() -> dict[str, str]:
        """Tell that the process lives."""
        return {"status": "live"}

    @app.get("/readyz", responses={503: {"model": Problem}})
    async def ready() -> dict[str, str]:
        """Tell that the model is loaded."""
        service.ready()
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Count and time in Prometheus' format."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(WEB / "docs.html")

    app.mount("/docs/ui", StaticFiles(packages=[("fastapi_offline", "static")]))
    app.mount("/web", StaticFiles(directory=WEB))
    known = {"/", "/docs", "/api/predict", "/api/model", "/healthz", "/readyz", "/metrics"}
    if allow_origin:
        app.add_middleware(CORSMiddleware, allow_origins=list(allow_origin), allow_methods=["GET", "POST"])
    app.add_middleware(LimitMiddleware, metrics=service.metrics, known=known)
    return app


class Server(uvicorn.Server):
    """Ends with code 0 when a signal comes and what was accepted is answered; at once when another comes."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal."""
        if self.should_exit:
            exit_immediately(sig, frame)
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises:
        InputError: it is taken or not allowed.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"--port is {port}; it must be 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise InputError(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from None


def command(
    host: str = "127.0.0.1",
    port: int = 8000,
    checkpoint: Annotated[Path, arg(help_behavior_hint="(default: the one that ships)")] = PACKAGED,
    max_body: int = 10_000_000,
    allow_origin: Annotated[tuple[str, ...], arg(metavar="ORIGIN...", help_behavior_hint="(default: none)")] = (),
) -> None:
    """Serve the page to draw digits on, and the REST service behind it, until Ctrl-C.

    Args:
        host: Address to listen on; 0.0.0.0 lets other computers in.
        port: Port to listen on, 0 for any that is free.
        checkpoint: The model, .onnx or .pth.
        max_body: Bytes that a request may have.
        allow_origin: Origins whose web pages may ask, such as https://school.example.
    """
    if max_body < 1:
        raise InputError(f"--max-body is {max_body}; it must be 1 or more")
    Classifier.load(checkpoint)
    with listen(host, port) as listening:
        app = create_app(checkpoint, max_body, allow_origin)
        config = uvicorn.Config(
            app,
            log_level="error",  # not a line for each client that sends nonsense
            http=TimeoutProtocol,
            ws="none",
            timeout_graceful_shutdown=STOPPING,
            server_header=False,
        )
        logging.getLogger("python_multipart").setLevel(logging.ERROR)
        gc.freeze()  # what is loaded by now lives for ever: looking through it again would hold requests up
        server = Server(config)
        with signal_handler(server.handle_exit):
            print(f"http://{host}:{listening.getsockname()[1]} (Ctrl-C stops)", flush=True)
            server.run(sockets=[listening])


def main(argv: Sequence[str] | None = None, prog: str = "app.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
