"""Train a recipe. Nothing here can receive test images: `data.TrainingData` holds none.

The input path keeps all images in memory, gathers and augments a batch at a time inside TensorFlow,
with no Python for each image. The order of an epoch, and what happens to each image in it, follow
from the seed and the epoch's number alone, so an interrupted training goes on as it would have.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from fmnist_utils import augment, data, machine, models
from fmnist_utils.recipes import Recipe

CHECKPOINT_PATTERN = "epoch-*.weights.h5"


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
    verbose : bool
        Print one line an epoch.

    Notes
    -----
    ``recipe.deterministic`` switches TensorFlow to deterministic kernels for the rest of the
    process; there is no way back.
    """
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    model = compiled_model(recipe, n_images=len(training_data.train.images))
    log = _EpochLog(recipe.epochs, verbose=verbose)
    callbacks: list[keras.callbacks.Callback] = [log]
    first_epoch = 0
    if checkpoint_dir is not None:
        first_epoch = _restore(checkpoint_dir, model, log)
        callbacks.append(_Checkpoint(checkpoint_dir, log))
    validation = training_data.validation
    # The averaged weights validate; at the end of the last epoch Keras leaves them in the model.
    if recipe.ema and len(validation.images):
        callbacks.append(keras.callbacks.SwapEMAWeights())
    # Keras runs one epoch too many when the first is already past the last.
    if first_epoch < recipe.epochs:
        n_images = len(training_data.train.images)
        model.fit(
            batches(
                training_data.train,
                batch_size=recipe.batch_size,
                seed=recipe.seed,
                first_epoch=first_epoch,
                augmentation=recipe.augmentation,
            ),
            steps_per_epoch=_updates_an_epoch(n_images, recipe.batch_size),
            initial_epoch=first_epoch,
            epochs=recipe.epochs,
            validation_data=(
                (validation.images, data.one_hot(validation.labels))
                if len(validation.images)
                else None
            ),
            validation_batch_size=500,
            shuffle=False,  # the stream is shuffled already
            callbacks=callbacks,
            verbose=0,
        )
    else:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return Trained(model, pd.DataFrame(log.rows))


