"""Pictures to show: PNGs, data URLs, the steps from photo to image, a map over an image."""

import base64
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fmnist_utils.photos.prepare import Prepared

_ENLARGED = 10  # times, an image of 28x28 pixels
_OPACITY = 0.6  # of a map where it is 1


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture as a PNG.

    Parameters
    ----------
    picture : ndarray of shape (height, width) or (height, width, 3), uint8
        Grey or RGB.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(picture: NDArray[np.uint8]) -> str:
    """Return a picture as a data URL (RFC 2397) of a PNG.

    Parameters
    ----------
    picture : ndarray of shape (height, width) or (height, width, 3), uint8
        Grey or RGB.
    """
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


def steps(prepared: Prepared) -> dict[str, str]:
    """Return the steps from a photo to its 28x28 image, dark on white, as data URLs by name.

    Parameters
    ----------
    prepared : Prepared
        From `prepare.to_image`.
    """
    cut_out = np.where(prepared.mask[..., np.newaxis], prepared.photo, 255).astype(np.uint8)
    shown = {
        "photo": prepared.photo,
        "cut out": cut_out,
        "grey": 255 - prepared.garment,
        "28x28": _enlarged(255 - prepared.image),
    }
    return {name: data_url(picture) for name, picture in shown.items()}


def overlay(image: NDArray[np.uint8], class_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image, enlarged and dark on white, under the colours of a map: RGB, uint8.

    Parameters
    ----------
    image : ndarray of shape (28, 28), uint8
        0 is background.
    class_map : ndarray of shape (28, 28), float32
        From 0, which hides nothing of the image, to 1.
    """
    grey = _enlarged(255 - image)[..., np.newaxis].astype(np.float32)
    wide = cv2.resize(class_map, grey.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * wide).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    share = _OPACITY * wide[..., np.newaxis]
    return np.asarray((grey * (1 - share) + colours * share).round(), np.uint8)


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(image.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))
