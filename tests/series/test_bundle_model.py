import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fmnist_utils import data, recipes, store
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.photos import clothing_dataset
from fmnist_utils.photos.predictor import Predictor
from fmnist_utils.series import bundle_model


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A little network, trained on sketches, which stand in for data and photos."""
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "runs"))
    given = data.load_training("sketches", train_size=1_000)
    monkeypatch.setattr(bundle_model.data, "load_training", lambda *_, **__: given)
    monkeypatch.setattr(bundle_model.data, "load_test", lambda: data.sketches(300, seed=7))
    taken = []
    for i, image in enumerate(data.sketches(20, seed=8).images):
        taken.append(
            clothing_dataset.Photograph(tmp_path / f"{i}.png", "dress" if i % 2 else "hat")
        )
        Image.fromarray(image).save(taken[-1].path)
    monkeypatch.setattr(bundle_model.clothing_dataset, "load", lambda _: taken)
    recipe = recipes.Recipe(
        model="residual",
        options={"filters": [8, 16]},
        epochs=2,
        batch_size=32,
        dataset="sketches",
        train_size=1_000,
    )
    return store.get_or_train(recipe, verbose=False)


def test_a_package_answers_as_its_run_does(run, tmp_path):
    card = bundle_model.package(run, "little", tmp_path / "model")
    predictor = Predictor(tmp_path / "model")
    assert predictor.card == json.loads(json.dumps(card))
    test = data.sketches(300, seed=7)
    answers = predictor.predict(test.images)
    np.testing.assert_array_equal(
        answers.probabilities.argmax(axis=1), run.predict(test.images).argmax(axis=1)
    )
    right = answers.probabilities.argmax(axis=1) == test.labels
    assert card["accuracy"]["test"] == pytest.approx(right.mean())
    validation = bundle_model.data.load_training().validation
    energy_score = predictor.predict(validation.images).energy_score
    photographed = [
        predictor.predict_file(photo.path)[1].energy_score[0]
        for photo in bundle_model.clothing_dataset.load("tuning")
        if photo.folder == "dress"
    ]
    assert card["energy_threshold"] == pytest.approx(
        min(np.quantile(energy_score, 0.04), np.quantile(photographed, 0.08))
    )


def test_calibration_makes_probabilities_fit_better(run, tmp_path):
    card = bundle_model.package(run, "little", tmp_path / "model")
    validation = bundle_model.data.load_training().validation
    rows = np.arange(len(validation.labels))

    def loss(temperature):
        logits = np.log(run.predict(validation.images).astype(np.float64)) / temperature
        normaliser = np.logaddexp.reduce(logits, axis=1)
        return (normaliser - logits[rows, validation.labels]).mean()

    assert loss(card["temperature"]) <= min(loss(1), loss(card["temperature"] * 1.1)) + 1e-6


def test_an_older_package_stays_where_a_new_one_fails(run, tmp_path, monkeypatch):
    bundle_model.package(run, "older", tmp_path / "model")

    def missing(_):
        raise FailureError("no photos")

    monkeypatch.setattr(bundle_model.clothing_dataset, "load", missing)
    with pytest.raises(FailureError, match="no photos"):
        bundle_model.package(run, "newer", tmp_path / "model")
    assert Predictor(tmp_path / "model").card["name"] == "older"


def test_digits_and_runs_without_validation_images_are_refused(run, tmp_path, monkeypatch):
    digits = SimpleNamespace(recipe=recipes.override(run.recipe, dataset="mnist"))
    with pytest.raises(BadInputError, match="for garments; received the dataset 'mnist'"):
        bundle_model.package(digits, "digits", tmp_path / "model")
    given = bundle_model.data.load_training()
    nothing = data.Labelled(given.validation.images[:0], given.validation.labels[:0])
    without = dataclasses.replace(given, validation=nothing)
    monkeypatch.setattr(bundle_model.data, "load_training", lambda *_, **__: without)
    with pytest.raises(BadInputError, match="set train_size=55000"):
        bundle_model.package(run, "all", tmp_path / "model")
    assert not (tmp_path / "model").exists()
