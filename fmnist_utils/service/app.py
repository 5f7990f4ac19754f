"""The web service as an application: limits, errors, endpoints, its beginning and its end.

Whatever arrives is bounded in size, number and time before anything is decoded; errors are problem
documents (RFC 9457).
"""

import asyncio
import gc
import logging
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import start_http_server
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fmnist_utils import __version__, paths
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos.catalogue import Catalogue, catalogue
from fmnist_utils.photos.predictor import Predictor
from fmnist_utils.service import endpoints
from fmnist_utils.service.access import AccessMiddleware
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.log import DroppingHandler
from fmnist_utils.service.middleware import RequestMiddleware
from fmnist_utils.service.protocol import bounded
from fmnist_utils.service.schemas import ProblemResponse, in_words
from fmnist_utils.service.state import Service


def create_app(
    predictor: Predictor | None = None,
    *,
    limits: Limits | None = None,
    make_catalogue: Callable[[], Catalogue] | None = None,
    hosts: Collection[str] = (),
    key: str = "",
) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    predictor : Predictor, optional
        By default of the model that comes with the package.
    limits : Limits, optional
        What a request may ask for.
    make_catalogue : callable, optional
        Gives where to look for similar images; it is called in a thread once the service has
        started. Until it has returned, ``/v1/similar`` answers 503.
    hosts, key
        See `access.AccessMiddleware`.
    """
    service = Service(predictor or Predictor(), limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # what is here stays: to go through it again and again would stop requests
        # One thread a processor, for `asyncio.to_thread`: more would make small requests wait.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(os.cpu_count()))
        tasks = [asyncio.create_task(service.batcher.run())]
        if make_catalogue is not None:
            tasks.append(asyncio.create_task(service.gather(make_catalogue)))
        yield
        for task in tasks:
            task.cancel()
        for handler in logging.root.handlers:
            handler.flush()  # a signal may end the process before Python's own end

    app = FastAPI(
        title="Fashion-MNIST",
        version=__version__,
        summary="What garment is on a photo: one of ten kinds, or none of them.",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _refused,
            BadInputError: _bad_input,
            RequestValidationError: _bad_parameter,
        },
    )
    app.state.service = service
    app.add_middleware(AccessMiddleware, hosts=hosts, key=key)
    app.add_middleware(
        RequestMiddleware, limits=service.limits, metrics=service.metrics, memory=service.memory
    )
    # Not by include_router: to find a route twice takes FastAPI a thirtieth of an answer's time.
    app.router.routes.extend(endpoints.router.routes)
    return app


def run(
    host: str,
    port: int,
    limits: Limits,
    *,
    hosts: Collection[str] = (),
    metrics_port: int | None = None,
) -> None:
    """Serve until stopped by SIGTERM or Ctrl-C.

    What is in flight is answered first, within the time that a request has. Who is asked for a key
    (``FMNIST_API_KEY``) and for hosts, see `access.AccessMiddleware`.

    Parameters
    ----------
    host : str
        Address to listen at.
    port : int
        0 for any that is free.
    limits : Limits
        What a request may ask for.
    hosts : collection of str
        By which names and addresses it may be asked for; empty for any.
    metrics_port : int, optional
        Where Prometheus finds what it collects, at the same address; by default at ``/metrics``.

    Raises
    ------
    BadInputError
        If the address is another's, or none of this machine's.
    """
    _check_free(host, port, "--port")
    if metrics_port is not None:
        _check_free(host, metrics_port, "--metrics-port")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[DroppingHandler()])
    predictor = Predictor()
    app = create_app(
        predictor,
        limits=limits,
        make_catalogue=partial(catalogue, predictor),
        hosts=hosts,
        key=paths.api_key(),
    )
    if metrics_port is not None:
        routes = app.router.routes
        routes[:] = [route for route in routes if getattr(route, "path", "") != "/metrics"]
        start_http_server(metrics_port, host, app.state.service.metrics.registry)
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=bounded(limits, app.state.service.memory),
        access_log=False,
        log_config=None,
        timeout_keep_alive=min(5, math.ceil(limits.seconds)),
        timeout_graceful_shutdown=math.ceil(2 * limits.seconds),
    )


def _check_free(host: str, port: int, option: str) -> None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # the address, again
        raise BadInputError(
            f"Cannot listen at {host}, port {port} ({reason}): choose another {option}, 0 for one "
            "that is free, or another --host."
        ) from error


async def _refused(_: Request, error: HTTPException) -> Response:
    return ProblemResponse(error.status_code, error.detail, error.headers)


async def _bad_input(_: Request, error: BadInputError) -> Response:
    return ProblemResponse(422, str(error))


async def _bad_parameter(_: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return ProblemResponse(422, f"{where}: {first['msg']}; received {in_words(first['input'])}.")
