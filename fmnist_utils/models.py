"""One builder a model, all in one visible dict.

Every model takes raw ``uint8`` images of shape ``(n, 28, 28)``, scales them inside, so that nobody
can forget to, and ends in a float32 softmax over the ten classes: ``model.predict`` gives
probabilities.
"""

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from fmnist_utils.classes import IMAGE_SHAPE, N_CLASSES
from fmnist_utils.errors import BadInputError, FailureError, unknown
from fmnist_utils.layers import FusedBatchNormalization


def dense(*, units: Sequence[int] = (128,), dropout: float = 0.0) -> keras.Model:
    """Return a fully connected network.

    Parameters
    ----------
    units : sequence of int
        Width of each hidden layer; empty for softmax regression.
    dropout : float
        Share of each hidden layer's outputs that training drops.
    """
    return keras.Sequential(
        [*_input(), layers.Flatten(), *_hidden(units, dropout), _classifier()], name="dense"
    )


def cnn(
    *,
    filters: Sequence[Sequence[int]] = ((32,), (64,)),
    units: Sequence[int] = (),
    dropout: float = 0.25,
    dense_dropout: float = 0.5,
    batch_norm: bool = False,
    l2: float = 0.0,
) -> keras.Model:
    """Return a plain convolutional network: blocks of 3x3 convolutions, each closed by pooling.

    The defaults are the classic network of this field: two convolution layers, 32 and 64 filters.

    Parameters
    ----------
    filters : sequence of sequence of int
        One inner sequence a block, one number a convolution in it.
    units : sequence of int
        Width of each hidden dense layer behind the convolutions; empty for none.
    dropout, dense_dropout : float
        Share of outputs that training drops after each block and each dense layer.
    batch_norm : bool
        Normalise behind each convolution, before its ReLU.
    l2 : float
        What the sum of the squares of all convolution kernels' weights adds to the loss.
    """

    def convolution(n: int, *pooling: keras.Layer) -> list[keras.Layer]:
        penalty = keras.regularizers.L2(l2) if l2 else None
        if not batch_norm:
            same = {"padding": "same", "kernel_regularizer": penalty}
            return [layers.Conv2D(n, 3, activation="relu", **same), *pooling]
        bare = layers.Conv2D(n, 3, padding="same", use_bias=False, kernel_regularizer=penalty)
        # Behind the pooling, normalisation and ReLU have a quarter of the work. Scales that stay
        # positive let it be folded into the convolution all the same.
        norm = FusedBatchNormalization(momentum=0.9, gamma_constraint="non_neg")
        return [bare, *pooling, norm, layers.ReLU()]

    blocks = []
    for *inner, last in filters:
        blocks += [layer for n in inner for layer in convolution(n)]
        blocks += [*convolution(last, layers.MaxPooling2D()), layers.Dropout(dropout)]
    return keras.Sequential(
        [
            *_input(),
            layers.Reshape((*IMAGE_SHAPE, 1)),
            *blocks,
            layers.Flatten(),
            *_hidden(units, dense_dropout),
            _classifier(),
        ],
        name="cnn",
    )


