"""Trained runs of all recipes of the series, that for photos included."""

from fmnist_utils import store
from fmnist_utils.photos import synthetic
from fmnist_utils.recipes import Recipe


def trained(recipe: Recipe) -> store.Run:
    """Return the trained run of a recipe, training it if it is not there yet.

    Parameters
    ----------
    recipe : Recipe
        What to train. For one with ``synthetic_photos`` they are drawn, in a minute or two.
    """
    return store.get_or_train(recipe, extra=synthetic.training_images)
