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
    first, second : ndarray of shape (n,), int64
        Indices of the two images; the first is the smaller one.
    correlation : ndarray of shape (n,), float32
        Pearson's correlation of their pixels, from -1 to 1.
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
        Indices of the images of each group of two or more, in order; empty where all differ.

    Raises
    ------
    BadInputError
        If there are no images.

    Examples
    --------
    >>> from fmnist_utils import data
    >>> images = data.sketches(3, seed=0).images
    >>> exact_duplicates(images[[0, 1, 2, 1]])
    [[1, 3]]
    """
    groups: dict[bytes, list[int]] = {}
    for index, image in enumerate(check_images(images)):
        groups.setdefault(hashlib.sha256(image.tobytes()).digest(), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_duplicates(images: ArrayLike, *, threshold: float = 0.98) -> Pairs:
    """Return all pairs of images whose pixels correlate above a threshold.

    Pearson's correlation does not change with brightness or contrast, so it also finds the same
    picture in another exposure. An image of one grey correlates with nothing.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        All are compared with all, a block of float32 products at a time: 70,000 take a minute or
        two on two cores.
    threshold : float
        Above 0 and below 1; the lower, the more pairs.

    Returns
    -------
    Pairs
        Each pair once, the most alike first.

    Raises
    ------
    BadInputError
        If there are no images, or the threshold is out of range.

    Examples
    --------
    >>> from fmnist_utils import data
    >>> images = data.sketches(3, seed=0).images
    >>> darker = images[1:2] // 2
    >>> pairs = near_duplicates(np.concatenate([images, darker]))
    >>> pairs.first.tolist(), pairs.second.tolist()
    ([1], [3])
    """
    if not 0 < threshold < 1:
        raise BadInputError(f"threshold is {threshold}: choose a correlation between 0 and 1.")
    pixels = standardised(images)
    # Not by FAISS's range_search: it takes twice as long, since it computes each pair two times.
    found = []
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        for other in range(start, len(pixels), _BLOCK):
            correlation = block @ pixels[other : other + _BLOCK].T
            rows, columns = np.nonzero(correlation > threshold)
            once = rows + start < columns + other  # not with itself, and each pair one time
            rows, columns = rows[once], columns[once]
            found.append((rows + start, columns + other, correlation[rows, columns]))
    first, second, correlation = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((second, first, -correlation))
    return Pairs(first[order], second[order], correlation[order])


def standardised(images: ArrayLike) -> NDArray[np.float32]:
    """Return images as rows of mean 0 and length 1: their products are Pearson's correlations.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        An image of one grey gives a row of zeros.

    Returns
    -------
    ndarray of shape (n, height * width), float32
        From -1 to 1.

    Raises
    ------
    BadInputError
        If there are no images.

    Examples
    --------
    >>> rows = standardised([[[0, 100]], [[50, 60]], [[9, 5]]])
    >>> (rows @ rows.T).round(3).tolist()
    [[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
    """
    array = check_images(images)
    rows = array.reshape(len(array), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0, length, 1)
    return rows