def residual(
    *,
    filters: Sequence[int] = (16, 32, 64, 128),
    squeeze_excite: int = 0,
    pool_first: bool = True,
    fused: bool = True,
) -> keras.Model:
    """Return a compact residual network for small images.

    A stem, then a stage for each further number of filters: a convolution, pooling, and a residual
    pair of convolutions (He et al., arXiv 1512.03385), closed by the largest answer of each filter
    over the image.

    Parameters
    ----------
    filters : sequence of int
        Of the stem, then of each stage; at most four stages, each halves the image.
    squeeze_excite : int
        By what to divide the filters within squeeze-and-excitation (Hu et al., arXiv 1709.01507)
        of each residual branch; 0 for none.
    pool_first : bool
        Pool before normalisation and ReLU, which then have a quarter of the work.
    fused : bool
        Normalise with `layers.FusedBatchNormalization`, or with Keras's own layer.
    """
    normalization = FusedBatchNormalization if fused else layers.BatchNormalization

    def convolution(x: Any, n: int, *, pool: bool = False) -> Any:
        # Scales that stay positive let the normalisation be folded through max pooling.
        x = layers.Conv2D(n, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        if pool and pool_first:
            x = layers.MaxPooling2D()(x)
        x = normalization(momentum=0.9, gamma_constraint="non_neg")(x)
        x = layers.ReLU()(x)
        return layers.MaxPooling2D()(x) if pool and not pool_first else x

    def excited(x: Any, n: int) -> Any:
        weight = layers.GlobalAveragePooling2D(keepdims=True)(x)
        weight = layers.Conv2D(max(8, n // squeeze_excite), 1, activation="relu")(weight)
        return layers.Multiply()([x, layers.Conv2D(n, 1, activation="sigmoid")(weight)])

    stem, *stages = filters
    first, *scaled = _input()
    inputs = x = first
    for layer in [*scaled, layers.Reshape((*IMAGE_SHAPE, 1))]:
        x = layer(x)
    x = convolution(x, stem)
    for n in stages:
        x = convolution(x, n, pool=True)
        branch = convolution(convolution(x, n), n)
        x = layers.Add()([x, excited(branch, n) if squeeze_excite else branch])
    outputs = _classifier()(layers.GlobalMaxPooling2D()(x))
    return keras.Model(inputs, outputs, name="residual")


# Networks of `keras.applications` with weights from ImageNet, and the range of pixel values that
# they were trained with.
BACKBONES: dict[str, tuple[float, float]] = {
    "MobileNet": (-1, 1),
    "MobileNetV2": (-1, 1),
    "NASNetMobile": (-1, 1),
    "Xception": (-1, 1),
    "EfficientNetB0": (0, 255),
    "EfficientNetV2B0": (0, 255),
    "MobileNetV3Small": (0, 255),
    "ConvNeXtTiny": (0, 255),
}


def transfer(
    *,
    backbone: str = "MobileNet",
    alpha: float | None = 0.25,
    size: int = 96,
    weights: str | None = "imagenet",
    tuned: int | None = None,
    dropout: float = 0.2,
    momentum: float = 0.99,
) -> keras.Model:
    """Return a network for photographs with a new last layer; it sees enlarged grey images.

    Parameters
    ----------
    backbone : str
        A key of `BACKBONES`.
    alpha : float, optional
        Width of a MobileNet; None for a backbone that has only one.
    size : int
        Side, in pixels, to which the images are enlarged.
    weights : {"imagenet"}, optional
        What to start from; None for random weights. They are looked for in the Keras home
        (``KERAS_HOME``) and downloaded if they are not there.
    tuned : int, optional
        How many of the backbone's last layers training changes; all, where it is not given.
    dropout : float
        Share of the backbone's features that training drops.
    momentum : float
        Share of a normalisation's running statistics that an update keeps. With random weights
        the first ones mean nothing: a smaller share forgets them sooner.

    Raises
    ------
    BadInputError
        If the backbone is unknown.
    FailureError
        If the weights are neither in the Keras home nor to be downloaded.
    """
    if backbone not in BACKBONES:
        raise unknown("backbone", backbone, BACKBONES)
    low, high = BACKBONES[backbone]
    inputs = layers.Input(IMAGE_SHAPE, dtype="uint8")
    x = layers.Rescaling((high - low) / 255, low)(inputs)
    x = layers.Reshape((*IMAGE_SHAPE, 1))(x)
    # Not the layer Resizing: called without `training`, it switches all that follow to training.
    x = keras.ops.image.resize(layers.Concatenate()([x] * 3), (size, size))
    width = {} if alpha is None else {"alpha": alpha}
    try:
        with warnings.catch_warnings():
            # Any size fits the weights; Keras warns of sizes other than those of ImageNet.
            warnings.filterwarnings("ignore", "`input_shape` is undefined")
            body = getattr(keras.applications, backbone)(
                include_top=False, weights=weights, input_tensor=x, **width
            )
    except (TypeError, ValueError):
        raise
    except Exception as error:  # what Keras raises where a download fails
        raise FailureError(
            f"No ImageNet weights for {backbone}: they are not in the Keras home and cannot be "
            f"downloaded ({error}). Connect to a network, or set KERAS_HOME to a folder that has "
            "them under models/."
        ) from error
    n_layers = len(body.layers)
    if tuned is not None and not 0 <= tuned <= n_layers:
        raise BadInputError(f"tuned must lie between 0 and {n_layers}; received {tuned}.")
    for layer in body.layers[: n_layers - (n_layers if tuned is None else tuned)]:
        layer.trainable = False
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(body.output))
    stock = keras.Model(inputs, _classifier()(x), name="transfer")

    def fused(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, layers.BatchNormalization):
            return FusedBatchNormalization.from_config(layer.get_config() | {"momentum": momentum})
        return type(layer).from_config(layer.get_config())

    model = keras.models.clone_model(stock, clone_function=fused)
    model.set_weights(stock.get_weights())
    return model


MODELS: dict[str, Callable[..., keras.Model]] = {
    "dense": dense,
    "cnn": cnn,
    "residual": residual,
    "transfer": transfer,
}


def build(name: str, options: Mapping[str, Any] | None = None) -> keras.Model:
    """Return a new, untrained model.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    options : mapping, optional
        Arguments of its builder.

    Raises
    ------
    BadInputError
        If the model or one of the options is unknown, or an option's value does not fit.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    options = dict(options or {})
    valid = inspect.signature(MODELS[name]).parameters
    for option in options:
        if option not in valid:
            raise unknown(f"option of model {name}", option, valid)
    try:
        return MODELS[name](**options)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"Model {name} cannot be built with {options}: {error}") from error


def predict(
    model: keras.Model, images: NDArray[np.uint8], *, batch_size: int = 500
) -> NDArray[np.float32]:
    """Return `keras.Model.predict` of the images, with a stream that is `without_autotune`.

    Parameters
    ----------
    model : keras.Model
        Any of this module's.
    images : ndarray of shape (n, 28, 28), uint8
        0 is background.
    batch_size : int
        Images a call.
    """
    stream = tf.data.Dataset.from_tensor_slices(images).batch(batch_size)
    return np.asarray(model.predict(without_autotune(stream), verbose=0))


def without_autotune(stream: tf.data.Dataset) -> tf.data.Dataset:
    """Return the stream without the thread that tunes its parallel parts, of which it has none.

    That thread holds up the end of a stream: it looks up only when its pause is over, and its
    pauses double, from ten milliseconds to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return stream.with_options(options)


def in_float32(model: keras.Model) -> keras.Model:
    """Return a copy that computes in float32, for machines where bfloat16 is emulated.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, of any precision; its weights are float32 already.
    """
    copy = keras.models.clone_model(model, clone_function=_float32_layer)
    copy.set_weights(model.get_weights())
    return copy


def fold_batch_norms(model: keras.Model) -> keras.Model:
    """Return a copy for inference, with Keras's own layers only, in float32.

    Batch normalisation behind a convolution becomes part of its kernel and bias, also through max
    pooling where no scale is negative (pooling keeps the largest, a negative scale would turn the
    order around). Any other becomes Keras's own layer.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential; each layer is used once.
    """
    functional = model
    if isinstance(model, keras.Sequential):
        # Its copy, because a loaded one's layers have been called several times.
        single = keras.models.clone_model(model)
        single.set_weights(model.get_weights())
        functional = keras.Model(single.inputs[0], single.outputs[0], name=model.name)
    folded = _foldable(functional)
    biased = {convolution.name for convolution in folded.values()}

    def clone(layer: keras.Layer) -> keras.Layer:
        if layer.name in biased:
            return _float32_layer(layer, use_bias=True)
        if isinstance(layer, FusedBatchNormalization):
            return _float32_layer(layer, of=layers.BatchNormalization)
        return _float32_layer(layer)

    def call(layer: keras.Layer, *inputs: Any, **arguments: Any) -> Any:
        # A folded normalisation is passed over.
        return inputs[0] if layer.name in folded else layer(*inputs, **arguments)

    copy = keras.models.clone_model(functional, clone_function=clone, call_function=call)
    for layer in copy.layers:
        if layer.weights and layer.name not in biased:
            layer.set_weights(functional.get_layer(layer.name).get_weights())
    for name, convolution in folded.items():
        kernel, *bias = convolution.get_weights()
        scale, offset = _affine(functional.get_layer(name))
        folded_bias = offset + sum(bias) * scale
        copy.get_layer(convolution.name).set_weights([kernel * scale, folded_bias])
    # Anew, since a copy takes the optimizer along, which is larger than the weights.
    return keras.Model(copy.inputs[0], copy.outputs[0], name=model.name)


def _foldable(model: keras.Model) -> dict[str, keras.Layer]:
    """Return the convolution that each batch normalisation, by name, can become part of."""
    makers = {id(layer.output): layer for layer in model.layers}
    readers = Counter(id(x) for layer in model.layers for x in keras.tree.flatten(layer.input))

    def before(layer: keras.Layer) -> Any:
        """Return the layer that made the input, if nothing else reads it."""
        return makers[id(layer.input)] if readers[id(layer.input)] == 1 else None

    folded = {}
    for norm in model.layers:
        if not isinstance(norm, layers.BatchNormalization) or norm.axis not in (-1, 3):
            continue
        maker = before(norm)
        if isinstance(maker, layers.MaxPooling2D) and (_affine(norm)[0] >= 0).all():
            maker = before(maker)
        if type(maker) is layers.Conv2D and maker.activation is keras.activations.linear:
            folded[norm.name] = maker
    return folded


def _affine(norm: keras.layers.BatchNormalization) -> tuple[NDArray[np.float32], ...]:
    """Return the scale and the offset of each channel that a normalisation comes to."""
    gamma = np.asarray(norm.gamma) if norm.scale else np.float32(1)
    beta = np.asarray(norm.beta) if norm.center else np.float32(0)
    scale = gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    return scale, beta - np.asarray(norm.moving_mean) * scale


def _float32_layer(
    layer: keras.Layer, *, of: type[keras.Layer] | None = None, **changes: Any
) -> keras.Layer:
    """Return a new layer like another, perhaps of another class, that computes in float32."""
    if not isinstance(layer, keras.Layer):  # an operation, which has no precision of its own
        return layer
    return (of or type(layer)).from_config(layer.get_config() | {"dtype": "float32"} | changes)


def _input() -> list[keras.Layer]:
    return [layers.Input(IMAGE_SHAPE, dtype="uint8"), layers.Rescaling(1 / 255)]


def _hidden(units: Sequence[int], dropout: float) -> list[keras.Layer]:
    return [
        layer
        for width in units
        for layer in (layers.Dense(width, activation="relu"), layers.Dropout(dropout))
    ]


def _classifier() -> keras.Layer:
    # float32 whatever the policy: bfloat16 probabilities would have two digits.
    return layers.Dense(N_CLASSES, activation="softmax", dtype="float32", name="probabilities")
