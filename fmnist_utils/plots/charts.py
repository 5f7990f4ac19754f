"""Charts: curves, intervals, matrices, bars and points, each on the Axes that it is given."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from seaborn.utils import relative_luminance

from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.plots.style import COLOURS, MARKERS, STYLES


def learning_curves(
    histories: Mapping[str, pd.DataFrame], *, measure: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """Draw training (dashed) and validation (solid) curves by epoch, one colour for each history.

    Parameters
    ----------
    histories : mapping of str to pandas.DataFrame
        By name; columns ``epoch``, ``<measure>`` and ``val_<measure>``, as `training.train` gives.
    measure : str
        ``"accuracy"`` or ``"loss"``.
    ax : Axes, optional
        Where to draw.

    Notes
    -----
    Introduced in notebook 02.

    Examples
    --------
    >>> import pandas as pd
    >>> from fmnist_utils import plots
    >>> history = pd.DataFrame(
    ...     {"epoch": [1, 2], "accuracy": [0.80, 0.86], "val_accuracy": [0.82, 0.85]}
    ... )
    >>> ax = plots.learning_curves({"dense": history})
    >>> ax.get_title()
    'Accuracy by epoch'
    >>> [line.get_label() for line in ax.lines]
    ['validation', 'training']
    """
    ax = ax or plt.subplots(figsize=(5, 3.2))[1]
    for (name, history), style in zip(histories.items(), STYLES(), strict=False):
        prefix = f"{name}, " if len(histories) > 1 else ""
        style |= {"linestyle": "-", "markersize": 4, "label": f"{prefix}validation"}
        ax.plot(history["epoch"], history[f"val_{measure}"], **style)
        style |= {"linestyle": "--", "markerfacecolor": "white", "label": f"{prefix}training"}
        ax.plot(history["epoch"], history[measure], **style)
    unit = " (nats)" if measure == "loss" else ""
    ax.set(xlabel="epoch", ylabel=f"{measure}{unit}", title=f"{measure.capitalize()} by epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend(fontsize=8)
    return ax


def lines(
    series: "Mapping[str, pd.Series[float]]",
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    log_x: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw one line for each series, with its own dash, marker and colour.

    Parameters
    ----------
    series : mapping of str to pandas.Series
        By the name for the legend; the index is x, the values are y.
    xlabel, ylabel, title : str
        Texts in the figure, with units.
    log_x : bool
        Whether x is on a logarithmic axis.
    ax : Axes, optional
        Where to draw.

    Notes
    -----
    Introduced in notebook 03.

    Examples
    --------
    >>> import pandas as pd
    >>> from fmnist_utils import plots
    >>> accuracies = {"adam": pd.Series([0.84, 0.88], index=[64, 256])}
    >>> ax = plots.lines(accuracies, xlabel="units", ylabel="accuracy", title="Width")
    >>> ax.lines[0].get_xdata().tolist()
    [64, 256]
    """
    ax = ax or plt.subplots(figsize=(5, 3.2))[1]
    for (name, values), style in zip(series.items(), STYLES(), strict=False):
        ax.plot(values.index.to_numpy(), values.to_numpy(), label=name, markersize=5, **style)
    if log_x:
        ax.set_xscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(series) > 1:
        ax.legend(fontsize=8)
    return ax


