"""The web service: a FastAPI application around the predictor, and its page.

Whatever arrives is bounded in size, number and time before anything is decoded; errors are problem
documents (RFC 9457); answers are versioned by their path.
"""

import asyncio
import base64
import gc
import importlib.resources
import io
import json
import logging
import math
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, cast

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from fmnist_utils import __version__
from fmnist_utils.classes import CLASS_NAMES, IMAGE_SHAPE
from fmnist_utils.errors import BadInputError, unknown
from fmnist_utils.photos import prepare
from fmnist_utils.photos.catalogue import Catalogue, catalogue
from fmnist_utils.photos.predictor import Answers, Predictor
from fmnist_utils.service.batching import Batcher
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.middleware import LOG, Impatient, Metrics, Observed, problem

_ENLARGED = 10  # times, an image that is shown
_TINY = 4096  # bytes; to hand an image of 28x28 pixels to a thread takes longer than to read it


class _Upload(NamedTuple):
    name: str
    content: bytes


class _Service:
    """What the endpoints share."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits, self.metrics = predictor, limits, Metrics()
        self.catalogue: Catalogue | None = None
        self.no_catalogue = "The service was started without training images."
        self.batcher = Batcher(predictor.predict)
        self.threads = ThreadPoolExecutor(os.cpu_count(), "prepare")

    async def gather(self, make_catalogue: Callable[[], Catalogue]) -> None:
        """Make the catalogue of similar images in a thread, or log why there is none."""
        self.no_catalogue = "The training images are being gathered: ask again in a minute."
        try:
            self.catalogue = await asyncio.to_thread(make_catalogue)
        except Exception as error:  # the service goes on without
            self.no_catalogue = "The service has no training images; its log tells why."
            LOG.warning(json.dumps({"event": "no similar images", "reason": str(error)}))

    async def in_thread(self, do: Callable[..., Any], *given: Any) -> Any:
        """Return what a function returns, computed beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, do, *given)

    async def prepared(self, upload: _Upload) -> prepare.Prepared:
        """Return the steps from an upload to a 28x28 image."""
        if len(upload.content) <= _TINY:
            with suppress(BadInputError):  # whatever is wrong with it, the thread will tell
                return self._prepare(upload, math.prod(IMAGE_SHAPE))
        return cast(
            prepare.Prepared, await self.in_thread(self._prepare, upload, self.limits.pixels)
        )

    def _prepare(self, upload: _Upload, max_pixels: int) -> prepare.Prepared:
        try:
            return prepare.to_image(prepare.read(upload.content, max_pixels=max_pixels))
        except BadInputError as error:
            raise BadInputError(f"{upload.name}: {error}" if upload.name else str(error)) from error

    async def answered(self, pictures: NDArray[np.uint8]) -> Answers:
        """Return the answers to images, and count them."""
        answers = await self.batcher.predict(pictures)
        for name in answers.names():
            self.metrics.answers.labels(name).inc()
        return answers

    async def uploads(self, request: Request) -> list[_Upload]:
        """Return the files that a request holds, whether as a form or as its body."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            limit = self.limits.files
            try:
                async with request.form(max_files=limit, max_fields=limit) as form:
                    files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
                    found = [_Upload(_sendable(f.filename or ""), await f.read()) for f in files]
            except UnicodeError as error:
                raise HTTPException(400, "The form's names are not in its charset.") from error
            if not found:
                raise BadInputError("The form holds no file: add at least one, under any name.")
            return found
        if kind.startswith("image/") or kind == "application/octet-stream":
            return [_Upload("", await request.body())]
        raise HTTPException(
            415,
            f"Cannot read {kind or 'a body without a content type'}: send image/jpeg, image/png, "
            "image/webp, image/gif, application/octet-stream, multipart/form-data or "
            "application/json.",
        )

    async def one_upload(self, request: Request) -> _Upload:
        """Return the only file of a request."""
        found = await self.uploads(request)
        if len(found) != 1:
            raise BadInputError(f"Need one file; received {len(found)}.")
        return found[0]

    async def pixels(self, request: Request) -> NDArray[np.uint8]:
        """Return the images that a JSON body holds as arrays of pixels."""
        body = await request.body()
        largest = (
            32 * self.limits.files * math.prod(IMAGE_SHAPE)
        )  # bytes; there is room for indents
        if len(body) > largest:
            raise HTTPException(413, f"Arrays of pixels may take {largest:,} bytes, not more.")
        try:
            given = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"The body is no JSON: {error}.") from error
        if isinstance(given, dict):
            given = given.get("images")
        if _holds_pixels(given, *IMAGE_SHAPE):
            given = [given]
        if not (
            isinstance(given, list)
            and 1 <= len(given) <= self.limits.files
            and all(_holds_pixels(image, *IMAGE_SHAPE) for image in given)
        ):
            raise BadInputError(
                'Need {"images": …} with 1 to '
                f"{self.limits.files} images of 28 rows of 28 whole numbers from 0 to 255."
            )
        return np.array(given, np.uint8)


def _holds_pixels(given: object, *shape: int) -> bool:
    """Return whether lists have a shape; NumPy would make arrays of strings, of any size."""
    if not shape:
        return type(given) is int and 0 <= given <= 255
    return (
        isinstance(given, list)
        and len(given) == shape[0]
        and all(_holds_pixels(part, *shape[1:]) for part in given)
    )


def _sendable(name: str) -> str:
    """Return a name without what UTF-8 cannot hold: lone surrogates, from odd charsets."""
    return name.encode("utf-8", "replace").decode()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def create_app(
    predictor: Predictor | None = None,
    *,
    limits: Limits | None = None,
    make_catalogue: Callable[[], Catalogue] | None = None,
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
    """
    service = _Service(predictor or Predictor(), limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # what is here stays: to go through it again and again would stop requests
        tasks = [asyncio.create_task(service.batcher.run())]
        if make_catalogue is not None:
            tasks.append(asyncio.create_task(service.gather(make_catalogue)))
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(
        title="Fashion-MNIST",
        version=__version__,
        summary="What garment is on a photo: one of ten kinds, or none of them.",
        lifespan=lifespan,
        responses={"default": {"description": "What is wrong", "content": _PROBLEM}},
    )
    app.add_middleware(Observed, limits=service.limits, metrics=service.metrics)
    _add_error_handlers(app)
    _add_endpoints(app, service)
    return app


def run(host: str, port: int, limits: Limits) -> None:
    """Serve until stopped by SIGTERM or Ctrl-C.

    What is in flight is finished first, within 30 seconds more than a request may take to arrive.

    Parameters
    ----------
    host : str
        Address to listen at.
    port : int
        0 for any that is free.
    limits : Limits
        What a request may ask for.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    predictor = Predictor()
    app = create_app(predictor, limits=limits, make_catalogue=partial(catalogue, predictor))
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=type("Impatient", (Impatient,), {"seconds": limits.seconds}),
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=math.ceil(limits.seconds) + 30,
    )


def _add_endpoints(app: FastAPI, service: _Service) -> None:
    predictor = service.predictor

    @app.post("/v1/predict", openapi_extra=_body(_JSON), response_model=None)
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=len(CLASS_NAMES), description="Classes to name")] = 3,
        steps: Annotated[bool, Query(description="Also the steps, as PNGs")] = False,
    ) -> Response:
        """Say what garment is on each photo, or each array of 28x28 pixels (0 is background)."""
        if request.headers.get("content-type", "").startswith("application/json"):
            pictures, names, made = await service.pixels(request), None, None
        else:
            uploads = await service.uploads(request)
            made = await asyncio.gather(*(service.prepared(upload) for upload in uploads))
            pictures, names = np.stack([m.image for m in made]), [u.name for u in uploads]
        answers = await service.answered(pictures)
        content = _described(answers, top)
        for i, line in enumerate(content):
            if names:
                line["name"] = names[i]
            if steps and made:
                line["steps"] = await service.in_thread(_steps, made[i])
        return JSONResponse({"model": predictor.card["name"], "predictions": content})

    @app.post("/v1/explain", openapi_extra=_body(), response_class=_PNG)
    async def explain(
        request: Request,
        wanted: Annotated[
            str | None, Query(alias="class", description="By default the answer")
        ] = None,
    ) -> Response:
        """Draw where on the 28x28 image something speaks for a class (Grad-CAM)."""
        if wanted is not None and wanted not in CLASS_NAMES:
            raise unknown("class", wanted, CLASS_NAMES)
        picture = (await service.prepared(await service.one_upload(request))).image
        if wanted is None:
            answers = await service.answered(picture[None])
            wanted = CLASS_NAMES[int(answers.probabilities[0].argmax())]
        drawn = await service.in_thread(_explained, predictor, picture, CLASS_NAMES.index(wanted))
        return Response(drawn, media_type="image/png", headers={"x-class": wanted})

    @app.post("/v1/similar", openapi_extra=_body())
    async def similar(
        request: Request, k: Annotated[int, Query(ge=1, le=100, description="How many")] = 8
    ) -> dict[str, Any]:
        """Find the training images that are most like the garment on a photo."""
        if service.catalogue is None:
            raise HTTPException(503, service.no_catalogue)
        picture = (await service.prepared(await service.one_upload(request))).image
        answers = await service.answered(picture[None])
        found = await service.in_thread(service.catalogue.index.search, answers.embedding, k)
        pictures, labels = service.catalogue.images, service.catalogue.labels
        return {
            "similar": [
                {
                    "index": int(i),
                    "class": CLASS_NAMES[labels[i]],
                    "similarity": round(float(similarity), 4),
                    "image": _address(255 - pictures[i]),
                }
                for i, similarity in zip(found.indices[0], found.similarities[0], strict=True)
            ]
        }

    @app.get("/v1/model")
    async def model() -> dict[str, Any]:
        """Tell what the model is: recipe, data, accuracy, temperature, limits."""
        return predictor.card

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Tell that the model answers."""
        await service.batcher.predict(np.zeros((1, *IMAGE_SHAPE), np.uint8))
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Give Prometheus what it collects."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_page(), headers={"Content-Security-Policy": _POLICY})


# The page is one file; whatever else it were made to load is refused.
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data: blob:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


class _PNG(Response):
    media_type = "image/png"


def _page() -> str:
    return importlib.resources.files(__package__).joinpath("page.html").read_text()


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(BadInputError)
    async def bad_input(_: Request, error: BadInputError) -> Response:
        return _problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _problem(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")


def _problem(status: int, detail: str, headers: Any = None) -> Response:
    content = problem(status, HTTPStatus(status).phrase, detail)
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def _described(answers: Answers, top: int) -> list[dict[str, Any]]:
    return [
        {
            "answer": name,
            "known": bool(known),
            "energy_score": round(float(energy_score), 3),
            "classes": [{"class": c, "probability": round(p, 4)} for c, p in ranked],
        }
        for name, known, energy_score, ranked in zip(
            answers.names(), answers.known, answers.energy_score, answers.top(top), strict=True
        )
    ]


def _steps(prepared: prepare.Prepared) -> dict[str, str]:
    """Return the steps from photo to image as addresses of PNGs that hold them."""
    cut = np.where(prepared.mask[..., np.newaxis], prepared.photo, 255).astype(np.uint8)
    shown = {
        "photo": prepared.photo,
        "cut out": cut,
        "grey": 255 - prepared.garment,
        "28x28": _enlarged(255 - prepared.image),
    }
    return {name: _address(picture) for name, picture in shown.items()}


def _explained(predictor: Predictor, picture: NDArray[np.uint8], wanted: int) -> bytes:
    """Return a PNG of the image, dark on white, under the colours of what speaks for a class."""
    (reasons,) = predictor.explain(picture[None], [wanted])
    grey = _enlarged(255 - picture)[..., np.newaxis].astype(np.float32)
    wide = cv2.resize(reasons, grey.shape[:2][::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * wide).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    share = 0.6 * wide[..., np.newaxis]
    return _png((grey * (1 - share) + colours * share).round().astype(np.uint8))


def _enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(picture.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))


def _address(picture: NDArray[np.uint8]) -> str:
    return f"data:image/png;base64,{base64.b64encode(_png(picture)).decode()}"


def _png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


_PROBLEM = {
    "application/problem+json": {
        "schema": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            },
        },
        "example": problem(422, "Unprocessable Content", "Need one file; received 2."),
    }
}
_FILE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}


_JSON = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {
                "images": {
                    "type": "array",
                    "items": {
                        "type": "array",
                        "minItems": 28,
                        "maxItems": 28,
                        "items": {
                            "type": "array",
                            "minItems": 28,
                            "maxItems": 28,
                            "items": {"type": "integer", "minimum": 0, "maximum": 255},
                        },
                    },
                }
            },
            "required": ["images"],
        },
        "example": {"images": [[[0] * 28] * 28]},
    }
}


def _body(more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the part of OpenAPI that describes a body of photos."""
    kinds = ("image/jpeg", "image/png", "image/webp", "image/gif", "application/octet-stream")
    content = dict.fromkeys(kinds, _FILE) | {"multipart/form-data": _FORM} | (more or {})
    return {"requestBody": {"required": True, "content": content}}
