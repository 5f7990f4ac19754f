import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fmnist_utils.layers import FusedBatchNormalization

RNG = np.random.default_rng(0)


def _pair(shape=(None, 6, 5, 3), **options):
    """Return ours and Keras's layer with equal weights."""
    layers = FusedBatchNormalization(**options), keras.layers.BatchNormalization(**options)
    for layer in layers:
        layer.build(shape)
    weights = [RNG.uniform(0.5, 2, w.shape) for w in layers[1].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def _assert_alike(layers, x, *, training):
    ours, keras_ = (layer(x, training=training) for layer in layers)
    np.testing.assert_allclose(ours, keras_, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(*(layer.get_weights() for layer in layers), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    x=hnp.arrays(
        np.float32,
        st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)),
        elements=st.floats(-4, 4, width=32),
    ),
    training=st.booleans(),
    momentum=st.sampled_from([0.0, 0.9, 0.99]),
)
def test_equal_to_keras_in_outputs_and_running_statistics(x, training, momentum):
    _assert_alike(_pair((None, *x.shape[1:]), momentum=momentum), x, training=training)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (8, 3)),  # no images
        ({"axis": 1}, (2, 6, 5, 3)),
        ({"scale": False}, (2, 6, 5, 3)),
        ({"center": False}, (2, 6, 5, 3)),
        ({"trainable": False}, (2, 6, 5, 3)),
        ({"epsilon": 0.1}, (2, 6, 5, 3)),
        ({"dtype": "float64"}, (2, 6, 5, 3)),
        ({"synchronized": True}, (2, 6, 5, 3)),
        pytest.param(
            {"renorm": True},
            (2, 6, 5, 3),
            marks=pytest.mark.skipif(
                "renorm" not in inspect.signature(keras.layers.BatchNormalization).parameters,
                reason="this Keras has no renormalisation",
            ),
        ),
    ],
)
def test_every_other_use_is_as_in_keras(options, shape):
    x = RNG.normal(size=shape).astype(np.float32)
    for training in (True, False):
        _assert_alike(_pair((None, *shape[1:]), **options), x, training=training)


def test_a_mask_is_respected():
    x = RNG.normal(size=(2, 6, 5, 3)).astype(np.float32)
    mask = np.zeros((2, 6, 5), bool)
    mask[:, :2] = True
    ours, keras_ = (layer(x, training=True, mask=tf.constant(mask)) for layer in _pair())
    np.testing.assert_allclose(ours, keras_, rtol=1e-4, atol=1e-4)


def test_gradients_are_as_in_keras():
    x = tf.constant(RNG.normal(size=(4, 6, 5, 3)).astype(np.float32))
    toward = tf.constant(RNG.normal(size=x.shape).astype(np.float32))
    gradients = []
    for layer in _pair():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) * toward)
        gradients.append(tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_under_mixed_precision_activations_are_bfloat16_and_statistics_float32():
    layer = FusedBatchNormalization(dtype="mixed_bfloat16", momentum=0.0)
    x = tf.constant(RNG.normal(3, 2, size=(64, 6, 5, 3)), tf.bfloat16)
    outputs = layer(x, training=True)
    assert outputs.dtype == tf.bfloat16
    assert {w.dtype for w in layer.weights} == {"float32"}
    exact = tf.cast(x, tf.float32).numpy()
    # With bfloat16 statistics these would be off by a hundredth.
    np.testing.assert_allclose(layer.moving_mean, exact.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, exact.var((0, 1, 2)), rtol=1e-4)


def test_a_model_with_it_is_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.layers.Input((6, 5, 3)), FusedBatchNormalization(epsilon=0.01)])
    x = RNG.normal(size=(8, 6, 5, 3)).astype(np.float32)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[-1], FusedBatchNormalization)
    np.testing.assert_array_equal(model(x), loaded(x))
