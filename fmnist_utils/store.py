"""`get_or_train`: load the trained run of a recipe, or train it and keep it."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fmnist_utils import (
    arithmetic,
    checkpoints,
    data,
    evaluation,
    models,
    operations,
    paths,
    recipes,
    results,
    training,
)
from fmnist_utils.arithmetic import Arithmetic
from fmnist_utils.data.splits import training_split
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.files import sync, write_text
from fmnist_utils.recipes import Recipe

# Part of every run's key: raise it when training changes what a recipe comes to.
FORMAT = 1
_ENVIRONMENT = "environment.json"
_FILES = ("model.keras", "recipe.json", "history.csv", "metrics.json", _ENVIRONMENT)
_MANIFEST = "manifest.json"  # the SHA-256 of each of them


@dataclass(frozen=True)
class Run:
    """A trained recipe, as it lies in its folder.

    Parameters
    ----------
    folder : Path
        ``<name>-<12 hex>`` in the runs folder.
    """

    folder: Path

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that was trained."""
        with _readable(self.folder):
            return Recipe.from_json((self.folder / "recipe.json").read_text(encoding="utf-8"))

    @cached_property
    def model(self) -> keras.Model:
        """The trained model, in float32 whatever it was trained in.

        So it answers alike on every machine, and its features and gradients have all their digits.
        """
        with _readable(self.folder):
            model = keras.models.load_model(self.folder / "model.keras")
        in_bfloat16 = any(layer.compute_dtype == "bfloat16" for layer in model.layers)
        return models.in_float32(model) if in_bfloat16 else model

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch, as in `training.Trained`."""
        with _readable(self.folder):
            return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Metrics on the validation images, if any; ``parameters`` and ``train_seconds``."""
        with _readable(self.folder):
            return dict(json.loads((self.folder / "metrics.json").read_text(encoding="utf-8")))

    def predict(self, images: NDArray[np.uint8], *, tta: bool = False) -> NDArray[np.float32]:
        """Return the probabilities of the ten classes, float32 of shape (n, 10).

        Parameters
        ----------
        images : ndarray of shape (n, 28, 28), uint8
            0 is background.
        tta : bool
            Test-time augmentation: the mean over each image and its mirror image.
        """
        if tta:
            both = [self.predict(images), self.predict(images[:, :, ::-1])]
            return np.asarray(np.mean(both, axis=0))
        return models.predict(self.model, images)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Make whatever a damaged run, or one of another Keras, leads its readers to one sentence."""
    try:
        yield
    except Exception as error:
        try:
            environment = json.loads((folder / _ENVIRONMENT).read_text(encoding="utf-8"))
            saved = f", saved by Keras {environment['versions']['keras']}"
        except (OSError, ValueError, KeyError):
            saved = ""
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        raise FailureError(
            f"Run {folder} cannot be read by Keras {keras.__version__} ({reason}{saved}): delete "
            "the folder to train it again."
        ) from error


def key(recipe: Recipe) -> str:
    """Return the 12 hex digits that stand for a recipe, its data and the format of runs.

    Parameters
    ----------
    recipe : Recipe
        Equal recipes have equal keys.

    Notes
    -----
    Introduced in notebook 10.

    Examples
    --------
    >>> from fmnist_utils import recipes, store
    >>> dense = recipes.override(recipes.get("dense"), dataset="sketches")
    >>> store.key(dense) == store.key(recipes.override(dense, seed=1))
    False
    """
    # What says nothing new is left out, so that a field added later leaves older keys as they are.
    fields = recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    identity = {
        "format": FORMAT,
        "model": fields.pop("model"),
        "recipe": {name: value for name, value in fields.items() if value != {}},
        "data": data.hashes(recipe.dataset),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def find(recipe: Recipe) -> Run | None:
    """Return the finished run of a recipe, or None.

    Parameters
    ----------
    recipe : Recipe
        As it was trained, its seed included.

    Raises
    ------
    FailureError
        If its folder is there but lacks a file, is damaged, or holds another recipe. Whoever wants
        it trained again deletes the folder, which the sentence names.

    Notes
    -----
    Introduced in notebook 10.

    Examples
    --------
    >>> from fmnist_utils import recipes, store
    >>> store.find(recipes.override(recipes.get("dense"), dataset="sketches")) is None
    True
    """
    for folder in paths.runs_dir().glob(f"*-{key(recipe)}"):
        missing = [name for name in _FILES if not (folder / name).exists()]
        if missing:
            raise FailureError(
                f"Run {folder} lacks {', '.join(missing)}: delete the folder to train it again."
            )
        _check_contents(folder)
        # The key leaves out what is a field's default, so a changed default keeps it.
        if Run(folder).recipe != recipe:
            raise FailureError(
                f"Run {folder} was trained when a recipe's defaults were others: delete the folder "
                "to train it again."
            )
        return Run(folder)
    return None


def _check_contents(folder: Path) -> None:
    """Raise FailureError unless the files of a run are as they were written."""
    manifest = folder / _MANIFEST
    if not manifest.exists():
        _tell_of_no_manifest(folder.parent, folder.name)
        return
    with _readable(folder):
        written = dict(json.loads(manifest.read_text(encoding="utf-8")))
        changed = [name for name in _FILES if _sha256(folder / name) != written[name]]
    if changed:
        raise FailureError(
            f"Run {folder} is damaged ({', '.join(changed)} changed since it was written): delete "
            "the folder to train it again."
        )


@cache
def _tell_of_no_manifest(runs: Path, name: str) -> None:
    print(f"Run {runs / name} is older than {_MANIFEST}: it is not checked.", file=sys.stderr)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


ExtraImages = Callable[[data.Labelled, int], data.Labelled]


def get_or_train(recipe: Recipe, *, extra: ExtraImages | None = None, verbose: bool = True) -> Run:
    """Return the trained run of a recipe, training it if it is not there yet.

    A run appears under its name only when it is complete. An interrupted training, even by
    ``kill -9``, goes on after the last epoch that it finished. Two processes that want the same
    run train it once.

    Parameters
    ----------
    recipe : Recipe
        What to train; its seed is part of it.
    extra : callable, optional
        From training images and a seed to more of them, for a recipe with ``synthetic_photos``:
        `photos.synthetic.training_images`. No other recipe asks for it. The key does not cover
        what it gives; ``environment.json`` has a hash of all images that were trained on.
    verbose : bool
        Print what happens, one line an epoch.

    Raises
    ------
    BadInputError
        If the recipe needs extra images that are not given.
    FailureError
        If the data cannot be had, or the runs folder cannot be written.

    Examples
    --------
    >>> recipe = Recipe(model="dense", epochs=1, dataset="sketches", train_size=100)
    >>> run = get_or_train(recipe, verbose=False)
    >>> [name for name in sorted(run.metrics) if not name.startswith("train")]
    ['accuracy', 'f1_macro', 'log_loss', 'operations', 'parameters']

    Notes
    -----
    Introduced in notebook 10.
    """
    run = find(recipe)
    if run is not None:
        return run
    name = f"{recipes.name_of(recipe)}-{key(recipe)}"
    partial = paths.runs_dir() / ".partial" / key(recipe)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _only_one(partial.with_suffix(".lock"), name, verbose=verbose):
            return find(recipe) or _train(recipe, name, partial, extra=extra, verbose=verbose)
    except OSError as error:
        raise FailureError(
            f"Cannot write the run into {paths.runs_dir()} ({error}): make room or make it "
            "writable, or set FMNIST_RUNS_DIR to another folder."
        ) from error


def _only_one(path: Path, name: str, *, verbose: bool) -> FileLock:
    """Return the lock of a run, held; the system frees it when its process dies."""
    lock = FileLock(path)
    try:
        return lock.acquire(blocking=False).lock
    except Timeout:
        if verbose:
            print(f"Another process is training {name}; waiting for it.")
        return lock.acquire().lock


def _train(
    recipe: Recipe, name: str, partial: Path, *, extra: ExtraImages | None, verbose: bool
) -> Run:
    training_data = training_split(recipe.dataset, recipe.train_size)
    if recipe.synthetic_photos:
        training_data = _with_extra(recipe, training_data, extra)
    computed_in = _begin(recipe, training_data, partial / _ENVIRONMENT, verbose=verbose)
    if verbose:
        n_images = len(training_data.train.images)
        print(f"Training {name} on {n_images:,} images, in {computed_in.precision}.")
    checkpoint_dir = partial / "checkpoints"
    try:
        trained = training.train(
            recipe,
            training_data,
            checkpoint_dir=checkpoint_dir,
            computed_in=computed_in,
            verbose=verbose,
        )
    except KeyboardInterrupt:
        kept = (
            "what was trained is kept"
            if any(checkpoint_dir.glob(checkpoints.PATTERN))
            else "no epoch had ended"
        )
        print(f"Interrupted: {kept} of {name}; run it again to go on.")
        raise
    finished = partial / name
    shutil.rmtree(finished, ignore_errors=True)
    finished.mkdir()
    _write(recipe, trained, training_data, finished)
    shutil.copy(partial / _ENVIRONMENT, finished)
    _seal(finished)
    finished.rename(paths.runs_dir() / name)
    shutil.rmtree(partial)
    return Run(paths.runs_dir() / name)


def _begin(recipe: Recipe, given: data.TrainingData, path: Path, *, verbose: bool) -> Arithmetic:
    """Return what to train in; a training that goes on keeps to what it began with."""
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        return Arithmetic(**{field: before[field] for field in Arithmetic.__dataclass_fields__})
    computed_in = arithmetic.choose(recipe)
    if verbose and recipe.precision == "auto":
        arithmetic.tell()
    environment = {
        **results.environment(),
        **asdict(computed_in),
        # With extra images, these too: two runs can be asked whether they saw the same.
        "train_images_sha256": hashlib.sha256(given.train.images.tobytes()).hexdigest(),
    }
    write_text(path, json.dumps(environment, indent=2))
    return computed_in


def _with_extra(
    recipe: Recipe, training_data: data.TrainingData, extra: ExtraImages | None
) -> data.TrainingData:
    """Return the training data with the caller's images behind the recipe's own."""
    if extra is None:
        raise BadInputError(
            "The recipe is trained on synthetic photos as well: train it by fmnist train, or hand "
            "in extra=photos.synthetic.training_images."
        )
    own = training_data.train
    more = extra(own, recipe.seed)
    together = data.Labelled(
        np.concatenate([own.images, more.images]), np.concatenate([own.labels, more.labels])
    )
    return replace(training_data, train=together)


def _write(
    recipe: Recipe, trained: training.Trained, given: data.TrainingData, folder: Path
) -> None:
    trained.model.save(folder / "model.keras")
    (folder / "recipe.json").write_text(recipe.to_json(), encoding="utf-8")
    trained.history.to_csv(folder / "history.csv", index=False)
    metrics = {
        "parameters": trained.model.count_params(),
        "operations": operations.forward(trained.model),
        "training_operations": operations.training(
            trained.model, operations.images_shown(recipe, len(given.train.images))
        ),
        "train_seconds": float(trained.history["seconds"].sum()),
    }
    if len(given.validation.images):
        predicted = Run(folder).predict(given.validation.images)
        metrics |= evaluation.metrics(given.validation.labels, predicted)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")


def _seal(folder: Path) -> None:
    """Write the manifest of a run, once all its files are on the disk."""
    manifest = {}
    for name in _FILES:
        sync(folder / name)
        manifest[name] = _sha256(folder / name)
    write_text(folder / _MANIFEST, json.dumps(manifest, indent=2))
