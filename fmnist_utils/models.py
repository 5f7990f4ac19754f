"""One builder a model, all in one visible dict.

Every model takes raw ``uint8`` images of shape ``(n, 28, 28)``, scales them inside, so that nobody
can forget to, and ends in a float32 softmax over the ten classes: ``model.predict`` gives
probabilities.
"""

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
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.layers import Conv2D, FusedBatchNormalization
from fmnist_utils.recipes import (
    BACKBONES,
    CNNOptions,
    DenseOptions,
    Options,
    ResidualOptions,
    TransferOptions,
    model_options,
)


def dense(options: DenseOptions) -> keras.Model:
    """Return a fully connected network.

    Parameters
    ----------
    options : DenseOptions
        Widths and dropout.
    """
    hidden = _hidden(options.units, options.dropout)
    return keras.Sequential([*_input(), layers.Flatten(), *hidden, _classifier()], name="dense")


def cnn(options: CNNOptions) -> keras.Model:
    """Return a plain convolutional network: blocks of 3x3 convolutions and max pooling.

    Parameters
    ----------
    options : CNNOptions
        Filters of each block, dense layers and regularisation.
    """
    penalty = keras.regularizers.L2(options.l2) if options.l2 else None

    def convolution(n: int, *pooling: keras.Layer) -> list[keras.Layer]:
        common = {"padding": "same", "kernel_regularizer": penalty}
        if not options.batch_norm:
            return [layers.Conv2D(n, 3, activation="relu", **common), *pooling]
        bare = Conv2D(n, 3, use_bias=False, **common)
        # Behind the pooling, normalisation and ReLU have a quarter of the work. Scales that stay
        # positive let it be folded into the convolution all the same.
        norm = FusedBatchNormalization(momentum=0.9, gamma_constraint="non_neg")
        return [bare, *pooling, norm, layers.ReLU()]

    blocks = []
    for *inner, last in options.filters:
        blocks += [layer for n in inner for layer in convolution(n)]
        blocks += [*convolution(last, layers.MaxPooling2D()), layers.Dropout(options.dropout)]
    return keras.Sequential(
        [
            *_input(),
            layers.Reshape((*IMAGE_SHAPE, 1)),
            *blocks,
            layers.Flatten(),
            *_hidden(options.units, options.dense_dropout),
            _classifier(),
        ],
        name="cnn",
    )


