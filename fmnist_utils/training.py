"""Train a recipe. Nothing here can receive test images: `data.TrainingData` holds none.

The input path keeps all images in memory, gathers and augments a batch at a time inside TensorFlow,
with no Python for each image. What an epoch shows follows from the seed, the epoch's number and the
state that is saved after each, so an interrupted training goes on as it would have.

The loop is our own, not `keras.Model.fit`: it needs the loss of each image, to choose what the next
epoch shows.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from fmnist_utils import arithmetic, augment, checkpoints, data, models
from fmnist_utils.arithmetic import Arithmetic
from fmnist_utils.classes import IMAGE_SHAPE, N_CLASSES
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.layers import Conv2D
from fmnist_utils.optimizers import LayerwiseAdam, Muon
from fmnist_utils.recipes import Augmentation, Recipe

HARDEST = 0.7  # of what `select` shows; the others are drawn from the rest
NO_AUGMENTATION = Augmentation()
_MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Trained:
    """What a training comes to.

    Parameters
    ----------
    model : keras.Model
        With the weights of the last epoch.
    history : pandas.DataFrame
        One row an epoch: ``epoch`` (from 1), ``loss``, ``accuracy``, ``val_loss``,
        ``val_accuracy`` (both only where there are validation images) and ``seconds`` (training
        alone, without validation). ``loss`` and ``accuracy`` are of the augmented images.
    """

    model: keras.Model
    history: pd.DataFrame


def train(
    recipe: Recipe,
    training_data: data.TrainingData,
    *,
    checkpoint_dir: Path | None = None,
    computed_in: Arithmetic | None = None,
    verbose: bool = True,
) -> Trained:
    """Train a recipe to its last epoch.

    Parameters
    ----------
    recipe : Recipe
        What to train, and how.
    training_data : data.TrainingData
        The images to train on and to validate with.
    checkpoint_dir : Path, optional
        Folder that keeps the state after each epoch. If it holds one already, training goes on
        from there.
    computed_in : Arithmetic, optional
        By default what `arithmetic.choose` chooses on this machine.
    verbose : bool
        Print one line an epoch.

    Raises
    ------
    BadInputError
        If the schedule needs validation images and there are none.
    FailureError
        If the loss stops being a finite number, or a saved state cannot be read at the moment.

    Notes
    -----
    ``recipe.deterministic`` switches TensorFlow to deterministic kernels for the rest of the
    process; there is no way back. Introduced in notebook 10.

    Examples
    --------
    >>> from fmnist_utils import data, recipes, training
    >>> recipe = recipes.Recipe(model="dense", options={"units": [8]}, epochs=1)
    >>> drawn = data.sketches(20, seed=0)
    >>> given = data.TrainingData(train=drawn, validation=drawn)
    >>> training.train(recipe, given, verbose=False).model.output_shape
    (None, 10)
    """
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    labelled, validation = training_data.train, training_data.validation
    augmentation = augment.without_invalid_flips(recipe.augmentation, *labelled)
    if verbose and augmentation != recipe.augmentation:
        print("Nothing is flipped left to right: mirror images would be of no class.")
    if recipe.schedule == "plateau" and len(validation.images) == 0:
        raise BadInputError(
            "Schedule plateau looks at the validation loss, and there are no validation images: "
            "choose another schedule, or a smaller train_size."
        )
    model = compiled_model(recipe, n_images=len(labelled.images), computed_in=computed_in)
    state = checkpoints.State(difficulty=np.full(len(labelled.images), np.inf, np.float32))
    if checkpoint_dir is not None:
        checkpoints.restore(checkpoint_dir, model, state)
        if verbose and state.rows:
            print(f"Going on after epoch {len(state.rows)} of {recipe.epochs}.")
    step = train_step_fn(model)
    for epoch in range(len(state.rows), recipe.epochs):
        if recipe.schedule == "plateau":
            model.optimizer.learning_rate = recipe.learning_rate * 0.5 ** n_plateaus(state.rows)
        start = time.perf_counter()
        measured = _run_epoch(
            recipe, augmentation, labelled, epoch, step, state.difficulty, verbose=verbose
        )
        row = {"epoch": epoch + 1, **measured}
        seconds = time.perf_counter() - start
        if not np.isfinite(row["loss"]):
            raise FailureError(
                f"The training diverged: the loss of epoch {epoch + 1} is {row['loss']}. Lower "
                f"learning_rate, which is {recipe.learning_rate}."
            )
        if len(validation.images):
            with _averaged(model):
                row |= _validate(model, validation)
        state.rows.append(row | {"seconds": seconds})
        if checkpoint_dir is not None:
            checkpoints.save(checkpoint_dir, model, state)
        if verbose:
            print(_line(state.rows[-1], recipe.epochs), flush=True)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    return Trained(model, pd.DataFrame(state.rows))


def _line(row: Mapping[str, float], epochs: int) -> str:
    measured = [f"{name} {value:.4f}" for name, value in row.items() if name in _MEASURED]
    return "  ".join([f"epoch {row['epoch']:>3}/{epochs}", *measured, f"{row['seconds']:.1f} s"])


# --- What an epoch shows --------------------------------------------------------------------------


def select(
    difficulty: NDArray[np.float32], share: float, *, seed: int, epoch: int
) -> NDArray[np.int32]:
    """Return which images an epoch shows, in ascending order.

    Parameters
    ----------
    difficulty : ndarray of shape (n,), float32
        Of each image; infinite where it is not known yet.
    share : float
        Of the images to show. A share of `HARDEST` of these are the most difficult, the others are
        drawn from the rest, so that nothing is forgotten for long. As long as a difficulty is
        unknown, all are shown. After online batch selection (Loshchilov and Hutter, arXiv
        1511.06343) and the proxy filter of airbench96 (Jordan, arXiv 2404.00498).
    seed, epoch : int
        What is drawn follows from them.
    """
    n = len(difficulty)
    if share == 1 or np.isinf(difficulty).any():
        return np.arange(n, dtype=np.int32)
    n_shown = max(1, round(share * n))
    by_difficulty = np.argsort(-difficulty, kind="stable")
    hardest, rest = np.split(by_difficulty, [round(HARDEST * n_shown)])
    drawn = np.random.default_rng((seed, epoch)).permutation(rest)[: n_shown - len(hardest)]
    return np.sort(np.concatenate([hardest, drawn])).astype(np.int32)


def batches(
    labelled: data.Labelled,
    *,
    batch_size: int,
    seed: int,
    epoch: int = 0,
    indices: NDArray[np.int32] | None = None,
    augmentation: Augmentation = NO_AUGMENTATION,
    mixup: float = 0.0,
) -> tf.data.Dataset:
    """Return an epoch's batches, in an order of its own.

    Parameters
    ----------
    labelled : data.Labelled
        Images and labels; they stay in memory.
    batch_size : int
        Images a batch; the last may be smaller.
    seed, epoch : int
        Order and augmentation follow from them.
    indices : ndarray of shape (m,), int32, optional
        Of the images to show; all, where it is not given.
    augmentation : Augmentation
        What happens to each image; by default nothing.
    mixup : float
        ``alpha`` of `augment.mix`; 0 mixes nothing.

    Returns
    -------
    tf.data.Dataset
        Of pairs: images, uint8 of shape (batch, 28, 28); labels, float32 of shape (batch, 10),
        one-hot where nothing is mixed.

    Examples
    --------
    >>> stream = batches(data.sketches(5, seed=0), batch_size=2, seed=0)
    >>> [images.shape[0] for images, labels in stream]
    [2, 2, 1]
    """
    images, labels = tf.constant(labelled.images), tf.constant(data.one_hot(labelled.labels))
    n = len(labelled.images)
    order = _order(np.arange(n) if indices is None else indices, seed=seed, epoch=epoch)
    rows = (order,)
    augmented = augmentation != NO_AUGMENTATION
    if augmented:
        drawn = augment.draw(n, augmentation, seed=seed, epoch=epoch)
        rows += tuple(tf.gather(values, order) for values in drawn)

    def load(index: tf.Tensor, *drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = tf.gather(images, index)
        if augmented:
            batch = augment.apply(batch, augment.Draw(*drawn))
        return batch, tf.gather(labels, index)

    stream = tf.data.Dataset.from_tensor_slices(rows).batch(batch_size).map(load)
    if mixup:
        stream = stream.enumerate().map(
            lambda number, batch: augment.mix(
                *batch, alpha=mixup, seed=tf.stack([seed, epoch << 32 | number])
            )
        )
    return models.without_autotune(stream.prefetch(8))


def _order(indices: NDArray[np.integer], *, seed: int, epoch: int) -> NDArray[np.int32]:
    shuffled = tf.random.experimental.stateless_shuffle(
        tf.constant(indices, tf.int32), seed=(seed, epoch)
    )
    return np.asarray(shuffled)


# --- What is trained ------------------------------------------------------------------------------


def compiled_model(
    recipe: Recipe, *, n_images: int, computed_in: Arithmetic | None = None
) -> keras.Model:
    """Return a recipe's model, untrained, with its loss and its optimizer.

    Parameters
    ----------
    recipe : Recipe
        What to build.
    n_images : int
        Training images an epoch: a schedule needs to know its length.
    computed_in : Arithmetic, optional
        By default what `arithmetic.choose` chooses on this machine.

    Examples
    --------
    >>> recipe = Recipe(model="dense", options={"units": [8]}, optimizer="sgd")
    >>> type(compiled_model(recipe, n_images=1_000).optimizer).__name__
    'SGD'
    """
    computed_in = computed_in or arithmetic.choose(recipe)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(computed_in.precision)
    try:
        model = models.MODELS[recipe.model](recipe.options)
    finally:
        keras.config.set_dtype_policy(policy)
    for layer in model.layers:
        if isinstance(layer, Conv2D) and layer.can_exchange:
            layer.exchanges = computed_in.exchanged_gradients
    model.compile(
        optimizer=_optimizer(recipe, n_images),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # XLA's convolutions are many times slower on a CPU
    )
    return model


def _optimizer(recipe: Recipe, n_images: int) -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    # The first epoch shows all images, the others a selection.
    later = np.ceil(max(1, round(recipe.selection * n_images)) / recipe.batch_size)
    updates = int(np.ceil(n_images / recipe.batch_size) + (recipe.epochs - 1) * later)
    if recipe.schedule == "step":
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [updates // 2, 3 * updates // 4], [recipe.learning_rate / 10**k for k in range(3)]
        )
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, updates)
    if recipe.schedule == "one_cycle":
        rate = keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate / 10,
            updates - updates // 4,
            warmup_target=recipe.learning_rate,
            warmup_steps=updates // 4,
        )
    make, arguments = _OPTIMIZERS[recipe.optimizer]
    if recipe.layer_decay != 1:
        make, arguments = LayerwiseAdam, {"layer_decay": recipe.layer_decay}
    optimizer = make(
        rate,
        **arguments,
        weight_decay=recipe.weight_decay or None,
        use_ema=recipe.ema > 0,
        ema_momentum=recipe.ema,
    )
    if recipe.weight_decay:
        # Scales and offsets are few and mean something else near zero.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


_OPTIMIZERS: Mapping[str, tuple[type[keras.optimizers.Optimizer], dict[str, Any]]] = {
    "adam": (keras.optimizers.Adam, {}),
    "rmsprop": (keras.optimizers.RMSprop, {}),
    "sgd": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "muon": (Muon, {}),
}


# --- An epoch -------------------------------------------------------------------------------------


def _run_epoch(
    recipe: Recipe,
    augmentation: Augmentation,
    labelled: data.Labelled,
    epoch: int,
    step: Callable[..., tf.Tensor],
    difficulty: NDArray[np.float32],
    *,
    verbose: bool,
) -> dict[str, float]:
    """Train for one epoch, note each image's difficulty, return mean loss and accuracy."""
    indices = select(difficulty, recipe.selection, seed=recipe.seed, epoch=epoch)
    stream = batches(
        labelled,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        epoch=epoch,
        indices=indices,
        augmentation=augmentation,
        mixup=recipe.mixup,
    )
    shown = tqdm(
        stream,
        desc=f"epoch {epoch + 1}",
        total=math.ceil(len(indices) / recipe.batch_size),
        unit="batch",
        delay=10,  # seconds: a shorter epoch tells of itself when it ends
        leave=False,
        disable=None if verbose else True,  # None: shown on a terminal only
    )
    measured = np.concatenate([step(images, labels).numpy() for images, labels in shown])
    order = _order(indices, seed=recipe.seed, epoch=epoch)
    seen = np.isfinite(difficulty[order])
    losses = measured[:, 1]
    difficulty[order] = np.where(seen, (difficulty[order] + losses) / 2, losses)
    return {"loss": float(measured[:, 0].mean()), "accuracy": float(measured[:, 2].mean())}


