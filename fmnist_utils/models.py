"""One builder a model, all in one visible dict.

Every model takes raw ``uint8`` images of shape ``(n, 28, 28)``, scales them inside, so that nobody
can forget to, and ends in a float32 softmax over the ten classes: ``model.predict`` gives
probabilities.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from fmnist_utils.errors import BadInputError, unknown
from fmnist_utils.labels import IMAGE_SHAPE, N_CLASSES


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
    """
    blocks = []
    for block in filters:
        blocks += [layers.Conv2D(n, 3, padding="same", activation="relu") for n in block]
        blocks += [layers.MaxPooling2D(), layers.Dropout(dropout)]
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


MODELS: dict[str, Callable[..., keras.Model]] = {"dense": dense, "cnn": cnn}


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
