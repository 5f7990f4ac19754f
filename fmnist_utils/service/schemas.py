"""The requests and responses of the service as pydantic models; OpenAPI is generated from them."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, FailFast, Field, TypeAdapter, field_validator, model_validator
from starlette.responses import JSONResponse

from fmnist_utils.classes import CLASS_NAMES, IMAGE_SHAPE
from fmnist_utils.photos.prepare import FORMATS

ClassName: TypeAlias = Literal[CLASS_NAMES]  # type: ignore[valid-type]  # the names stand once

# FailFast: a large array that is wrong costs no more than its first wrong number.
_HEIGHT, _WIDTH = IMAGE_SHAPE
_Pixel = Annotated[int, Field(strict=True, ge=0, le=255)]
_Row = Annotated[list[_Pixel], Field(min_length=_WIDTH, max_length=_WIDTH), FailFast()]
_Image = Annotated[list[_Row], Field(min_length=_HEIGHT, max_length=_HEIGHT), FailFast()]


class PixelImages(BaseModel):
    """Images as arrays of pixels, 28x28 whole numbers from 0, the background, to 255.

    A list without the key ``images`` is taken as well, and one image for a list of one.
    """

    images: Annotated[list[_Image], Field(min_length=1), FailFast()] = Field(
        examples=[[[[0] * _WIDTH] * _HEIGHT]]
    )

    @model_validator(mode="before")
    @classmethod
    def _with_key(cls, given: object) -> object:
        return given if isinstance(given, dict) else {"images": given}

    @field_validator("images", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        match given:
            case [[pixel, *_], *_] if not isinstance(pixel, list):  # rows: one image
                return [given]
        return given


class PhotoForm(BaseModel):
    """A form with files; their names are free."""

    file: bytes


class ClassProbability(BaseModel):
    """A class and its calibrated probability, from 0 to 1."""

    name: ClassName = Field(serialization_alias="class")
    probability: float


class Garment(BaseModel):
    """One of ImageNet's classes that are worn or carried, and its probability among these."""

    name: str
    probability: float


class Prediction(BaseModel):
    """The answer to one photo or array of pixels."""

    answer: str = Field(description="A class, or that it is none of the ten")
    known: bool = Field(description="False if it is none of the ten")
    energy_score: float = Field(description="High for an image like those of the training")
    classes: list[ClassProbability] = Field(description="The likeliest, best first")
    alternatives: list[ClassName] = Field(
        description="Classes that are open beside the likeliest: in nine of ten cases the right "
        "one is that or one of these"
    )
    garments: list[Garment] | None = Field(
        default=None,
        description="What a network for photographs sees, best first; absent if not asked for",
    )
    name: str | None = Field(default=None, description="Of the file; absent for arrays of pixels")
    steps: dict[str, str] | None = Field(
        default=None,
        description="Data URLs of PNGs from photo to image by name; absent if not asked for",
    )


class Predictions(BaseModel):
    """The answers to a request's photos, in their order."""

    model: str
    predictions: list[Prediction]


class SimilarImage(BaseModel):
    """A training image."""

    index: int = Field(description="Among the 60,000 as published")
    class_name: ClassName = Field(serialization_alias="class")
    similarity: float = Field(description="Inner product of the embeddings, at most 1")
    image: str = Field(description="Data URL of a PNG, dark on white")


class SimilarImages(BaseModel):
    """The training images most like a photo, best first."""

    similar: list[SimilarImage]


class Accuracy(BaseModel):
    """The share of the test set that is answered rightly, with its 95 % interval."""

    test: float
    interval: tuple[float, float]


class ModelCard(BaseModel):
    """What the model is."""

    name: str
    version: str = Field(description="Of the package that made it")
    recipe: dict[str, Any] = Field(description="How it was trained")
    data: dict[str, str] = Field(description="SHA-256 of each file it was trained on")
    parameters: int
    limits: str
    images_recipe: dict[str, Any] = Field(description="Of the network for images alone")
    temperature: float = Field(description="By which logits are divided before the softmax")
    images_temperature: float = Field(description="The same for the mean of both networks' logits")
    energy_threshold: float = Field(description="An image below it is none of the ten")
    photo_energy_threshold: float = Field(description="A photo below it is none of the ten")
    open_threshold: float = Field(description="A class less probable is ruled out for an image")
    photo_open_threshold: float = Field(description="A class less probable is so for a photo")
    accuracy: Accuracy
    accuracy_alone: Accuracy = Field(description="Of the first network alone")


class Health(BaseModel):
    """Whether the service works."""

    status: Literal["ok", "ready"]


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: Literal["about:blank"] = "about:blank"
    title: str = Field(description="The status in words")
    status: int
    detail: str = Field(description="What was received and what is needed")


class ProblemResponse(JSONResponse):
    """An error as a problem document.

    Parameters
    ----------
    status : int
        Of HTTP.
    detail : str
        Sentences for whoever asked.
    headers : mapping, optional
        More headers.
    """

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
        super().__init__(problem.model_dump(), status, headers)


# For OpenAPI, as FastAPI takes it: any error, and the bodies that endpoints read themselves.
PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What is wrong",
        "content": {ProblemResponse.media_type: {"schema": Problem.model_json_schema()}},
    }
}
PHOTO_TYPES = (*(f"image/{name.lower()}" for name in FORMATS), "application/octet-stream")
_PHOTO = {kind: {"schema": TypeAdapter(bytes).json_schema()} for kind in PHOTO_TYPES} | {
    "multipart/form-data": {"schema": PhotoForm.model_json_schema()}
}
_PIXELS = {"application/json": {"schema": PixelImages.model_json_schema()}}
PHOTO_BODY = {"requestBody": {"required": True, "content": _PHOTO}}
PHOTO_OR_PIXELS_BODY = {"requestBody": {"required": True, "content": _PHOTO | _PIXELS}}


def in_words(value: object) -> str:
    """Return a short description of a JSON value, for an error that names what was received.

    Parameters
    ----------
    value : object
        What `json.loads` may return; a long number or string is cut.

    Examples
    --------
    >>> in_words([1, 2]), in_words({}), in_words(2.5), in_words("Hat")
    ('a list of 2', 'an object', '2.5', '"Hat"')
    """
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
