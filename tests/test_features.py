"""Features of a network for photographs, computed once."""

from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist_utils import data, features, models
from fmnist_utils.errors import BadInputError

SKETCHES = data.sketches(5, seed=0).images
# Random weights: the tests need no download.
SMALL = {"backbone": "MobileNet", "alpha": 0.25, "weights": None, "size": 32}


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path))
    return tmp_path


def test_features_are_the_means_of_the_layers_outputs() -> None:
    found, seconds = features.pooled(SKETCHES, ["conv1_relu", "conv_pw_2_relu"], SMALL, seed=3)
    keras.utils.set_random_seed(3)
    network = models.build("transfer", SMALL)
    assert list(found) == ["conv1_relu", "conv_pw_2_relu"]
    for name, rows in found.items():
        outputs = keras.Model(network.inputs[0], network.get_layer(name).output)(SKETCHES)
        np.testing.assert_allclose(rows, np.mean(outputs, axis=(1, 2)), rtol=1e-4, atol=1e-5)
    assert seconds > 0


def test_what_was_computed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (SKETCHES, ["conv1_relu"], SMALL)
    first, seconds = features.pooled(*asked, seed=1)
    other = features.pooled(*asked, seed=2)[0]
    assert not np.array_equal(first["conv1_relu"], other["conv1_relu"])
    monkeypatch.setattr(models, "build", lambda *_: pytest.fail("computed again"))
    again, kept = features.pooled(*asked, seed=1)
    np.testing.assert_array_equal(first["conv1_relu"], again["conv1_relu"])
    assert kept == seconds


def test_unknown_layers_are_named() -> None:
    with pytest.raises(BadInputError, match=r"Unknown layer 'conv9': choose one of .*conv1_relu"):
        features.pooled(SKETCHES, ["conv9"], SMALL)
