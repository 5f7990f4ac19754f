"""The training images, indexed by what the packaged model sees of them."""

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_utils import data, paths
from fmnist_utils.errors import FailureError
from fmnist_utils.files import atomic_write
from fmnist_utils.photos.predictor import FILES, Predictor
from fmnist_utils.similarity import Index

_DIRECTIONS = 64  # principal directions of the embeddings, to search in a millisecond or two


@dataclass(frozen=True)
class Catalogue:
    """The training images and an index of their embeddings, to find similar ones.

    Parameters
    ----------
    index : Index
        Of the embeddings, in the order of the images.
    images : ndarray of shape (n, 28, 28), uint8
        0 is background.
    labels : ndarray of shape (n,), int64
        Their classes, 0 to 9.
    """

    index: Index
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def catalogue(predictor: Predictor) -> Catalogue:
    """Return the catalogue of the 60,000 training images; embeddings are kept for the next time.

    Parameters
    ----------
    predictor : Predictor
        Gives the embeddings. They are kept in ``embeddings/`` in the runs folder, by the hash of
        its model.

    Raises
    ------
    FailureError
        If the images are neither here nor to be downloaded.
    """
    training = data.load_training("fashion_mnist", train_size=60_000).train
    key = hashlib.sha256()
    for name in FILES:
        key.update((predictor.folder / name).read_bytes())
    path = paths.runs_dir() / "embeddings" / f"{key.hexdigest()[:12]}.npy"
    shape = (len(training.labels), predictor.predict(training.images[:1]).embedding.shape[1])
    embeddings = _kept(path, shape)
    if embeddings is None:
        embeddings = predictor.predict(training.images).embedding.astype(np.float16)
        # Kept if the folder can be written; the answers do not need it.
        with (
            contextlib.suppress(FailureError),
            atomic_write(path) as unfinished,
            unfinished.open("wb") as file,
        ):
            np.save(file, embeddings)
    index = Index(embeddings, directions=_DIRECTIONS)
    return Catalogue(index, training.images, training.labels)


def _kept(path: Path, shape: tuple[int, int]) -> NDArray[np.float16] | None:
    """Return embeddings from a file, or None if it is missing, damaged or of another make."""
    try:
        embeddings: NDArray[np.float16] = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return embeddings if embeddings.shape == shape else None
