"""What every request gets: limits of size, time and number, a line in the log, the metrics."""

import asyncio
import json
import logging
import math
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fmnist_utils.service.fairness import ADDRESS, Shares
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.schemas import ProblemResponse

LOG = logging.getLogger("fmnist.requests")
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_NOW = -math.inf
_GONE = 499  # nobody is there to be answered
_AGAIN, _RETRY = "try again in a second.", {"Retry-After": "1"}
_LATE = 503, f"There was no time for an answer: {_AGAIN}", _RETRY
_FAILED = 500, "It failed; the log tells why."
# Unless an answer has its own: nothing of ours is run, framed or taken for something else.
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Metrics:
    """What Prometheus collects, in a registry of its own."""

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


class RequestMiddleware:
    """An application whose every request has a number and limits, is logged, counted and timed.

    A request's number is its header ``X-Request-ID``, where that is short and plain, or a random
    one; the answer bears it. A failure is logged with it and answered 500, without its reason. Work
    ends with its deadline, or when nobody waits for it any more.

    Parameters
    ----------
    app : ASGI application
        It turns the HTTP exceptions raised here (413, 503) into answers.
    limits : Limits
        Those of bytes, seconds and requests waiting are kept here.
    metrics : Metrics
        They count.
    memory : Shares
        Of the bytes of all bodies at once.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, metrics: Metrics, memory: Shares) -> None:
        self.app, self.limits, self.metrics, self.memory = app, limits, metrics, memory
        self.at_work, self.requests = 0, Shares(limits.waiting)
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
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        self.at_work += 1
        try:
            # As long to arrive, which the server may watch too, as to be answered.
            async with asyncio.timeout(2 * self.limits.seconds) as limit:
                with self._body(scope, receive, limit) as body:
                    await self.app(scope, body, numbered)
        except ClientDisconnect:
            status = _GONE
        except Exception:
            late = limit.expired()
            if late and limit.when() == _NOW:
                status = _GONE
            else:
                if not late:
                    LOG.exception(json.dumps({"event": "failure", "request_id": request_id}))
                if begun:
                    raise
                answer = ProblemResponse(*(_LATE if late else _FAILED))
                await answer(scope, receive, numbered)
        finally:
            self.at_work -= 1
            self._observe(scope, request_id, status, time.perf_counter() - started)

    def _observe(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """Count and log a request that has ended."""
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, status).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        line = {
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
        }
        LOG.info(json.dumps(line))

    @contextmanager
    def _body(self, scope: Scope, receive: Receive, limit: asyncio.Timeout) -> Iterator[Receive]:
        """Give a way to receive the body that ends where there is no room for it.

        Once it is whole, the limit is set to now as soon as the client has gone.
        """
        client = (scope.get("client") or ("",))[0]
        ADDRESS.set(client)
        admitted, received, watch = self.requests.take(client), 0, None

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not limit.expired():
                limit.reschedule(_NOW)

        async def body() -> Message:
            nonlocal received, watch
            if not admitted:
                raise HTTPException(503, f"Too many requests at once: {_AGAIN}", _RETRY)
            message = await receive()
            size = len(message.get("body", b""))
            if received + size > self.limits.bytes:
                most = f"{self.limits.bytes:,} bytes"
                raise HTTPException(413, f"A request may hold {most}; this one has more.")
            if not self.memory.take(client, size):
                raise HTTPException(503, f"Too much was sent at once: {_AGAIN}", _RETRY)
            received += size
            if message["type"] == "http.request" and not message.get("more_body"):
                watch = asyncio.create_task(gone())
            return message

        try:
            yield body
        finally:
            self.memory.give(client, received)
            if admitted:
                self.requests.give(client)
            if watch is not None:
                watch.cancel()
