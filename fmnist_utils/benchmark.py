"""Read the test set: once, at the last epoch, with a recipe that is fixed; never to choose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_utils import data, evaluation, paths, recipes, results, store
from fmnist_utils.labels import N_CLASSES
from fmnist_utils.recipes import Recipe


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
    """Train or load a recipe for each seed, read the test set with it and record what comes out.

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
        Record the mean of all seeds' probabilities as well, under the first seed, as variant
        ``ensemble`` (and ``ensemble_tta``).
    publish : bool
        Record into the committed results instead of the runs folder.
    """
    test = data.load_test(recipe.dataset)
    kinds = {None: False, "tta": True} if tta else {None: False}
    sums = {kind: np.zeros((len(test.labels), N_CLASSES)) for kind in kinds}
    runs = []
    for seed in seeds:
        runs.append(store.get_or_train(recipes.override(recipe, seed=seed)))
        for kind, mirrored in kinds.items():
            probabilities = runs[-1].predict(test.images, tta=mirrored)
            sums[kind] += probabilities
            what = _Reading(name, recipe, _joined(variant, kind), publish)
            what.record(test.labels, probabilities, seed, runs[-1:])
    if ensemble:
        for kind, total in sums.items():
            what = _Reading(name, recipe, _joined(variant, "ensemble", kind), publish)
            what.record(test.labels, total / len(runs), seeds[0], runs)
    print(f"{len(seeds)} seeds together, class by class:")
    print(evaluation.class_report(test.labels, sums[None] / len(runs)).round(4).to_string())


@dataclass(frozen=True)
class _Reading:
    """One way to read the test set, and where what it gives is recorded."""

    name: str
    recipe: Recipe
    variant: str | None
    publish: bool

    def record(
        self,
        labels: NDArray[np.int64],
        probabilities: NDArray[np.floating],
        seed: int,
        runs: Sequence[store.Run],
    ) -> None:
        """Print one reading and add it to the results; the sketches' are recorded nowhere."""
        metrics = evaluation.metrics(labels, probabilities)
        right = round(metrics["accuracy"] * len(labels))
        low, high = evaluation.accuracy_interval(right, len(labels))
        name = f"{self.name} ({self.variant})" if self.variant else self.name
        print(
            f"{name}, seed {seed}, {len(labels):,} "
            f"{self.recipe.dataset} test images: accuracy {metrics['accuracy']:.4f} "
            f"(95 % interval {low:.4f} to {high:.4f}), macro F1 {metrics['f1_macro']:.4f}"
        )
        if self.recipe.dataset == "sketches":
            return
        folder = paths.published_figures_dir() if self.publish else paths.figures_dir("full")
        results.record(
            folder / "results.json",
            results.Study(
                notebook=recipes.TAUGHT_IN[self.name],
                recipe=self.name,
                dataset=self.recipe.dataset,
                split="test",
                profile="full",
                variant=self.variant,
            ),
            metrics,
            seed=seed,
            parameters=sum(run.metrics["parameters"] for run in runs),
            train_seconds=sum(run.metrics["train_seconds"] for run in runs),
        )


def _joined(*names: str | None) -> str | None:
    return "_".join(name for name in names if name) or None
