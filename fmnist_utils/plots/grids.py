"""Pictures: grids of images, maps over images, images placed by class or by a projection."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.arrays import check_images
from fmnist_utils.classes import CLASS_NAMES, N_CLASSES
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
        Title of each image, of one line or more.
    columns : int
        Images in a row.
    size : float
        Width of an image in inches.
    title : str, optional
        Title of the whole figure.

    Raises
    ------
    BadInputError
        If there are no images, or not as many titles as images.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> from fmnist_utils import data, plots
    >>> figure = plots.image_grid(data.sketches(6, seed=0).images, list("abcdef"), columns=3)
    >>> figure.axes[5].get_title()
    'f'
    """
    images = check_images(images)
    if titles is not None and len(titles) != len(images):
        raise BadInputError(f"Need one title an image: got {len(titles)} for {len(images)}.")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    lines = max(title.count("\n") for title in titles) if titles else 0
    height = size + (0.0 if titles is None else 0.18 + 0.13 * lines)
    figsize = (columns * size, rows * height + (0.35 if title else 0))
    figure, axes = _bare_axes(rows, columns, figsize=figsize, title=title)
    for image, caption, ax in zip(images, titles or [""] * len(images), axes.flat, strict=False):
        ax.imshow(image, cmap="gray_r", interpolation="nearest")
        ax.set_title(caption, fontsize=8, pad=2)
    return figure


def gallery(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    columns: int = 6,
    names: Sequence[str] = CLASS_NAMES,
    title: str | None = None,
) -> Figure:
    """Draw images, each with its predicted class, the probability of that and the true class.

    Parameters
    ----------
    images : array_like of shape (n, 28, 28)
        In the order to show; 0 is background.
    labels : array_like of shape (n,)
        True classes.
    probabilities : array_like of shape (n, 10)
        Of each class, from 0 to 1.
    columns : int
        Images in a row.
    names : sequence of str
        Of the ten classes.
    title : str, optional
        Title of the whole figure.

    Raises
    ------
    BadInputError
        If there are no images, or not as many labels or probabilities.

    Notes
    -----
    Introduced in notebook 09.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_utils import data, plots
    >>> figure = plots.gallery(data.sketches(1, seed=0).images, [6], np.eye(10)[[0]])
    >>> print(figure.axes[0].get_title())
    T-shirt/top 100%
    ✗ label: Shirt
    """
    truth, probability = np.asarray(labels), np.asarray(probabilities)
    if not len(truth) == len(probability) == len(np.asarray(images)):
        raise BadInputError(
            f"Need a label and probabilities an image: got {len(np.asarray(images))} images, "
            f"{len(truth)} labels and {len(probability)} rows of probabilities."
        )
    captions = [
        f"{names[answer]} {chance:.0%}\n" + ("✓" if answer == label else f"✗ label: {names[label]}")
        for answer, chance, label in zip(
            probability.argmax(axis=1), probability.max(axis=1), truth, strict=True
        )
    ]
    return image_grid(images, captions, columns=columns, size=1.15, title=title)


