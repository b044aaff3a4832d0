"""The REST service and its web page: pictures in, digits out, over HTTP."""

import importlib.metadata
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from tyro.conf import arg

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_model import PACKAGED
from mnist_cnn.picture_files import tell_which_model
from mnist_cnn.serving import schemas
from mnist_cnn.serving.middleware import LimitMiddleware, problem_response
from mnist_cnn.serving.processes import MAX_WORKERS, listen, serve, serve_in_workers
from mnist_cnn.serving.request_body import RefusedError
from mnist_cnn.serving.schemas import BODY, PIXELS, PROBLEMS, TAGS, GradientQuery, ModelInfo, ReadQuery
from mnist_cnn.serving.service import Service
from mnist_cnn.serving.static_page import WEB

API = "/api/v1"


Images = Annotated[bool, Query(description="whether each digit gets `image`, the 28x28 input of the network")]


def create_app(
    classifier: Classifier, max_body: int = 10_000_000, allow_origin: Sequence[str] = (), access_log: bool = False
) -> FastAPI:
    """Build the application.

    Args:
        classifier: reads the pictures.
        max_body: largest request body, in bytes.
        allow_origin: origins whose pages may send requests (CORS).
        access_log: whether each request gets a line on stderr.
    """
    service = Service(classifier, max_body)
    app = FastAPI(
        title="MNIST CNN Classifier",
        version=importlib.metadata.version("mnist-cnn"),
        openapi_tags=TAGS,
        responses={status: schemas.PROBLEMS[status] for status in (400, 503)},
        docs_url=None,
        redoc_url=None,
        lifespan=service.lifespan,
    )
    add_error_handlers(app)
    add_api(app, service)
    add_pages(app)
    known = {
        "/",
        "/docs",
        f"{API}/predict",
        f"{API}/read",
        f"{API}/explain",
        f"{API}/features",
        f"{API}/filter",
        f"{API}/gradient",
        f"{API}/last_layer",
        f"{API}/model",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    if allow_origin:
        app.add_middleware(CORSMiddleware, allow_origins=list(allow_origin), allow_methods=["GET", "HEAD", "POST"])
    app.add_middleware(LimitMiddleware, metrics=service.metrics, known=known, access_log=access_log)
    return app


def load_app(checkpoint: Path, max_body: int, allow_origin: Sequence[str], access_log: bool) -> FastAPI:
    """Load a model and build the application, in a worker."""
    return create_app(Classifier.load(checkpoint), max_body, allow_origin, access_log)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with a `schemas.Problem`."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return problem_response(request, error.status, error.code, error.message)

    @app.exception_handler(InputError)
    async def wrong(request: Request, error: InputError) -> JSONResponse:
        return problem_response(request, 422, "wrong_value", str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem_response(request, 422, "wrong_value", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "refused")
        message = f"{request.method} {request.url.path}: {error.detail}; see /docs"
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return problem_response(request, error.status_code, code, message, headers)


def add_api(app: FastAPI, service: Service) -> None:
    """Add the endpoints of version 1, and those for monitoring."""
    reading: dict[str, Any] = {
        "response_model": schemas.Response,
        "responses": PROBLEMS,
        "openapi_extra": BODY,
        "tags": ["reading"],
    }

    @app.post(f"{API}/predict", **reading)
    async def predict(request: Request, images: Images = False) -> JSONResponse:
        """Read one digit of each picture.

        A file of a form that cannot be read gets its `error`, and the others are answered; if none can be read, the
        response is the first error.
        """
        return JSONResponse(await service.answer(request, False, images))

    @app.post(f"{API}/read", **reading)
    async def read(request: Request, query: Annotated[ReadQuery, Query()]) -> JSONResponse:
        """Read every digit of each picture, in reading order.

        The parameters say what is known of the numbers. With `length`, `among`, `at_least` or `alternatives` each line
        is one number, the most probable one that agrees; if none does, the line is read without, and its digits are
        not confident. Errors are as in `predict`.
        """
        return JSONResponse(await service.answer(request, True, query.images, query.constraint()))

    @app.post(f"{API}/explain", **reading | {"response_model": schemas.Explanation, "openapi_extra": PIXELS})
    async def explain(
        request: Request, digit: Annotated[int, Query(ge=0, description="index of the class to explain")]
    ) -> JSONResponse:
        """Show what the network does with 28x28 pixels, and which of them speak for a class and against it.

        The pixels are JSON, as `image` of `predict` has them; `digit` is the index of the class.
        """
        return JSONResponse(await service.explain(request, digit))

    @app.post(f"{API}/features", **reading | {"response_model": schemas.Features, "openapi_extra": schemas.IMAGES})
    async def features(request: Request) -> JSONResponse:
        """Compute what the last layer gets of 28x28 images, for another last layer to be learned."""
        return JSONResponse(await service.features(request))

    @app.post(f"{API}/gradient", **reading | {"response_model": schemas.Gradient, "openapi_extra": PIXELS})
    async def gradient(request: Request, query: Annotated[GradientQuery, Query()]) -> JSONResponse:
        """Compute by how much each of 28x28 pixels raises a class against another, or a feature map."""
        return JSONResponse(await service.gradient(request, *query.weights()))

    @app.get(f"{API}/last_layer", tags=["model"], responses={422: PROBLEMS[422]})
    async def last_layer() -> schemas.LastLayer:
        """Return the parameters of the last layer."""
        return schemas.LastLayer(**service.last_layer())

    @app.get(f"{API}/filter", tags=["model"], responses={422: PROBLEMS[422]})
    async def show_filter(
        layer: Annotated[int, Query(ge=0, description="index of the layer")],
        channel: Annotated[int, Query(ge=0, description="index of its feature map")],
    ) -> schemas.Filter:
        """Return the filter that makes a feature map."""
        return schemas.Filter(**service.filter(layer, channel))

    @app.get(f"{API}/model", tags=["model"])
    async def model() -> ModelInfo:
        """Describe the loaded model."""
        return service.model

    @app.get("/healthz", tags=["monitoring"])
    async def live() -> dict[str, str]:
        """Tell that the process lives."""
        return {"status": "live"}

    @app.get("/readyz", tags=["monitoring"])
    async def ready() -> dict[str, str]:
        """Tell that the model is loaded."""
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse, tags=["monitoring"])
    async def metrics() -> Response:
        """Export counters and latencies in Prometheus' text format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def add_pages(app: FastAPI) -> None:
    """Add the drawing page and the documentation page, with their files."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(WEB / "docs.html")

    app.mount("/docs/ui", StaticFiles(packages=[("fastapi_offline", "static")]))
    app.mount("/web", StaticFiles(directory=WEB))


def command(
    host: str = "127.0.0.1",
    port: int = 8000,
    checkpoint: Annotated[Path, arg(help_behavior_hint="(default: the one that ships)")] = PACKAGED,
    max_body: int = 10_000_000,
    allow_origin: Annotated[tuple[str, ...], arg(metavar="ORIGIN...", help_behavior_hint="(default: none)")] = (),
    workers: int = 1,
    access_log: bool = False,
) -> None:
    """Serve the page to draw digits on, and the REST service behind it, until Ctrl-C.

    Args:
        host: Address to listen on; 0.0.0.0 lets other computers in.
        port: Port to listen on, 0 for any that is free.
        checkpoint: The model, .onnx or .pth.
        max_body: Bytes that a request may have.
        allow_origin: Origins whose web pages may ask, such as https://school.example.
        workers: Processes that share the port.
        access_log: Write a line of JSON per request to stderr, with the id that its response has as X-Request-Id.
    """
    if max_body < 1:
        raise InputError(f"--max-body is {max_body}; it must be 1 or more")
    if not 1 <= workers <= MAX_WORKERS:
        raise InputError(f"--workers is {workers}; it must be 1 to {MAX_WORKERS}")
    classifier = Classifier.load(checkpoint)
    tell_which_model(checkpoint)
    with listen(host, port) as listening:
        address = f"http://{host}:{listening.getsockname()[1]}"
        if workers == 1:
            serve(create_app(classifier, max_body, allow_origin, access_log), listening, address)
        else:
            load = partial(load_app, checkpoint, max_body, allow_origin, access_log)
            serve_in_workers(load, listening, address, workers)


def main(argv: Sequence[str] | None = None, prog: str = "app.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
