"""What every request to the service gets: a number, a line in the log and the metrics, limits."""

import asyncio
import json
import logging
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("fmnist.requests")
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for.

    Parameters
    ----------
    body_bytes : int
        Of a request, whatever it holds.
    pixels : int
        Of a photo, width times height.
    files : int
        Photos, or arrays of pixels, in a request.
    seconds : float
        For a client to send its request.
    waiting : int
        Requests at work at once; more are turned away, to come back.
    """

    body_bytes: int = 20_000_000
    pixels: int = 50_000_000
    files: int = 32
    seconds: float = 30.0
    waiting: int = 256


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        started, status = time.perf_counter(), 500

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        self.metrics.waiting.inc()
        try:
            await self.app(scope, self._bounded(scope, receive), numbered)
        finally:
            self.metrics.waiting.dec()
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

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Return a way to receive the body that ends where it is too large or too slow."""
        loop = asyncio.get_running_loop()
        deadline, received = loop.time() + self.limits.seconds, 0

        async def bounded() -> Message:
            nonlocal received
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408, f"The request took longer than {self.limits.seconds:g} seconds to arrive."
                ) from error
            received += len(message.get("body", b""))
            if received > self.limits.body_bytes:
                raise HTTPException(
                    413, f"A request may hold {self.limits.body_bytes:,} bytes; this one has more."
                )
            return message

        return bounded


def problem(status: int, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """Return an error as RFC 9457 has it, the content of ``application/problem+json``."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
