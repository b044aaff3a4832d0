"""What stands between clients and the service: how many at once, how long they may take, what browsers are told."""

import asyncio
import time

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnist_cnn.serving.service import Metrics

AT_ONCE = 256  # requests; more get 503
RETRY_SECONDS = "5"  # after which to try again, for who got 503
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def problem(request: Request, status: int, code: str, message: str) -> JSONResponse:
    """Say as JSON what is wrong; the gatekeeper counts it under its code."""
    request.state.code = code
    headers = {"retry-after": RETRY_SECONDS} if status == 503 else None
    return JSONResponse({"code": code, "message": message}, status, headers)


class LimitMiddleware:
    """Turns requests away when there are too many, counts and times them, and adds headers that keep browsers safe."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: set[str]) -> None:
        """Keep the application, and the paths that are pluralize by name."""
        self.app, self.metrics, self.known = app, metrics, known
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, path = time.perf_counter(), scope["path"] if scope["path"] in self.known else "other"
        request, started = Request(scope), False

        async def watched(message: Message) -> None:
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

        self.inside += 1
        try:
            if self.inside > AT_ONCE:
                busy = problem(request, 503, "busy", f"{AT_ONCE} requests are being answered; try again later")
                await busy(scope, receive, watched)
            else:
                await self.app(scope, receive, watched)
        except asyncio.CancelledError:
            if not started:
                stopping = problem(request, 503, "stopping", "the service stops; try again later")
                await stopping(scope, receive, watched)
        except Exception:
            if not started:
                broken = problem(request, 500, "server_error", "the service failed; its log says why")
                await broken(scope, receive, watched)
            raise
        finally:
            self.inside -= 1
