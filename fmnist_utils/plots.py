"""One function a figure, ``(…, *, ax=None) -> Axes``; grids of images return their Figure.

Colours are seaborn's colour-blind palette and perceptually even maps, and nothing is told by colour
alone: lines differ in dash and marker, bars and cells carry their numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
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
        One an image, of one line or more.
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
    lines = max(title.count("\n") for title in titles) if titles else 0
    height = size * (1.0 if titles is None else 1.3) + 0.11 * lines
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


def gallery(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    columns: int = 10,
    title: str | None = None,
) -> Figure:
    """Draw images with the answers to them: what each is, what was said, and how surely.

    Parameters
    ----------
    images : array_like of shape (n, 28, 28)
        In the order to show; 0 is background.
    labels : array_like of shape (n,)
        True classes.
    probabilities : array_like of shape (n, 10)
        Of the classes.
    columns : int
        Images a row.
    title : str, optional
        Of the whole figure.

    Raises
    ------
    BadInputError
        If there are no images, or not as many labels or probabilities.
    """
    truth, probability = np.asarray(labels), np.asarray(probabilities)
    if not len(truth) == len(probability) == len(np.asarray(images)):
        raise BadInputError(
            f"Need a label and probabilities an image: got {len(np.asarray(images))} images, "
            f"{len(truth)} labels and {len(probability)} rows of probabilities."
        )
    captions = [
        f"{CLASS_NAMES[answer]} {chance:.0%}\n"
        + ("✓" if answer == label else f"✗ is {CLASS_NAMES[label]}")
        for answer, chance, label in zip(
            probability.argmax(axis=1), probability.max(axis=1), truth, strict=True
        )
    ]
    return image_grid(images, captions, columns=columns, size=1.0, title=title)


def overlays(
    images: ArrayLike,
    maps: Mapping[str, ArrayLike],
    *,
    captions: Sequence[str] | None = None,
    size: float = 1.1,
    title: str | None = None,
) -> Figure:
    """Draw images, a row each, and beside them maps: the darker the more, in the image's outline.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        0 is background.
    maps : mapping of str to array_like of shape (n, height, width)
        By the name to write above; from 0 to 1.
    captions : sequence of str, optional
        One an image, to write beside the row.
    size : float
        Width of an image in inches.
    title : str, optional
        Of the whole figure.

    Raises
    ------
    BadInputError
        If there is not a map, or not a caption, for each image.
    """
    images = np.asarray(images)
    columns = {name: np.asarray(values) for name, values in maps.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    lengths |= {} if captions is None else {"captions": len(captions)}
    if any(length != len(images) for length in lengths.values()):
        raise BadInputError(f"Need one an image: got {lengths} for {len(images)} images.")
    figure, axes = plt.subplots(
        len(images),
        1 + len(columns),
        figsize=((1 + len(columns)) * size + (1.2 if captions else 0), len(images) * size + 0.5),
        squeeze=False,
    )
    for row, image in enumerate(images):
        axes[row, 0].imshow(image, cmap="gray_r", interpolation="nearest")
        for ax, values in zip(axes[row, 1:], columns.values(), strict=True):
            ax.imshow(values[row], cmap="Oranges", vmin=0, vmax=1, interpolation="nearest")
            if image.any():
                ax.contour(image > 0, levels=[0.5], colors="0.4", linewidths=0.6)
        if captions:
            axes[row, 0].set_ylabel(captions[row], rotation=0, ha="right", va="center", fontsize=8)
    for ax, name in zip(axes[0], ["image", *columns], strict=True):
        ax.set_title(name, fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def photo_steps(
    photo: ArrayLike,
    mask: ArrayLike,
    garment: ArrayLike,
    image: ArrayLike,
    reasons: ArrayLike,
    *,
    title: str | None = None,
) -> Figure:
    """Draw the steps from a photo to what a classifier sees of it, and what its answer rests on.

    Parameters
    ----------
    photo, mask, garment, image : array_like
        As in `images.Prepared`.
    reasons : array_like of shape (28, 28)
        From 0 to 1.
    title : str, optional
        Of the whole figure.
    """
    figure, axes = plt.subplots(1, 5, figsize=(9, 2.4), layout="constrained")
    cut = np.where(np.asarray(mask)[..., np.newaxis], photo, 255)
    steps = {"photo": photo, "garment, cut out": cut, "trimmed, grey": garment, "28×28": image}
    for ax, (name, picture) in zip(axes[:4], steps.items(), strict=True):
        ax.imshow(np.asarray(picture), cmap="gray_r", vmin=0, vmax=255)
        ax.set_title(name, fontsize=9)
    axes[4].imshow(np.asarray(reasons), cmap="Oranges", vmin=0, vmax=1)
    if np.any(image):
        axes[4].contour(np.asarray(image) > 0, levels=[0.5], colors="0.4", linewidths=0.6)
    axes[4].set_title("what speaks for it", fontsize=9)
    for ax in axes:
        ax.axis("off")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def confusion_gallery(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    title: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw a confusion matrix of pictures: in each field the surest such answer, and how many.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        0 is background.
    labels : array_like of shape (n,)
        True classes.
    probabilities : array_like of shape (n, 10)
        Of the classes.
    title : str
        What was measured.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(8.5, 8.5))[1]
    images, truth, probability = map(np.asarray, (images, labels, probabilities))
    answer, confidence = probability.argmax(axis=1), probability.max(axis=1)
    height, width = images.shape[1] + 6, images.shape[2] + 2  # room for the number above
    classes = len(CLASS_NAMES)
    canvas = np.zeros((classes * height, classes * width), images.dtype)
    for row, column in np.ndindex(classes, classes):
        (here,) = np.nonzero((truth == row) & (answer == column))
        if len(here):
            top, left = row * height, column * width
            surest = images[here[confidence[here].argmax()]]
            canvas[top + 5 : top + height - 1, left + 1 : left + width - 1] = surest
            ax.text(left + 1, top + 1, f"{len(here)}", fontsize=8, va="top")
    ax.imshow(canvas, cmap="gray_r", interpolation="nearest")
    ax.set_xticks(np.arange(1, classes) * width - 0.5, minor=True)
    ax.set_yticks(np.arange(1, classes) * height - 0.5, minor=True)
    ax.grid(which="minor", color="0.8", lw=0.6)
    ax.tick_params(which="both", length=0)
    ax.set_xticks((np.arange(classes) + 0.5) * width, CLASS_NAMES, rotation=30, fontsize=8)
    ax.set_yticks((np.arange(classes) + 0.5) * height, CLASS_NAMES, fontsize=8)
    ax.set(title=title, xlabel="predicted class", ylabel="true class")
    return ax


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


def weight_grid(
    weights: ArrayLike,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 10,
    size: float = 0.75,
    title: str | None = None,
) -> Figure:
    """Draw weights as pictures: white speaks for, black against, mid-grey is zero.

    Parameters
    ----------
    weights : array_like of shape (n, height, width)
        Each picture is scaled by its own largest weight.
    titles, columns, size, title
        As for `image_grid`.
    """
    weights = np.asarray(weights, dtype=np.float64)
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True)
    scaled = weights / np.where(largest > 0, largest, 1)
    figure = image_grid(scaled, titles, columns=columns, size=size, title=title)
    for ax in figure.axes:
        for image in ax.images:
            image.set(cmap="gray", clim=(-1, 1))
    return figure


def class_grid(
    images: ArrayLike,
    labels: ArrayLike,
    *,
    columns: int = 10,
    names: Sequence[str] = CLASS_NAMES,
    ax: Axes | None = None,
) -> Axes:
    """Draw the first images of each class, a row a class, with the class names beside the rows.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        0 is background.
    labels : array_like of shape (n,)
        Classes as places in `names`.
    columns : int
        Images a class; a class that has fewer leaves white places.
    names : sequence of str
        Of the classes.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(7, 6.4))[1]
    images, labels = np.asarray(images), np.asarray(labels)
    height, width = images.shape[1] + 2, images.shape[2] + 2  # two white pixels between images
    canvas = np.zeros((len(names) * height, columns * width), images.dtype)
    for label in range(len(names)):
        for column, image in enumerate(images[labels == label][:columns]):
            top, left = label * height + 1, column * width + 1
            canvas[top : top + height - 2, left : left + width - 2] = image
    ax.imshow(canvas, cmap="gray_r")
    ax.set_yticks((np.arange(len(names)) + 0.5) * height, names, fontsize=10)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title("The classes", fontsize=11)
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


