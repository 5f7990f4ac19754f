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


def on_a_floor(image):
    """Return a photo of a garment on a brown floor."""
    garment = np.kron(image, np.ones((6, 6), np.uint8))[..., None]
    cloth = np.uint8(255 - garment * [0.9, 0.6, 0.3])
    photo = np.full((240, 200, 3), (150, 110, 70), np.uint8)
    photo[36:204, 16:184] = np.where(garment > 20, cloth, photo[36:204, 16:184])
    return photo


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A little network, trained on sketches, which stand in for data and photos."""
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "runs"))
    given = data.load_training("sketches", train_size=1_000)
    monkeypatch.setattr(bundle_model.data, "load_training", lambda *_, **__: given)
    monkeypatch.setattr(bundle_model.data, "load_test", lambda: data.sketches(300, seed=7))
    taken = []
    for i, (image, label) in enumerate(zip(*data.sketches(20, seed=8), strict=True)):
        judged = frozenset({label}) if i % 2 else frozenset()
        taken.append(clothing_dataset.Photograph(tmp_path / f"{i}.png", "any", judged))
        Image.fromarray(on_a_floor(image)).save(taken[-1].path)
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


@pytest.fixture
def of_images(run):
    """Another, for images alone."""
    return store.get_or_train(recipes.override(run.recipe, seed=1), verbose=False)


def test_a_package_answers_as_its_runs_do(run, of_images, tmp_path):
    card = bundle_model.package(run, of_images, "little", tmp_path / "model")
    predictor = Predictor(tmp_path / "model")
    assert predictor.card == json.loads(json.dumps(card))
    test = data.sketches(300, seed=7)
    answers = predictor.predict(test.images)
    logits = [np.log(one.predict(test.images)) for one in (run, of_images)]
    for asked, scaled in (
        (predictor, (logits[0] + logits[1]) / 2 / card["images_temperature"]),
        (Predictor(tmp_path / "model", alone=True), logits[0] / card["temperature"]),
    ):
        expected = np.exp(scaled - np.logaddexp.reduce(scaled, axis=1)[:, np.newaxis])
        np.testing.assert_allclose(asked.predict(test.images).probabilities, expected, atol=1e-3)
    right = answers.probabilities.argmax(axis=1) == test.labels
    assert card["accuracy"]["test"] == pytest.approx(right.mean())
    validation = bundle_model.data.load_training().validation
    seen = predictor.predict(validation.images)
    assert (~seen.known).mean() <= 0.04
    assert seen.open[range(len(seen.open)), validation.labels].mean() >= 0.9
    photos = [p for p in bundle_model.clothing_dataset.load("tuning") if p.judged]
    pictured = [predictor.predict_file(photo.path) for photo in photos]
    assert all(prepared.is_photo for prepared, _ in pictured)
    assert sum(answers.known[0] for _, answers in pictured) == 8  # of ten
    # With the correction for so few, none of the right answers is ruled out.
    for photo, (_, answers) in zip(photos, pictured, strict=True):
        assert answers.open[0, list(photo.judged)].any()


def test_calibration_makes_probabilities_fit_better(run, of_images, tmp_path):
    card = bundle_model.package(run, of_images, "little", tmp_path / "model")
    validation = bundle_model.data.load_training().validation
    rows = np.arange(len(validation.labels))

    def loss(temperature):
        logits = np.log(run.predict(validation.images).astype(np.float64)) / temperature
        normaliser = np.logaddexp.reduce(logits, axis=1)
        return (normaliser - logits[rows, validation.labels]).mean()

    assert loss(card["temperature"]) <= min(loss(1), loss(card["temperature"] * 1.1)) + 1e-6


def test_an_older_package_stays_where_a_new_one_fails(run, of_images, tmp_path, monkeypatch):
    bundle_model.package(run, of_images, "older", tmp_path / "model")

    def missing(_):
        raise FailureError("no photos")

    monkeypatch.setattr(bundle_model.clothing_dataset, "load", missing)
    with pytest.raises(FailureError, match="no photos"):
        bundle_model.package(run, of_images, "newer", tmp_path / "model")
    assert Predictor(tmp_path / "model").card["name"] == "older"


def test_digits_and_runs_without_validation_images_are_refused(run, tmp_path, monkeypatch):
    digits = SimpleNamespace(recipe=recipes.override(run.recipe, dataset="mnist"))
    with pytest.raises(BadInputError, match="for garments; received the dataset 'mnist'"):
        bundle_model.package(digits, run, "digits", tmp_path / "model")
    with pytest.raises(BadInputError, match="for garments; received the dataset 'mnist'"):
        bundle_model.package(run, digits, "digits", tmp_path / "model")
    given = bundle_model.data.load_training()
    nothing = data.Labelled(given.validation.images[:0], given.validation.labels[:0])
    without = dataclasses.replace(given, validation=nothing)
    monkeypatch.setattr(bundle_model.data, "load_training", lambda *_, **__: without)
    with pytest.raises(BadInputError, match="set train_size=55000"):
        bundle_model.package(run, run, "all", tmp_path / "model")
    assert not (tmp_path / "model").exists()
