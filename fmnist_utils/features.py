"""What the layers of a network for photographs make of images, computed once and kept."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import joblib
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fmnist_utils import models, paths
from fmnist_utils.errors import unknown

# Part of what features are kept under: raise it when `models.transfer` changes what they are.
_FORMAT = 1


def pooled(
    images: NDArray[np.uint8],
    layers: Sequence[str],
    options: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Return what some layers of an untrained `models.transfer` make of images, pooled.

    Computed once: later calls with the same arguments read it from ``features/`` in the runs
    folder.

    Parameters
    ----------
    images : ndarray of shape (n, 28, 28), uint8
        0 is background.
    layers : sequence of str
        Names of layers whose output has the shape (height, width, features).
    options : mapping, optional
        Options of the model ``transfer``, see `models.build`.
    seed : int
        Seed of the weights, if `options` asks for random ones; the global seeds are set to it.

    Returns
    -------
    features : dict of ndarray of shape (n, features), float32
        Means over height and width, by layer.
    seconds : float
        How long the computation took when it was done.

    Raises
    ------
    BadInputError
        If the network has no layer of a name.
    FailureError
        If the weights are neither here nor to be downloaded, see `models.transfer`.

    Notes
    -----
    Introduced in notebook 12.

    Examples
    --------
    >>> import os, tempfile, unittest.mock
    >>> from fmnist_utils import data, features
    >>> images = data.sketches(3, seed=0).images
    >>> small = {"backbone": "MobileNet", "alpha": 0.25, "size": 32, "weights": None}
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     with unittest.mock.patch.dict(os.environ, FMNIST_RUNS_DIR=runs):
    ...         found, _ = features.pooled(images, ["conv1"], small)
    >>> found["conv1"].shape
    (3, 8)
    """
    kept = joblib.Memory(paths.runs_dir() / "features", verbose=0).cache(_pooled)
    # Kept or not, what is drawn afterwards is the same.
    keras.utils.set_random_seed(seed)
    found: tuple[dict[str, NDArray[np.float32]], float] = kept(
        images, tuple(layers), dict(options or {}), seed, (_FORMAT, keras.__version__)
    )
    return found


def _pooled(
    images: NDArray[np.uint8],
    layers: tuple[str, ...],
    options: dict[str, Any],
    seed: int,
    version: tuple[int, str],  # read by joblib alone
) -> tuple[dict[str, NDArray[np.float32]], float]:
    network = models.build("transfer", options)
    known = [layer.name for layer in network.layers]
    for name in layers:
        if name not in known:
            raise unknown("layer", name, known)
    means = keras.layers.GlobalAveragePooling2D()
    part = keras.Model(
        network.inputs, {name: means(network.get_layer(name).output) for name in layers}
    )
    start = time.perf_counter()
    stream = tf.data.Dataset.from_tensor_slices(images).batch(250)
    found = part.predict(models.without_autotune(stream), verbose=0)
    return found, time.perf_counter() - start