def overlays(
    images: ArrayLike,
    maps: Mapping[str, ArrayLike],
    *,
    captions: Sequence[str],
    title: str,
) -> Figure:
    """Draw one image in each row and beside it maps, darker where higher, in the image's outline.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        0 is background.
    maps : mapping of str to array_like of shape (n, height, width)
        By the name to write above; from 0 to 1.
    captions : sequence of str
        Text beside each row.
    title : str
        Title of the whole figure.

    Raises
    ------
    BadInputError
        If there is not a map, or not a caption, for each image.

    Examples
    --------
    >>> from fmnist_utils import data, plots
    >>> images = data.sketches(2, seed=0).images
    >>> figure = plots.overlays(
    ...     images, {"brightness": images / 255}, captions=["first", "second"], title="Two maps"
    ... )
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['image', 'brightness']
    """
    images = np.asarray(images)
    columns = {name: np.asarray(values) for name, values in maps.items()}
    lengths = {name: len(values) for name, values in columns.items()} | {"captions": len(captions)}
    if any(length != len(images) for length in lengths.values()):
        raise BadInputError(f"Need one an image: got {lengths} for {len(images)} images.")
    across = 1 + len(columns)
    figsize = (1.1 * across + 1.2, 1.1 * len(images) + 0.5)
    figure, axes = _bare_axes(len(images), across, figsize=figsize, title=title)
    for row, image in enumerate(images):
        axes[row, 0].imshow(image, cmap="gray_r", interpolation="nearest")
        axes[row, 0].set_ylabel(captions[row], rotation=0, ha="right", va="center", fontsize=8)
        for ax, values in zip(axes[row, 1:], columns.values(), strict=True):
            _draw_map(ax, values[row], image)
    for ax, name in zip(axes[0], ["image", *columns], strict=True):
        ax.set_title(name, fontsize=8)
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
    """Draw the steps from a photo to the classifier's input, and a map of what its answer rests on.

    Parameters
    ----------
    photo, mask, garment, image : array_like
        As in `photos.prepare.Prepared`.
    reasons : array_like of shape (28, 28)
        From 0 to 1.
    title : str, optional
        Title of the whole figure.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_utils import data, plots
    >>> photo, mask = np.zeros((60, 40, 3), np.uint8), np.ones((60, 40), bool)
    >>> image = data.sketches(1, seed=0).images[0]
    >>> figure = plots.photo_steps(photo, mask, photo[..., 0], image, image / 255, title="Steps")
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['photo', 'garment, cut out']
    """
    figure, axes = _bare_axes(1, 5, figsize=(7, 2), title=title)
    cut = np.where(np.asarray(mask)[..., np.newaxis], photo, 255)
    for ax, picture in zip(axes.flat, (photo, cut, garment, image), strict=False):
        ax.imshow(np.asarray(picture), cmap="gray_r", vmin=0, vmax=255)
    _draw_map(axes[0, 4], np.asarray(reasons), np.asarray(image))
    names = ("photo", "garment, cut out", "trimmed, grey", "28×28", "what speaks for it")
    for ax, name in zip(axes.flat, names, strict=True):
        ax.set_title(name, fontsize=8)
    return figure


