"""Middleware around the application: concurrency limit, metrics, HEAD requests and security headers."""

import asyncio
import json
import re
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnist_cnn.serving.service import Metrics

MAX_CONCURRENT = 256  # requests; others get 503
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
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


def request_id(request: Request) -> str:
    """Return the id that a proxy gave a request, if it is a plain one, or a new one."""
    given = request.headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def log(request: Request, method: str, number: str, status: int | None, seconds: float) -> None:
    """Write a line of JSON to stderr; the status is null if the client left before its response."""
    line = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "id": number,
        "client": request.client.host if request.client else None,
        "method": method,
        "path": request.scope["raw_path"].decode("latin-1"),
        "status": status,
        "milliseconds": round(1000 * seconds, 1),
    }
    sys.stderr.write(f"{json.dumps(line)}\n")  # one call: lines of several processes stay whole
    sys.stderr.flush()


class LimitMiddleware:
    """Limits, counts, times and logs requests, answers HEAD as GET without a body, adds an id and security headers."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: set[str], access_log: bool) -> None:
        """Wrap an application; the `known` paths are counted by name."""
        self.app, self.metrics, self.known, self.access_log = app, metrics, known, access_log
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn, which has the original, drops the body
        start, path = time.perf_counter(), scope["path"] if scope["path"] in self.known else "other"
        request, status = Request(scope), None
        number = request_id(request)

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self.metrics.count(path, status, getattr(request.state, "code", "refused"))
                self.metrics.seconds.labels(path).observe(time.perf_counter() - start)
                docs = scope["path"].startswith("/docs")
                message["headers"] += [
                    (b"x-request-id", number.encode()),
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
            if status is None:
                stopping = problem_response(request, 503, "stopping", "the service stops; try again later")
                await stopping(scope, receive, send_counted)
        except Exception:
            if status is None:
                broken = problem_response(request, 500, "server_error", "the service failed; its log says why")
                await broken(scope, receive, send_counted)
            raise
        finally:
            self.active -= 1
            if self.access_log:
                log(request, method, number, status, time.perf_counter() - start)