def thumbnail_map(
    positions: ArrayLike, images: ArrayLike, *, title: str, cells: int = 24, ax: Axes | None = None
) -> Axes:
    """Draw images where a projection puts them, one for each cell of a grid.

    Parameters
    ----------
    positions : array_like of shape (n, 2)
        Where the projection puts each image.
    images : array_like of shape (n, height, width)
        0 is background.
    title : str
        Which projection of what.
    cells : int
        Images that fit side by side; each cell shows the one that is nearest to its middle.
    ax : Axes, optional
        Where to draw.
    """
    ax = ax or plt.subplots(figsize=(7, 7.2))[1]
    positions, images = np.asarray(positions, float), np.asarray(images)
    height, width = images.shape[1:]
    low, high = positions.min(axis=0), positions.max(axis=0)
    scaled = (positions - low) / (high - low) * (cells - 1e-6)
    cell = scaled.astype(int)
    off_centre = np.linalg.norm(scaled - cell - 0.5, axis=1)
    canvas = np.zeros((cells * height, cells * width), images.dtype)
    for place in np.argsort(-off_centre):  # the nearest to the middle is drawn last
        left, top = cell[place, 0] * width, (cells - 1 - cell[place, 1]) * height
        canvas[top : top + height, left : left + width] = images[place]
    ax.imshow(canvas, cmap="gray_r")
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
