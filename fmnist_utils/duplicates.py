"""Duplicates among images: exact ones by hash, near ones by the correlation of their pixels."""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.arrays import check_images
from fmnist_utils.errors import BadInputError

_BLOCK = 2_000  # images a block: a block of correlations then takes 16 MB


class Pairs(NamedTuple):
    """Pairs of images that look alike, the most alike first.

    Attributes
    ----------
    first, second : int64 ndarray of shape (n,)
        Places of the two images; the first is the smaller one.
    correlation : float32 ndarray of shape (n,)
        Pearson's correlation of their pixels.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    correlation: NDArray[np.float32]


def exact_duplicates(images: ArrayLike) -> list[list[int]]:
    """Return the groups of images that are equal in every pixel.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        Of any type of number; they are compared by the hashes of their bytes.

    Returns
    -------
    list of list of int
        Places of the images of each group of two or more, in order; empty where all differ.

    Raises
    ------
    BadInputError
        If there are no images.
    """
    places: dict[bytes, list[int]] = {}
    for place, image in enumerate(check_images(images)):
        places.setdefault(hashlib.sha256(image.tobytes()).digest(), []).append(place)
    return [group for group in places.values() if len(group) > 1]


def near_duplicates(images: ArrayLike, *, threshold: float = 0.98) -> Pairs:
    """Return all pairs of images whose pixels correlate above a threshold.

    Pearson's correlation does not see a change of brightness or contrast, so that it also finds the
    same picture in another exposure. An image of one grey correlates with nothing.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        All are compared with all, a block of float32 products at a time: 70,000 take a minute or
        two on two cores.
    threshold : float
        Above 0 and below 1; the lower, the more pairs.

    Raises
    ------
    BadInputError
        If there are no images, or the threshold is out of range.
    """
    if not 0 < threshold < 1:
        raise BadInputError(f"threshold is {threshold}: choose a correlation between 0 and 1.")
    pixels = standardised(images)
    found = []
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        for other in range(start, len(pixels), _BLOCK):
            correlation = block @ pixels[other : other + _BLOCK].T
            rows, columns = np.nonzero(correlation > threshold)
            values = correlation[rows, columns]
            once = rows + start < columns + other  # not with itself, and each pair one time
            found.append(((rows + start)[once], (columns + other)[once], values[once]))
    first, second, correlation = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((second, first, -correlation))
    return Pairs(first[order], second[order], correlation[order])


def standardised(images: ArrayLike) -> NDArray[np.float32]:
    """Return images as rows of mean 0 and length 1: their products are Pearson's correlations.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        A row of zeros comes of an image of one grey.

    Returns
    -------
    float32 ndarray of shape (n, height * width)

    Raises
    ------
    BadInputError
        If there are no images.
    """
    array = check_images(images)
    rows = array.reshape(len(array), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0, length, 1)
    return rows