def weight_grid(
    weights: ArrayLike,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 10,
    size: float = 0.75,
    title: str | None = None,
) -> Figure:
    """Draw weights as pictures: white is positive, black negative, mid-grey zero.

    Parameters
    ----------
    weights : array_like of shape (n, height, width)
        Each picture is scaled by its largest absolute weight.
    titles, columns, size, title
        As for `image_grid`.

    Notes
    -----
    Introduced in notebook 02.

    Examples
    --------
    >>> from fmnist_utils import plots
    >>> figure = plots.weight_grid([[[-3, 0], [1.5, 3]]])
    >>> figure.axes[0].images[0].get_array().tolist()
    [[-1.0, 0.0], [0.5, 1.0]]
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
    """Draw the first images of each class in a row, with its name beside the row.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        0 is background.
    labels : array_like of shape (n,)
        Classes, as indices into `names`.
    columns : int
        Images of each class; the row of a class that has fewer ends in white cells.
    names : sequence of str
        Names of the classes.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    BadInputError
        If there are no images.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> from fmnist_utils import data, plots
    >>> some = data.sketches(50, seed=0)
    >>> ax = plots.class_grid(some.images, some.labels, columns=3)
    >>> ax.get_yticklabels()[9].get_text()
    'Ankle boot'
    """
    ax = ax or plt.subplots(figsize=(7, 6.4))[1]
    images, labels = check_images(images), np.asarray(labels)
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))  # two white pixels between images
    cells: dict[tuple[int, int], NDArray[Any]] = {}
    for label in range(len(names)):
        cells |= {(label, c): image for c, image in enumerate(framed[labels == label][:columns])}
    ax.imshow(_canvas(cells, len(names), columns), cmap="gray_r")
    ax.set_yticks((np.arange(len(names)) + 0.5) * framed.shape[1], names, fontsize=10)
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
    names: Sequence[str] = CLASS_NAMES,
    ax: Axes | None = None,
) -> Axes:
    """Draw a confusion matrix of images: in each cell the most confident one, and how many.

    Parameters
    ----------
    images : array_like of shape (n, height, width)
        0 is background.
    labels : array_like of shape (n,)
        True classes.
    probabilities : array_like of shape (n, 10)
        Of each class, from 0 to 1.
    title : str
        What was measured.
    names : sequence of str
        Of the ten classes.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    BadInputError
        If there are no images.

    Notes
    -----
    Introduced in notebook 09.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_utils import data, plots
    >>> some = data.sketches(50, seed=0)
    >>> ax = plots.confusion_gallery(some.images, some.labels, np.eye(10)[some.labels], title="All")
    >>> sum(int(text.get_text()) for text in ax.texts)
    50
    """
    ax = ax or plt.subplots(figsize=(7.4, 7.6))[1]
    images, truth, probability = check_images(images), np.asarray(labels), np.asarray(probabilities)
    answer, confidence = probability.argmax(axis=1), probability.max(axis=1)
    framed = np.pad(images, ((0, 0), (7, 1), (1, 1)))  # room for the number above
    _, height, width = framed.shape
    cells = {}
    for row, column in set(zip(truth.tolist(), answer.tolist(), strict=True)):
        here = np.flatnonzero((truth == row) & (answer == column))
        cells[row, column] = framed[here[confidence[here].argmax()]]
        ax.text(column * width + 1, row * height + 1, f"{len(here)}", fontsize=8, va="top")
    ax.imshow(_canvas(cells, N_CLASSES, N_CLASSES), cmap="gray_r", interpolation="nearest")
    ax.set_xticks(np.arange(1, N_CLASSES) * width - 0.5, minor=True)
    ax.set_yticks(np.arange(1, N_CLASSES) * height - 0.5, minor=True)
    ax.grid(which="minor", color="0.8", lw=0.6)
    ax.tick_params(which="both", length=0)
    ax.set_xticks((np.arange(N_CLASSES) + 0.5) * width, names, rotation=30, fontsize=8)
    ax.set_yticks((np.arange(N_CLASSES) + 0.5) * height, names, fontsize=8)
    ax.set(title=title, xlabel="predicted class", ylabel="true class")
    return ax


def thumbnail_map(
    positions: ArrayLike, images: ArrayLike, *, title: str, side: int = 24, ax: Axes | None = None
) -> Axes:
    """Draw images at their projected positions, one for each cell of a grid.

    Parameters
    ----------
    positions : array_like of shape (n, 2)
        Of each image in the plane.
    images : array_like of shape (n, height, width)
        0 is background.
    title : str
        Which projection of what.
    side : int
        Images that fit side by side; each cell shows the one that is nearest to its middle.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    BadInputError
        If there are no images.

    Examples
    --------
    >>> from fmnist_utils import data, plots
    >>> images = data.sketches(2, seed=0).images
    >>> ax = plots.thumbnail_map([[0, 0], [1, 1]], images, title="Two images", side=4)
    >>> ax.images[0].get_array().shape  # four by four cells of 28 pixels
    (112, 112)
    """
    ax = ax or plt.subplots(figsize=(7, 7.2))[1]
    positions, images = np.asarray(positions, float), check_images(images)
    low, high = positions.min(axis=0), positions.max(axis=0)
    scaled = (positions - low) / (high - low) * (side - 1e-6)
    columns, heights = scaled.astype(int).T
    off_centre = np.linalg.norm(scaled % 1 - 0.5, axis=1)
    cells = {  # of each cell the last one stays, which is the nearest to the middle
        (side - 1 - heights[index], columns[index]): images[index]
        for index in np.argsort(-off_centre)
    }
    ax.imshow(_canvas(cells, side, side), cmap="gray_r")
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    return ax


def _bare_axes(
    rows: int, columns: int, *, figsize: tuple[float, float], title: str | None
) -> tuple[Figure, NDArray[Any]]:
    """Return a figure with a grid of Axes that have neither ticks nor spines."""
    figure, axes = plt.subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure, axes


def _draw_map(ax: Axes, values: NDArray[Any], image: NDArray[Any]) -> None:
    """Draw a map from 0 to 1 with the image's outline."""
    ax.imshow(values, cmap="Oranges", vmin=0, vmax=1, interpolation="nearest")
    if image.any():
        ax.contour(image > 0, levels=[0.5], colors="0.4", linewidths=0.6)


def _canvas(cells: Mapping[tuple[int, int], NDArray[Any]], rows: int, columns: int) -> NDArray[Any]:
    """Return one image with equally large ones in the cells of a grid, by row and column."""
    image = next(iter(cells.values()))
    canvas = np.zeros((rows, columns, *image.shape), image.dtype)
    for cell, image in cells.items():
        canvas[cell] = image
    return np.concatenate(np.concatenate(canvas, axis=1), axis=1)
