"""Middleware around the application: concurrency limit, metrics, HEAD requests and security headers."""

import asyncio
import time
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnist_cnn.serving.service import Metrics

MAX_CONCURRENT = 256  # requests; others get 503
RETRY_SECONDS = "5"  # Retry-After of a 503
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def problem_response(
    request: Request, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Build a `schemas.Problem` response; the middleware counts it under its code."""
    request.state.code = code
    retry = {"retry-after": RETRY_SECONDS} if status == 503 else {}
    return JSONResponse({"code": code, "message": message}, status, {**retry, **(headers or {})})


class LimitMiddleware:
    """Limits concurrent requests, counts and times them, answers HEAD as GET without a body, adds security headers."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: set[str]) -> None:
        """Wrap an application; the `known` paths are counted by name."""
        self.app, self.metrics, self.known = app, metrics, known
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn, which has the original, drops the body
        start, path = time.perf_counter(), scope["path"] if scope["path"] in self.known else "other"
        request, started = Request(scope), False

        async def send_counted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self.metrics.count(path, message["status"], getattr(request.state, "code", "refused"))
                self.metrics.seconds.labels(path).observe(time.perf_counter() - start)
                docs = scope["path"].startswith("/docs")
                message["headers"] += [
                    (b"content-security-policy", POLICY.format(" 'unsafe-inline'" if docs else "").encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-opener-policy", b"same-origin"),
                ]
            await send(message)

        self.active += 1
        try:
            if self.active > MAX_CONCURRENT:
                message = f"{MAX_CONCURRENT} requests are being answered; try again later"
                busy = problem_response(request, 503, "busy", message)
                await busy(scope, receive, send_counted)
            else:
                await self.app(scope, receive, send_counted)
        except asyncio.CancelledError:
            if not started:
                stopping = problem_response(request, 503, "stopping", "the service stops; try again later")
                await stopping(scope, receive, send_counted)
        except Exception:
            if not started:
                broken = problem_response(request, 500, "server_error", "the service failed; its log says why")
                await broken(scope, receive, send_counted)
            raise
        finally:
            self.active -= 1
