"""What every request gets: limits of size, time and number, a line in the log, the metrics."""

import asyncio
import json
import logging
import random
import re
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fmnist_utils.service.limits import Limits
from fmnist_utils.service.schemas import ProblemResponse

LOG = logging.getLogger("fmnist.requests")
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


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
    one; the answer bears it. A failure is logged with it and answered 500, without its reason.

    Parameters
    ----------
    app : ASGI application
        It turns the HTTP exceptions raised here (408, 413, 503) into answers.
    limits : Limits
        Those of bytes, seconds and requests waiting are kept here.
    metrics : Metrics
        They count.
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
            answer = ProblemResponse(500, "It failed; the log tells why.")
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
