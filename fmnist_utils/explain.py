"""Which pixels an answer rests on: Grad-CAM, integrated gradients, occlusion, and how to test them.

What is explained is the class's logit, the network's score before the softmax: a probability can
also rise because another class falls.
"""

import itertools
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from fmnist_utils import layer_graph
from fmnist_utils.arrays import check_classes, check_pixels, scale_maps
from fmnist_utils.classes import IMAGE_SHAPE
from fmnist_utils.errors import BadInputError, unknown

Images = NDArray[np.uint8]
Maps = NDArray[np.float32]
Classes = NDArray[np.integer]
_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.SeparableConv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
)
# Of the squares of `occlusion`, in pixels; together they cover every pixel.
_SQUARE, _STRIDE = 7, 3
SHARES = tuple(np.linspace(0, 1, 15))  # of the pixels, at which the curves are measured


def feature_layers(model: keras.Model) -> list[str]:
    """Return the names of the layers that Grad-CAM can look at, from the first to the last.

    That is the first convolution and what follows it, down to feature maps of 2x2 pixels.

    Parameters
    ----------
    model : keras.Model
        Functional, sequential or subclassed, of other models or not; with one output.

    Raises
    ------
    BadInputError
        If the model has no convolution.

    Examples
    --------
    >>> from fmnist_utils import explain, models
    >>> model = models.build("cnn", {"filters": [[4], [8]]})
    >>> [model.get_layer(name).output.shape[1:3] for name in explain.feature_layers(model)]
    [(28, 28), (14, 14), (14, 14), (14, 14), (7, 7), (7, 7)]
    """
    layers = layer_graph.flattened(model).layers
    kinds = [isinstance(layer, _CONVOLUTIONS) for layer in layers]
    if not any(kinds):
        raise BadInputError(
            f"Model {model.name} has no convolution, and Grad-CAM needs one: explain it with "
            "integrated_gradients or occlusion."
        )
    behind = layers[kinds.index(True) :]
    return [layer.name for layer in behind if _map_size(layer) > 1]


def grad_cam(
    model: keras.Model, images: Images, classes: ArrayLike | None = None, layer: str | None = None
) -> Maps:
    """Return Grad-CAM maps, which show where a layer's features raise the logit of a class.

    Parameters
    ----------
    model : keras.Model
        As for `feature_layers`. Whether its last layer gives logits, or a softmax of them in any
        spelling, makes no difference.
    images : ndarray of shape (n, 28, 28), uint8
        0 is background.
    classes : array_like of shape (n,), integer, optional
        What to explain, 0 to 9; by default the class that the model predicts.
    layer : str, optional
        One of `feature_layers`; by default the last whose feature maps have at least 7x7 pixels:
        coarser maps say little about a small image.

    Returns
    -------
    ndarray of shape (n, 28, 28), float32
        0 to 1, each map divided by its maximum; all 0 where no feature raises the logit.

    Raises
    ------
    BadInputError
        If the images or classes do not fit, the layer is unknown or the model has no convolution.

    Notes
    -----
    Selvaraju et al., arXiv 1610.02391. Introduced in notebook 14.

    Examples
    --------
    >>> from fmnist_utils import data, explain, models
    >>> images = data.sketches(2, seed=0).images
    >>> maps = explain.grad_cam(models.build("cnn"), images, classes=[3, 5])
    >>> maps.shape, bool((0 <= maps).all() and (maps <= 1).all())
    ((2, 28, 28), True)
    """

    def weights(_: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)

    return _class_activation(model, images, classes, layer, weights)