def compiled_model(recipe: Recipe, *, n_images: int) -> keras.Model:
    """Return a recipe's model, untrained, with its loss and its optimizer.

    Parameters
    ----------
    recipe : Recipe
        What to build.
    n_images : int
        Training images an epoch: a schedule needs to know its length.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy(recipe))
    try:
        model = models.build(recipe.model, recipe.options)
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile(
        optimizer=_optimizer(recipe, n_images),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # XLA's convolutions are many times slower on a CPU
    )
    return model


def dtype_policy(recipe: Recipe) -> str:
    """Return the Keras dtype policy that a recipe trains in on this machine.

    Parameters
    ----------
    recipe : Recipe
        Its precision ``auto`` is ``mixed_bfloat16`` where `computes_in_bfloat16`, and ``float32``
        elsewhere.
    """
    if recipe.precision != "auto":
        return recipe.precision
    return "mixed_bfloat16" if computes_in_bfloat16() else "float32"


def computes_in_bfloat16() -> bool:
    """Return whether this machine multiplies bfloat16 in hardware, on a GPU or the processor."""
    return bool(tf.config.list_physical_devices("GPU")) or machine.computes_in_bfloat16()


def batches(
    labelled: data.Labelled,
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    augmentation: Mapping[str, Any] | None = None,
) -> tf.data.Dataset:
    """Return an endless stream of batches, epoch after epoch, each in an order of its own.

    Parameters
    ----------
    labelled : data.Labelled
        Images and labels; they stay in memory.
    batch_size : int
        Images a batch; the last of an epoch may be smaller.
    seed, first_epoch : int
        The order of an epoch follows from the seed and its number.
    augmentation : mapping, optional
        Arguments of `augment.draw`.

    Returns
    -------
    tf.data.Dataset
        Of pairs: images, uint8 of shape (batch, 28, 28); labels, one-hot, float32 of shape
        (batch, 10).
    """
    augment.check(augmentation or {})
    images, labels = tf.constant(labelled.images), tf.constant(data.one_hot(labelled.labels))
    n = len(labelled.images)

    def ordered(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(n), seed=tf.stack([seed, epoch]))
        rows = (order,)
        if augmentation:
            drawn = augment.draw(n, seed=seed, epoch=epoch, **augmentation)
            rows += tuple(tf.gather(values, order) for values in drawn)
        return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)

    def load(index: tf.Tensor, *drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = tf.gather(images, index)
        if augmentation:
            batch = augment.apply(batch, augment.Draw(*drawn))
        return batch, tf.gather(labels, index)

    return tf.data.Dataset.counter(first_epoch).flat_map(ordered).map(load).prefetch(8)


class _EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """One row, and one printed line, an epoch.

    Parameters
    ----------
    epochs : int
        Of the whole training, for the line's ``3/10``.
    verbose : bool
        Whether to print.
    """

    def __init__(self, epochs: int, *, verbose: bool = True) -> None:
        super().__init__()
        self.epochs = epochs
        self.verbose = verbose
        self.rows: list[dict[str, Any]] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._seconds = -time.perf_counter()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        # Keras validates inside the epoch; what is reported is training alone.
        self._seconds += time.perf_counter()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        self._seconds -= time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._seconds += time.perf_counter()
        measured = {name: (logs or {})[name] for name in _MEASURED if name in (logs or {})}
        self.rows.append({"epoch": epoch + 1, **measured, "seconds": self._seconds})
        if self.verbose:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in measured.items())
            print(f"epoch {epoch + 1:>3}/{self.epochs}  {shown}  {self._seconds:.1f} s", flush=True)


_MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy")


class _Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """The state after each epoch, in one file that is renamed when complete.

    Keras's own BackupAndRestore writes weights and epoch into two files, in place: a process
    killed between or during the two leaves a state that cannot be loaded, or one that repeats an
    epoch. Here the epoch is in the file's name, and a rename cannot be interrupted.
    """

    def __init__(self, folder: Path, log: _EpochLog) -> None:
        super().__init__()
        self.folder = folder
        self.log = log

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        older = list(self.folder.glob(CHECKPOINT_PATTERN))
        unfinished = self.folder / "unfinished.csv"
        pd.DataFrame(self.log.rows).to_csv(unfinished, index=False)
        unfinished.replace(self.folder / "history.csv")
        unfinished = self.folder / "unfinished.weights.h5"
        self.model.save_weights(unfinished)
        unfinished.replace(self.folder / f"epoch-{epoch + 1:04d}.weights.h5")
        for path in older:
            path.unlink()


def _restore(folder: Path, model: keras.Model, log: _EpochLog) -> int:
    """Load the newest state of a folder into model and log; return the epochs already trained."""
    for path in sorted(folder.glob(CHECKPOINT_PATTERN), reverse=True):
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(path)
            history = pd.read_csv(folder / "history.csv")
        except (OSError, ValueError) as error:
            print(f"Saved state {path.name} cannot be read ({error}); starting from an older one.")
            path.unlink()
            continue
        epochs = int(path.name.removeprefix("epoch-").removesuffix(".weights.h5"))
        log.rows = [dict(row) for _, row in history[history["epoch"] <= epochs].iterrows()]
        if log.verbose:
            print(f"Going on after epoch {epochs} of {log.epochs}.")
        return epochs
    return 0


def _updates_an_epoch(n_images: int, batch_size: int) -> int:
    return int(np.ceil(n_images / batch_size))


def _optimizer(recipe: Recipe, n_images: int) -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    updates = recipe.epochs * _updates_an_epoch(n_images, recipe.batch_size)
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, updates)
    if recipe.schedule == "one_cycle":
        rate = keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate / 10,
            updates - updates // 4,
            warmup_target=recipe.learning_rate,
            warmup_steps=updates // 4,
        )
    make, momentum = _OPTIMIZERS[recipe.optimizer]
    optimizer = make(
        rate,
        **momentum,
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
}