def train_step_fn(model: keras.Model) -> Callable[..., tf.Tensor]:
    """Return the function that updates a model with a batch of images and one-hot labels.

    That function returns a tensor of shape (batch, 3), float32, a row an image: the batch's loss,
    the image's plain cross-entropy, and whether the answer was right, as 1 or 0.

    Parameters
    ----------
    model : keras.Model
        Compiled, as by `compiled_model`.

    Examples
    --------
    >>> recipe = Recipe(model="dense", options={"units": [8]})
    >>> step = train_step_fn(compiled_model(recipe, n_images=20))
    >>> drawn = data.sketches(20, seed=0)
    >>> step(tf.constant(drawn.images), tf.constant(data.one_hot(drawn.labels))).shape
    TensorShape([20, 3])
    """

    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            probabilities = model(images, training=True)
            loss = model.loss(labels, probabilities) + sum(model.losses)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        model.optimizer.apply(gradients, variables)
        plain = keras.losses.categorical_crossentropy(labels, probabilities)
        right = keras.metrics.categorical_accuracy(labels, probabilities)
        return tf.stack([tf.fill(tf.shape(plain), loss), plain, right], axis=1)

    function: Callable[..., tf.Tensor] = tf.function(
        step,
        # Any size of batch, so that a smaller last one does not trace it anew.
        input_signature=[
            tf.TensorSpec((None, *IMAGE_SHAPE), tf.uint8),
            tf.TensorSpec((None, N_CLASSES), tf.float32),
        ],
        jit_compile=False,  # XLA's convolutions are many times slower on a CPU
    )
    return function


