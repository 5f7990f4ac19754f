"""Accuracy, precision, recall, F1 and the confusion matrix, with intervals; by scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fmnist_utils.classes import CLASS_NAMES, N_CLASSES
from fmnist_utils.errors import BadInputError

_CLASSES = range(N_CLASSES)
_ROUNDING = 0.05  # of a sum of ten: files may have two digits, half precision has three


def metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Return the metrics that the project reports, named as scikit-learn names them.

    Parameters
    ----------
    labels : array_like of shape (n,), integer
        True classes, 0 to 9.
    probabilities : array_like of shape (n, 10)
        Of the classes; each row sums to 1.

    Returns
    -------
    dict of str to float
        ``accuracy`` and ``f1_macro`` (averaged over the classes that the labels have), from 0 to 1,
        and ``log_loss``, in nats.

    Raises
    ------
    BadInputError
        If there are no samples, the shapes do not fit, a label is no class, or a row is no
        probabilities: not from 0 to 1, or with another sum than 1.

    Notes
    -----
    Introduced in notebook 05.

    Examples
    --------
    >>> found = metrics([0, 1, 1, 2], np.eye(10)[[0, 1, 2, 2]])
    >>> found["accuracy"], round(found["f1_macro"], 4)
    (0.75, 0.7778)
    """
    truth, predicted, probability = _check(labels, probabilities)
    # In float32 the rows sum to one within rounding only, of which scikit-learn warns.
    exact = probability / probability.sum(axis=1, keepdims=True, dtype=np.float64)
    return {
        "accuracy": float(sklearn.metrics.accuracy_score(truth, predicted)),
        "f1_macro": float(
            sklearn.metrics.f1_score(
                truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
            )
        ),
        "log_loss": float(sklearn.metrics.log_loss(truth, exact, labels=_CLASSES)),
    }


def class_report(
    labels: ArrayLike, probabilities: ArrayLike, *, names: Sequence[str] = CLASS_NAMES
) -> pd.DataFrame:
    """Return precision, recall, F1 and support, one row a class.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`, with its errors.
    names : sequence of str
        Of the ten classes, see `classes.class_names`.

    Returns
    -------
    pandas.DataFrame
        Indexed by class name; columns ``precision``, ``recall`` and ``f1``, from 0 to 1, and
        ``support``, the number of images. A class that is never predicted has precision 0; one
        without images has NaN.

    Notes
    -----
    Introduced in notebook 05.

    Examples
    --------
    >>> report = class_report([0, 1, 1, 2], np.eye(10)[[0, 1, 2, 2]])
    >>> report.loc["Trouser"].tolist()
    [1.0, 0.5, 0.6666666666666666, 2.0]
    """
    report = _report(labels, probabilities, _CLASSES).loc[list(map(str, _CLASSES))]
    report.loc[report["support"] == 0, ["precision", "recall", "f1"]] = np.nan
    return report.set_axis(list(names)).rename_axis("class")


