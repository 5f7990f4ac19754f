import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_utils import models, recipes
from fmnist_utils.errors import BadInputError
from fmnist_utils.recipes import Recipe


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_named_recipes_survive_json_and_can_be_built(name: str) -> None:
    recipe = recipes.get(name)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert models.build(recipe.model, recipe.options).count_params() > 0
    assert recipes.name_of(recipes.override(recipe, seed=7, epochs=1)) == name


def test_every_recipe_is_taught_in_a_notebook() -> None:
    assert set(recipes.TAUGHT_IN) == set(recipes.RECIPES)


def test_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipes.get("dense").epochs = 3  # type: ignore[misc]


def test_unknown_recipe_names_the_valid_ones() -> None:
    with pytest.raises(BadInputError, match=r"'dens'.*dense, cnn"):
        recipes.get("dens")


def test_unknown_field_names_the_valid_ones() -> None:
    with pytest.raises(BadInputError, match=r"'epoch'.*epochs, batch_size"):
        recipes.override(recipes.get("dense"), epoch=3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", 2**32, "seed must be at most 4294967295"),
        ("epochs", 0, "epochs must be at least 1; received 0"),
        ("epochs", "three", "takes a whole number; received 'three'"),
        ("epochs", True, "takes a whole number; received True"),
        ("learning_rate", float("nan"), "finite number above 0"),
        ("learning_rate", -1.0, "finite number above 0"),
        ("optimizer", "adamw", "'adamw': choose one of adam, rmsprop, sgd"),
        ("dataset", "cifar10", "'cifar10': choose one of fashion_mnist"),
        ("options", 3, "takes a mapping"),
        ("deterministic", "yes", "takes true or false"),
        ("selection", 0.0, "selection must be above 0 and at most 1"),
        ("layer_decay", 1.5, "layer_decay must be above 0 and at most 1"),
    ],
)
def test_bad_values_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        recipes.override(recipes.get("dense"), **{field: value})


@given(st.integers(1, 500), st.floats(1e-6, 10), st.sampled_from(["adam", "rmsprop", "sgd"]))
def test_changes_given_as_text_equal_changes_given_as_values(
    epochs: int, rate: float, optimizer: str
) -> None:
    texts = [f"epochs={epochs}", f"learning_rate={rate}", f"optimizer={optimizer}"]
    changes = recipes.parse_changes([*texts, 'options={"units": [64, 32]}'])
    assert changes == {
        "epochs": epochs,
        "learning_rate": rate,
        "optimizer": optimizer,
        "options": {"units": [64, 32]},
    }


def test_change_without_equals_sign() -> None:
    with pytest.raises(BadInputError, match=r"'epochs'.*field=value"):
        recipes.parse_changes(["epochs"])


def test_profiles_only_ever_cut() -> None:
    recipe = recipes.get("cnn")
    assert recipes.for_profile(recipe, "full") == recipe
    assert recipes.for_profile(recipe, "quick").epochs < recipe.epochs
    assert recipes.for_profile(recipe, "quick").train_size == recipe.train_size
    smoke = recipes.for_profile(recipe, "smoke")
    assert (smoke.epochs, smoke.train_size) == (1, 2_000)
    short = recipes.override(recipe, epochs=2, train_size=500)
    assert recipes.for_profile(short, "quick") == short
    with pytest.raises(BadInputError, match=r"'fast'.*smoke, quick, full"):
        recipes.for_profile(recipe, "fast")


def test_layer_decay_needs_adam() -> None:
    with pytest.raises(BadInputError, match="goes with the optimizer adam; received 'sgd'"):
        recipes.override(recipes.get("cnn"), optimizer="sgd", layer_decay=0.9)
