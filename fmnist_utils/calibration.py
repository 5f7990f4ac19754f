"""Temperature scaling: probabilities that tell how often an answer is right."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from fmnist_utils.errors import BadInputError


def temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature: what to divide logits by so that their softmax is best calibrated.

    Parameters
    ----------
    logits : array_like of shape (n, classes)
        Of images that the model was not trained on; log-probabilities will do.
    labels : array_like of shape (n,), integer
        Their classes, 0 to `classes` - 1.

    Returns
    -------
    float
        Between 0.05 and 20, the one with the smallest mean cross-entropy; above 1 for a model that
        is too sure of itself, below 1 for one that is too careful.

    Raises
    ------
    BadInputError
        If the shapes do not fit.

    Notes
    -----
    Guo et al., arXiv 1706.04599. Introduced in notebook 08.

    Examples
    --------
    >>> even = np.array([[5, 0], [5, 0], [5, 0], [0, 5]])  # sure, and right in 3 of 4 cases
    >>> round(temperature(even, [0, 0, 1, 1]), 2)
    4.55
    """
    scores, classes = np.asarray(logits, np.float64), np.asarray(labels)
    if scores.ndim != 2 or classes.shape != scores.shape[:1] or len(classes) == 0:
        raise BadInputError(
            f"Need logits of shape (n, classes) and n labels, n > 0; received {scores.shape} and "
            f"{classes.shape}."
        )
    rows = np.arange(len(classes))

    def cross_entropy(log_temperature: float) -> float:
        scaled = log_softmax(scores / np.exp(log_temperature), axis=1)
        return float(-scaled[rows, classes].mean())

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
