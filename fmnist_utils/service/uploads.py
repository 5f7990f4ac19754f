"""What the body of a request holds: files, in a form or bare, or JSON with arrays of pixels."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fmnist_utils.arrays import on_black
from fmnist_utils.classes import IMAGE_SHAPE
from fmnist_utils.errors import BadInputError
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.schemas import PHOTO_TYPES, PixelImages, in_words

_BYTES_A_PIXEL = 32  # in JSON; there is room for indents
_PART_HEAD = 4096  # bytes


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
        return _form(request, await request.body(), limits.files)
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


def _form(request: Request, body: bytes, limit: int) -> list[Upload]:
    """Return the files of a form that has arrived: in memory, and in time linear in its size."""
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise HTTPException(400, "The form has no boundary: name it in its content type.")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary, 2 * limit + 2)
    if len(parts) > 2 * limit + 1:
        raise HTTPException(400, f"Too many parts: at most {limit} files and {limit} fields.")
    if not parts or not parts.pop().startswith(b"--"):
        raise HTTPException(400, "The form is damaged: it does not end with its boundary.")
    found = [file for part in parts if (file := _file(part)) is not None]
    if len(found) > limit:
        raise HTTPException(400, f"Too many files: at most {limit}; received {len(found)}.")
    if not found:
        raise BadInputError("The form holds no file: add at least one, under any name.")
    return found


def _file(part: bytes) -> Upload | None:
    """Return the file that a part of a form holds, if it is none of the other fields."""
    head, blank, content = part.partition(b"\r\n\r\n")
    if not part.startswith(b"\r\n") or not blank or len(head) > _PART_HEAD:
        raise HTTPException(400, "The form is damaged: a part has no head, or one without end.")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value.decode("latin-1"))
            if b"filename" in options:
                return Upload(options[b"filename"].decode("utf-8", "replace"), content)
    return None
