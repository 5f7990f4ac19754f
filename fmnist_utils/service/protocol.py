"""uvicorn's HTTP protocol with deadlines and bounds for connections.

It relies on names that uvicorn keeps to itself: `pyproject.toml` pins its minor version, and
`tests/service/test_protocol.py` asks each of these deadlines of a running service.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from fmnist_utils.service.fairness import Shares
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.schemas import ProblemResponse

_HEAD_BYTES = 65_536
_PIPELINED = 16  # requests that may wait in a connection for the answer to another
_LAST = 0.5  # seconds in which a closed connection must take what was written
_AT_THE_END = 2.0  # seconds to complete a request once the service is told to end
_OTHER_FILES = 64  # that the process may open beside connections
_RESET = struct.pack("ii", 1, 0)  # so that the kernel keeps nothing for who does not read


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which alone would wait for ever, for any number, and keep anything.

    A request must be complete in time from its first byte on, an answer taken in as much from when
    it no longer fits the kernel's buffers; between requests only a new one keeps a connection.

    Attributes
    ----------
    limits : Limits
        Its seconds are the deadlines.
    open, memory : Shares
        Of connections and of bytes in answers not yet taken. A proxy that uvicorn trusts
        (``FORWARDED_ALLOW_IPS``) may open any share of the connections.
    """

    limits: Limits
    open: Shares
    memory: Shares

    def connection_made(self, transport: Any) -> None:
        """Count the connection, and wait for its first request."""
        super().connection_made(transport)
        self._reading = self._in_head = False
        self._n_bytes = self._untaken = 0
        self._stalled: asyncio.TimerHandle | None = None
        self._timer = self.loop.call_later(self.limits.seconds, self._late)
        address = self.client[0] if self.client else None
        self._peer = None if address in self.app.trusted_hosts else address
        self._counted = self.open.take(self._peer)
        if not self._counted:
            self._refuse(503, "Too many connections at once: try again in a second.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what it had."""
        self._timer.cancel()
        self._taken()
        if self._counted:
            self.open.give(self._peer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass what came on, as long as it is not too much for a request."""
        self._n_bytes += len(data)
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head and self._n_bytes > _HEAD_BYTES:
            self._refuse(431, f"The head of a request may have {_HEAD_BYTES:,} bytes.")
        elif self._n_bytes > _HEAD_BYTES + 2 * self.limits.bytes:  # also in odd chunks, or unread
            self._abort()

    def on_message_begin(self) -> None:
        """Begin to wait for a whole request."""
        super().on_message_begin()
        self._reading = self._in_head = True
        self._within(self.limits.seconds, self._late)

    def on_headers_complete(self) -> None:
        """Let a request begin, unless many wait."""
        self._in_head = False
        super().on_headers_complete()
        if len(self.pipeline) > _PIPELINED:
            self._abort()
            raise ValueError("too many requests wait in one connection")  # ends the parsing

    def on_message_complete(self) -> None:
        """Stop waiting."""
        super().on_message_complete()
        self._reading, self._n_bytes = False, 0
        self._timer.cancel()
        if self.cycle.response_complete:  # without the body, which has been passed over
            self._within(self.timeout_keep_alive, self._close)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request; that bytes come, but no request, is no reason."""
        idle = not self._reading and not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            self._within(self.limits.seconds, self._abort)
        elif idle:
            self._within(self.timeout_keep_alive, self._close)

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._reader = (self.cycle.scope["client"] or ("",))[0]
        unread = self.transport.get_write_buffer_size()
        self._untaken = unread if self.memory.take(self._reader, unread) else 0
        seconds = self.limits.seconds if self._untaken else 0
        self._stalled = self.loop.call_later(seconds, self._abort)

    def resume_writing(self) -> None:
        """Stop waiting."""
        super().resume_writing()
        self._taken()

    def shutdown(self) -> None:
        """Answer what has come; of the rest, wait for what comes very soon."""
        super().shutdown()
        if self._reading:
            self._within(_AT_THE_END, self._late)

    def _taken(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
            self.memory.give(self._reader, self._untaken)

    def _within(self, seconds: float, otherwise: Any) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_later(seconds, otherwise)

    def _late(self) -> None:
        seconds = self.limits.seconds
        self._refuse(408, f"The request took longer than {seconds:g} seconds to arrive.")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer in place of the application, if nothing else is being answered; close."""
        cycle = self.cycle
        if cycle is None or not cycle.more_body:
            silent = cycle is None or cycle.response_complete
        else:
            silent = not cycle.response_started and not self.pipeline
        if silent and not self.transport.is_closing():
            after = {"Retry-After": "1"} if status == 503 else {}
            answer = ProblemResponse(status, detail, after | {"Connection": "close"})
            head = b"".join(b"%s: %s\r\n" % pair for pair in answer.raw_headers)
            self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(answer.body))
        self._close()

    def _close(self) -> None:
        self.transport.close()  # once all is written
        self._within(_LAST if self._stalled is None else self.limits.seconds, self._abort)

    def _abort(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


def bounded(limits: Limits, memory: Shares) -> type[BoundedProtocol]:
    """Return the protocol of one service, for uvicorn to make its connections with.

    Parameters
    ----------
    limits : Limits
        Its seconds and connections are kept here; fewer connections where the process may open
        fewer files (``ulimit -n``).
    memory : Shares
        Of bytes; those of bodies are taken from the same.
    """
    n_connections = limits.connections
    with suppress(ImportError):  # Windows has no such limit
        import resource

        openable, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if openable != resource.RLIM_INFINITY:
            n_connections = min(n_connections, openable - _OTHER_FILES)
    kept = {"limits": limits, "open": Shares(n_connections), "memory": memory}
    return type("Protocol", (BoundedProtocol,), kept)
