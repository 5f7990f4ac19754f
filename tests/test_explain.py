import gc
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from fmnist_utils import data, explain, models
from fmnist_utils.errors import BadInputError

SKETCHES = data.sketches(6, seed=1).images
CAMS = [explain.grad_cam, explain.grad_cam_plus_plus]


@pytest.fixture(scope="module", params=["cnn", "residual"])
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> keras.Model:
    keras.utils.set_random_seed(3)
    options = {"cnn": {"filters": [[8], [8]], "batch_norm": True}, "residual": {"filters": [8, 8]}}
    path = tmp_path_factory.mktemp("network") / "model.keras"
    models.build(request.param, options[request.param]).save(path)
    return keras.models.load_model(path)


def by_hand() -> keras.Model:
    """Return a network whose class 0 is for pixels, class 1 against them, and the rest neither."""
    network = keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Reshape((28, 28, 1)),
            keras.layers.Conv2D(1, 1, use_bias=False, name="pixels"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    network.layers[1].set_weights([np.ones((1, 1, 1, 1), np.float32)])
    network.layers[-1].set_weights([np.array([[1.0, -1.0] + [0.0] * 8]), np.zeros(10)])
    return network


@pytest.mark.parametrize("method", CAMS)
def test_grad_cam_of_a_network_with_a_known_answer(method: Callable[..., explain.Maps]) -> None:
    model = by_hand()
    found = method(model, SKETCHES, np.zeros(6, int), layer="pixels")
    expected = SKETCHES / SKETCHES.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (method(model, SKETCHES, np.ones(6, int)) == 0).all()


def test_grad_cam_weighs_by_the_mean_and_plus_plus_by_the_positive_gradients() -> None:
    inputs = keras.Input((28, 28))
    pixels = keras.layers.Reshape((28, 28, 1))(inputs)
    features = keras.layers.Conv2D(1, 1, use_bias=False, name="pixels")(pixels)
    # The left half speaks for class 0, the right half against it, more strongly.
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(features))
    model = keras.Model(inputs, outputs)
    model.get_layer("pixels").set_weights([np.ones((1, 1, 1, 1), np.float32)])
    weights = np.zeros((28, 28, 10), np.float32)
    weights[:, :14, 0], weights[:, 14:, 0] = 1, -2
    model.layers[-1].set_weights([weights.reshape(784, 10), np.zeros(10)])
    classes = np.zeros(6, int)
    assert (explain.grad_cam(model, SKETCHES, classes) == 0).all()
    assert (explain.grad_cam_plus_plus(model, SKETCHES, classes).max(axis=(1, 2)) == 1).all()


