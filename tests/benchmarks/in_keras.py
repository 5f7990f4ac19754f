"""Contenders in Keras: its own layers, ours, and the kernels beneath them."""

import time

import keras
import numpy as np
import tensorflow as tf
from contest import BATCH, IMAGES, LABELS, filters, timed

from fmnist_utils import arithmetic, data, models, recipes, training
from fmnist_utils.arithmetic import Arithmetic
from fmnist_utils.layers import SMALL, kernel_gradient
from fmnist_utils.series.speed import convolutions


def probe():
    """Return a call that returns what the machine answered."""
    return arithmetic.probe


def keras_update(width, precision):
    """Update Keras's own layers by Keras's own function."""
    model = _stock(width, precision)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        "categorical_crossentropy",
        jit_compile=False,
    )
    batch = tf.constant(IMAGES), tf.one_hot(LABELS, 10)
    return lambda: model.train_on_batch(*batch)


def our_update(width, precision, **options):
    """Update ours as `training.train` does."""
    step = training.train_step_fn(_ours(width, precision, **options))
    batch = tf.constant(IMAGES), tf.one_hot(LABELS, 10)
    return lambda: step(*batch).numpy()


def _ours(width, precision, computed_in=None, learning_rate=0.05, **options):
    recipe = recipes.override(
        recipes.get("accurate"),
        options={"filters": filters(width), **options},
        precision=precision,
        learning_rate=learning_rate,
        schedule="constant",
        weight_decay=0.0,
        label_smoothing=0.0,
        ema=0.0,
    )
    return training.compiled_model(recipe, n_images=55_000, computed_in=computed_in)


def _stock(width, precision):
    keras.config.set_dtype_policy(precision)
    return models.build(
        "residual", {"filters": filters(width), "fused": False, "pool_first": False}
    )


def matrix_product(dtype, n=4096):
    """Multiply two large matrices."""
    a, b = (tf.cast(tf.random.normal((n, n)), dtype) for _ in range(2))
    product = tf.function(lambda: tf.matmul(a, b))
    return lambda: float(product()[0, 0])


def size(width):
    """Return a call that returns the network's parameters, and the operations of an update."""
    model = models.build("residual", {"filters": filters(width)})
    multiplications = sum(9 * side**2 * ins * outs for side, ins, outs in convolutions(width))
    multiplications += 10 * filters(width)[-1]
    gflop = 3 * 2 * multiplications / 1e9  # forward, and twice that backward
    return lambda: {"parameters": model.count_params(), "gflop_an_image": gflop}


def kernels(width, dtype):
    """Return a call that times the kernels of each convolution, by side, channels and filters."""

    def of(side, channels, n_filters):
        x = tf.cast(tf.random.normal((BATCH, side, side, channels)), dtype)
        kernel = tf.cast(tf.random.normal((3, 3, channels, n_filters)), dtype)
        upstream = tf.cast(tf.random.normal((BATCH, side, side, n_filters)), dtype)
        same = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        ops = tf.raw_ops
        calls = {
            "forward, TensorFlow": lambda: ops.Conv2D(input=x, filter=kernel, **same),
            "kernel, TensorFlow": lambda: ops.Conv2DBackpropFilter(
                input=x, filter_sizes=kernel.shape, out_backprop=upstream, **same
            ),
        }
        if channels > 1:  # nobody asks for the gradient of the images themselves
            calls["input, TensorFlow"] = lambda: ops.Conv2DBackpropInput(
                input_sizes=x.shape, filter=kernel, out_backprop=upstream, **same
            )
        if side**2 <= SMALL:
            calls["kernel, ours"] = lambda: kernel_gradient(x, upstream, (3, 3))
        return timed(calls)

    return lambda: {shape: of(*shape) for shape in set(convolutions(width))}


def losses(width, precision, exchanged):
    """Return a call that trains 50 updates on drawn sketches and returns their losses."""
    drawn = data.sketches(50 * BATCH, seed=0)
    computed_in = Arithmetic(precision, exchanged)

    def train():
        keras.utils.set_random_seed(0)
        # At a small rate, for at a large one the least rounding is another training soon.
        step = training.train_step_fn(_ours(width, precision, computed_in, learning_rate=0.002))
        stream = training.batches(drawn, batch_size=BATCH, seed=0)
        return [float(step(*batch)[0, 0]) for batch in stream]

    return train


def whole_trainings():
    """Return a call that times whole trainings, validation included.

    They are of the classic network by Keras's own fit and by ours, and of recipe ``fast``.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60_000, 28, 28)).astype(np.uint8)
    labels = rng.integers(0, 10, 60_000).astype(np.uint8)
    held_out, train = (
        data.Labelled(images[rows], labels[rows]) for rows in (slice(5_000), slice(5_000, None))
    )
    given = data.TrainingData(train=train, validation=held_out)

    def fit():
        keras.config.set_dtype_policy("float32")
        recipe = recipes.get("cnn")
        model = models.build(recipe.model, recipe.options)
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
        x, new = train.images, (held_out.images, data.one_hot(held_out.labels))
        sizes = {"batch_size": recipe.batch_size, "epochs": recipe.epochs}
        model.fit(x, data.one_hot(train.labels), validation_data=new, verbose=0, **sizes)

    def ours(name):
        return lambda: training.train(recipes.get(name), given, verbose=False)

    calls = {"Keras's fit": fit, "cnn": ours("cnn"), "fast": ours("fast")}
    seconds = {name: [] for name in calls}

    def forth_then_back():  # called twice: a contender's first call counts here
        for name in reversed(calls) if seconds["fast"] else calls:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
        return {name: float(np.mean(taken)) for name, taken in seconds.items()}

    return forth_then_back


def keras_answer(width, n):
    """Answer with Keras's own layers and function."""
    model = _stock(width, "float32")
    images = IMAGES[:n]
    return lambda: model.predict(images, batch_size=n, verbose=0)


def our_answer(width, n, precision):
    """Answer by a traced function, in float32 with the normalisation folded away."""
    model = _ours(width, precision)
    if precision == "float32":
        model = models.fold_batch_norms(model)
    answer = tf.function(lambda images: model(images, training=False), jit_compile=False)
    images = tf.constant(IMAGES[:n])
    return lambda: answer(images).numpy()
