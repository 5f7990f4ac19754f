"""Accuracy, precision, recall, F1 and the confusion matrix, with intervals; by scikit-learn."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fmnist_utils.errors import BadInputError
from fmnist_utils.labels import CLASS_NAMES, N_CLASSES


def metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Return the metrics that the project reports, named as scikit-learn names them.

    Parameters
    ----------
    labels : array_like of shape (n,)
        True classes, integers 0 to 9.
    probabilities : array_like of shape (n, 10)
        Of the classes; each row sums to one.

    Returns
    -------
    dict
        ``accuracy``, ``f1_macro`` and ``log_loss`` (in nats).

    Raises
    ------
    BadInputError
        If there are no samples, the shapes do not fit, or a probability is not finite.
    """
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    truth, probability = _check(labels, probabilities)
    predicted = probability.argmax(axis=1)
    # In float32 the rows sum to one within rounding only, of which scikit-learn warns.
    exact = probability.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    classes = list(range(N_CLASSES))
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "f1_macro": float(
            f1_score(truth, predicted, labels=classes, average="macro", zero_division=0)
        ),
        "log_loss": float(log_loss(truth, exact, labels=classes)),
    }


def class_report(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return precision, recall, F1 and support, one row a class.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`.

    Returns
    -------
    pandas.DataFrame
        Indexed by class name; columns ``precision``, ``recall``, ``f1`` and ``support``. A class
        that is never predicted has precision 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truth, probability = _check(labels, probabilities)
    columns = precision_recall_fscore_support(
        truth, probability.argmax(axis=1), labels=list(range(N_CLASSES)), zero_division=0
    )
    return pd.DataFrame(
        dict(zip(("precision", "recall", "f1", "support"), columns, strict=True)),
        index=pd.Index(CLASS_NAMES, name="class"),
    )


def confusion(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return the counts of true classes (rows) by predicted classes (columns), 10 by 10."""
    from sklearn.metrics import confusion_matrix

    truth, probability = _check(labels, probabilities)
    counts = confusion_matrix(truth, probability.argmax(axis=1), labels=list(range(N_CLASSES)))
    return pd.DataFrame(
        counts,
        index=pd.Index(CLASS_NAMES, name="true"),
        columns=pd.Index(CLASS_NAMES, name="predicted"),
    )


def accuracy_interval(correct: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of an accuracy measured on ``n`` images.

    It says how far another draw of as many images could lie off; see Brown, Cai and DasGupta,
    Statistical Science 16 (2001), for why Wilson's.

    Parameters
    ----------
    correct, n : int
        Right answers, of how many.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    BadInputError
        If ``n`` is 0 or ``correct`` not between 0 and ``n``.
    """
    if not 0 <= correct <= n or n == 0:
        raise BadInputError(f"{correct} right answers of {n} is no accuracy: need 0 <= k <= n > 0.")
    interval = stats.binomtest(int(correct), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _check(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth, probability = np.asarray(labels), np.asarray(probabilities)
    if truth.ndim != 1 or len(truth) == 0 or probability.shape != (len(truth), N_CLASSES):
        raise BadInputError(
            f"Need labels of shape (n,) and probabilities of shape (n, {N_CLASSES}), n at least "
            f"1; received {truth.shape} and {probability.shape}."
        )
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= N_CLASSES:
        raise BadInputError(
            f"Labels are integers 0 to {N_CLASSES - 1}; received {truth.dtype} "
            f"from {truth.min()} to {truth.max()}."
        )
    if not np.isfinite(probability).all():
        raise BadInputError("Probabilities must be finite; received NaN or infinity.")
    return truth, probability