def _validate(model: keras.Model, validation: data.Labelled) -> dict[str, float]:
    probabilities = models.predict(model, validation.images)
    loss = model.loss(data.one_hot(validation.labels), probabilities)
    right = probabilities.argmax(axis=1) == validation.labels
    return {"val_loss": float(loss), "val_accuracy": float(right.mean())}


@contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """Put the optimizer's running average of the weights, if it keeps one, into the model."""
    last = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    yield
    for variable, value in zip(model.trainable_variables, last, strict=True):
        variable.assign(value)


def n_plateaus(rows: Sequence[Mapping[str, float]], *, patience: int = 2) -> int:
    """Return how often the validation loss has not improved for some epochs on end.

    Parameters
    ----------
    rows : sequence of mapping
        Of a history; each has a ``val_loss``.
    patience : int
        How many such epochs make a plateau; counting starts anew behind each.

    Examples
    --------
    >>> n_plateaus([{"val_loss": loss} for loss in (1.0, 0.8, 0.9, 0.9)])
    1
    """
    best, waited, plateaus = float("inf"), 0, 0
    for row in rows:
        waited = 0 if row["val_loss"] < best else waited + 1
        best = min(best, row["val_loss"])
        if waited == patience:
            waited, plateaus = 0, plateaus + 1
    return plateaus
