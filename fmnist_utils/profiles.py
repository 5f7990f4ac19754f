"""How much a lesson computes: does it run, is its point seen, is it what is published."""

from typing import Literal, get_args

from fmnist_utils.errors import unknown
from fmnist_utils.recipes import Recipe, override

Profile = Literal["smoke", "quick", "full"]
PROFILES: tuple[Profile, ...] = get_args(Profile)


def for_profile(recipe: Recipe, profile: str) -> Recipe:
    """Return the recipe cut down to a profile.

    Parameters
    ----------
    recipe : Recipe
        The recipe as it is meant.
    profile : {"smoke", "quick", "full"}
        ``smoke``: 2,000 images, one epoch: does it run? ``quick``: all images, at most three
        epochs. ``full``: the recipe itself.
    """
    check_profile(profile)
    if profile == "smoke":
        return override(recipe, epochs=1, train_size=min(recipe.train_size, 2_000))
    if profile == "quick":
        return override(recipe, epochs=min(recipe.epochs, 3))
    return recipe


def check_profile(profile: str) -> None:
    """Raise BadInputError unless the profile is one of `PROFILES`.

    Parameters
    ----------
    profile : str
        The name received.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