def averages(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return precision, recall and F1 averaged over the classes, in the columns of `class_report`.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`, with its errors.

    Returns
    -------
    pandas.DataFrame
        Rows ``macro`` (each class counts alike) and ``weighted`` (each image does); classes without
        images are left out.

    Examples
    --------
    >>> averages([0, 1, 1, 2], np.eye(10)[[0, 1, 2, 2]])["precision"].tolist()
    [0.8333333333333334, 0.875]
    """
    rows = {"macro avg": "macro", "weighted avg": "weighted"}
    report = _report(labels, probabilities, np.unique(labels))
    return report.loc[list(rows)].rename(index=rows).rename_axis("average")


def _report(labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike) -> pd.DataFrame:
    truth, predicted, _ = _check(labels, probabilities)
    report = sklearn.metrics.classification_report(
        truth, predicted, labels=classes, output_dict=True, zero_division=0
    )
    report.pop("accuracy", None)  # a number in place of a row, where all classes are there
    return pd.DataFrame(report).T.rename(columns={"f1-score": "f1"}).astype({"support": int})


def top_k_accuracy(labels: ArrayLike, probabilities: ArrayLike, *, k: int = 2) -> float:
    """Return the share of images whose class is among the k most probable, from 0 to 1.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`.
    k : int
        From 1 to 10.

    Raises
    ------
    BadInputError
        As for `metrics`, and if k is out of its range.

    Notes
    -----
    Of equally probable classes the first counts, as in argmax, so that for k = 1 this is the
    accuracy; scikit-learn's ``top_k_accuracy_score`` takes the last.

    Examples
    --------
    >>> top_k_accuracy([0, 1], [[0.6, 0.4, *[0] * 8]] * 2, k=1)
    0.5
    >>> top_k_accuracy([0, 1], [[0.6, 0.4, *[0] * 8]] * 2, k=2)
    1.0
    """
    truth, _, probability = _check(labels, probabilities)
    if not 1 <= k <= N_CLASSES:
        raise BadInputError(f"k must lie between 1 and {N_CLASSES}; received {k!r}.")
    best = np.argsort(-probability, axis=1, kind="stable")[:, :k]
    return float((best == truth[:, np.newaxis]).any(axis=1).mean())


def by_confidence(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = 10) -> pd.DataFrame:
    """Return how often answers are right, by how sure they are.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`, with its errors.
    bins : int
        At least 1; of equal width, from 0 to 1; empty ones are left out.

    Returns
    -------
    pandas.DataFrame
        Indexed by the bins' intervals; columns ``images``, ``confidence`` (mean probability of the
        answer) and ``accuracy``.

    Notes
    -----
    The table behind a reliability diagram (Guo et al., arXiv 1706.04599). Introduced in notebook
    08.

    Examples
    --------
    >>> table = by_confidence([0, 0, 0], [[0.75, 0.25, *[0] * 8]] * 2 + [[0, 1, *[0] * 8]])
    >>> table.values.tolist(), table.index[1]
    ([[2.0, 0.75, 1.0], [1.0, 1.0, 0.0]], Interval(0.9, 1.0, closed='left'))
    """
    truth, predicted, probability = _check(labels, probabilities)
    if bins < 1:
        raise BadInputError(f"bins must be at least 1; received {bins}.")
    confidence = probability.max(axis=1)
    index = pd.IntervalIndex.from_breaks(np.linspace(0, 1, bins + 1), closed="left")
    # The bin of each answer; 1 belongs to the last.
    in_bin = index[np.minimum((confidence * bins).astype(int), bins - 1)].rename("probability")
    answers = pd.DataFrame({"confidence": confidence, "accuracy": predicted == truth})
    grouped = answers.groupby(in_bin)
    table = grouped.mean()
    table.insert(0, "images", grouped.size())
    return table


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return the risk–coverage curve: the errors that are left if only the surest answers count.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`, with its errors.

    Returns
    -------
    pandas.DataFrame
        One row an image, surest first: ``confidence`` (answers at least as sure are given),
        ``coverage`` (their share) and ``risk`` (share of wrong ones among them).

    Notes
    -----
    El-Yaniv and Wiener, Journal of Machine Learning Research 11 (2010).

    Examples
    --------
    >>> curve = risk_coverage([0, 0], [[0.6, 0.4, *[0] * 8], [0.1, 0.9, *[0] * 8]])
    >>> curve.values.tolist()
    [[0.9, 0.5, 1.0], [0.6, 1.0, 0.5]]
    """
    truth, predicted, probability = _check(labels, probabilities)
    confidence = probability.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    given = np.arange(1, len(truth) + 1)
    return pd.DataFrame(
        {
            "confidence": confidence[order],
            "coverage": given / len(truth),
            "risk": np.cumsum((predicted != truth)[order]) / given,
        }
    )


def compare(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, *, seed: int = 0
) -> dict[str, Any]:
    """Return how two classifiers compare on the same images.

    Parameters
    ----------
    labels : array_like of shape (n,), integer
        True classes, 0 to 9.
    first, second : array_like of shape (n, 10)
        The probabilities that each gives.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``only_first`` and ``only_second`` (images that one alone gets right), ``difference``
        (accuracy of the second less that of the first), ``ci95`` (of the difference, by 2,000
        paired bootstrap draws of images, percentiles) and ``p_value`` (McNemar's exact test: how
        often as lopsided a split of those images would come from fair coins).

    Raises
    ------
    BadInputError
        As for `metrics`.

    Notes
    -----
    McNemar, Psychometrika 12 (1947). Introduced in notebook 08.

    Examples
    --------
    >>> found = compare([0] * 8, np.eye(10)[[0, 1] * 4], np.eye(10)[[0] * 8])
    >>> found["only_first"], found["only_second"], found["difference"], found["p_value"]
    (0, 4, 0.5, 0.125)
    """
    truth, one, _ = _check(labels, first)
    _, two, _ = _check(labels, second)
    right_one, right_two = one == truth, two == truth
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
        Chance of a significant outcome, between 0 and 1.
    level : float
        Of significance, two-sided, between 0 and 1.

    Raises
    ------
    BadInputError
        If the shares are no shares, or equal.

    Notes
    -----
    Formula of Connor, Biometrics 43 (1987). Introduced in notebook 08.

    Examples
    --------
    >>> mcnemar_sample_size(0.02, 0.03)
    3923
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

    Raises
    ------
    BadInputError
        If they are not of the same images.

    Returns
    -------
    ndarray of shape (k, k), float64
        From 0 to 1; symmetric, with ones on the diagonal.

    Examples
    --------
    >>> agreement([np.eye(10)[[0, 1]], np.eye(10)[[0, 2]]]).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    shapes = {np.shape(probability) for probability in answers}
    if len(shapes) != 1:
        raise BadInputError(f"Need answers to the same images; received the shapes {shapes}.")
    classes = np.stack([np.asarray(probability).argmax(axis=1) for probability in answers])
    return np.asarray((classes[:, np.newaxis] == classes).mean(axis=2))


def confusion(
    labels: ArrayLike, probabilities: ArrayLike, *, names: Sequence[str] = CLASS_NAMES
) -> pd.DataFrame:
    """Return the confusion matrix: how many images of each class are taken for each.

    Parameters
    ----------
    labels, probabilities
        As for `metrics`, with its errors.
    names : sequence of str
        Of the ten classes, see `classes.class_names`.

    Returns
    -------
    pandas.DataFrame
        10 by 10 counts, true classes in rows and predicted ones in columns, both by name.

    Examples
    --------
    >>> int(confusion([6, 6, 6], np.eye(10)[[6, 0, 0]]).loc["Shirt", "T-shirt/top"])
    2
    """
    truth, predicted, _ = _check(labels, probabilities)
    counts = sklearn.metrics.confusion_matrix(truth, predicted, labels=_CLASSES)
    return pd.DataFrame(
        counts,
        index=pd.Index(names, name="true"),
        columns=pd.Index(names, name="predicted"),
    )


def accuracy_interval(correct: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of an accuracy measured on ``n`` images.

    It says where the accuracy on endlessly many such images may lie; another draw of as many images
    strays further.

    Parameters
    ----------
    correct, n : int
        Right answers, of how many.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    low, high : float
        From 0 to 1.

    Raises
    ------
    BadInputError
        If ``n`` is 0, ``correct`` not between 0 and ``n``, or one of them no whole number.

    Notes
    -----
    For why Wilson's, see Brown, Cai and DasGupta, Statistical Science 16 (2001). Introduced in
    notebook 00.

    Examples
    --------
    >>> low, high = accuracy_interval(93, 100)
    >>> round(low, 3), round(high, 3)
    (0.863, 0.966)
    """
    if not 0 <= correct <= n or n == 0 or correct % 1 or n % 1:
        raise BadInputError(
            f"{correct!r} right answers of {n!r} are no accuracy: need whole numbers, 0 <= k <= n "
            "> 0; round a product, and multiply a share by n."
        )
    interval = stats.binomtest(int(correct), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _check(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return labels, predicted classes and probabilities, or raise BadInputError."""
    truth, probability = np.asarray(labels), np.asarray(probabilities)
    if truth.ndim != 1 or len(truth) == 0 or probability.shape != (len(truth), N_CLASSES):
        raise BadInputError(
            f"Need labels of shape (n,) and probabilities of shape (n, {N_CLASSES}), n at least "
            f"1; received {truth.shape} and {probability.shape}."
        )
    known = np.isin(truth, _CLASSES)
    if not np.issubdtype(truth.dtype, np.integer) or not known.all():
        first = truth[np.argmin(known)]
        raise BadInputError(
            f"Labels are integers 0 to {N_CLASSES - 1}; received {truth.dtype}, such as {first}."
        )
    _check_probabilities(probability)
    return truth, probability.argmax(axis=1), probability


def _check_probabilities(probability: NDArray[np.generic]) -> None:
    """Raise BadInputError, naming a row, unless all are from 0 to 1 and each row sums to 1."""
    if not np.issubdtype(probability.dtype, np.number):
        raise BadInputError(f"Probabilities are numbers; received {probability.dtype}.")
    values = np.asarray(probability, np.float64)
    outside = ~((values >= 0) & (values <= 1 + _ROUNDING)).all(axis=1)
    sums = values.sum(axis=1)
    bad = outside | ~(np.abs(sums - 1) <= _ROUNDING)
    if bad.any():
        row = int(np.argmax(bad))
        raise BadInputError(
            f"Row {row} is no probabilities: it holds {values[row].min():.4g} to "
            f"{values[row].max():.4g}, with the sum {sums[row]:.4g}; need 0 to 1, and 1. Of logits "
            "take the softmax, of logarithms the exponential; divide per cent by 100."
        )
