"""Accuracy, precision, recall, F1 and the confusion matrix, with intervals; by scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fmnist_utils.classes import CLASS_NAMES, N_CLASSES
from fmnist_utils.errors import BadInputError


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


def averages(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return precision, recall and F1 averaged over the classes, in the columns of `class_report`.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`.

    Returns
    -------
    pandas.DataFrame
        Rows ``macro`` (each class counts alike) and ``weighted`` (each image does).
    """
    report = class_report(labels, probabilities)
    support = report.pop("support").to_numpy()
    weights = {"macro": np.ones(N_CLASSES), "weighted": support}
    rows = {
        name: np.average(report.to_numpy(), axis=0, weights=weight)
        for name, weight in weights.items()
    }
    averaged = pd.DataFrame(rows, index=report.columns).T.rename_axis("average")
    return averaged.assign(support=support.sum())


def top_k_accuracy(labels: ArrayLike, probabilities: ArrayLike, *, k: int = 2) -> float:
    """Return the share of images whose class is among the k most probable.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`.
    k : int
        From 1 to 10.

    Raises
    ------
    BadInputError
        If k is out of its range.
    """
    truth, probability = _check(labels, probabilities)
    if not 1 <= k <= N_CLASSES:
        raise BadInputError(f"k must lie between 1 and {N_CLASSES}; received {k!r}.")
    # Stable, so that of equally probable classes the first counts, as in argmax.
    best = np.argsort(-probability, axis=1, kind="stable")[:, :k]
    return float((best == truth[:, np.newaxis]).any(axis=1).mean())


def by_confidence(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = 10) -> pd.DataFrame:
    """Return how often answers are right, by how sure they are.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`.
    bins : int
        Of equal width, from 0 to 1; empty ones are left out.

    Returns
    -------
    pandas.DataFrame
        Indexed by the bins' intervals; columns ``images``, ``confidence`` (mean probability of the
        answer) and ``accuracy``.
    """
    truth, probability = _check(labels, probabilities)
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == truth
    # The bin of each answer; 1 belongs to the last.
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    table = (
        pd.DataFrame({"place": place, "confidence": confidence, "accuracy": right})
        .groupby("place")
        .agg(
            images=("accuracy", "size"),
            confidence=("confidence", "mean"),
            accuracy=("accuracy", "mean"),
        )
    )
    index = pd.IntervalIndex.from_breaks(np.linspace(0, 1, bins + 1), closed="left")
    return table.set_index(index[table.index].rename("probability"))


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return the risk–coverage curve: the errors that are left if only the surest answers count.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`.

    Returns
    -------
    pandas.DataFrame
        One row an image, surest first: ``confidence`` (answers at least as sure are given),
        ``coverage`` (their share) and ``risk`` (share of wrong ones among them).

    Notes
    -----
    El-Yaniv and Wiener, Journal of Machine Learning Research 11 (2010).
    """
    truth, probability = _check(labels, probabilities)
    confidence = probability.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = probability.argmax(axis=1)[order] != truth[order]
    given = np.arange(1, len(truth) + 1)
    return pd.DataFrame(
        {
            "confidence": confidence[order],
            "coverage": given / len(truth),
            "risk": np.cumsum(wrong) / given,
        }
    )


def compare(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, *, seed: int = 0
) -> dict[str, Any]:
    """Compare two classifiers on the same images.

    Parameters
    ----------
    labels : array_like of shape (n,)
        True classes.
    first, second : array_like of shape (n, 10)
        Their probabilities.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``only_first`` and ``only_second`` (images that one alone gets right), ``difference``
        (accuracy of the second less that of the first), ``ci95`` (of the difference, by 2,000
        paired bootstrap draws of images, percentiles) and ``p_value`` (McNemar's exact test: how
        often as lopsided a split of those images would come from fair coins).
    """
    truth, one = _check(labels, first)
    _, two = _check(labels, second)
    right_one, right_two = (p.argmax(axis=1) == truth for p in (one, two))
    only_first = int((right_one & ~right_two).sum())
    only_second = int((right_two & ~right_one).sum())
    differing = only_first + only_second
    p_value = stats.binomtest(only_second, differing).pvalue if differing else 1.0
    # Images that both get right or wrong add nothing, so a draw is one of three counts.
    shares = np.array([only_first, only_second, len(truth) - differing]) / len(truth)
    draws = np.random.default_rng(seed).multinomial(len(truth), shares, size=2_000)
    low, high = np.quantile((draws[:, 1] - draws[:, 0]) / len(truth), [0.025, 0.975])
    return {
        "only_first": only_first,
        "only_second": only_second,
        "difference": (only_second - only_first) / len(truth),
        "ci95": [float(low), float(high)],
        "p_value": float(p_value),
    }


def mcnemar_sample_size(
    only_first: float, only_second: float, *, power: float = 0.8, level: float = 0.05
) -> int:
    """Return how many test images it takes to tell two classifiers apart by McNemar's test.

    Parameters
    ----------
    only_first, only_second : float
        Share of all images that one alone gets right; they must differ.
    power : float
        Chance of a significant outcome.
    level : float
        Of significance, two-sided.

    Raises
    ------
    BadInputError
        If the shares are no shares, or equal.

    Notes
    -----
    Formula of Connor, Biometrics 43 (1987).
    """
    differing, gap = only_first + only_second, abs(only_second - only_first)
    if min(only_first, only_second) < 0 or differing > 1 or gap == 0:
        raise BadInputError(
            f"Need two different shares that sum to at most 1; received {only_first!r} and "
            f"{only_second!r}."
        )
    z_level, z_power = stats.norm.ppf([1 - level / 2, power])
    root = z_level * differing**0.5 + z_power * (differing - gap**2) ** 0.5
    return int(np.ceil(root**2 / gap**2))


def agreement(answers: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Return the share of images on which each two classifiers give the same answer.

    Parameters
    ----------
    answers : sequence of array_like of shape (n, 10)
        Probabilities of k classifiers on the same images.

    Returns
    -------
    ndarray of shape (k, k)
        Symmetric, with ones on the diagonal.
    """
    classes = np.stack([np.asarray(probability).argmax(axis=1) for probability in answers])
    return np.asarray((classes[:, np.newaxis] == classes).mean(axis=2))


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

    It says where the accuracy on endlessly many such images may lie; another draw of as many images
    strays further. See Brown, Cai and DasGupta, Statistical Science 16 (2001), for why Wilson's.

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
