import re
from pathlib import Path

import pytest

from fmnist_utils import paths, recipes, store
from fmnist_utils.recipes import Recipe
from fmnist_utils.series import test_set

PREDICTIONS = Path(__file__).parents[2] / "figures" / "predictions"
COMMITTED = sorted(path for path in PREDICTIONS.iterdir() if path.stem != "trials")
RECIPE = Recipe(model="dense", options={"units": [8]}, epochs=1, dataset="sketches", train_size=200)


def _read(capsys: pytest.CaptureFixture[str], *, publish: bool) -> list[str]:
    test_set.read_test("dense", RECIPE, [0, 1], tta=True, ensemble=True, publish=publish)
    return [line for line in capsys.readouterr().out.splitlines() if " images: " in line]


def test_an_ensemble_outlives_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "published_figures_dir", lambda: tmp_path / "figures")
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "runs"))
    fresh = _read(capsys, publish=True)
    assert [re.split(r", seed|, \d+ networks", line)[0] for line in fresh] == [
        *["dense", "dense (mirrored)", "dense"] * 2,  # the last of each are the validation images
        *["dense (ensemble)", "dense (ensemble, mirrored)"],
    ]
    # Each seed, its mirror images and each mean give something else: nothing is read twice.
    assert len({line.partition("accuracy")[2] for line in fresh}) == len(fresh)
    kept = sorted(path.name for path in (tmp_path / "figures" / "predictions").glob("*.npz"))
    assert [name.rpartition("-")[0] for name in kept] == ["dense-seed0", "dense-seed1"]
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "lost"))
    trained = []
    monkeypatch.setattr(store, "get_or_train", lambda recipe, **_: trained.append(recipe))
    assert _read(capsys, publish=True) == fresh
    assert not trained
    with pytest.raises(AttributeError):  # the stand-in's None: what is not published is trained
        _read(capsys, publish=False)
    assert len(trained) == 1


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_kept_predictions_are_of_the_recipe_and_seed_that_their_name_says(path: Path) -> None:
    name, seed, key = path.stem.split("-")
    recipe = recipes.override(recipes.get(name), seed=int(seed.removeprefix("seed")))
    assert key == store.key(recipe)
    assert test_set._file(name, recipe).name == path.name
