"""Charts: curves, intervals, matrices, bars and points, each on the Axes that it is given."""

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

from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.plots.style import COLOURS, DASHES, MARKERS


def learning_curves(
    histories: Mapping[str, pd.DataFrame], *, measure: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """Draw training (dashed) and validation (solid) curves over the epochs, a colour a history.

    Parameters
    ----------
    histories : mapping of str to pandas.DataFrame
        By name; columns ``epoch``, ``<measure>`` and ``val_<measure>``, as `training.train` gives.
    measure : str
        ``"accuracy"`` or ``"loss"``.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(5, 3.2))[1]
    for number, (name, history) in enumerate(histories.items()):
        style = {"color": COLOURS[number % 10], "marker": MARKERS[number % 10], "markersize": 4}
        prefix = f"{name}, " if len(histories) > 1 else ""
        ax.plot(
            history["epoch"], history[f"val_{measure}"], "-", label=f"{prefix}validation", **style
        )
        ax.plot(
            history["epoch"],
            history[measure],
            "--",
            label=f"{prefix}training",
            markerfacecolor="white",
            **style,
        )
    unit = " (nats)" if measure == "loss" else ""
    ax.set(xlabel="epoch", ylabel=f"{measure}{unit}", title=f"{measure.capitalize()} by epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend(fontsize=7)
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
    """Draw one line a series, each with its own dash, marker and colour.

    Parameters
    ----------
    series : mapping of str to pandas.Series
        By the name for the legend; the index is x, the values are y.
    xlabel, ylabel, title : str
        Texts of the figure, with units.
    log_x : bool
        Whether x is on a logarithmic axis.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(5, 3.2))[1]
    for number, (name, values) in enumerate(series.items()):
        ax.plot(
            values.index.to_numpy(),
            values.to_numpy(),
            label=name,
            color=COLOURS[number % 10],
            linestyle=DASHES[number % 4],
            marker=MARKERS[number % 10],
            markersize=5,
        )
    if log_x:
        ax.set_xscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(series) > 1:
        ax.legend(fontsize=7)
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
    """Draw values as dots with their intervals, a line a value, the first at the top.

    Parameters
    ----------
    values, low, high : pandas.Series
        Of one index, whose entries are written beside the lines; an interval that is NaN is left
        out.
    xlabel, title : str
        Texts of the figure, with units.
    reference : float, optional
        Where to draw a vertical line.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(6, 0.26 * len(values) + 1))[1]
    places = np.arange(len(values))
    ax.hlines(places, low, high, color="black", lw=1)
    for end in (low, high):
        ax.plot(end, places, "|", color="black", markersize=7)
    ax.plot(values, places, "o", color="black", markersize=5)
    if reference is not None:
        ax.axvline(reference, color="0.5", lw=0.8, zorder=0)
    ax.set_yticks(places, list(map(str, values.index)), fontsize=8)
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.set(xlabel=xlabel, title=title)
    return ax


def reliability(tables: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw how often answers are right against how sure they are; the diagonal is honest.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By model, from `evaluation.by_confidence`; a larger marker stands for more images.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(4.2, 4))[1]
    ax.plot([0, 1], [0, 1], color="0.6", lw=0.8)
    for number, (name, table) in enumerate(tables.items()):
        style = {"color": COLOURS[number % 10], "marker": MARKERS[number % 10]}
        share = table["images"] / table["images"].sum()
        ax.plot(table["confidence"], table["accuracy"], DASHES[number % 4], color=style["color"])
        ax.scatter(table["confidence"], table["accuracy"], s=15 + 100 * share, **style)
        ax.plot([], [], DASHES[number % 4], label=name, markersize=5, **style)
    ax.set(
        title="Confidence and accuracy",
        xlabel="confidence (probability of the answer)",
        ylabel="accuracy of these answers",
        xlim=(0, 1.03),
        ylim=(0, 1.03),
    )
    ax.legend(fontsize=7)
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
    """
    ax = ax or plt.subplots(figsize=(6, 5))[1]
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    sns.heatmap(
        100 * shares,
        annot=100 * shares if rates else counts,
        fmt=".1f" if rates else "d",
        cmap="Greys",
        norm=PowerNorm(0.4, 0, 100),  # mistakes are few: they would be white beside the diagonal
        cbar_kws={"label": "% of the true class"},
        annot_kws={"fontsize": 7},
        ax=ax,
    )
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
    """
    ax = ax or plt.subplots(figsize=(6.2, 5))[1]
    below = values.iloc[1:, :-1]
    sns.heatmap(
        below,
        mask=np.triu(np.ones(below.shape, bool), k=1),
        annot=True,
        fmt=fmt,
        cmap=cmap,
        cbar_kws={"label": unit},
        annot_kws={"fontsize": 8},
        ax=ax,
    )
    ax.set(title=title, xlabel="", ylabel="")
    ax.tick_params(axis="y", rotation=0)
    return ax


def class_counts(
    counts: Mapping[str, ArrayLike],
    *,
    names: Sequence[str] = CLASS_NAMES,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many images each class has in each split, side by side.

    Parameters
    ----------
    counts : mapping of str to array_like of shape (10,)
        By the split's name.
    names : sequence of str
        Of the classes.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(7, 3))[1]
    table = pd.DataFrame(
        {name: np.asarray(values) for name, values in counts.items()}, index=list(names)
    )
    bars = table.plot.bar(ax=ax, color=COLOURS[: len(counts)], width=0.8, edgecolor="black")
    for container, hatch in zip(bars.containers, ("", "///", "...", "xxx"), strict=False):
        ax.bar_label(container, fontsize=6, rotation=90, padding=2)  # type: ignore[arg-type]
        for bar in container:
            bar.set_hatch(hatch)
    ax.set(xlabel="class", ylabel="images", title="Images a class in each split")
    ax.margins(y=0.25)
    ax.tick_params(axis="x", rotation=30)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return ax


def probability_bars(
    image: NDArray[np.uint8], probabilities: ArrayLike, *, truth: int, axes: Sequence[Axes]
) -> None:
    """Draw an image beside the probabilities that a model gives it; the true class is hatched.

    Parameters
    ----------
    image : ndarray of shape (28, 28), uint8
        0 is background.
    probabilities : array_like of shape (10,)
        Of the classes.
    truth : int
        The true class.
    axes : sequence of two Axes
        For the image and for the bars.
    """
    probabilities = np.asarray(probabilities)
    predicted = int(probabilities.argmax())
    axes[0].imshow(image, cmap="gray_r", interpolation="nearest")
    axes[0].axis("off")
    verdict = "right" if predicted == truth else "wrong"
    axes[0].set_title(f"{CLASS_NAMES[truth]}\n{verdict}", fontsize=8)
    bars = axes[1].barh(CLASS_NAMES, probabilities, color="lightgrey", edgecolor="black")
    bars[truth].set_hatch("////")
    axes[1].set(xlim=(0, 1), xlabel="probability")
    axes[1].set_title(f"{CLASS_NAMES[predicted]} {probabilities[predicted]:.0%}", fontsize=8)
    axes[1].tick_params(labelsize=6)
    axes[1].invert_yaxis()


def projection(
    positions: ArrayLike,
    labels: ArrayLike,
    *,
    title: str,
    names: Sequence[str] = CLASS_NAMES,
    ax: Axes | None = None,
) -> Axes:
    """Draw points in the plane, a colour and marker a class, with the names at the class centres.

    Parameters
    ----------
    positions : array_like of shape (n, 2)
        Where the projection puts each image.
    labels : array_like of shape (n,)
        Classes as places in `names`.
    title : str
        Which projection of what.
    names : sequence of str
        Of the classes.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(5.5, 5))[1]
    positions, labels = np.asarray(positions), np.asarray(labels)
    for label in np.unique(labels):
        across, up = positions[labels == label].T
        marker, colour = MARKERS[label % 10], COLOURS[label % 10]
        ax.scatter(across, up, s=14, marker=marker, color=colour, linewidths=0, alpha=0.7)
    low, high = positions.min(axis=0), positions.max(axis=0)
    centres = np.array([_medoid(positions[labels == label]) for label in np.unique(labels)])
    places = low + (high - low) * _apart((centres - low) / (high - low))
    for label, centre, place in zip(np.unique(labels), centres, places, strict=True):
        ax.annotate(
            names[label],
            centre,
            place,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": COLOURS[label % 10]},
            arrowprops={"arrowstyle": "-", "lw": 0.8},
        )
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    return ax


def _medoid(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the point with the smallest sum of distances to the others: it lies among them."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    medoid: NDArray[np.floating] = points[distances.sum(axis=1).argmin()]
    return medoid


def _apart(places: NDArray[np.floating], room: tuple[float, float] = (0.2, 0.06)) -> NDArray[Any]:
    """Move places in the unit square up and down until their labels do not cover each other."""
    places = places.copy()
    for _ in range(200):
        for i in range(len(places)):
            for j in range(i):
                across, up = places[i] - places[j]
                if abs(across) < room[0] and abs(up) < room[1]:
                    push = 0.25 * (room[1] - abs(up)) + 1e-3
                    places[i, 1] += push if up >= 0 else -push
                    places[j, 1] -= push if up >= 0 else -push
    return places