def residual(options: ResidualOptions) -> keras.Model:
    """Return a compact residual network for small images.

    A stem, then a stage for each further number of filters: a convolution, max pooling, and
    residual pairs of convolutions (He et al., arXiv 1512.03385); global max pooling at the end.

    Parameters
    ----------
    options : ResidualOptions
        Filters and pairs of the stem and of each stage.
    """
    normalization = FusedBatchNormalization if options.fused else layers.BatchNormalization

    def convolution(x: Any, n: int, *, pool: bool = False) -> Any:
        # Scales that stay positive let the normalisation be folded through max pooling.
        x = Conv2D(n, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        if pool and options.pool_first:
            x = layers.MaxPooling2D()(x)
        x = normalization(momentum=0.9, gamma_constraint="non_neg")(x)
        x = layers.Activation(options.activation)(x)
        return layers.MaxPooling2D()(x) if pool and not options.pool_first else x

    first, *scaled = _input()
    inputs = x = first
    for layer in [*scaled, layers.Reshape((*IMAGE_SHAPE, 1))]:
        x = layer(x)
    for stage, (n, n_pairs) in enumerate(zip(options.filters, options.n_pairs, strict=True)):
        x = convolution(x, n, pool=stage > 0)
        for _ in range(n_pairs):
            x = layers.Add()([x, convolution(convolution(x, n), n)])
    outputs = _classifier()(layers.GlobalMaxPooling2D()(x))
    return keras.Model(inputs, outputs, name="residual")


def transfer(options: TransferOptions) -> keras.Model:
    """Return a network for photographs with a new last layer; it sees enlarged grey images.

    Parameters
    ----------
    options : TransferOptions
        The network, its weights, and what of it is trained.

    Raises
    ------
    BadInputError
        If the backbone has not as many layers as are to be tuned, or not the width.
    FailureError
        If the weights are neither in the Keras home nor to be downloaded.
    """
    low, high = BACKBONES[options.backbone]
    inputs = layers.Input(IMAGE_SHAPE, dtype="uint8")
    x = layers.Rescaling((high - low) / 255, low)(inputs)
    x = layers.Reshape((*IMAGE_SHAPE, 1))(x)
    # Not the layer Resizing: called without `training`, it switches all that follow to training.
    size = (options.size, options.size)
    body = _backbone(options, keras.ops.image.resize(layers.Concatenate()([x] * 3), size))
    n_layers = len(body.layers)
    tuned = n_layers if options.tuned is None else options.tuned
    if tuned > n_layers:
        raise BadInputError(f"tuned must lie between 0 and {n_layers}; received {tuned}.")
    for layer in body.layers[: n_layers - tuned]:
        layer.trainable = False
    x = layers.Dropout(options.dropout)(layers.GlobalAveragePooling2D()(body.output))
    stock = keras.Model(inputs, _classifier()(x), name="transfer")

    def fused(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, layers.BatchNormalization):
            changed = layer.get_config() | {"momentum": options.momentum}
            return FusedBatchNormalization.from_config(changed)
        return type(layer).from_config(layer.get_config())

    model = keras.models.clone_model(stock, clone_function=fused)
    model.set_weights(stock.get_weights())
    return model


def _backbone(options: TransferOptions, x: Any) -> keras.Model:
    """Return a network of `keras.applications` without its last layer, reading `x`."""
    width = {} if options.alpha is None else {"alpha": options.alpha}
    try:
        with warnings.catch_warnings():
            # Any size fits the weights; Keras warns of sizes other than those of ImageNet.
            warnings.filterwarnings("ignore", "`input_shape` is undefined")
            return getattr(keras.applications, options.backbone)(
                include_top=False, weights=options.weights, input_tensor=x, **width
            )
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{options.backbone} cannot be built so: {error}") from error
    except Exception as error:  # what Keras raises where a download fails
        raise FailureError(
            f"No ImageNet weights for {options.backbone}: they are not in the Keras home and "
            f"cannot be downloaded ({error}). Connect to a network, or set KERAS_HOME to a folder "
            "that has them under models/."
        ) from error


# Each takes the type of `recipes.OPTIONS` of its name.
MODELS: dict[str, Callable[[Any], keras.Model]] = {
    "dense": dense,
    "cnn": cnn,
    "residual": residual,
    "transfer": transfer,
}


def build(name: str, options: Options | Mapping[str, Any] | None = None) -> keras.Model:
    """Return a new, untrained model.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    options : Options or mapping, optional
        What to build, see `recipes.OPTIONS`.

    Raises
    ------
    BadInputError
        If the model or one of the options is unknown, or an option's value does not fit.

    Examples
    --------
    >>> build("dense", {"units": [20, 30]}).count_params()
    16640

    Notes
    -----
    Introduced in notebook 04.
    """
    checked = model_options(name, options or {})
    return MODELS[name](checked)


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

    Parameters
    ----------
    stream : tf.data.Dataset
        Whose parts run one by one.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return stream.with_options(options)


def in_float32(model: keras.Model) -> keras.Model:
    """Return a copy that computes in float32, with all digits and alike on every machine.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, of any precision; its weights are float32 already.

    Examples
    --------
    >>> in_float32(build("dense")).compute_dtype
    'float32'
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

    Examples
    --------
    >>> model = build("residual", {"filters": [4, 6]})
    >>> len(model.layers), len(fold_batch_norms(model).layers)
    (19, 15)
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
        if isinstance(layer, layers.Conv2D):
            biases = {"use_bias": True} if layer.name in biased else {}
            return _float32_layer(layer, of=layers.Conv2D, **biases)
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
        if isinstance(maker, layers.Conv2D) and maker.activation is keras.activations.linear:
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
