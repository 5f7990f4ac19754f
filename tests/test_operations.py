import keras
import pytest
import tensorflow as tf
from tensorflow.python.profiler import model_analyzer, option_builder

from fmnist_utils import models, operations, recipes, training
from fmnist_utils.recipes import RECIPES

KERNELS = ["Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput", "MatMul"]
KERNELS += ["DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput"]
KERNELS += ["DepthwiseConv2dNativeBackpropFilter"]


def profiled(function, *shapes):
    """Return what TensorFlow's profiler counts in the graph of a function, kernels alone."""
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    graph = tf.function(function).get_concrete_function(*specs).graph
    options = option_builder.ProfileOptionBuilder(
        option_builder.ProfileOptionBuilder.float_operation()
    )
    options = options.with_accounted_types([f"^{name}$" for name in KERNELS]).with_empty_output()
    return model_analyzer.profile(graph, options=options.build()).total_float_ops


@pytest.mark.parametrize("name", ["dense", "cnn", "cnn_deep", "fast", "small", "regularised"])
def test_an_answer_is_counted_as_the_profiler_does(name):
    model = models.build(RECIPES[name].model, RECIPES[name].options)
    counted = profiled(lambda x: model(x, training=False), (1, 28, 28))
    assert operations.forward(model) == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize("name", ["dense", "cnn", "cnn_deep", "fast"])
def test_a_step_is_counted_as_the_profiler_does(name):
    recipe = RECIPES[name]
    options = dict(recipe.options) | ({"fused": False} if recipe.model == "residual" else {})
    model = models.build(recipe.model, options)

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True)[:, 0])
        return tape.gradient(loss, model.trainable_variables)

    counted = profiled(step, (4, 28, 28))
    assert operations.training(model, images=4) == pytest.approx(counted, rel=0.05)


def test_a_network_within_a_network_is_counted():
    model = models.build("transfer", dict(RECIPES["transfer"].options) | {"weights": None})
    counted = profiled(lambda x: model(x, training=False), (1, 28, 28))
    assert operations.forward(model) == pytest.approx(counted, rel=0.05)


def test_depthwise_and_separable_layers_are_counted_by_channel():
    layers = keras.layers
    for layer, expected in (
        (layers.DepthwiseConv2D(3, padding="same"), 2 * 28 * 28 * 9 * 1),
        (layers.SeparableConv2D(8, 3, padding="same"), 2 * 28 * 28 * (9 + 8)),
        (layers.Conv2D(8, 3, strides=2, padding="same"), 2 * 14 * 14 * 9 * 8),
    ):
        model = keras.Sequential(
            [keras.Input((28, 28, 1)), layer, layers.GlobalMaxPooling2D(), layers.Dense(10)]
        )
        assert operations.forward(model) == expected + 2 * 10 * model.layers[-1].kernel.shape[0]


@pytest.mark.parametrize("selection", [1, 0.5, 1 / 3])
def test_as_many_images_are_shown_as_an_epoch_selects(selection):
    recipe = recipes.override(RECIPES["fast"], epochs=3, selection=selection)
    unknown = training.np.full(100, training.np.inf, "float32")
    known = training.np.arange(100, dtype="float32")
    shown = [
        len(training.select(difficulty, selection, seed=0, epoch=epoch))
        for epoch, difficulty in enumerate([unknown, known, known])
    ]
    assert operations.images_shown(recipe, 100) == sum(shown)
