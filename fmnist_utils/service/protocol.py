"""uvicorn's HTTP protocol with a deadline and a bound for a request's head."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_HEAD_BYTES = 65_536


class BoundedHeadProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which alone would wait for a request's head for ever, of any size.

    A head that takes too long is answered 408, one that is too large 431; the connection is closed.

    Attributes
    ----------
    seconds : float
        In which a head must arrive; a connection that asks nothing is closed after as many.
    """

    seconds = 30.0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass what came on, and count it as long as the head is not complete."""
        super().data_received(data)
        if self._timer is not None:
            self._n_bytes += len(data)
            if self._n_bytes > _HEAD_BYTES:
                self._refuse(431)

    def on_message_begin(self) -> None:
        """Wait for the head of the connection's next request."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Stop waiting."""
        self._head_arrived()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_arrived()
        self._n_bytes = 0
        self._timer = self.loop.call_later(self.seconds, self._refuse, 408)

    def _head_arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _refuse(self, status: int) -> None:
        self._head_arrived()
        if not self.transport.is_closing():
            end = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + end)
            self.transport.close()
