"""Read the test set: once, at the last epoch, with a recipe that is fixed; never to choose."""

from collections.abc import Sequence

from fmnist_utils import data, evaluation, paths, recipes, results, store
from fmnist_utils.recipes import Recipe


def read_test(
    name: str,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    variant: str | None = None,
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
    publish : bool
        Record into the committed results instead of the runs folder.
    """
    folder = paths.published_figures_dir() if publish else paths.figures_dir("full")
    study = results.Study(
        notebook=recipes.TAUGHT_IN[name],
        recipe=name,
        dataset=recipe.dataset,
        split="test",
        profile="full",
        variant=variant,
    )
    test = data.load_test(recipe.dataset)
    for seed in seeds:
        run = store.get_or_train(recipes.override(recipe, seed=seed))
        probabilities = run.predict(test.images)
        metrics = evaluation.metrics(test.labels, probabilities)
        right = round(metrics["accuracy"] * len(test.labels))
        low, high = evaluation.accuracy_interval(right, len(test.labels))
        print(
            f"{name}, seed {seed}, {len(test.labels):,} {recipe.dataset} test images: "
            f"accuracy {metrics['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}), "
            f"macro F1 {metrics['f1_macro']:.4f}"
        )
        if recipe.dataset != "sketches":
            results.record(
                folder / "results.json",
                study,
                metrics,
                seed=seed,
                parameters=run.metrics["parameters"],
                train_seconds=run.metrics["train_seconds"],
            )
    print(f"Seed {seed}, class by class:")
    print(evaluation.class_report(test.labels, probabilities).round(4).to_string())
