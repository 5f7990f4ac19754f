"""Which pixels an answer rests on: Grad-CAM, integrated gradients, occlusion, and how to test them.

What is explained is the class's logit, the network's score before the softmax: a probability can
also rise because another class falls.
"""

import itertools
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from fmnist_utils.arrays import check_pixels, scale_maps
from fmnist_utils.classes import IMAGE_SHAPE, N_CLASSES
from fmnist_utils.errors import BadInputError, unknown

Maps = NDArray[np.float32]
SHARES = tuple(np.linspace(0, 1, 15))  # of the pixels, at which the curves are measured


def feature_layers(model: keras.Model) -> list[str]:
    """Return the names of the layers that Grad-CAM can look at, from the first to the last.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential.

    Raises
    ------
    BadInputError
        If the model has no convolution.
    """
    kinds = [isinstance(layer, keras.layers.Conv2D) for layer in model.layers]
    if not any(kinds):
        raise BadInputError(
            f"Model {model.name} has no convolution, and Grad-CAM needs one: explain it with "
            "integrated_gradients or occlusion."
        )
    behind = model.layers[kinds.index(True) :]
    return [layer.name for layer in behind if _side(layer) > 1]


def grad_cam(
    model: keras.Model,
    images: NDArray[np.uint8],
    classes: ArrayLike | None = None,
    layer: str | None = None,
) -> Maps:
    """Return where a layer's features speak for a class.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, with a convolution.
    images : ndarray of shape (n, 28, 28), uint8
        0 is background.
    classes : array_like of shape (n,), optional
        What to explain; by default what the model answers.
    layer : str, optional
        One of `feature_layers`; by default the last with at least seven fields a side, for what
        is coarser says nothing on a small image.

    Returns
    -------
    ndarray of shape (n, 28, 28), float32
        From 0 to 1 in each image; all 0 where nothing speaks for the class.

    Raises
    ------
    BadInputError
        If the images or classes do not fit, the layer is unknown or there is no convolution.

    Notes
    -----
    Selvaraju et al., arXiv 1610.02391.
    """

    def weights(_: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)

    return _class_activation(model, images, classes, layer, weights)


