"""Which images are alike: nearest neighbours among embeddings, and how good they are."""

from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.errors import BadInputError


class Neighbours(NamedTuple):
    """The nearest neighbours of n queries, the most similar first.

    Attributes
    ----------
    indices : ndarray of shape (n, k), int64
        Into the vectors that were indexed; -1 where a graph leads to no more.
    similarities : ndarray of shape (n, k), float32
        Inner products.
    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]


class Index:
    """Vectors among which to look for neighbours, by the inner product.

    Parameters
    ----------
    vectors : array_like of shape (n, d)
        Of length 1 for cosines, see `unit`.
    directions : int, optional
        Project the vectors onto this many principal directions, at least 1; the cost of a query is
        in proportion. By default, and where the vectors have no more numbers, nothing is lost.
    exact : bool
        Compare with every vector; otherwise walk a graph of neighbours (HNSW; Malkov and
        Yashunin, arXiv 1603.09320), which for millions is many times faster and misses a few.

    Raises
    ------
    BadInputError
        If the vectors are no table of finite numbers, or there is less than one direction.

    Notes
    -----
    The work is Faiss's (Douze et al., arXiv 2401.08281). Introduced in notebook 17.

    Examples
    --------
    >>> index = Index(unit([[1, 0], [0, 1], [1, 1]]))
    >>> index.search(unit([[2, 1]]), k=2).indices.tolist()
    [[2, 0]]
    """

    def __init__(
        self, vectors: ArrayLike, *, directions: int | None = None, exact: bool = True
    ) -> None:
        rows = _checked(vectors)
        n = rows.shape[1] if directions is None else directions
        if n < 1:
            raise BadInputError(f"directions must be at least 1; received {n}.")
        self._projection = _principal(rows, n)
        projected = rows @ self._projection
        self._index = (faiss.IndexFlatIP if exact else _graph)(projected.shape[1])
        self._index.add(projected)

    def __len__(self) -> int:
        """Return how many vectors there are."""
        return int(self._index.ntotal)

    def search(self, queries: ArrayLike, k: int) -> Neighbours:
        """Return the k nearest neighbours of each query.

        Parameters
        ----------
        queries : array_like of shape (n, d)
            As wide as the vectors that were indexed.
        k : int
            From 1 to as many as were indexed.

        Returns
        -------
        Neighbours
            k of each query.

        Raises
        ------
        BadInputError
            If k or the width of the queries do not fit, or a number is not finite.
        """
        rows, width = _checked(queries), len(self._projection)
        if rows.shape[1] != width:
            raise BadInputError(f"Need queries of {width} numbers each; received {rows.shape[1]}.")
        if not 1 <= k <= len(self):
            raise BadInputError(f"k must lie between 1 and {len(self):,}; received {k}.")
        similarities, indices = self._index.search(rows @ self._projection, k)
        return Neighbours(indices, similarities)


def _graph(width: int) -> faiss.Index:
    index = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 64
    return index


def _principal(rows: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Return, as columns, the n orthogonal directions that keep most of all inner products."""
    if n >= rows.shape[1]:
        return np.eye(rows.shape[1], dtype=np.float32)
    _, directions = np.linalg.eigh(rows.T @ rows)  # the least important first
    return np.ascontiguousarray(directions[:, -n:])


def unit(vectors: ArrayLike) -> NDArray[np.float32]:
    """Return vectors scaled to length 1, whose inner products are cosines.

    Parameters
    ----------
    vectors : array_like of shape (n, d)
        Those of length 0 stay so.

    Returns
    -------
    ndarray of shape (n, d), float32
        From -1 to 1.

    Examples
    --------
    >>> unit([[3, 4], [0, 0]]).tolist()
    [[0.6..., 0.8...], [0.0, 0.0]]
    """
    rows = np.asarray(vectors, np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _checked(vectors: ArrayLike) -> NDArray[np.float32]:
    rows = np.array(vectors, np.float32)
    if rows.ndim != 2 or len(rows) == 0 or not np.isfinite(rows).all():
        raise BadInputError(f"Need finite vectors of shape (n, d), n > 0; received {rows.shape}.")
    return rows


def retrieval(
    index: Index, labels: ArrayLike, queries: ArrayLike, query_labels: ArrayLike, *, k: int = 10
) -> dict[str, float]:
    """Return how often the neighbours of queries are of the query's class.

    Parameters
    ----------
    index : Index
        What a graph does not find counts as missed.
    labels : array_like of shape (n,), integer
        Classes of the vectors that were indexed.
    queries : array_like of shape (m, d)
        Vectors whose neighbours are looked for.
    query_labels : array_like of shape (m,), integer
        Their classes.
    k : int
        How many neighbours precision and recall look at.

    Returns
    -------
    dict of str to float
        ``map``, the mean over queries of the average precision over the whole ranking;
        ``precision_at_k``, the share of the first k of the query's class; ``recall_at_k``, the
        share of queries with at least one of their class among the first k. All from 0 to 1.

    Raises
    ------
    BadInputError
        If there are no queries, or labels or k do not fit the index.

    Notes
    -----
    Introduced in notebook 17.

    Examples
    --------
    >>> index = Index(unit([[1, 0], [1, 1], [0, 1]]))
    >>> retrieval(index, [0, 1, 0], [[1, 0]], [0], k=2)
    {'map': 0.8333..., 'precision_at_k': 0.5, 'recall_at_k': 1.0}
    """
    classes, wanted, vectors = np.asarray(labels), np.asarray(query_labels), np.asarray(queries)
    if len(vectors) == 0 or len(classes) != len(index) or not 1 <= k <= len(index):
        raise BadInputError(
            f"Need queries, a label for each of {len(index):,} vectors and k from 1 to that; "
            f"received {len(vectors):,} queries, {len(classes):,} labels and k = {k}."
        )
    ranks = np.arange(1, len(index) + 1)
    scores = []
    for start in range(0, len(vectors), 100):
        found = index.search(vectors[start : start + 100], len(index)).indices
        asked = wanted[start : start + 100, np.newaxis]
        right = (found >= 0) & (classes[found] == asked)
        precision = right.cumsum(axis=1) / ranks
        relevant = np.maximum((classes == asked).sum(axis=1), 1)
        average = (precision * right).sum(axis=1) / relevant
        scores.append([average, precision[:, k - 1], right[:, :k].any(axis=1)])
    means = np.concatenate(scores, axis=1).mean(axis=1).tolist()
    return dict(zip(("map", "precision_at_k", "recall_at_k"), means, strict=True))
