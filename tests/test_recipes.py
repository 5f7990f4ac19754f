import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fmnist_utils import models, profiles, recipes, store
from fmnist_utils.errors import BadInputError
from fmnist_utils.recipes import Recipe
from fmnist_utils.series import test_set


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_named_recipes_survive_json_and_can_be_built(name: str) -> None:
    recipe = recipes.get(name)
    assert Recipe.from_json(recipe.to_json()) == recipe
    options = recipe.options
    if isinstance(options, recipes.TransferOptions):  # the test needs no download
        options = options.model_copy(update={"weights": None})
    assert models.build(recipe.model, options).count_params() > 0
    assert recipes.name_of(recipes.override(recipe, seed=7, epochs=1)) == name


def test_every_recipe_is_taught_in_a_notebook() -> None:
    assert set(test_set.TAUGHT_IN) == set(recipes.RECIPES)


def test_recipe_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
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
        ("model", "resnet", "Unknown model 'resnet': choose one of dense, cnn"),
        ("model", ["dense"], r"Unknown model \['dense'\]: choose one of dense, cnn"),
        ("model", "cnn", r"Model cnn takes CNNOptions or a mapping; received DenseOptions\("),
        ("seed", 2**32, "seed: .* less than or equal to 4294967295"),
        ("epochs", 0, "epochs: .* greater than or equal to 1; received 0"),
        ("epochs", "three", "epochs: .* valid integer; received 'three'"),
        ("epochs", True, "epochs: .* valid integer; received True"),
        ("learning_rate", float("nan"), "learning_rate: .* finite number; received nan"),
        ("learning_rate", -1.0, "learning_rate: .* greater than 0; received -1"),
        ("optimizer", "adamw", "'adam', 'rmsprop', 'sgd' or 'muon'; received 'adamw'"),
        ("dataset", "cifar10", "'fashion_mnist', 'mnist' or 'sketches'; received 'cifar10'"),
        ("options", 3, "DenseOptions or a mapping; received 3"),
        ("options", {"units": [-3]}, r"units\.0: .* greater than 0; received -3"),
        ("options", {"units": 5}, "units: .* valid tuple; received 5"),
        ("options", {"dropout": 2.0}, "dropout: .* less than 1; received 2"),
        ("options", {"width": 3}, "'width': choose one of units, dropout"),
        ("deterministic", "yes", "deterministic: .* valid boolean; received 'yes'"),
        ("selection", 0.0, "selection: .* greater than 0; received 0"),
        ("layer_decay", 1.5, "layer_decay: .* less than or equal to 1; received 1.5"),
        ("train_size", 57_000, "train_size is 57,000: choose 10 to 54,990 .*, 55,000 .* or 60,000"),
        ("augmentation", {"shift": -1}, "shift: .* greater than or equal to 0; received -1"),
        ("augmentation", {"shift": 1.5}, r"shift: .* valid integer; received 1\.5"),
        ("augmentation", {"erase": 29}, "erase: .* less than or equal to 28; received 29"),
        ("augmentation", {"rotate": float("nan")}, "rotate: .* finite number; received nan"),
        ("augmentation", {"zoom": 1}, r"zoom: .* less than or equal to 0\.9; received 1"),
        ("augmentation", {"flip": "sideways"}, "'none', 'random', .*; received 'sideways'"),
        ("augmentation", {"blur": 1}, "'blur': choose one of shift, flip, rotate, zoom, erase"),
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


def test_what_a_model_cannot_do_without_is_named() -> None:
    with pytest.raises(BadInputError, match="ResidualOptions, filters: Field required"):
        Recipe(model="residual")


@pytest.mark.parametrize("pairs", [(), (1,), (1, 1, 1), (-1, 1)])
def test_a_residual_network_has_a_count_of_pairs_for_each_number_of_filters(pairs) -> None:
    with pytest.raises(BadInputError, match="pairs"):
        Recipe(model="residual", options={"filters": [4, 6], "pairs": pairs})


@given(st.lists(st.integers(1, 300), max_size=3), st.integers(0, 180))
def test_equal_recipes_have_equal_keys_and_texts(units: list[int], degrees: int) -> None:
    given_as_json = Recipe(
        model="dense", options={"units": units}, augmentation={"rotate": degrees}
    )
    typed = Recipe(
        model="dense",
        options=recipes.DenseOptions(units=tuple(units)),
        augmentation=recipes.Augmentation(rotate=float(degrees)),
    )
    assert given_as_json == typed
    assert given_as_json.to_json() == typed.to_json()
    assert store.key(given_as_json) == store.key(typed)
    assert Recipe.from_json(typed.to_json()) == typed


def test_change_without_equals_sign() -> None:
    with pytest.raises(BadInputError, match=r"'epochs'.*field=value"):
        recipes.parse_changes(["epochs"])


def test_profiles_only_ever_cut() -> None:
    recipe = recipes.get("cnn")
    assert profiles.for_profile(recipe, "full") == recipe
    assert profiles.for_profile(recipe, "quick").epochs < recipe.epochs
    assert profiles.for_profile(recipe, "quick").train_size == recipe.train_size
    smoke = profiles.for_profile(recipe, "smoke")
    assert (smoke.epochs, smoke.train_size) == (1, 2_000)
    short = recipes.override(recipe, epochs=2, train_size=500)
    assert profiles.for_profile(short, "quick") == short
    with pytest.raises(BadInputError, match=r"'fast'.*smoke, quick, full"):
        profiles.for_profile(recipe, "fast")


def test_what_is_deterministic_names_its_precision() -> None:
    with pytest.raises(BadInputError, match="name the precision"):
        recipes.override(recipes.get("fast"), deterministic=True)
    recipes.override(recipes.get("fast"), deterministic=True, precision="float32")


def test_layer_decay_needs_adam() -> None:
    with pytest.raises(BadInputError, match="goes with adam; received 'sgd'"):
        recipes.override(recipes.get("cnn"), optimizer="sgd", layer_decay=0.9)
