"""Images with their labels, as every reader, drawing and split gives them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.classes import OOD
from fmnist_utils.errors import BadInputError


class Labelled(NamedTuple):
    """Images and their labels.

    Attributes
    ----------
    images : uint8 ndarray of shape (n, 28, 28)
        0 is background, 255 the brightest.
    labels : int64 ndarray of shape (n,)
        0 to 9, see `fmnist_utils.classes.CLASS_NAMES`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def one_hot(labels: ArrayLike, classes: int = 10) -> NDArray[np.float32]:
    """Return labels as rows with a single 1; for `OOD`, of the same share for each class.

    Parameters
    ----------
    labels : array_like of int of shape (n,)
        0 to `classes` - 1, or `OOD`.
    classes : int
        How many classes there are.

    Returns
    -------
    float32 ndarray of shape (n, classes)

    Raises
    ------
    BadInputError
        For a label out of range.
    """
    columns: NDArray[np.int64] = np.asarray(labels)
    outside = columns[(columns < OOD) | (columns >= classes)]
    if outside.size:
        raise BadInputError(f"Label {outside[0]} is not a class: give 0 to {classes - 1}.")
    rows = np.eye(classes, dtype=np.float32)[columns]
    rows[columns == OOD] = 1 / classes
    return rows
