"""Images as photos would give them: what is drawn, and that training can use it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fmnist_utils import data, recipes, store
from fmnist_utils.classes import CLASS_NAMES, OOD
from fmnist_utils.errors import BadInputError
from fmnist_utils.photos import synthetic

SEEDS = st.integers(0, 2**32 - 1)
LABELS = st.integers(0, 9)


@pytest.fixture(scope="module")
def sketches():
    return data.load_training("sketches", train_size=200)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint8, (28, 28)), LABELS, SEEDS)
def test_any_image_gives_one_of_the_same_kind(image, label, seed):
    for make in (synthetic.photo_of, synthetic.out_of_distribution):
        made = make(image, label, np.random.default_rng(seed))
        again = make(image, label, np.random.default_rng(seed))
        assert made.shape == (28, 28)
        assert made.dtype == np.uint8
        assert (made == again).all()


@pytest.mark.parametrize("label", range(10))
def test_synthetic_photos_fill_the_image_as_catalogue_pictures_do(sketches, label):
    image = sketches.train.images[sketches.train.labels == label][0]
    made = [synthetic.photo_of(image, label, np.random.default_rng(seed)) for seed in range(60)]
    sides = [max((picture > 0).any(axis=axis).sum() for axis in (0, 1)) for picture in made]
    assert np.mean(np.greater_equal(sides, 26)) > 0.95  # now and then thin ends are lost
    assert not any((picture == image).all() for picture in made)


def test_synthetic_photos_of_shoes_are_often_pairs(sketches):
    shoe = sketches.train.images[sketches.train.labels == CLASS_NAMES.index("Sneaker")][0]

    def gaps(picture):
        """Return how many columns between the first and the last garment pixel are empty."""
        columns = np.flatnonzero((picture > 0).any(axis=0))
        return columns[-1] - columns[0] + 1 - len(columns)

    made = [synthetic.photo_of(shoe, 7, np.random.default_rng(i)) for i in range(60)]
    assert gaps(shoe) == 0
    assert np.mean([gaps(picture) > 0 for picture in made]) > 0.1


def test_training_images_follow_the_catalogues_and_repeat(sketches):
    one, two = (synthetic.training_images(sketches.train, 3) for _ in range(2))
    other = synthetic.training_images(sketches.train, 4)
    n = len(sketches.train.labels)
    assert len(one.labels) == n + n // 4
    assert (one.labels[:n] == sketches.train.labels).all()
    assert (one.labels[n:] == OOD).all()
    assert (one.images == two.images).all()
    assert (one.images != other.images).any()


def test_a_recipe_with_synthetic_photos_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path))
    recipe = recipes.override(
        recipes.get("dense"), dataset="sketches", train_size=200, epochs=2, synthetic_photos=True
    )
    with pytest.raises(BadInputError, match="synthetic photos as well: train it by fmnist train"):
        store.get_or_train(recipe, verbose=False)
    run = store.get_or_train(recipe, extra=synthetic.training_images, verbose=False)
    plain = store.get_or_train(recipes.override(recipe, synthetic_photos=False), verbose=False)
    seen = [json.loads((r.folder / "environment.json").read_text("utf-8")) for r in (run, plain)]
    assert seen[0]["train_images_sha256"] != seen[1]["train_images_sha256"]
    images = data.load_training("sketches", train_size=200).validation.images
    assert not np.allclose(run.predict(images), plain.predict(images))


def test_there_are_no_photos_of_digits():
    with pytest.raises(BadInputError, match="synthetic_photos are of garments"):
        recipes.override(recipes.get("dense"), dataset="mnist", synthetic_photos=True)
