"""Measure on the test set: at the last epoch, with a recipe that is fixed, never to choose."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_utils import data, evaluation, models, operations, paths, recipes, results, store
from fmnist_utils.data.splits import training_split
from fmnist_utils.errors import unknown
from fmnist_utils.files import atomic_write
from fmnist_utils.recipes import Recipe
from fmnist_utils.series.trained import trained

_KINDS = ("plain", "tta")
# The notebook that tells of each recipe.
TAUGHT_IN = {
    "dense": "02_dense",
    "cnn": "04_cnn",
    "cnn_deep": "04_cnn",
    "regularised": "06_regularisation",
    "transfer": "12_transfer",
    "fast": "E_operations",
    "small": "E_operations",
    "accurate": "E_operations",
    "short": "D_search",
    "slim": "D_search",
    "long": "D_search",
    "photo": "13_beyond",
}


def read_test(
    name: str,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    variant: str | None = None,
    tta: bool = False,
    ensemble: bool = False,
    publish: bool = False,
) -> None:
    """Train or load a recipe for each seed, measure it on the test set and record the results.

    Parameters
    ----------
    name : str
        The recipe's name, for the results.
    recipe : Recipe
        What to train.
    seeds : sequence of int
        One training each; recorded one by one, so that a long study can be interrupted.
    variant : str, optional
        What differs from the recipe of that name.
    tta : bool
        Record test-time augmentation as well, as variant ``tta``.
    ensemble : bool
        Record the mean of all seeds' probabilities as well, under seed 0, as variant
        ``ensemble`` (and ``ensemble_tta``).
    publish : bool
        Record into the committed results instead of the runs folder. Each seed's predictions, of
        the validation images too, are kept in ``figures/predictions`` and measured, and a seed
        whose predictions are there already is not trained again.

    Raises
    ------
    FailureError
        If the images are missing, or results cannot be written.
    """
    test = data.load_test(recipe.dataset)
    about = results.Study(
        notebook=_notebook_of(name),
        recipe=name,
        dataset=recipe.dataset,
        split="test",
        profile="full",
        variant=variant,
    )
    path = (paths.published_figures_dir() if publish else paths.runs_dir()) / "results.json"
    about_training: dict[str, Any] = {
        "key": store.key(recipes.override(recipe, seed=0)),
        "operations_each": _training_operations(recipe),
    }
    kinds = _KINDS if tta else _KINDS[:1]
    read: list[_Predictions] = []
    for seed in seeds:
        one = recipes.override(recipe, seed=seed)
        file = _file(name, one) if publish else None
        read.append(_predictions(one, test.images, kinds, file))
        for kind in kinds:
            study = _of_variant(about, kind)
            _record(path, study, read[-1:], kind, test.labels, seed=seed, **about_training)
        if "validation" in read[-1].probabilities:
            study, held_out = replace(about, split="validation"), _held_out(one)
            _record(
                path, study, read[-1:], "validation", held_out.labels, seed=seed, **about_training
            )
    if ensemble and len(read) > 1:
        for kind in kinds:
            study = _of_variant(about, "ensemble", kind)
            # Ensembles share networks: two of them would be no two seeds with an interval.
            _record(path, study, read, kind, test.labels, seed=0, **about_training)
    together = f"{len(seeds)} networks together" if len(seeds) > 1 else f"Seed {seeds[0]}"
    print(f"{together}, class by class:")
    print(evaluation.class_report(test.labels, _mean(read, "plain")).round(4).to_string())


def _notebook_of(name: str) -> str:
    if name not in TAUGHT_IN:
        raise unknown("recipe of a notebook", name, TAUGHT_IN)
    return TAUGHT_IN[name]


def _of_variant(study: results.Study, *ways: str) -> results.Study:
    names = [study.variant, *(way for way in ways if way != "plain")]
    return replace(study, variant="_".join(filter(None, names)) or None)


def _record(
    path: Path,
    study: results.Study,
    networks: Sequence["_Predictions"],
    kind: str,
    labels: NDArray[np.int64],
    *,
    seed: int,
    key: str,
    operations_each: int,
) -> None:
    """Measure the mean prediction of some networks, print what comes out and add it to results."""
    metrics = evaluation.metrics(labels, _mean(networks, kind))
    n = len(labels)
    low, high = evaluation.accuracy_interval(round(metrics["accuracy"] * n), n)
    print(
        results.label(study.recipe, study.variant),
        f"seed {seed}" if len(networks) == 1 else f"{len(networks)} networks together",
        f"{n:,} {study.dataset} {study.split} images: accuracy {metrics['accuracy']:.4f} "
        f"(95 % interval {low:.4f} to {high:.4f})",
        f"macro F1 {metrics['f1_macro']:.4f}",
        sep=", ",
    )
    results.record(
        path,
        study,
        metrics,
        seed=seed,
        parameters=sum(network.parameters for network in networks),
        train_seconds=sum(network.train_seconds for network in networks),
        training_operations=len(networks) * operations_each,
        images=n,
        key=key,
    )


def _mean(networks: Sequence["_Predictions"], kind: str) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(
        [network.probabilities[kind] for network in networks], axis=0, dtype=float
    )
    return mean


@dataclass(frozen=True)
class _Predictions:
    """What one network says of the test images: ``plain``, and ``tta`` with their mirror images.

    Of the images held out in training, if there are any, it is ``validation``.
    """

    probabilities: dict[str, NDArray[np.float32]]
    parameters: int
    train_seconds: float


def _predictions(
    recipe: Recipe, images: NDArray[np.uint8], kinds: Iterable[str], kept: Path | None
) -> _Predictions:
    """Return a recipe's predictions of some kinds, training it first if need be.

    Where they are kept, in half precision, they are taken from there the next time: an ensemble of
    networks that took hours each can then grow after their runs are gone.
    """
    if kept and (found := _kept(kept, kinds)):
        return found
    run = trained(recipe)
    predicted = {kind: run.predict(images, tta=kind == "tta") for kind in kinds}
    measured = {name: run.metrics[name] for name in ("parameters", "train_seconds")}
    if not kept:
        return _Predictions(predicted, **measured)
    held_out = _held_out(recipe)
    if len(held_out.images):
        predicted["validation"] = run.predict(held_out.images)
    halves: Mapping[str, Any] = {kind: p.astype(np.float16) for kind, p in predicted.items()}
    with atomic_write(kept) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **halves, **measured)
    return _predictions(recipe, images, kinds, kept)


def _kept(path: Path, kinds: Iterable[str]) -> _Predictions | None:
    """Return the predictions of some kinds from a file, if it is there and has them all."""
    if not path.exists():
        return None
    with np.load(path) as arrays:
        if not set(kinds) <= set(arrays):
            return None
        return _Predictions(
            {
                kind: arrays[kind].astype(np.float32)
                for kind in (*_KINDS, "validation")
                if kind in arrays
            },
            parameters=int(arrays["parameters"]),
            train_seconds=float(arrays["train_seconds"]),
        )


def _held_out(recipe: Recipe) -> data.Labelled:
    """Return the validation images of a recipe."""
    return training_split(recipe.dataset, recipe.train_size).validation


def _training_operations(recipe: Recipe) -> int:
    # Of synthetic photos there is one an image, and an image of no class for every fourth.
    n = recipe.train_size * 9 // 4 if recipe.synthetic_photos else recipe.train_size
    model = models.build(recipe.model, recipe.options)
    return operations.training(model, operations.images_shown(recipe, n))


def _file(name: str, recipe: Recipe) -> Path:
    """Return where a recipe's predictions of the test images are kept."""
    file = f"{name}-seed{recipe.seed}-{store.key(recipe)}.npz"
    return paths.published_figures_dir() / "predictions" / file
