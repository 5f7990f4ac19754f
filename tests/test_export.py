import keras
import numpy as np
import pytest

from fmnist_utils import arrays, data, explain, export, models
from fmnist_utils.errors import BadInputError, FailureError

SKETCHES = data.sketches(64, seed=3)
SMALL = {
    "dense": {"units": [8]},
    "cnn": {"filters": [[4], [8]], "units": [8], "batch_norm": True},
    "residual": {"filters": [4, 8]},
    "transfer": {"backbone": "MobileNet", "alpha": 0.25, "weights": None, "size": 64},
}


def _model(name):
    keras.utils.set_random_seed(0)
    return models.build(name, SMALL[name])


@pytest.mark.parametrize("suffix", export.SUFFIXES.values())
@pytest.mark.parametrize("name", ["dense", "cnn", "residual"])
def test_an_export_gives_the_same_probabilities(tmp_path, name, suffix):
    model, path = _model(name), tmp_path / f"model{suffix}"
    export.export(model, path)
    measured = export.parity(model, path, *SKETCHES)
    assert measured.largest_difference < 1e-5
    assert measured.agreement == 1
    single = export.load(path)(SKETCHES.images[:1])
    np.testing.assert_allclose(single, model(SKETCHES.images[:1]), atol=1e-5)
    assert measured.accuracy == measured.exported_accuracy
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", export.SUFFIXES.values())
def test_eight_bits_are_smaller_and_nearly_the_same(tmp_path, suffix):
    keras.utils.set_random_seed(0)
    model = models.build("residual", {"filters": [8, 32, 64]})
    exact, small = tmp_path / f"exact{suffix}", tmp_path / f"small{suffix}"
    export.export(model, exact)
    export.export(model, small, calibration=SKETCHES.images[:32])
    assert small.stat().st_size < 0.5 * exact.stat().st_size
    measured = export.parity(model, small, *SKETCHES)
    assert 0 < measured.largest_difference < 0.2
    assert measured.agreement > 0.8


def test_the_auxiliary_outputs_make_up_the_answer():
    model = _model("residual")
    parts = export.with_auxiliary_outputs(model)(SKETCHES.images)
    probabilities = keras.ops.softmax(parts["logits"])
    np.testing.assert_allclose(probabilities, model(SKETCHES.images), atol=1e-5)
    assert set(export.with_auxiliary_outputs(_model("dense"))(SKETCHES.images)) == {
        "logits",
        "embedding",
    }


def test_a_loaded_dense_network_has_auxiliary_outputs(tmp_path):
    # Its layers have names of their own, which new ones must not take.
    _model("dense").save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    outputs = export.with_auxiliary_outputs(loaded)(SKETCHES.images)
    assert outputs["logits"].shape == (64, 10)


@pytest.mark.parametrize("name", ["residual", "transfer"])
def test_class_activation_is_grad_cam_of_the_last_features(name):
    model = _model(name)
    class_activation = np.asarray(
        export.with_auxiliary_outputs(model)(SKETCHES.images)["class_activation"]
    )
    layer = explain.feature_layers(model)[-1]
    for wanted in (0, 7):
        summed = np.maximum(class_activation[..., wanted], 0)
        maps = keras.ops.image.resize(summed[..., None], (28, 28))[..., 0]
        theirs = explain.grad_cam(model, SKETCHES.images, np.full(64, wanted), layer=layer)
        np.testing.assert_allclose(arrays.scale_maps(maps), theirs, atol=1e-4)


def test_what_cannot_be_exported_is_named(tmp_path, monkeypatch):
    with pytest.raises(BadInputError, match=r"\.pb.*\.onnx, \.tflite"):
        export.export(_model("dense"), tmp_path / "model.pb")
    with pytest.raises(BadInputError, match=r"\.pb.*\.onnx, \.tflite"):
        export.load(tmp_path / "model.pb")
    with pytest.raises(BadInputError, match=r"'savedmodel'.*onnx, litert"):
        export.check_installed("savedmodel")
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FailureError, match=r"tf2onnx.*fmnist_utils\[export\]"):
        export.export(_model("dense"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