def intervals(
    values: "pd.Series[float]",
    low: "pd.Series[float]",
    high: "pd.Series[float]",
    *,
    xlabel: str,
    title: str,
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw values as dots with their intervals, one below the other.

    Parameters
    ----------
    values, low, high : pandas.Series
        Of one index, whose entries are written beside the lines; an interval that is NaN is left
        out.
    xlabel, title : str
        Texts in the figure, with units.
    reference : float, optional
        Where to draw a vertical line.
    ax : Axes, optional
        Where to draw.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> import pandas as pd
    >>> from fmnist_utils import plots
    >>> means = pd.Series({"dropout": 0.3, "weight decay": 0.1})
    >>> ax = plots.intervals(means, means - 0.2, means + 0.2, xlabel="points", title="Gain")
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['dropout', 'weight decay']
    """
    ax = ax or plt.subplots(figsize=(6, 0.26 * len(values) + 1))[1]
    heights = np.arange(len(values))
    ax.hlines(heights, low, high, color="black", lw=1)
    for end in (low, high):
        ax.plot(end, heights, "|", color="black", markersize=7)
    ax.plot(values, heights, "o", color="black", markersize=5)
    if reference is not None:
        ax.axvline(reference, color="0.5", lw=0.8, zorder=0)
    ax.set_yticks(heights, list(map(str, values.index)), fontsize=8)
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.set(xlabel=xlabel, title=title)
    return ax


def confusion_matrix(
    counts: pd.DataFrame, *, title: str, rates: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw a confusion matrix, shaded by the share of the true class.

    Parameters
    ----------
    counts : pandas.DataFrame
        True classes by predicted classes, from `evaluation.confusion`.
    title : str
        What was measured.
    rates : bool
        Write the shares into the cells, in percent, instead of the counts.
    ax : Axes, optional
        Where to draw.

    Notes
    -----
    Introduced in notebook 07.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_utils import evaluation, plots
    >>> counts = evaluation.confusion([0, 0, 6], np.eye(10)[[0, 6, 6]])
    >>> ax = plots.confusion_matrix(counts, title="Three images")
    >>> ax.texts[0].get_text()  # T-shirts said to be T-shirts
    '1'
    """
    ax = ax or plt.subplots(figsize=(6, 5))[1]
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    text = {"annot": 100 * shares if rates else counts, "fmt": ".1f" if rates else "d"}
    # Mistakes are few: beside the diagonal an even scale would leave them white.
    shades = {"cmap": "Greys", "norm": PowerNorm(0.4, 0, 100)}
    bar = {"label": "% of the true class"}
    sns.heatmap(100 * shares, **text, **shades, cbar_kws=bar, annot_kws={"fontsize": 8}, ax=ax)
    _contrast(ax)
    ax.set(title=title, xlabel="predicted class", ylabel="true class")
    return ax


def class_heatmap(
    values: pd.DataFrame,
    *,
    title: str,
    unit: str,
    fmt: str = ".0f",
    cmap: str = "Greys_r",
    ax: Axes | None = None,
) -> Axes:
    """Draw what is measured between two classes, each pair once.

    Parameters
    ----------
    values : pandas.DataFrame
        Classes by classes, symmetric.
    title, unit : str
        What was measured, and in what.
    fmt : str
        How the numbers in the cells are written.
    cmap : str
        ``"Greys_r"``, the smaller the darker, or ``"Greys"``.
    ax : Axes, optional
        Where to draw.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from fmnist_utils import plots
    >>> names = ["Shirt", "Coat", "Bag"]
    >>> distances = pd.DataFrame([[0, 1, 7], [1, 0, 8], [7, 8, 0]], index=names, columns=names)
    >>> ax = plots.class_heatmap(distances, title="Mean distances", unit="grey levels")
    >>> [text.get_text() for text in ax.texts]
    ['1', '7', '8']
    """
    ax = ax or plt.subplots(figsize=(6.2, 5))[1]
    below = values.iloc[1:, :-1]
    above = np.triu(np.ones(below.shape, bool), k=1)
    text = {"annot": True, "fmt": fmt, "annot_kws": {"fontsize": 8}}
    sns.heatmap(below, mask=above, cmap=cmap, cbar_kws={"label": unit}, **text, ax=ax)
    _contrast(ax)
    ax.set(title=title, xlabel="", ylabel="")
    ax.tick_params(axis="y", rotation=0)
    return ax


def projection(
    positions: ArrayLike,
    labels: ArrayLike,
    *,
    title: str,
    names: Sequence[str] = CLASS_NAMES,
    ax: Axes | None = None,
) -> Axes:
    """Draw points in the plane, with one colour and marker and one name for each class.

    Parameters
    ----------
    positions : array_like of shape (n, 2)
        Of each image in the plane.
    labels : array_like of shape (n,)
        Classes, as indices into `names`.
    title : str
        Which projection of what.
    names : sequence of str
        Names of the classes.
    ax : Axes, optional
        Where to draw.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> from fmnist_utils import plots
    >>> ax = plots.projection([[0, 0], [1, 1]], [0, 9], title="PCA of two images")
    >>> [text.get_text() for text in ax.texts]
    ['T-shirt/top', 'Ankle boot']
    """
    ax = ax or plt.subplots(figsize=(5.5, 5))[1]
    positions, labels = np.asarray(positions), np.asarray(labels)
    shown = np.unique(labels)
    by_class = [positions[labels == label] for label in shown]
    low, high = positions.min(axis=0), positions.max(axis=0)
    centres = np.array([_medoid(points) for points in by_class])
    texts = low + (high - low) * _apart((centres - low) / (high - low))
    line = {"arrowstyle": "-", "lw": 0.8}
    for label, points, centre, text in zip(shown, by_class, centres, texts, strict=True):
        marker, colour = MARKERS[label % 10], COLOURS[label % 10]
        across, up = points.T
        ax.scatter(across, up, 14, marker=marker, color=colour, edgecolors="black", linewidths=0.2)
        box = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": colour}
        name = ax.annotate(names[label], centre, text, bbox=box, arrowprops=line)
        name.set(ha="center", va="center", fontsize=8)
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    return ax


def _contrast(ax: Axes) -> None:
    """Write the numbers of a heat map in black or white, whichever stands out more in its cell."""
    cells = ax.collections[0]
    shown = ~np.ma.getmaskarray(np.ma.asarray(cells.get_array())).ravel()
    for text, shade in zip(ax.texts, np.asarray(cells.get_facecolor())[shown], strict=True):
        # Where both have the same contrast by the formula of WCAG 2.
        text.set_color("black" if relative_luminance(shade) > 0.18 else "white")


def _medoid(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the point with the smallest sum of distances to the others: it lies among them."""
    return np.asarray(points[cdist(points, points).sum(axis=1).argmin()])


def _apart(centres: NDArray[np.floating], width: float = 0.2, height: float = 0.06) -> NDArray[Any]:
    """Move points in the unit square up and down until labels there do not cover each other."""
    centres = centres.copy()
    for _ in range(200):
        for i, j in itertools.combinations(range(len(centres)), 2):
            across, up = centres[j] - centres[i]
            if abs(across) < width and abs(up) < height:
                push = np.copysign(0.25 * (height - abs(up)) + 1e-3, up)
                centres[j, 1] += push
                centres[i, 1] -= push
    return centres
