"""Measure on the test set: at the last epoch, with a recipe that is fixed, never to choose."""

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_utils import data, evaluation, paths, recipes, results, store
from fmnist_utils.classes import N_CLASSES
from fmnist_utils.files import atomic_write
from fmnist_utils.recipes import Recipe
from fmnist_utils.series.trained import trained

# The notebook that tells of each recipe.
TAUGHT_IN = types.MappingProxyType(
    {
        "dense": "02_dense",
        "cnn": "03_cnn",
        "cnn_deep": "03_cnn",
        "regularised": "04_regularisation",
        "transfer": "07_transfer",
        "fast": "10_fast_and_accurate",
        "small": "10_fast_and_accurate",
        "accurate": "10_fast_and_accurate",
        "photo": "11_deployment",
    }
)


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
        ``ensemble`` (and ``ensemble_tta``). Where the ensemble is published, each seed's
        predictions are kept in ``figures/predictions``, and a seed whose predictions are there
        already is not trained again.
    publish : bool
        Record into the committed results instead of the runs folder.

    Raises
    ------
    FailureError
        If the images are missing, or results cannot be written.
    """
    test = data.load_test(recipe.dataset)
    kinds = {None: "plain", "tta": "tta"} if tta else {None: "plain"}
    sums = {kind: np.zeros((len(test.labels), N_CLASSES)) for kind in kinds}
    read = []
    for seed in seeds:
        one = recipes.override(recipe, seed=seed)
        file = _file(name, one) if publish and ensemble else None
        read.append(_predictions(one, test.images, kinds.values(), file))
        for kind, of_kind in kinds.items():
            probabilities = read[-1].probabilities[of_kind]
            sums[kind] += probabilities
            what = _Reading(name, recipe, _joined(variant, kind), publish)
            what.record(test.labels, probabilities, seed, read[-1:])
    if ensemble and len(read) > 1:
        for kind, total in sums.items():
            what = _Reading(name, recipe, _joined(variant, "ensemble", kind), publish)
            # Ensembles share networks: two of them would be no two seeds with an interval.
            what.record(test.labels, total / len(read), 0, read)
    print(f"{len(seeds)} seeds together, class by class:")
    print(evaluation.class_report(test.labels, sums[None] / len(read)).round(4).to_string())


@dataclass(frozen=True)
class _Reading:
    """One way to measure on the test set, and whether the results are published."""

    name: str
    recipe: Recipe
    variant: str | None
    publish: bool

    def record(
        self,
        labels: NDArray[np.int64],
        probabilities: NDArray[np.floating],
        seed: int,
        read: Sequence["_Predictions"],
    ) -> None:
        """Print one measurement and add it to the results."""
        metrics = evaluation.metrics(labels, probabilities)
        right = round(metrics["accuracy"] * len(labels))
        low, high = evaluation.accuracy_interval(right, len(labels))
        name = f"{self.name} ({self.variant})" if self.variant else self.name
        print(
            f"{name}, seed {seed}, {len(labels):,} "
            f"{self.recipe.dataset} test images: accuracy {metrics['accuracy']:.4f} "
            f"(95 % interval {low:.4f} to {high:.4f}), macro F1 {metrics['f1_macro']:.4f}"
        )
        folder = paths.published_figures_dir() if self.publish else paths.runs_dir()
        results.record(
            folder / "results.json",
            results.Study(
                notebook=TAUGHT_IN[self.name],
                recipe=self.name,
                dataset=self.recipe.dataset,
                split="test",
                profile="full",
                variant=self.variant,
            ),
            metrics,
            seed=seed,
            parameters=sum(one.parameters for one in read),
            train_seconds=sum(one.train_seconds for one in read),
            key=store.key(recipes.override(self.recipe, seed=0)),
        )


def _joined(*names: str | None) -> str | None:
    return "_".join(name for name in names if name) or None


@dataclass(frozen=True)
class _Predictions:
    """What one network says of the test images: ``plain``, and ``tta`` with their mirror images."""

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
    if not (kept and kept.exists()):
        run = trained(recipe)
        kinds = _KINDS if kept else kinds
        found = {kind: run.predict(images, tta=kind == "tta") for kind in kinds}
        measured = {name: run.metrics[name] for name in ("parameters", "train_seconds")}
        if not kept:
            return _Predictions(found, **measured)
        halves: Mapping[str, Any] = {kind: p.astype(np.float16) for kind, p in found.items()}
        with atomic_write(kept) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **halves, **measured)
    with np.load(kept) as arrays:
        return _Predictions(
            {kind: arrays[kind].astype(np.float32) for kind in _KINDS},
            parameters=int(arrays["parameters"]),
            train_seconds=float(arrays["train_seconds"]),
        )


def _file(name: str, recipe: Recipe) -> Path:
    """Return where a recipe's predictions of the test images are kept."""
    file = f"{name}-seed{recipe.seed}-{store.key(recipe)}.npz"
    return paths.published_figures_dir() / "predictions" / file


_KINDS = ("plain", "tta")
