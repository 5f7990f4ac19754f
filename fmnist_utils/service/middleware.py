"""What every request to the service gets: a number, a line in the log and the metrics, limits."""

import asyncio
import json
import logging
import random
import re
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from fmnist_utils.service.limits import Limits

LOG = logging.getLogger("fmnist.requests")
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Metrics:
    """What Prometheus collects, in a registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fmnist_requests", "Requests answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "fmnist_request_seconds",
            "From the head of a request to its end",
            ["path"],
            registry=self.registry,
        )
        self.waiting = Gauge("fmnist_requests_at_work", "Not yet answered", registry=self.registry)
        self.answers = Counter(
            "fmnist_answers", "What was answered", ["answer"], registry=self.registry
        )


class Observed:
    """An application within limits, whose every request is logged, counted and timed.

    Parameters
    ----------
    app : ASGI application
        It turns the HTTP exceptions raised here (408, 413, 503) into answers.
    limits : Limits
        Of body size and time are kept here.
    metrics : Metrics
        That count.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, metrics: Metrics) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.at_work = 0
        metrics.waiting.set_function(lambda: self.at_work)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        started, status, begun = time.perf_counter(), 500, False

        async def numbered(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        crowded = self.at_work >= self.limits.waiting
        self.at_work += 1
        try:
            await self.app(scope, self._bounded(receive, crowded=crowded), numbered)
        except ClientDisconnect:
            status = 499  # nobody is there to be answered
        except Exception:
            LOG.exception(json.dumps({"event": "failure", "request_id": request_id}))
            if begun:
                raise
            content = problem(500, "Internal Server Error", "It failed; the log tells why.")
            answer = JSONResponse(content, 500, media_type="application/problem+json")
            await answer(scope, receive, numbered)
        finally:
            self.at_work -= 1
            seconds = time.perf_counter() - started
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            LOG.info(
                json.dumps(
                    {
                        "request_id": request_id,
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "milliseconds": round(1000 * seconds, 1),
                    }
                )
            )

    def _bounded(self, receive: Receive, *, crowded: bool) -> Receive:
        """Return a way to receive the body that ends where it is too large, too slow, one more."""
        loop = asyncio.get_running_loop()
        deadline, received = loop.time() + self.limits.seconds, 0

        async def bounded() -> Message:
            nonlocal received
            if crowded:
                raise HTTPException(
                    503, "Too many requests at once: try again in a second.", {"Retry-After": "1"}
                )
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408,
                    f"The request took longer than {self.limits.seconds:g} seconds to arrive.",
                    {"Connection": "close"},
                ) from error
            received += len(message.get("body", b""))
            if received > self.limits.bytes:
                raise HTTPException(
                    413,
                    f"A request may hold {self.limits.bytes:,} bytes; this one has more.",
                    {"Connection": "close"},
                )
            return message

        return bounded


class Impatient(HttpToolsProtocol):
    """uvicorn's protocol, which alone would wait for a request's head for ever, of any size.

    Attributes
    ----------
    seconds : float
        In which a head must arrive; a connection that asks nothing is closed after as many.
    """

    seconds = 30.0
    _HEAD_BYTES = 65_536

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
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
            if self._n_bytes > self._HEAD_BYTES:
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


def problem(status: int, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """Return an error as RFC 9457 has it, the content of ``application/problem+json``."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
