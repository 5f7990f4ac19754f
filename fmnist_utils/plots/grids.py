"""Pictures: grids of images, maps over images, images placed by class or by a projection."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fmnist_utils.arrays import check_images
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.errors import BadInputError


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
    images = check_images(images)
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
