"""What is done alike wherever images, maps and scores are arrays; with NumPy alone."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.classes import IMAGE_SHAPE, N_CLASSES
from fmnist_utils.errors import BadInputError


def check_images(images: ArrayLike, *, shape: tuple[int, int] | None = None) -> NDArray[np.generic]:
    """Return images as an array.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        At least one.
    shape : tuple of int, optional
        Height and width that they must have, `classes.IMAGE_SHAPE` for instance.

    Returns
    -------
    ndarray of shape (n, height, width)
        Of the type that they have.

    Raises
    ------
    BadInputError
        If there are no images, or their shape is another.

    Examples
    --------
    >>> check_images([[[0, 255]]]).shape
    (1, 1, 2)
    """
    array = np.asarray(images)
    if array.ndim != 3 or len(array) == 0 or (shape is not None and array.shape[1:] != shape):
        height, width = shape or ("height", "width")
        raise BadInputError(
            f"Need images of shape (n, {height}, {width}), n > 0; received {array.shape}."
        )
    return array


def check_pixels(images: ArrayLike) -> NDArray[np.uint8]:
    """Return images of 28x28 pixels as an array of uint8.

    Parameters
    ----------
    images : array_like of shape (n, 28, 28), uint8
        0 is background.

    Returns
    -------
    ndarray of shape (n, 28, 28), uint8
        0 to 255.

    Raises
    ------
    BadInputError
        If there are no images, or their shape or type is another.
    """
    array = check_images(images, shape=IMAGE_SHAPE)
    if array.dtype != np.uint8:
        raise BadInputError(f"Need pixels as uint8, 0 to 255; received {array.dtype}.")
    return array.view(np.uint8)


def on_black(images: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return images bright on black, as the data sets' are: those that are dark on white, negated.

    It is the mean of the outermost pixels that tells: among the 70,000 images of Fashion-MNIST none
    is above 108.

    Parameters
    ----------
    images : array_like of shape (n, height, width), uint8
        At least one.

    Returns
    -------
    images : ndarray of shape (n, height, width), uint8
        0 is background.
    negated : ndarray of shape (n,), bool
        Which were dark on white.

    Examples
    --------
    >>> dark_on_white = np.full((1, 28, 28), 255, np.uint8)
    >>> images, negated = on_black(dark_on_white)
    >>> int(images.max()), negated.tolist()
    (0, [True])
    """
    pixels = np.asarray(images, np.uint8)
    negated = border(pixels).mean(axis=1) > 127
    return np.where(negated[:, None, None], 255 - pixels, pixels), negated


def border(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the outermost pixels of each image.

    Parameters
    ----------
    images : ndarray of shape (n, height, width), uint8
        With sides of at least 2.

    Returns
    -------
    ndarray of shape (n, 2 * (height + width) - 4), uint8
        The upper row, the lower one, then what is left of the sides.
    """
    sides = images[:, 1:-1, [0, -1]].reshape(len(images), -1)
    return np.hstack([images[:, 0], images[:, -1], sides])


def check_classes(classes: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return the classes of n images as an array of whole numbers, or raise BadInputError.

    Parameters
    ----------
    classes : array_like of shape (n,)
        0 to 9.
    n : int
        How many images there are.

    Examples
    --------
    >>> check_classes([3, 9], 2)
    array([3, 9])
    """
    array = np.asarray(classes)
    if array.shape != (n,) or not np.isin(array, range(N_CLASSES)).all():
        raise BadInputError(
            f"Need one class from 0 to {N_CLASSES - 1} for each image; received {array} for {n} "
            "images."
        )
    return array.astype(np.int64)


def scale_maps(maps: ArrayLike) -> NDArray[np.float32]:
    """Return maps from 0 to 1, each by its own highest value; what is below 0 becomes 0.

    Parameters
    ----------
    maps : array_like of shape (n, height, width)
        Signed, as `explain.integrated_gradients` gives them.

    Returns
    -------
    ndarray of shape (n, height, width), float32
        0 to 1; zeros for a map with nothing above 0.

    Notes
    -----
    Introduced in notebook 14.

    Examples
    --------
    >>> scale_maps([[[-1, 2, 4]]]).tolist()
    [[[0.0, 0.5, 1.0]]]
    """
    positive = np.maximum(np.asarray(maps, np.float32), 0)
    highest = positive.max(axis=(1, 2), keepdims=True)
    return np.asarray(positive / np.where(highest > 0, highest, 1), np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax of each row: the probabilities that logits stand for.

    Parameters
    ----------
    logits : ndarray of shape (n, classes), float32
        Of any size.

    Returns
    -------
    ndarray of shape (n, classes), float32
        0 to 1; each row sums to 1.

    Notes
    -----
    Written out, since SciPy, whose ``softmax`` gives the same, weighs more than all else that an
    answer to a photo needs besides OpenCV.

    Examples
    --------
    >>> softmax(np.float32([[1000, 1000]])).tolist()
    [[0.5, 0.5]]
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
