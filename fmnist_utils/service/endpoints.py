"""The endpoints of the service; answers are versioned by their path."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fmnist_utils.classes import CLASS_NAMES, IMAGE_SHAPE, N_CLASSES
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos.predictor import Answers
from fmnist_utils.photos.second_opinion import SILENT, likeliest
from fmnist_utils.service import pictures, uploads
from fmnist_utils.service.schemas import (
    PHOTO_BODY,
    PHOTO_OR_PIXELS_BODY,
    PROBLEM,
    ClassName,
    ClassProbability,
    Garment,
    Health,
    ModelCard,
    Prediction,
    Predictions,
    SimilarImage,
    SimilarImages,
)
from fmnist_utils.service.state import Service

router = APIRouter(responses=PROBLEM)

_SHOWN = 4  # photos; the steps of one noisy photo take half a megabyte
# The page is one file; whatever else it were made to load is refused.
_PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data: blob:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


async def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


Shared = Annotated[Service, Depends(_service)]


class PNGResponse(Response):
    """A PNG."""

    media_type = "image/png"


@router.post("/v1/predict", openapi_extra=PHOTO_OR_PIXELS_BODY, response_model_exclude_none=True)
async def predict(
    request: Request,
    service: Shared,
    top: Annotated[int, Query(ge=1, le=N_CLASSES, description="Classes to name")] = 3,
    steps: Annotated[
        bool, Query(description="Also the steps from photo to image, as PNGs")
    ] = False,
) -> Predictions:
    """Say what garment is on each photo, or each array of 28x28 pixels (0 is background)."""
    if uploads.media_type(request) == "application/json":
        answers = await service.answers(await uploads.pixels(request, service.limits))
        predictions = _predictions(answers, top)
    else:
        files = await uploads.files(request, service.limits)
        if steps and len(files) > _SHOWN:
            raise BadInputError(
                f"Steps are drawn for at most {_SHOWN} photos a request; received {len(files)}: "
                "send fewer, or leave steps out."
            )
        photos = await service.asked(*files)
        answers = await service.answers_to_photos(photos)
        predictions = _predictions(answers, top)
        for prediction, file, photo in zip(predictions, files, photos, strict=True):
            prediction.name = file.name
            if steps:
                prediction.steps = await service.turns.run(partial(pictures.steps, photo.steps))
                prediction.garments = [
                    Garment(name=garment, probability=round(probability, 4))
                    for garment, probability in likeliest(photo.garments, 3)
                ]
    return Predictions(model=service.predictor.card["name"], predictions=predictions)


@router.post("/v1/explain", openapi_extra=PHOTO_BODY, response_class=PNGResponse)
async def explain(
    request: Request,
    service: Shared,
    name: Annotated[
        ClassName | None, Query(alias="class", description="By default the answer")
    ] = None,
) -> Response:
    """Draw where on the 28x28 image something speaks for a class (Grad-CAM)."""
    (photo,) = await service.asked(await uploads.one_file(request, service.limits))
    image = photo.steps.image
    if name is None:
        answers = await service.answers_to_photos([photo])
        name = CLASS_NAMES[int(answers.probabilities[0].argmax())]

    def drawn() -> bytes:
        (class_map,) = service.predictor.explain(image[np.newaxis], [CLASS_NAMES.index(name)])
        return pictures.png(pictures.overlay(image, class_map))

    return PNGResponse(await service.turns.run(drawn), headers={"x-class": name})


@router.post("/v1/similar", openapi_extra=PHOTO_BODY)
async def similar(
    request: Request,
    service: Shared,
    k: Annotated[int, Query(ge=1, le=100, description="How many")] = 8,
) -> SimilarImages:
    """Find the training images that are most like the garment on a photo."""
    catalogue = service.catalogue
    if catalogue is None:
        raise HTTPException(503, service.no_catalogue)
    photos = await service.asked(await uploads.one_file(request, service.limits))
    answers = await service.answers_to_photos(photos)
    found = await service.turns.run(partial(catalogue.index.search, answers.embedding, k))
    return SimilarImages(
        similar=[
            SimilarImage(
                index=index,
                class_name=CLASS_NAMES[catalogue.labels[index]],
                similarity=round(similarity, 4),
                image=pictures.data_url(255 - catalogue.images[index]),
            )
            for index, similarity in zip(
                found.indices[0].tolist(), found.similarities[0].tolist(), strict=True
            )
        ]
    )


@router.get("/v1/model", response_model=ModelCard)
async def model(service: Shared) -> dict[str, Any]:
    """Tell what the model is: recipe, data, accuracy, temperature, limits."""
    return service.predictor.card


@router.get("/healthz")
async def healthz() -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@router.get("/readyz")
async def readyz(service: Shared) -> Health:
    """Tell that the model answers."""
    await service.batcher.predict(np.zeros((1, *IMAGE_SHAPE), np.uint8), SILENT[np.newaxis])
    return Health(status="ready")


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: Shared) -> Response:
    """Give Prometheus what it collects."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Give the page for people."""
    path = Path(__file__).with_name("page.html")
    return FileResponse(path, headers={"Content-Security-Policy": _PAGE_POLICY})


def _predictions(answers: Answers, top: int) -> list[Prediction]:
    return [
        Prediction(
            answer=name,
            known=known,
            energy_score=round(energy_score, 3),
            classes=[ClassProbability(name=c, probability=round(p, 4)) for c, p in ranked],
            alternatives=others,
        )
        for name, known, energy_score, ranked, others in zip(
            answers.names(),
            answers.known.tolist(),
            answers.energy_score.tolist(),
            answers.top(top),
            answers.alternatives(),
            strict=True,
        )
    ]
