"""A network's layers one by one, whatever it is wrapped in, and its scores before the softmax."""

import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fmnist_utils.classes import IMAGE_SHAPE, N_CLASSES
from fmnist_utils.errors import BadInputError

_flattened: weakref.WeakKeyDictionary[keras.Model, keras.Model] = weakref.WeakKeyDictionary()


def flattened(model: keras.Model) -> keras.Model:
    """Return a functional model of the same layers, those of models within models too.

    Parameters
    ----------
    model : keras.Model
        Functional, sequential, built or not, or subclassed; with one input, images of shape
        (28, 28) or (28, 28, 1), and one output.

    Raises
    ------
    BadInputError
        If it has several inputs or outputs, or its layers cannot be followed.

    Examples
    --------
    >>> from fmnist_utils import layer_graph
    >>> inner = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    >>> outer = keras.Sequential([keras.Input((28, 28)), inner])
    >>> [type(layer).__name__ for layer in layer_graph.flattened(outer).layers]
    ['InputLayer', 'Flatten', 'Dense']
    """
    if model not in _flattened:
        try:
            _flattened[model] = walked(model, lambda layer, *x, **given: layer(*x, **given))
        except BadInputError:
            raise
        except Exception as error:  # whatever the model's own code raises
            reason = str(error).strip().partition("\n")[0]
            raise BadInputError(
                f"The layers of model {model.name} cannot be followed ({reason}): need a model "
                "that takes images of shape (28, 28) or (28, 28, 1), in which no two layers have "
                "one name."
            ) from error
    return _flattened[model]


def walked(model: keras.Model, call: Callable[..., Any]) -> keras.Model:
    """Return a model walked anew, layer by layer.

    Parameters
    ----------
    model : keras.Model
        As for `flattened`.
    call : callable
        Takes a layer and its inputs, and returns its outputs.
    """

    def called(layer: Any, *inputs: Any, **arguments: Any) -> Any:
        if isinstance(layer, keras.Model):
            # As clone_model walks, which would not go into models within models.
            return _functional(layer)._run_through_graph(inputs[0], lambda part: part, called)
        return call(layer, *inputs, **arguments)

    return keras.models.clone_model(
        _functional(model), clone_function=lambda layer: layer, call_function=called
    )


def _functional(model: keras.Model) -> keras.Model:
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:  # unbuilt or subclassed: followed while it is called
        try:
            inputs = [keras.Input(IMAGE_SHAPE)]
            outputs = [model.call(inputs[0])]
        except Exception:  # it may want a channel
            inputs = [keras.Input((*IMAGE_SHAPE, 1))]
            outputs = [model.call(inputs[0])]
    outputs = keras.tree.flatten(outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise BadInputError(
            f"Model {model.name} has {len(inputs)} inputs and {len(outputs)} outputs: give a model "
            "with one of each, such as keras.Model(inputs, one_output)."
        )
    return keras.Model(inputs[0], outputs[0], name=model.name)


def logits(last: Any, x: Any) -> Any:
    """Return what a network's last layer makes of its input, without the softmax if it has one.

    Parameters
    ----------
    last : keras.Layer or keras.Operation
        A softmax in any spelling is known by what it does.
    x : KerasTensor
        Its input.
    """
    is_dense = isinstance(last, keras.layers.Dense)
    if not (_is_softmax(last.activation) if is_dense else _is_softmax(last)):
        return last(x)
    if not is_dense:
        return x
    # One layer, named: operations would take numbers from the names of layers that are built later.
    return keras.layers.Lambda(
        lambda features: features @ last.kernel + last.bias, dtype="float32", name="logits"
    )(x)


def _is_softmax(function: Any) -> bool:
    """Tell by what it does whether a layer, an operation or a function is a softmax, or its log."""
    if getattr(function, "weights", None):
        return False
    scores = tf.constant([[0.5, -1.0, 2.0, *[0.0] * (N_CLASSES - 3)]])
    try:
        found = np.asarray(function(scores))
    except Exception:  # it wants another shape: no softmax of the ten scores
        return False
    expected = tf.nn.softmax(scores)
    return any(
        found.shape == expected.shape and np.allclose(found, values, atol=1e-5)
        for values in (expected, tf.math.log(expected))
    )