def grad_cam_plus_plus(
    model: keras.Model,
    images: NDArray[np.uint8],
    classes: ArrayLike | None = None,
    layer: str | None = None,
) -> Maps:
    """Return where a layer's features speak for a class, several places alike.

    Parameters, result and errors are those of `grad_cam`; Chattopadhyay et al., arXiv 1710.11063.
    """

    def weights(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        total = tf.reduce_sum(features, axis=(1, 2), keepdims=True)
        denominator = 2 * gradients**2 + total * gradients**3
        share = gradients**2 / tf.where(denominator == 0, 1.0, denominator)
        return tf.reduce_sum(share * tf.nn.relu(gradients), axis=(1, 2), keepdims=True)

    return _class_activation(model, images, classes, layer, weights)


def integrated_gradients(
    model: keras.Model,
    images: NDArray[np.uint8],
    classes: ArrayLike | None = None,
    *,
    steps: int = 128,
    tolerance: float | None = 0.01,
) -> Maps:
    """Return how much each pixel adds to the class's logit, on the way from an empty image.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`; the model needs no convolution.
    steps : int
        Gradients along the straight way. They are dense near the empty image, where a network
        that normalises its features decides most.
    tolerance : float, optional
        Where the values of an image do not sum to the logit less that of an empty image within
        this share of it (of 1, where it is smaller), the steps are doubled, up to 32 times as
        many; None leaves them as they are.

    Returns
    -------
    ndarray of shape (n, 28, 28), float32
        Signed.

    Warns
    -----
    RuntimeWarning
        If 32 times the steps do not suffice.

    Notes
    -----
    Sundararajan et al., arXiv 1703.01365.
    """
    network = _Network.of(model)
    maps = []
    for some, wanted in _batches(images, classes):
        pixels = network.scaled(some)
        explained = _settled(wanted, network.logits(pixels))
        found, finer = _integrated(network, pixels, explained, steps), steps
        while tolerance is not None:
            gaps = _incompleteness(network, pixels, explained, found)
            rough = np.flatnonzero(gaps > tolerance)
            if len(rough) == 0:
                break
            if finer == 32 * steps:
                warnings.warn(
                    f"Integrated gradients of {len(rough)} images miss the difference of logits "
                    f"by up to {gaps.max():.1%} with {finer:,} steps.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                break
            finer *= 2
            found[rough] = _integrated(network, tf.gather(pixels, rough), explained[rough], finer)
        maps.append(found)
    return np.concatenate(maps)


def occlusion(
    model: keras.Model,
    images: NDArray[np.uint8],
    classes: ArrayLike | None = None,
    *,
    size: int = 7,
    stride: int = 3,
) -> Maps:
    """Return how much the class's logit falls where a square is painted over with background.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`; the model needs no convolution.
    size, stride : int
        Side of the square and distance of its places, in pixels.

    Returns
    -------
    ndarray of shape (n, 28, 28), float32
        Signed: the mean over the squares that cover a pixel.

    Notes
    -----
    Zeiler and Fergus, arXiv 1311.2901.
    """
    if not 1 <= stride <= size <= IMAGE_SHAPE[0]:
        raise BadInputError(
            f"Need 1 <= stride <= size <= {IMAGE_SHAPE[0]}, so that every pixel is covered; "
            f"received stride {stride}, size {size}."
        )
    network = _Network.of(model)
    places = [*range(0, IMAGE_SHAPE[0] - size, stride), IMAGE_SHAPE[0] - size]
    maps = []
    for some, wanted in _batches(images, classes):
        pixels = np.asarray(network.scaled(some))
        logits = network.logits(pixels)
        explained = _settled(wanted, logits)
        whole = _of_class(logits, explained)
        total, times = np.zeros(some.shape, np.float32), np.zeros(IMAGE_SHAPE, np.float32)
        for top in places:
            for left in places:
                square = np.s_[top : top + size, left : left + size]
                painted = pixels.copy()
                painted[:, *square] = 0
                fall = whole - _of_class(network.logits(painted), explained)
                total[:, *square] += np.asarray(fall)[:, np.newaxis, np.newaxis]
                times[square] += 1
        maps.append(total / times)
    return np.concatenate(maps)


def deletion_curve(
    model: keras.Model,
    images: NDArray[np.uint8],
    maps: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    shares: Sequence[float] = SHARES,
) -> NDArray[np.float32]:
    """Return the class's probability while pixels are set to background, highest rated first.

    A good map finds the pixels that matter: the probability falls fast.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`.
    maps : array_like of shape (n, 28, 28)
        What rates the pixels.
    shares : sequence of float
        Of all pixels, from 0 to 1, at which to ask.

    Returns
    -------
    ndarray of shape (n, len(shares)), float32

    Raises
    ------
    BadInputError
        If there is not a map for each image, or the images or classes do not fit.

    Notes
    -----
    Petsiuk et al., arXiv 1806.07421.
    """
    return _perturbation_curve(model, images, maps, classes, shares, insert=False)


def insertion_curve(
    model: keras.Model,
    images: NDArray[np.uint8],
    maps: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    shares: Sequence[float] = SHARES,
) -> NDArray[np.float32]:
    """Return the class's probability while pixels come into an empty image, highest rated first.

    With a good map the probability rises fast. Parameters, result and errors are those of
    `deletion_curve`; Petsiuk et al., arXiv 1806.07421.
    """
    return _perturbation_curve(model, images, maps, classes, shares, insert=True)


def _perturbation_curve(
    model: keras.Model,
    images: NDArray[np.uint8],
    maps: ArrayLike,
    classes: ArrayLike | None,
    shares: Sequence[float],
    *,
    insert: bool,
) -> NDArray[np.float32]:
    network = _Network.of(model)
    maps = np.asarray(maps)
    if maps.shape != np.shape(images):
        raise BadInputError(f"Need a map an image: got {maps.shape} for {np.shape(images)}.")
    flat = maps.reshape(len(maps), -1)
    # The place of each pixel in the order, the highest first.
    rank = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1).reshape(maps.shape)
    curves, start = [], 0
    for some, wanted in _batches(images, classes):
        ranks = rank[start : start + len(some)]
        start += len(some)
        pixels = np.asarray(network.scaled(some))
        explained = _settled(wanted, network.logits(pixels))
        columns = []
        for share in shares:
            taken = ranks < round(share * flat.shape[1])
            left = np.where(taken == insert, pixels, np.float32(0))
            columns.append(_of_class(tf.nn.softmax(network.logits(left)), explained))
        curves.append(np.stack(columns, axis=1))
    return np.concatenate(curves)


METHODS: dict[str, Callable[..., Maps]] = {
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "integrated_gradients": lambda *asked: scale_maps(integrated_gradients(*asked)),
    "occlusion": lambda *asked: scale_maps(occlusion(*asked)),
}
"""By name, called with a model, images and classes: maps from 0 to 1, as `grad_cam` gives them."""


def _integrated(
    network: "_Network", pixels: tf.Tensor, explained: NDArray[np.int64], steps: int
) -> Maps:
    edges = np.linspace(0, 1, steps + 1) ** 3
    total = tf.zeros_like(pixels)
    for before, behind in itertools.pairwise(edges):
        point = pixels * ((before + behind) / 2)
        with tf.GradientTape() as tape:
            tape.watch(point)
            score = _of_class(network.logits(point), explained)
        total += tape.gradient(score, point) * (behind - before)
    return np.array(pixels * total, np.float32)


def _incompleteness(
    network: "_Network", pixels: tf.Tensor, explained: NDArray[np.int64], found: Maps
) -> NDArray[np.floating]:
    """Return by what share integrated gradients miss the difference that they should sum to."""
    whole, nothing = (_of_class(network.logits(x), explained) for x in (pixels, 0 * pixels))
    difference = np.asarray(whole - nothing)
    gap = np.abs(found.sum(axis=(1, 2)) - difference)
    return np.asarray(gap / np.maximum(np.abs(difference), 1))


class _Network:
    """A model from its scaled pixels on, up to a layer's features and the logits."""

    # Building the partial models takes longer than using them.
    _known: ClassVar[weakref.WeakKeyDictionary[keras.Model, "_Network"]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, model: keras.Model) -> None:
        # A loaded sequential model's layers have been called several times: only what a new walk
        # through all of them gives belongs together.
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}

        def called(layer: keras.Layer, *inputs: Any, **arguments: Any) -> Any:
            self._inputs[layer.name] = inputs[0]
            self._outputs[layer.name] = layer(*inputs, **arguments)
            return self._outputs[layer.name]

        whole = keras.models.clone_model(
            keras.Model(model.inputs[0], model.outputs[0]),
            clone_function=lambda layer: layer,
            call_function=called,
        )
        rescaling = [x for x in model.layers if isinstance(x, keras.layers.Rescaling)]
        self._scale = rescaling[0] if rescaling else None
        self._start = self._outputs[self._scale.name] if self._scale else whole.inputs[0]
        self._last = model.layers[-1]
        self._parts: dict[str | None, keras.Model] = {}
        part = self._part(None)
        # Called hundreds of times for one map: layer by layer that would take twice as long.
        self._logits = tf.function(
            lambda pixels: self._behind(part(pixels)), reduce_retracing=True, jit_compile=False
        )

    @classmethod
    def of(cls, model: keras.Model) -> "_Network":
        if model not in cls._known:
            cls._known[model] = cls(model)
        return cls._known[model]

    def scaled(self, images: NDArray[np.uint8]) -> tf.Tensor:
        """Return the pixels as the network's first layers see them, float32."""
        pixels = tf.cast(images, tf.float32)
        return pixels if self._scale is None else tf.cast(self._scale(pixels), tf.float32)

    def logits(self, pixels: Any) -> tf.Tensor:
        return self._logits(tf.convert_to_tensor(pixels))

    def features_and_logits(self, pixels: tf.Tensor, layer: str) -> tuple[tf.Tensor, tf.Tensor]:
        features, last = self._part(layer)(pixels)
        return features, self._behind(last)

    def _part(self, layer: str | None) -> keras.Model:
        if layer not in self._parts:
            last = self._inputs[self._last.name]
            outputs = last if layer is None else [self._outputs[layer], last]
            self._parts[layer] = keras.Model(self._start, outputs)
        return self._parts[layer]

    def _behind(self, x: tf.Tensor) -> tf.Tensor:
        """Return the logits, from what the last layer reads."""
        if getattr(self._last, "activation", None) is not keras.activations.softmax:
            return self._last(x)
        if not isinstance(self._last, keras.layers.Dense):
            return x
        return tf.cast(x, tf.float32) @ self._last.kernel + self._last.bias


