"""HTTP with clients that take their time, ask too much at once, or never listen to their answers."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MOST_CONNECTIONS = 512  # at once; more are hung up on
SECONDS = 5.0  # that a connection may wait, at least, before its next request has been asked
LEAST_TAKEN = 2**16  # bytes of its answer that a client must take in this time, if so many are left
MOST_HEADERS = 100
MOST_UNFINISHED = 2**16  # bytes of a line of a request's head, or between components of its body
MOST_PIPELINED = 16  # requests asked before the answer to the first
TINY, MOST_TINY = 64, 10_000  # bytes of a component of a body, and components as small as that in a request


class TimeoutProtocol(HttpToolsProtocol):
    """HTTP within bounds of time and memory, where uvicorn would wait and collect for ever."""

    answering: RequestResponseCycle | None = None  # uvicorn knows the last request only, which may not have begun
    unfinished = 0  # bytes received since anything of a request was complete
    unsent = 0  # bytes of an answer that the client had not taken at the last look
    tiny = 0  # components of the body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at the clock."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self.loop.call_later(SECONDS, self.look, self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered."""
        super().connection_lost(exc)
        self.give_up()

    def look(self, before: object) -> None:
        """Hang up if, since the last look, nothing was asked or too little of an answer was taken."""
        if self not in self.connections:  # it is closed
            return
        unsent, waiting = self.transport.get_write_buffer_size(), self.cycle is None or self.cycle.response_complete
        if self.unsent and unsent > self.unsent - LEAST_TAKEN:
            self.hang_up()
        elif not unsent and waiting and self.cycle is before:
            self.transport.close()
        self.unsent = unsent
        self.loop.call_later(SECONDS, self.look, self.cycle if waiting else self)

    def give_up(self) -> None:
        """Let the request that is being answered know that nobody listens."""
        if self.answering:
            self.answering.disconnected = True
            self.answering.message_event.set()

    def hang_up(self) -> None:
        """Close the connection, whatever is still to be sent."""
        self.give_up()
        self.transport.abort()

    def resume_writing(self) -> None:
        """Note that the client has taken almost all there was."""
        super().resume_writing()
        self.unsent = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse what goes on for ever."""
        self.unfinished += len(data)
        super().data_received(data)
        if self.unfinished > MOST_UNFINISHED and not self.transport.is_closing():
            self.send_400_response("Request line, header or chunk too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count headers, and the trailers of a body."""
        super().on_header(name, value)
        self.unfinished = 0
        if len(self.headers) > MOST_HEADERS:
            raise ValueError("too many headers")

    def on_headers_complete(self) -> None:
        """Count requests that wait for their turn."""
        super().on_headers_complete()
        self.unfinished = self.tiny = 0
        if not self.pipeline:
            self.answering = self.cycle
        if len(self.pipeline) > MOST_PIPELINED:
            raise ValueError("too many requests at once")

    def on_response_complete(self) -> None:
        """Go on to the next request that waits."""
        self.answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Count tiny components, each of which costs as much time as a large one."""
        super().on_body(body)
        self.unfinished = 0
        self.tiny += len(body) < TINY
        if self.tiny > MOST_TINY:
            raise ValueError("too many tiny components")

    def on_message_complete(self) -> None:
        """Note that a request is whole."""
        super().on_message_complete()
        self.unfinished = 0

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP and hang up, at once where another answer would have to come first."""
        if self.answering and (self.answering.response_started or self.answering is not self.cycle):
            self.hang_up()
            return
        if self.answering:  # its body is not HTTP; it will count itself as disconnected
            self.give_up()
        else:
            self.app_state["metrics"].count("other", 400, "invalid_http")
        super().send_400_response(msg)