def test_grad_cam_plus_plus_weighs_two_features_as_its_authors_do() -> None:
    inputs = keras.Input((28, 28))
    pixels = keras.layers.Reshape((28, 28, 1))(inputs)
    # Each pixel, and the one to its right.
    features = keras.layers.Conv2D(2, (1, 2), padding="same", use_bias=False, name="two")(pixels)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(features))
    model = keras.Model(inputs, outputs)
    model.get_layer("two").set_weights([np.eye(2, dtype=np.float32).reshape(1, 2, 1, 2)])
    weights = np.zeros((28, 28, 2, 10), np.float32)
    weights[:, :14, 0, 0], weights[:, 20:, 1, 0], weights[:3, :, 1, 0] = 0.01, 0.03, -0.02
    model.layers[-1].set_weights([weights.reshape(-1, 10), np.zeros(10)])

    gradients = weights[..., 0].astype(float)
    activations = np.stack([SKETCHES, np.pad(SKETCHES, ((0, 0), (0, 0), (0, 1)))[..., 1:]], -1)
    total = activations.sum(axis=(1, 2), keepdims=True)
    denominator = 2 * gradients**2 + total * gradients**3
    share = gradients**2 / np.where(denominator == 0, 1, denominator)
    weight = (share * np.maximum(gradients, 0)).sum(axis=(1, 2), keepdims=True)
    expected = np.maximum((weight * activations).sum(axis=-1), 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    found = explain.grad_cam_plus_plus(model, SKETCHES, np.zeros(6, int), layer="two")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", CAMS)
def test_maps_lie_between_0_and_1_at_image_size(
    network: keras.Model, method: Callable[..., explain.Maps]
) -> None:
    names = explain.feature_layers(network)
    for layer in (None, names[0], names[-1]):
        maps = method(network, SKETCHES, layer=layer)
        assert maps.shape == SKETCHES.shape
        assert maps.dtype == np.float32
        assert ((maps >= 0) & (maps <= 1)).all()


@pytest.mark.parametrize(
    "method", [*CAMS, explain.occlusion, lambda *a: explain.integrated_gradients(*a, steps=4)]
)
def test_each_image_is_explained_for_itself(
    network: keras.Model, method: Callable[..., explain.Maps]
) -> None:
    alone = [method(network, SKETCHES[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(method(network, SKETCHES)[:2], np.concatenate(alone), atol=1e-4)


def test_many_images_are_explained_in_their_order() -> None:
    model, images = by_hand(), data.sketches(253, seed=2).images  # more than a batch
    maps = np.random.default_rng(0).random(images.shape)
    together = explain.deletion_curve(model, images, maps, shares=[0.1, 0.4])
    alone = explain.deletion_curve(model, images[-2:], maps[-2:], shares=[0.1, 0.4])
    np.testing.assert_allclose(together[-2:], alone, atol=1e-6)


dense = keras.layers.Dense
SOFTMAXES: dict[str, Callable[[], list[Any]]] = {
    "logits": lambda: [dense(10)],
    "a layer Activation": lambda: [dense(10), keras.layers.Activation("softmax")],
    "a layer Softmax": lambda: [dense(10), keras.layers.Softmax()],
    "a function of TensorFlow's": lambda: [dense(10, activation=tf.nn.softmax)],
    "an activation that is a layer": lambda: [dense(10, activation=keras.layers.Softmax())],
    "log-probabilities": lambda: [dense(10, activation="log_softmax")],
    "a Lambda": lambda: [dense(10), keras.layers.Lambda(tf.nn.softmax)],
    "an operation": lambda: [dense(10), keras.ops.softmax],
}


def spelt(softmax: Callable[[], list[Any]]) -> keras.Model:
    """Return `by_hand` with another end."""
    model = by_hand()
    kernel, bias = model.layers[-1].get_weights()
    x = inputs = keras.Input((28, 28))
    first, *others = softmax()
    for layer in (*model.layers[:-1], first, *others):
        x = layer(x)
    first.set_weights([kernel, bias])
    return keras.Model(inputs, x)


@pytest.mark.parametrize("spelling", SOFTMAXES)
def test_all_spellings_of_a_softmax_give_the_same_maps(spelling: str) -> None:
    model = spelt(SOFTMAXES[spelling])
    for method in (explain.grad_cam, explain.occlusion):
        found, expected = method(model, SKETCHES), method(by_hand(), SKETCHES)
        np.testing.assert_allclose(found, expected, atol=1e-5)


class Subclassed(keras.Model):
    """A model of layers that are found only by calling it."""

    def __init__(self, layers: list[keras.Layer], n_outputs: int = 1) -> None:
        super().__init__()
        self.parts, self.n_outputs = layers, n_outputs

    def call(self, x: Any) -> Any:
        for layer in self.parts:
            x = layer(x)
        return [x] * self.n_outputs if self.n_outputs > 1 else x


WRAPPED: dict[str, Callable[[list[keras.Layer]], keras.Model]] = {
    "functional": lambda parts: spelt(lambda: [parts[-1]]),
    "unbuilt": keras.Sequential,
    "nested": lambda parts: keras.Sequential(
        [keras.Input((28, 28)), keras.Sequential(parts[:2]), keras.Sequential(parts[2:])]
    ),
    "subclassed": Subclassed,
    "with a channel": lambda parts: keras.Sequential([keras.Input((28, 28, 1)), *parts]),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_what_a_model_is_wrapped_in_makes_no_difference(kind: str) -> None:
    plain = by_hand()
    model = WRAPPED[kind](plain.layers)
    for method in (explain.grad_cam, explain.occlusion):
        found, expected = method(model, SKETCHES), method(by_hand(), SKETCHES)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D])
def test_other_convolutions_have_features_too(kind: type[keras.Layer]) -> None:
    options = {"filters": 3} if kind is keras.layers.SeparableConv2D else {}
    model = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            kind(kernel_size=3, **options),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    assert explain.feature_layers(model) == [model.layers[0].name]
    assert explain.grad_cam(model, SKETCHES).shape == (6, 28, 28)


def test_what_cannot_be_followed_is_told() -> None:
    parts = by_hand().layers
    with pytest.raises(BadInputError, match="has 1 inputs and 2 outputs: give a model with one"):
        explain.occlusion(Subclassed(parts, n_outputs=2), SKETCHES)
    with pytest.raises(BadInputError, match=r"cannot be followed \(.*need a model that takes"):
        explain.occlusion(Subclassed([len]), SKETCHES)


def test_by_default_the_answer_is_explained(network: keras.Model) -> None:
    answers = network.predict(SKETCHES, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(
        explain.grad_cam(network, SKETCHES), explain.grad_cam(network, SKETCHES, answers)
    )


def test_integrated_gradients_sum_to_the_difference_of_logits(network: keras.Model) -> None:
    found = explain.integrated_gradients(network, SKETCHES, np.full(6, 4)).sum(axis=(1, 2))
    logits = _logits(network)
    difference = (logits(SKETCHES) - logits(np.zeros_like(SKETCHES)))[:, 4]
    np.testing.assert_array_less(
        np.abs(found - difference), 0.01 * np.maximum(1, np.abs(difference))
    )


def test_integrated_gradients_tell_when_the_steps_do_not_suffice() -> None:
    model = models.build("cnn", {"filters": [[4]]})
    with pytest.warns(RuntimeWarning, match=r"of \d images miss .* with 32 steps"):
        explain.integrated_gradients(model, SKETCHES, steps=1, tolerance=0)


def test_occlusion_of_a_linear_network_is_what_the_squares_held() -> None:
    model = models.build("dense", {"units": []})
    weights = model.layers[-1].get_weights()[0].reshape(28, 28, 10)
    contribution = SKETCHES / 255 * weights[..., 2]
    sums = np.lib.stride_tricks.sliding_window_view(contribution, (7, 7), axis=(1, 2))
    held = sums.sum(axis=(3, 4))[:, ::3, ::3]
    expected = np.empty(SKETCHES.shape)
    for y, x in np.ndindex(28, 28):
        rows, columns = ([i for i in range(8) if 3 * i <= at < 3 * i + 7] for at in (y, x))
        expected[:, y, x] = held[:, rows][:, :, columns].mean(axis=(1, 2))
    found = explain.occlusion(model, SKETCHES, np.full(6, 2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_randomised_weights_change_the_map(network: keras.Model) -> None:
    keras.utils.set_random_seed(4)
    other = keras.models.clone_model(network)
    for method in CAMS:
        ours, theirs = method(network, SKETCHES), method(other, SKETCHES)
        assert np.abs(ours - theirs).mean() > 0.01


def test_maps_follow_the_weights(network: keras.Model) -> None:
    model = keras.models.clone_model(network)
    model.set_weights(network.get_weights())
    before = explain.integrated_gradients(model, SKETCHES, np.zeros(6, int), steps=2)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([2 * kernel, bias])
    after = explain.integrated_gradients(model, SKETCHES, np.zeros(6, int), steps=2)
    np.testing.assert_allclose(after, 2 * before, rtol=1e-3, atol=1e-6)


def test_a_deletion_curve_leads_from_the_image_to_nothing(network: keras.Model) -> None:
    classes, maps = np.zeros(6, int), np.random.default_rng(0).random(SKETCHES.shape)
    curve = explain.deletion_curve(network, SKETCHES, maps, classes)
    for end, images in ((0, SKETCHES), (-1, np.zeros_like(SKETCHES))):
        np.testing.assert_allclose(
            curve[:, end], network.predict(images, verbose=0)[:, 0], atol=1e-5
        )


def test_the_pixels_rated_highest_go_first() -> None:
    model = by_hand()
    maps = SKETCHES.astype(float)
    falls = explain.deletion_curve(model, SKETCHES, maps, np.zeros(6, int))
    slower = explain.deletion_curve(model, SKETCHES, -maps, np.zeros(6, int))
    assert (np.diff(falls, axis=1) <= 1e-6).all()
    assert (falls.mean(axis=1) < slower.mean(axis=1)).all()
    of_bytes = explain.deletion_curve(model, SKETCHES, SKETCHES, np.zeros(6, int))
    np.testing.assert_array_equal(of_bytes, falls)


def test_a_network_that_nobody_holds_is_let_go() -> None:
    explain.grad_cam(model := by_hand(), SKETCHES)
    kept = len(explain._networks)
    del model
    gc.collect()
    assert len(explain._networks) < kept


def test_what_does_not_fit_is_refused(network: keras.Model) -> None:
    with pytest.raises(BadInputError, match=r"received \(28, 28\)"):
        explain.grad_cam(network, SKETCHES[0])
    with pytest.raises(BadInputError, match="one class from 0 to 9 for each image"):
        explain.occlusion(network, SKETCHES, [10] * 6)
    with pytest.raises(BadInputError, match=r"'top'.*conv2d"):
        explain.grad_cam(network, SKETCHES, layer="top")
    with pytest.raises(BadInputError, match="no convolution"):
        explain.grad_cam(models.build("dense"), SKETCHES)
    with pytest.raises(BadInputError, match="one map for each image"):
        explain.deletion_curve(network, SKETCHES, np.zeros((6, 7, 7)))


def test_a_map_costs_little_more_than_an_answer() -> None:
    model = models.build("residual", {"filters": [16, 32, 64, 128]})
    images = np.zeros((100, 28, 28), np.uint8)
    answer, explained = _seconds(
        lambda: model.predict(images, batch_size=100, verbose=0),
        lambda: explain.grad_cam(model, images),
    )
    assert explained < 3 * answer


def _seconds(*calls: Callable[[], object]) -> list[float]:
    """Return the least of several times of each, in turns: load on the machine lengthens both."""
    times = []
    for _ in range(8):  # the first makes the graphs
        for call in calls:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [min(times[index :: len(calls)]) for index in range(len(calls))]


def _logits(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the model without its softmax."""
    bare = keras.models.clone_model(model)
    bare.set_weights(model.get_weights())
    bare.layers[-1].activation = keras.activations.linear
    return lambda images: np.asarray(bare(images))
