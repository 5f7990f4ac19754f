import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fmnist_utils import layers as layers_module
from fmnist_utils.layers import Conv2D, FusedBatchNormalization, conv2d, kernel_gradient

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


# --- The gradient of a kernel, exchanged ----------------------------------------------------------


def _kernel_gradient_by_hand(images, upstream, size):
    """Return the sum over images and pixels, in float64, as the definition has it."""
    _, height, width, channels = images.shape
    before = [(k - 1) // 2 for k in size]
    after = [k - 1 - b for k, b in zip(size, before, strict=True)]
    padded = np.pad(images, [(0, 0), *zip(before, after, strict=True), (0, 0)])
    gradient = np.zeros((*size, channels, upstream.shape[-1]))
    for i, j in np.ndindex(*size):
        read = padded[:, i : i + height, j : j + width]
        gradient[i, j] = np.einsum("nhwc,nhwf->cf", read, upstream)
    return gradient


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, 5) for _ in range(4))),
    n_filters=st.integers(1, 4),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 2**16),
)
def test_an_exchanged_gradient_is_the_sum_it_is_defined_as(shape, n_filters, size, seed):
    rng = np.random.default_rng(seed)
    images, upstream = rng.normal(size=shape), rng.normal(size=(*shape[:3], n_filters))
    ours = kernel_gradient(tf.constant(images, tf.float32), tf.constant(upstream, tf.float32), size)
    expected = _kernel_gradient_by_hand(images, upstream, size)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.01)])
def test_a_layer_that_exchanges_has_the_gradients_of_one_that_does_not(
    dtype, tolerance, monkeypatch
):
    calls = []
    monkeypatch.setattr(
        layers_module, "kernel_gradient", lambda *args: calls.append(1) or kernel_gradient(*args)
    )
    layer = Conv2D(5, 3, padding="same", dtype=dtype)
    x = tf.constant(RNG.normal(size=(16, 7, 6, 4)), layer.compute_dtype)
    toward = tf.constant(RNG.normal(size=(16, 7, 6, 5)), layer.compute_dtype)
    found = []
    for exchanges in (False, True):
        layer.exchanges = exchanges
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.cast(layer(x) * toward, tf.float32))
        gradients = tape.gradient(loss, [x, layer.kernel.value, layer.bias.value])
        found.append([np.asarray(tf.cast(gradient, tf.float32)) for gradient in gradients])
    for own, exchanged in zip(*found, strict=True):
        np.testing.assert_allclose(exchanged, own, atol=tolerance * np.abs(own).max())
    assert len(calls) == 1


def test_in_bfloat16_an_exchanged_gradient_is_as_near_to_float64_as_the_own_one():
    images, upstream = (tf.constant(RNG.normal(size=(64, 7, 7, 8)), tf.bfloat16) for _ in range(2))
    exact = _kernel_gradient_by_hand(
        *(np.asarray(tf.cast(x, tf.float64)) for x in (images, upstream)), (3, 3)
    )
    kernel = tf.zeros((3, 3, 8, 8), tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        given_ = conv2d(images, kernel)
    own = tape.gradient(given_, kernel, output_gradients=upstream)
    errors = [
        np.abs(np.asarray(tf.cast(gradient, tf.float64)) - exact).max() / np.abs(exact).max()
        for gradient in (own, kernel_gradient(images, upstream, (3, 3)))
    ]
    assert errors[1] <= max(1.5 * errors[0], 2**-8)


@pytest.mark.parametrize(
    ("options", "side", "expected"),
    [
        ({}, 7, True),
        ({}, 3, True),
        ({}, 8, False),
        ({"strides": 2}, 7, False),
        ({"dilation_rate": 2}, 7, False),
        ({"groups": 2}, 7, False),
        ({"padding": "valid"}, 7, False),
    ],
)
def test_only_small_images_whose_size_is_kept_can_be_exchanged(options, side, expected):
    layer = Conv2D(4, 3, **{"padding": "same", **options})
    keras.Sequential([keras.layers.Input((side, side, 2)), layer])
    assert layer.can_exchange is expected


def test_what_a_machine_answered_is_not_saved(tmp_path):
    layer = Conv2D(4, 3, padding="same")
    model = keras.Sequential([keras.layers.Input((7, 7, 2)), layer])
    layer.exchanges = True
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert isinstance(loaded, Conv2D)
    assert loaded.exchanges is False
    assert loaded.get_config() == layer.get_config()