def grad_cam_plus_plus(
    model: keras.Model, images: Images, classes: ArrayLike | None = None, layer: str | None = None
) -> Maps:
    """Return Grad-CAM++ maps, which show every part that raises a logit, not the largest alone.

    Parameters, returned array and errors are those of `grad_cam`.

    Notes
    -----
    Chattopadhyay et al., arXiv 1710.11063.

    Examples
    --------
    >>> from fmnist_utils import data, explain, models
    >>> explain.grad_cam_plus_plus(models.build("cnn"), data.sketches(2, seed=0).images).shape
    (2, 28, 28)
    """

    def weights(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        total = tf.reduce_sum(features, axis=(1, 2), keepdims=True)
        denominator = 2 * gradients**2 + total * gradients**3
        share = gradients**2 / tf.where(denominator == 0, 1.0, denominator)
        return tf.reduce_sum(share * tf.nn.relu(gradients), axis=(1, 2), keepdims=True)

    return _class_activation(model, images, classes, layer, weights)


def integrated_gradients(
    model: keras.Model,
    images: Images,
    classes: ArrayLike | None = None,
    *,
    steps: int = 128,
    tolerance: float | None = 0.01,
) -> Maps:
    """Return how much each pixel adds to the logit of a class, compared with an empty image.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`; the model needs no convolution.
    steps : int
        How many gradients are taken along the straight line from the empty image. They are dense
        near the empty image, where a network with normalised features changes most.
    tolerance : float, optional
        The pixels' values should sum to the image's logit minus that of the empty image. Where
        they miss it by more than this share of the difference (or of 1, if the difference is
        smaller), the steps are doubled, up to 32 times as many. None: `steps` are enough.

    Returns
    -------
    ndarray of shape (n, 28, 28), float32
        In units of the logit; negative where a pixel speaks against the class.

    Raises
    ------
    BadInputError
        If the images or classes do not fit.

    Warns
    -----
    RuntimeWarning
        If 32 times the steps do not suffice.

    Notes
    -----
    Sundararajan et al., arXiv 1703.01365. Introduced in notebook 14.

    Examples
    --------
    For softmax regression it is each pixel times its weight; background adds nothing:

    >>> from fmnist_utils import data, explain, models
    >>> images = data.sketches(2, seed=0).images
    >>> values = explain.integrated_gradients(models.build("dense"), images, steps=8)
    >>> values.shape, bool((values[images == 0] == 0).all())
    ((2, 28, 28), True)
    """
    allowed = np.inf if tolerance is None else tolerance

    def attributions(network: _Network, pixels: Maps, explained: Classes) -> Maps:
        empty = network.logit_of(np.zeros_like(pixels), explained)
        difference = network.logit_of(pixels, explained) - empty
        found, rough = np.empty_like(pixels), np.ones(len(pixels), bool)
        for finer in (steps * 2**doublings for doublings in range(6)):
            found[rough] = _integrated(network, pixels[rough], explained[rough], finer)
            missed = np.abs(found.sum(axis=(1, 2)) - difference)
            gaps = missed / np.maximum(np.abs(difference), 1)
            rough = gaps > allowed
            if not rough.any():
                return found
        warnings.warn(
            f"Integrated gradients of {rough.sum()} images miss the difference of logits by up to "
            f"{gaps.max():.1%} with {finer:,} steps.",
            RuntimeWarning,
            stacklevel=4,  # where integrated_gradients was called
        )
        return found

    return _by_batches(attributions, model, images, classes)


def occlusion(model: keras.Model, images: Images, classes: ArrayLike | None = None) -> Maps:
    """Return how much the logit of a class falls when a square of the image is set to background.

    The squares have sides of 7 pixels and lie 3 pixels apart.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`; the model needs no convolution.

    Returns
    -------
    ndarray of shape (n, 28, 28), float32
        In units of the logit: the mean over the squares that cover a pixel; negative where the
        logit rises.

    Raises
    ------
    BadInputError
        If the images or classes do not fit.

    Notes
    -----
    Zeiler and Fergus, arXiv 1311.2901. Introduced in notebook 14.

    Examples
    --------
    >>> from fmnist_utils import data, explain, models
    >>> explain.occlusion(models.build("dense"), data.sketches(2, seed=0).images).shape
    (2, 28, 28)
    """
    starts = range(0, IMAGE_SHAPE[0] - _SQUARE + 1, _STRIDE)

    def mean_falls(network: _Network, pixels: Maps, explained: Classes) -> Maps:
        whole = network.logit_of(pixels, explained)
        falls, n_squares = np.zeros_like(pixels), np.zeros(IMAGE_SHAPE, np.float32)
        for top, left in itertools.product(starts, starts):
            square = np.s_[top : top + _SQUARE, left : left + _SQUARE]
            covered = pixels.copy()
            covered[:, *square] = 0
            falls[:, *square] += (whole - network.logit_of(covered, explained))[:, None, None]
            n_squares[square] += 1
        return falls / n_squares

    return _by_batches(mean_falls, model, images, classes)


def deletion_curve(
    model: keras.Model,
    images: Images,
    maps: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    shares: Sequence[float] = SHARES,
) -> NDArray[np.float32]:
    """Return the probability of a class as pixels are set to background, highest rated first.

    A good map finds the pixels that matter: the probability falls fast.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`; the model needs no convolution.
    maps : array_like of shape (n, 28, 28)
        The rating of each pixel.
    shares : sequence of float
        Shares of the pixels, 0 to 1, after which the probability is computed.

    Returns
    -------
    ndarray of shape (n, len(shares)), float32
        0 to 1.

    Raises
    ------
    BadInputError
        If there is not one map for each image, or the images or classes do not fit.

    Notes
    -----
    Petsiuk et al., arXiv 1806.07421. Introduced in notebook 14.

    Examples
    --------
    >>> from fmnist_utils import data, explain, models
    >>> model, images = models.build("dense"), data.sketches(2, seed=0).images
    >>> curve = explain.deletion_curve(model, images, maps=images, shares=[0, 0.5, 1])
    >>> curve.shape, bool((0 <= curve).all() and (curve <= 1).all())
    ((2, 3), True)
    """
    maps = np.asarray(maps, float)
    if maps.shape != np.shape(images):
        raise BadInputError(
            f"Need one map for each image; received {maps.shape} for {np.shape(images)}."
        )

    def probabilities(
        network: _Network, pixels: Maps, explained: Classes, ratings: NDArray[Any]
    ) -> NDArray[np.float32]:
        order = np.argsort(-ratings.reshape(len(ratings), -1), axis=1, kind="stable")
        ranks = np.argsort(order, axis=1).reshape(ratings.shape)  # 0 for the highest rated pixel
        columns = []
        for share in shares:
            taken = ranks < round(share * ranks[0].size)
            left = np.where(taken, np.float32(0), pixels)
            columns.append(_of_class(tf.nn.softmax(network.logits(left)), explained))
        return np.stack(columns, axis=1)

    return _by_batches(probabilities, model, images, classes, maps)


class _Network:
    """A model from its scaled pixels on, to its logits and, if asked for, a layer's features."""

    def __init__(self, model: keras.Model) -> None:
        model = layer_graph.flattened(model)
        # The layers have been called before: only what a new walk through all of them gives
        # belongs together.
        self._outputs: dict[str, Any] = {}
        last = model.outputs[0]._keras_history.operation

        def called(layer: Any, *inputs: Any, **arguments: Any) -> Any:
            is_last = layer is last
            output = layer_graph.logits(layer, *inputs) if is_last else layer(*inputs, **arguments)
            self._outputs[layer.name] = output
            return output

        whole = layer_graph.walked(model, called)
        rescaling = [x for x in model.layers if isinstance(x, keras.layers.Rescaling)]
        self._scale = rescaling[0] if rescaling else None
        self._start = self._outputs[self._scale.name] if self._scale else whole.inputs[0]
        self._end = whole.outputs[0]
        # Called hundreds of times for one map: layer by layer that would take twice as long.
        self.logits = tf.function(keras.Model(self._start, self._end), reduce_retracing=True)
        self._parts: dict[str, keras.Model] = {}

    def scaled(self, images: Images) -> Maps:
        """Return the pixels as the network's first layers see them."""
        pixels = tf.cast(images, tf.float32)
        return np.asarray(pixels if self._scale is None else self._scale(pixels), np.float32)

    def logit_of(self, pixels: Maps, classes: Classes) -> NDArray[np.float32]:
        return np.asarray(_of_class(self.logits(pixels), classes))

    def features_and_logits(self, pixels: tf.Tensor, layer: str) -> tuple[tf.Tensor, tf.Tensor]:
        if layer not in self._parts:
            self._parts[layer] = keras.Model(self._start, [self._outputs[layer], self._end])
        features, logits = self._parts[layer](pixels)
        return features, logits


# Building one takes longer than using it.
_networks: weakref.WeakKeyDictionary[keras.Model, _Network] = weakref.WeakKeyDictionary()


def _by_batches(
    explain: Callable[..., NDArray[np.float32]],
    model: keras.Model,
    images: Images,
    classes: ArrayLike | None,
    *others: NDArray[Any],
) -> NDArray[np.float32]:
    """Return what `explain` makes of a network, its scaled pixels, the classes, and the others."""
    images = check_pixels(images)
    wanted = check_classes(np.zeros(len(images)) if classes is None else classes, len(images))
    if model not in _networks:
        _networks[model] = _Network(model)
    network, found = _networks[model], []
    for part in (slice(i, i + 250) for i in range(0, len(images), 250)):
        pixels = network.scaled(images[part])
        if classes is None:
            wanted[part] = np.argmax(network.logits(pixels), axis=1)
        found.append(explain(network, pixels, wanted[part], *(other[part] for other in others)))
    return np.concatenate(found)


def _class_activation(
    model: keras.Model,
    images: Images,
    classes: ArrayLike | None,
    layer: str | None,
    weights: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Maps:
    names = feature_layers(model)
    fine = [name for name in names if _map_size(layer_graph.flattened(model).get_layer(name)) >= 7]
    chosen = layer or (fine or names)[-1]
    if chosen not in names:
        raise unknown(f"feature layer of model {model.name}", chosen, names)

    def maps(network: _Network, pixels: Maps, explained: Classes) -> Maps:
        with tf.GradientTape() as tape:
            scaled = tf.convert_to_tensor(pixels)
            tape.watch(scaled)
            features, logits = network.features_and_logits(scaled, chosen)
            score = _of_class(logits, explained)
        gradients = tf.cast(tape.gradient(score, features), tf.float32)
        features = tf.cast(features, tf.float32)
        summed = tf.reduce_sum(weights(features, gradients) * features, axis=-1, keepdims=True)
        return np.asarray(tf.image.resize(tf.nn.relu(summed), IMAGE_SHAPE)[..., 0])

    return scale_maps(_by_batches(maps, model, images, classes))


def _integrated(network: _Network, pixels: Maps, explained: Classes, steps: int) -> Maps:
    edges = (np.linspace(0, 1, steps + 1) ** 3).tolist()
    total = np.zeros_like(pixels)
    for before, behind in itertools.pairwise(edges):
        point = tf.convert_to_tensor(pixels * ((before + behind) / 2))
        with tf.GradientTape() as tape:
            tape.watch(point)
            score = _of_class(network.logits(point), explained)
        total += np.asarray(tape.gradient(score, point)) * (behind - before)
    return pixels * total


def _of_class(scores: tf.Tensor, classes: Classes) -> tf.Tensor:
    return tf.gather(tf.cast(scores, tf.float32), classes, axis=1, batch_dims=1)


def _map_size(layer: keras.Layer) -> int:
    """Return the height of a layer's feature maps; 0 if its output is no picture."""
    shape: Any = getattr(layer.output, "shape", ())
    return int(shape[1]) if len(shape) == 4 else 0
