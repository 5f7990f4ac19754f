"""One function a figure, ``(…, *, ax=None) -> Axes``; grids of images return their Figure.

Colours are seaborn's colour-blind palette and perceptually even maps, and nothing is told by colour
alone: lines differ in dash and marker, bars and cells carry their numbers.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.errors import BadInputError
from fmnist_utils.labels import CLASS_NAMES

COLOURS = sns.color_palette("colorblind", 10)
DASHES = ("-", "--", ":", "-.")
MARKERS = "osD^vPX<>*"


def image_grid(
    images: ArrayLike,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 10,
    size: float = 0.75,
    title: str | None = None,
) -> Figure:
    """Draw images in a grid, dark on white as a catalogue prints them.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        0 is background.
    titles : sequence of str, optional
        One an image.
    columns : int
        Images a row.
    size : float
        Width of an image in inches.
    title : str, optional
        Of the whole figure.

    Raises
    ------
    BadInputError
        If there are no images, or not as many titles as images.
    """
    images = np.asarray(images)
    if images.ndim != 3 or len(images) == 0:
        raise BadInputError(f"Need images of shape (n, height, width), n > 0; got {images.shape}.")
    if titles is not None and len(titles) != len(images):
        raise BadInputError(f"Need one title an image: got {len(titles)} for {len(images)}.")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    heading = 0.35 if title else 0.0
    height = size * (1.0 if titles is None else 1.3)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * size, rows * height + heading), squeeze=False
    )
    for index, ax in enumerate(axes.flat):
        ax.axis("off")
        if index < len(images):
            ax.imshow(images[index], cmap="gray_r", interpolation="nearest")
            if titles is not None:
                ax.set_title(titles[index], fontsize=7, pad=2)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


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
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize=7)
    return ax


def confusion_matrix(counts: pd.DataFrame, *, title: str, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix with the counts in the cells, shaded by the share of the true class.

    Parameters
    ----------
    counts : pandas.DataFrame
        True classes by predicted classes, from `evaluation.confusion`.
    title : str
        What was measured.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(6, 5))[1]
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    sns.heatmap(
        shares,
        annot=counts,
        fmt="d",
        cmap="Greys",
        vmin=0,
        vmax=1,
        cbar_kws={"label": "share of the true class"},
        annot_kws={"fontsize": 7},
        ax=ax,
    )
    ax.set(title=title, xlabel="predicted class", ylabel="true class")
    return ax


def class_counts(counts: Mapping[str, ArrayLike], *, ax: Axes | None = None) -> Axes:
    """Draw how many images each class has in each split, side by side.

    Parameters
    ----------
    counts : mapping of str to array_like of shape (10,)
        By the split's name.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(7, 3))[1]
    table = pd.DataFrame(
        {name: np.asarray(values) for name, values in counts.items()}, index=list(CLASS_NAMES)
    )
    bars = table.plot.bar(ax=ax, color=COLOURS[: len(counts)], width=0.8, edgecolor="black")
    for container in bars.containers:
        ax.bar_label(container, fontsize=6, rotation=90, padding=2)  # type: ignore[arg-type]
    ax.set(xlabel="class", ylabel="images", title="Images a class in each split")
    ax.margins(y=0.2)
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
