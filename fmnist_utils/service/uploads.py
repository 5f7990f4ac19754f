"""What the body of a request holds: files, in a form or bare, or JSON with arrays of pixels."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fmnist_utils.arrays import on_black
from fmnist_utils.classes import IMAGE_SHAPE
from fmnist_utils.errors import BadInputError
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.schemas import PHOTO_TYPES, PixelImages, in_words

_BYTES_A_PIXEL = 32  # in JSON; there is room for indents


class Upload(NamedTuple):
    """A file that was sent.

    Parameters
    ----------
    name : str
        Empty if the file is the whole body.
    content : bytes
        Nothing is known of it.
    """

    name: str
    content: bytes


def media_type(request: Request) -> str:
    """Return a request's media type in lower case without its parameters; empty if it has none.

    Parameters
    ----------
    request : Request
        Its header ``Content-Type`` is read.
    """
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def files(request: Request, limits: Limits) -> list[Upload]:
    """Return the files that a request holds, as a form or as its body; at least one.

    Parameters
    ----------
    request : Request
        Its body is read here.
    limits : Limits
        That of files is kept here.

    Raises
    ------
    HTTPException
        400 if the form is malformed or has too many parts, 415 if the media type is another.
    BadInputError
        If the form holds no file.
    """
    kind = media_type(request)
    pixels_too = ("application/json",) if request.url.path.endswith("/predict") else ()
    types = (*PHOTO_TYPES, "multipart/form-data", *pixels_too)
    if kind == "multipart/form-data":
        return await _form(request, limits.files)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [Upload("", await request.body())]
    raise HTTPException(
        415,
        f"Cannot read {kind or 'a body without a content type'}: send {', '.join(types)}.",
    )


async def one_file(request: Request, limits: Limits) -> Upload:
    """Return the only file of a request.

    Parameters
    ----------
    request : Request
        Its body is read here.
    limits : Limits
        As for `files`.

    Raises
    ------
    HTTPException
        As from `files`.
    BadInputError
        If there is none, or more than one.
    """
    found = await files(request, limits)
    if len(found) != 1:
        raise BadInputError(f"Need one file; received {len(found)}.")
    return found[0]


async def pixels(request: Request, limits: Limits) -> NDArray[np.uint8]:
    """Return the images that a JSON body holds, of shape (n, 28, 28), bright on black.

    Parameters
    ----------
    request : Request
        Its body is read here.
    limits : Limits
        That of files is kept here, and by it a bound for the body.

    Raises
    ------
    HTTPException
        400 if the body is no JSON, 413 if it is larger than arrays of pixels may be.
    BadInputError
        If the JSON has another shape, or holds too many images.
    """
    body = await request.body()
    largest = _BYTES_A_PIXEL * limits.files * math.prod(IMAGE_SHAPE)
    if len(body) > largest:
        raise HTTPException(413, f"Arrays of pixels may take {largest:,} bytes, not more.")
    try:
        sent = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, f"The body is no JSON: {error}.") from error
    try:
        images = PixelImages.model_validate(sent).images
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        received = _other_shape(sent) or (
            f"{in_words(first['input'])} at {'.'.join(map(str, first['loc']))}"
        )
    else:
        if len(images) <= limits.files:
            return on_black(np.array(images, np.uint8))[0]
        received = f"{len(images)} images"
    raise BadInputError(
        f'Need {{"images": …}} with 1 to {limits.files} images of 28 rows of 28 whole numbers '
        f"from 0 to 255; received {received}. A photo is sent as a file in a form, or as the body."
    )


def _other_shape(sent: object) -> str:
    """Return what JSON holds in place of images of 28x28; nothing if only its numbers are wrong."""
    if isinstance(sent, dict):
        if "images" not in sent:
            return f"the keys {', '.join(map(in_words, sent))}" if sent else "an empty object"
        sent = sent["images"]
    if not isinstance(sent, list):
        return in_words(sent)
    shape: list[int] = []
    while isinstance(sent, list) and len(shape) < 5:
        shape.append(len(sent))
        sent = sent[0] if sent else None
    return "" if tuple(shape[-2:]) == IMAGE_SHAPE and len(shape) < 4 else f"shape {tuple(shape)}"


async def _form(request: Request, limit: int) -> list[Upload]:
    try:
        async with request.form(max_files=limit, max_fields=limit) as form:
            sent = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
            found = [Upload(_sendable(file.filename or ""), await file.read()) for file in sent]
    except UnicodeError as error:
        raise HTTPException(400, "The form's names are not in its charset.") from error
    except MultipartParseError as error:  # newer versions of Starlette turn it into a 400
        raise HTTPException(400, f"The form is damaged: {error}.") from error
    if not found:
        raise BadInputError("The form holds no file: add at least one, under any name.")
    return found


def _sendable(name: str) -> str:
    """Return a name without what UTF-8 cannot hold: lone surrogates, from odd charsets."""
    return name.encode("utf-8", "replace").decode()
