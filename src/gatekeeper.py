"""What stands between clients and the service: how many at once, how long they may take, what browsers are told."""

import asyncio
import time

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mnist_cnn.service import Metrics

AT_ONCE = 256  # requests; more get 503
HEAD_SECONDS = 5.0  # that a connection may wait, at least, before its next request has been asked
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def problem(status: int, code: str, message: str) -> JSONResponse:
    """Say as JSON what is wrong."""
    return JSONResponse({"code": code, "message": message}, status)


class PatientProtocol(HttpToolsProtocol):
    """HTTP that hangs up on clients that connect and never finish asking: uvicorn would wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at the clock."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self.look, self.cycle)

    def look(self, before: object) -> None:
        """Close the connection if it waits for a request's head as it did at the last look."""
        waiting = self.cycle is None or self.cycle.response_complete
        if self.transport.is_closing():
            return
        if waiting and self.cycle is before:
            self.transport.close()
        else:
            self.loop.call_later(HEAD_SECONDS, self.look, self.cycle if waiting else self)


class Gatekeeper:
    """Turns requests away when there are too many, counts and times them, and adds headers that keep browsers safe."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: set[str]) -> None:
        """Keep the application, and the paths that are counted by name."""
        self.app, self.metrics, self.known = app, metrics, known
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, path = time.perf_counter(), scope["path"] if scope["path"] in self.known else "other"

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(path, str(message["status"])).inc()
                self.metrics.seconds.labels(path).observe(time.perf_counter() - start)
                docs = scope["path"].startswith("/docs")
                message["headers"] += [
                    (b"content-security-policy", POLICY.format(" 'unsafe-inline'" if docs else "").encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-opener-policy", b"same-origin"),
                ]
            await send(message)

        self.inside += 1
        try:
            if self.inside > AT_ONCE:
                busy = problem(503, "busy", f"{AT_ONCE} requests are being answered; try again later")
                await busy(scope, receive, watched)
            else:
                await self.app(scope, receive, watched)
        finally:
            self.inside -= 1
