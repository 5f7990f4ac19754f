"""The training images, indexed once and found again."""

import json
import shutil

import numpy as np
import pytest

from fmnist_utils import data
from fmnist_utils.photos.catalogue import catalogue
from fmnist_utils.photos.predictor import Predictor

SKETCHES = data.sketches(6, seed=9).images


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a function that makes the catalogue of a few sketches, and says where it is kept."""
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "runs"))
    sketches = data.load_training("sketches", train_size=200)
    monkeypatch.setattr(data, "load_training", lambda *_, **__: sketches)

    def make(folder=None):
        shelf = catalogue(Predictor(folder))
        found = shelf.index.search(Predictor(folder).predict(SKETCHES).embedding, 5)
        return found, set((tmp_path / "runs" / "embeddings").glob("*.npy"))

    return make


def test_a_catalogue_that_was_kept_answers_alike(made):
    first, kept = made()
    again, still = made()
    np.testing.assert_array_equal(first.indices, again.indices)
    np.testing.assert_array_equal(first.similarities, again.similarities)
    assert kept == still
    assert len(kept) == 1


@pytest.mark.parametrize("content", ["damaged", "narrow"])
def test_a_kept_catalogue_that_does_not_fit_is_made_anew(made, content):
    first, (path,) = made()
    if content == "damaged":
        path.write_bytes(path.read_bytes()[:300])
    else:
        np.save(path, np.zeros((200, 3), np.float16))
    again, _ = made()
    np.testing.assert_array_equal(first.indices, again.indices)


def test_another_temperature_is_another_catalogue(made, tmp_path):
    _, kept = made()
    folder = tmp_path / "model"
    shutil.copytree(Predictor().folder, folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["temperature"] *= 2
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    _, both = made(folder)
    assert len(both - kept) == 1
