"""Images with their labels, as every reader, drawing and split gives them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.classes import N_CLASSES, OOD
from fmnist_utils.errors import BadInputError


class Labelled(NamedTuple):
    """Images and their labels.

    Attributes
    ----------
    images : ndarray of shape (n, 28, 28), uint8
        0 is background, 255 the brightest.
    labels : ndarray of shape (n,), int64
        0 to 9, the indices into `fmnist_utils.classes.CLASS_NAMES`.

    Notes
    -----
    Introduced in notebook 10.

    Examples
    --------
    >>> images, labels = Labelled(np.zeros((2, 28, 28), np.uint8), np.array([9, 0]))
    >>> images.shape, labels.tolist()
    ((2, 28, 28), [9, 0])
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def one_hot(labels: ArrayLike, classes: int = N_CLASSES) -> NDArray[np.float32]:
    """Return labels as rows with a single 1; for `OOD`, of the same share for each class.

    Parameters
    ----------
    labels : array_like of shape (n,), integer
        0 to `classes` - 1, or `OOD`.
    classes : int
        How many classes there are.

    Returns
    -------
    ndarray of shape (n, classes), float32
        Each row sums to 1.

    Raises
    ------
    BadInputError
        If a label is out of range, or no whole number.

    Examples
    --------
    >>> one_hot([1, 0, OOD], classes=2).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    """
    columns = np.asarray(labels)
    if not np.issubdtype(columns.dtype, np.integer):
        raise BadInputError(f"Labels are whole numbers; received {columns.dtype}.")
    outside = columns[(columns < OOD) | (columns >= classes)]
    if outside.size:
        raise BadInputError(f"Label {outside[0]} is not a class: give 0 to {classes - 1}.")
    rows: NDArray[np.float32] = np.eye(classes, dtype=np.float32)[columns]
    rows[columns == OOD] = 1 / classes
    return rows
