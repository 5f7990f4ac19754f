"""Hours of training hang on the keys of runs: no change of layout or names may move one."""

import json
from pathlib import Path

import numpy as np
import pytest

from fmnist_utils import data, recipes, store
from fmnist_utils.recipes import Recipe

ROOT = Path(__file__).parents[1]
KEYS = {
    "dense": "47390fe2a6f4",
    "cnn": "0628fa59d00d",
    "cnn_deep": "788ef16da0d7",
    "regularised": "62c5e437dace",
    "transfer": "beeda19cd6b4",
    "fast": "953e2bfa007b",
    "small": "f908fb3892c3",
    "accurate": "367a5b38798f",
    "short": "91b854415604",
    "slim": "627a33b13596",
    "long": "d1446f60a634",
    "photo": "d8cdf03e3c67",
}
TRAINED_BEFORE = ROOT / "tests" / "fixtures" / "residual-before-the-wings"


def test_the_keys_of_the_named_recipes_stay() -> None:
    assert {name: store.key(recipes.get(name)) for name in recipes.RECIPES} == KEYS


def _published() -> dict[tuple[str, str | None], str]:
    """Return the key of each published recipe and variant that has one."""
    rows = json.loads((ROOT / "figures" / "results.json").read_text(encoding="utf-8"))
    return {(row["recipe"], row["variant"]): row["key"] for row in rows if row.get("key")}


@pytest.mark.parametrize(("name", "variant"), _published(), ids=str)
def test_the_keys_of_the_published_results_stay(name: str, variant: str | None) -> None:
    changed = variant or ""
    for way in ("tta", "ensemble"):  # how the test set was read is no part of the recipe
        changed = changed.removesuffix(way).removesuffix("_")
    changes = recipes.parse_changes(changed.split(", ") if changed else [])
    recipe = recipes.override(recipes.get(name), **changes)
    assert store.key(recipe) == _published()[name, variant]


def test_what_was_trained_before_still_loads() -> None:
    run = store.Run(TRAINED_BEFORE)
    assert run.recipe == Recipe(
        model="residual",
        options={"filters": [4, 6]},
        epochs=1,
        batch_size=32,
        optimizer="muon",
        learning_rate=0.05,
        ema=0.9,
        selection=0.5,
        schedule="one_cycle",
        weight_decay=0.01,
        label_smoothing=0.1,
        augmentation={"shift": 2, "flip": "alternating", "rotate": 6},
        dataset="sketches",
        train_size=300,
    )
    answers = run.predict(data.sketches(5, seed=9).images)
    np.testing.assert_allclose(answers, np.load(TRAINED_BEFORE / "answers.npy"), atol=1e-5)
    assert type(run.model.optimizer).__name__ == "Muon"