def _class_activation(
    model: keras.Model,
    images: NDArray[np.uint8],
    classes: ArrayLike | None,
    layer: str | None,
    weights: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Maps:
    names = feature_layers(model)
    if layer is None:
        fine = [name for name in names if _side(model.get_layer(name)) >= 7]
        layer = (fine or names)[-1]
    if layer not in names:
        raise unknown(f"feature layer of model {model.name}", layer, names)
    network = _Network.of(model)
    maps = []
    for some, wanted in _batches(images, classes):
        pixels = network.scaled(some)
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            features, logits = network.features_and_logits(pixels, layer)
            score = _of_class(logits, _settled(wanted, logits))
        gradients = tf.cast(tape.gradient(score, features), tf.float32)
        features = tf.cast(features, tf.float32)
        summed = tf.reduce_sum(weights(features, gradients) * features, axis=-1, keepdims=True)
        maps.append(tf.image.resize(tf.nn.relu(summed), IMAGE_SHAPE)[..., 0])
    return scale_maps(np.concatenate(maps))


def _batches(
    images: NDArray[np.uint8], classes: ArrayLike | None, *, size: int = 250
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64] | None]]:
    """Yield some images and their classes at a time, once all of them are seen to fit."""
    images = check_pixels(images)
    wanted = None if classes is None else np.asarray(classes)
    if wanted is not None and not (
        wanted.ndim == 1
        and len(wanted) == len(images)
        and np.issubdtype(wanted.dtype, np.integer)
        and ((wanted >= 0) & (wanted < N_CLASSES)).all()
    ):
        raise BadInputError(
            f"Need one class from 0 to {N_CLASSES - 1} an image; received "
            f"{wanted.dtype} of shape {wanted.shape} for {len(images)} images."
        )
    for start in range(0, len(images), size):
        some = slice(start, start + size)
        yield images[some], None if wanted is None else wanted[some]


def _settled(classes: NDArray[np.int64] | None, logits: tf.Tensor) -> NDArray[np.int64]:
    """Return the classes to explain: what the model answers where none are asked for."""
    return np.asarray(np.argmax(logits, axis=1)) if classes is None else classes


def _of_class(scores: tf.Tensor, classes: NDArray[np.int64]) -> tf.Tensor:
    return tf.gather(tf.cast(scores, tf.float32), classes, axis=1, batch_dims=1)


def _side(layer: keras.Layer) -> int:
    """Return how many fields a side a layer's output has; 0 if it is no picture."""
    shape: Any = getattr(layer.output, "shape", ())
    return int(shape[1]) if len(shape) == 4 else 0
