"""Load the data sets, split into training, validation and test images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fmnist_utils.classes import N_CLASSES
from fmnist_utils.data import published
from fmnist_utils.data.labelled import Labelled
from fmnist_utils.data.sketches import sketch_hashes, sketch_set
from fmnist_utils.errors import BadInputError

# Images to train on and to validate with together, and those of them that validate.
_TOTAL = {"fashion_mnist": 60_000, "mnist": 60_000, "sketches": 6_000}
_VALIDATION = {"fashion_mnist": 5_000, "mnist": 5_000, "sketches": 1_000}


@dataclass(frozen=True)
class TrainingData:
    """What training may see; there are no test images in it.

    Attributes
    ----------
    train, validation : Labelled
        The two parts of the published training images.
    """

    train: Labelled
    validation: Labelled


def load_training(dataset: str = "fashion_mnist", *, train_size: int = 55_000) -> TrainingData:
    """Return the published training images, split into training and validation.

    Parameters
    ----------
    dataset : str
        One of `published.DATASETS`. Of ``"sketches"`` there are only 6,000, of which 1,000 are for
        validation; a `train_size` above 6,000 means all the others.
    train_size : int
        How many images to train on: all that are not in the validation set, fewer (a stratified
        subset), or 60,000: everything published, which leaves no image to validate with.

    Returns
    -------
    TrainingData
        Each part in the published order.

    Raises
    ------
    BadInputError
        If the data set is unknown, or cannot be split into that size.
    FailureError
        If the files are neither found nor downloaded.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> loaded = load_training("sketches", train_size=300)
    >>> len(loaded.train.labels), len(loaded.validation.labels)
    (300, 1000)
    """
    check_train_size(dataset, train_size)
    return training_split(dataset, train_size)


def check_train_size(dataset: str, train_size: int) -> None:
    """Raise BadInputError unless `load_training` can give as many images of a data set.

    Parameters
    ----------
    dataset : str
        The name received.
    train_size : int
        How many images to train on.
    """
    published.check_dataset(dataset)
    total, rest = _TOTAL[dataset], _TOTAL[dataset] - _VALIDATION[dataset]
    if train_size in (rest, total) or (dataset == "sketches" and train_size > total):
        return
    # A subset, and what it leaves over, hold at least one image of each class.
    if not N_CLASSES <= train_size <= rest - N_CLASSES:
        raise BadInputError(
            f"train_size is {train_size:,}: choose {N_CLASSES} to {rest - N_CLASSES:,} for a "
            f"stratified subset, {rest:,} for all images outside the validation set, or {total:,} "
            "for all."
        )


def training_split(dataset: str, train_size: int) -> TrainingData:
    """Return what `load_training` gives, of a data set and a size that were checked before.

    Parameters
    ----------
    dataset, train_size
        As `check_train_size` lets pass.

    Returns
    -------
    TrainingData
        Each part in the published order.

    Raises
    ------
    FailureError
        If the files are neither found nor downloaded.
    """
    given = _load(dataset, "train")
    if train_size == _TOTAL[dataset]:
        return TrainingData(given, Labelled(given.images[:0], given.labels[:0]))
    # The seed is the same whatever a model is trained with: models of different seeds then share
    # their validation images and can be compared image by image.
    rest, validation = split(given, _VALIDATION[dataset], seed=0)
    n_left = len(rest.labels)
    train = rest if train_size >= n_left else split(rest, train_size, seed=0)[1]
    return TrainingData(train, validation)


def load_test(dataset: str = "fashion_mnist") -> Labelled:
    """Return the test images.

    Parameters
    ----------
    dataset : str
        One of `published.DATASETS`.

    Returns
    -------
    Labelled
        The published 10,000 in their order; 1,000 of the sketches.

    Raises
    ------
    BadInputError
        If the data set is unknown.
    FailureError
        If the files are neither found nor downloaded.

    Notes
    -----
    Introduced in notebook 07.

    Examples
    --------
    >>> load_test("sketches").images.shape
    (1000, 28, 28)
    """
    published.check_dataset(dataset)
    return _load(dataset, "test")


def load_published(dataset: str = "fashion_mnist") -> tuple[Labelled, Labelled]:
    """Return the training images, those for validation among them, and the test images.

    Parameters
    ----------
    dataset : str
        One of `published.DATASETS`.

    Returns
    -------
    train, test : Labelled
        60,000 and 10,000 images, in the published order; 6,000 and 1,000 of the sketches.

    Raises
    ------
    BadInputError
        If the data set is unknown.
    FailureError
        If the files are neither found nor downloaded.

    Notes
    -----
    Introduced in notebook 01.

    Examples
    --------
    >>> train, test = load_published("sketches")
    >>> len(train.labels), len(test.labels)
    (6000, 1000)
    """
    published.check_dataset(dataset)
    return _load(dataset, "train"), _load(dataset, "test")


def hashes(dataset: str) -> dict[str, str]:
    """Return the SHA-256 of the decompressed training files, by name: part of each run's key.

    Parameters
    ----------
    dataset : str
        Of a recipe, which has checked it; of the sketches, the hashes are those of the arrays.

    Returns
    -------
    dict of str to str
        Of the images and of the labels, 64 hexadecimal digits each.
    """
    if dataset == "sketches":
        return dict(zip(published.TRAIN, sketch_hashes(), strict=True))
    return {name: published.PUBLISHED[dataset].sha256[name] for name in published.TRAIN}


def split(data: Labelled, validation_size: int, *, seed: int = 0) -> tuple[Labelled, Labelled]:
    """Return two parts in which the classes have the same shares as in the whole.

    Parameters
    ----------
    data : Labelled
        What to split; at least two images of each class.
    validation_size : int
        How many images go into the second part; at least one a class must remain in either.
    seed : int
        The same seed gives the same parts.

    Returns
    -------
    rest, validation : Labelled
        Copies, each in the order of `data`.

    Raises
    ------
    BadInputError
        If a part or a class would be too small.

    Examples
    --------
    >>> from fmnist_utils.data import sketches
    >>> rest, validation = split(sketches(100, seed=0), 20)
    >>> np.bincount(rest.labels).tolist(), np.bincount(validation.labels).tolist()
    ([8, 8, 8, 8, 8, 8, 8, 8, 8, 8], [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    from sklearn.model_selection import train_test_split

    n = len(data.labels)
    counts = np.unique(data.labels, return_counts=True)[1]
    low, high, rarest = len(counts), n - len(counts), counts.min(initial=n)
    if not low <= validation_size <= high or rarest < 2:
        raise BadInputError(
            f"Cannot split {n:,} images of {low} classes, the rarest of which has {rarest:,}, into "
            f"{validation_size:,} and the rest: choose {low:,} to {high:,}, and give two images of "
            f"each class or more."
        )
    parts = train_test_split(
        np.arange(n), test_size=validation_size, stratify=data.labels, random_state=seed
    )
    rest, validation = (
        Labelled(data.images[indices], data.labels[indices]) for indices in map(np.sort, parts)
    )
    return rest, validation


def _load(dataset: str, part: Literal["train", "test"]) -> Labelled:
    if dataset == "sketches":
        return sketch_set(part)
    return published.load(dataset, published.TRAIN if part == "train" else published.TEST)
