"""Timeouts and limits of a connection, against slow and greedy clients (slowloris, slow read, endless pipelining)."""

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_CONNECTIONS = 512  # others are closed at once
INTERVAL = 5.0  # seconds between checks of a connection, and so the least time for its next request
MIN_READ = 2**16  # bytes of a response that a client must read in an interval, if as many are left
MAX_HEADERS = 100
MAX_UNPARSED = 2**16  # bytes of one header line, or between chunks of a body
MAX_PIPELINED = 16  # requests before the response to the first
TINY, MAX_TINY = 64, 10_000  # bytes of a tiny chunk, and such chunks in a request


class TimeoutProtocol(HttpToolsProtocol):
    """HTTP/1.1 in bounded time and memory, where uvicorn waits and buffers without limit."""

    answering: RequestResponseCycle | None = None  # uvicorn's `cycle` is the last request, which may still be queued
    unparsed = 0  # bytes received since a header, chunk or message was complete
    unsent = 0  # bytes of a response in the write buffer at the last check
    tiny = 0  # chunks of the body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self.loop.call_later(INTERVAL, self.check, self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request that is being answered."""
        super().connection_lost(exc)
        self.cancel_request()

    def check(self, before: object) -> None:
        """Close the connection if, since the last check, it was idle or read too little of a response."""
        if self not in self.connections:  # closed
            return
        unsent, idle = self.transport.get_write_buffer_size(), self.cycle is None or self.cycle.response_complete
        if self.unsent and unsent > self.unsent - MIN_READ:
            self.abort()
        elif not unsent and idle and self.cycle is before:
            self.transport.close()
        self.unsent = unsent
        self.loop.call_later(INTERVAL, self.check, self.cycle if idle else self)

    def cancel_request(self) -> None:
        """Mark the request that is being answered as disconnected."""
        if self.answering:
            self.answering.disconnected = True
            self.answering.message_event.set()

    def abort(self) -> None:
        """Close the connection and drop its write buffer."""
        self.cancel_request()
        self.transport.abort()

    def resume_writing(self) -> None:
        """Note that the write buffer is nearly empty."""
        super().resume_writing()
        self.unsent = 0

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; refuse a line or chunk without an end."""
        self.unparsed += len(data)
        super().data_received(data)
        if self.unparsed > MAX_UNPARSED and not self.transport.is_closing():
            self.send_400_response("the request line, a header or a chunk is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count headers, and the trailers of a body."""
        super().on_header(name, value)
        self.unparsed = 0
        if len(self.headers) > MAX_HEADERS:
            raise ValueError("too many headers")

    def on_headers_complete(self) -> None:
        """Count pipelined requests."""
        super().on_headers_complete()
        self.unparsed = self.tiny = 0
        if not self.pipeline:
            self.answering = self.cycle
        if len(self.pipeline) > MAX_PIPELINED:
            raise ValueError("too many requests at once")

    def on_response_complete(self) -> None:
        """Continue with the next pipelined request."""
        self.answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Count tiny chunks, each of which takes as much time as a large one."""
        super().on_body(body)
        self.unparsed = 0
        self.tiny += len(body) < TINY
        if self.tiny > MAX_TINY:
            raise ValueError("too many tiny chunks")

    def on_message_complete(self) -> None:
        """Note that a request is complete."""
        super().on_message_complete()
        self.unparsed = 0

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a `schemas.Problem`, unless another response would come first, and hang up."""
        if self.answering and (self.answering.response_started or self.answering is not self.cycle):
            self.abort()
            return
        if self.answering:  # its body is invalid; it counts itself as disconnected
            self.cancel_request()
        else:
            self.app_state["metrics"].count("other", 400, "invalid_http")
        body = json.dumps({"code": "invalid_http", "message": msg})
        head = "content-type: application/json", f"content-length: {len(body)}", "connection: close"
        self.transport.write("\r\n".join(("HTTP/1.1 400 Bad Request", *head, "", body)).encode())
        self.transport.close()
