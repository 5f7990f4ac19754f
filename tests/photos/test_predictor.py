import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from fmnist_utils import data, paths
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.photos import predictor as predictor_module
from fmnist_utils.photos.predictor import NONE_OF_THE_TEN, Predictor

SKETCHES = data.sketches(40, seed=1).images


@pytest.fixture(scope="module")
def predictor():
    return Predictor()


def test_probabilities_sum_to_one(predictor):
    answers = predictor.predict(SKETCHES)
    np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert answers.probabilities.shape == (40, 10)


def test_embeddings_compare_classes_and_features(predictor):
    answers = predictor.predict(SKETCHES)
    products = answers.embedding @ answers.embedding.T
    same_class = answers.probabilities @ answers.probabilities.T
    cosines = 2 * products - same_class
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-4)
    assert -1.001 <= cosines.min() < 0.95
    assert cosines.max() <= 1.001


def test_one_by_one_or_in_batches_is_the_same(predictor):
    many = np.tile(SKETCHES, (15, 1, 1))  # more than go into one batch
    together = predictor.predict(many)
    for i in (0, 39, 300, 599):
        alone = predictor.predict(many[i][None])
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[i], atol=1e-5)
    np.testing.assert_allclose(together[40:80].embedding, together[:40].embedding, atol=1e-5)


def test_it_is_the_keras_model_of_the_package(predictor):
    import keras

    alone = Predictor(alone=True)
    model = keras.models.load_model(predictor.folder / "model.keras")
    logits = np.log(model(SKETCHES).numpy().astype(np.float64)) / predictor.card["temperature"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(alone.predict(SKETCHES).probabilities, expected, atol=1e-4)
    assert predictor.card["parameters"] <= 600_000
    assert sum((predictor.folder / f"{n}.onnx").stat().st_size for n in ("model", "images")) < 2.5e6


def test_what_the_top_names_is_in_order(predictor):
    answers = predictor.predict(SKETCHES)
    for ranked, row in zip(answers.top(3), answers.probabilities, strict=True):
        assert [p for _, p in ranked] == sorted(row.tolist(), reverse=True)[:3]
        assert row[CLASS_NAMES.index(ranked[0][0])] == row.max()
    with pytest.raises(BadInputError, match="between 1 and 10; received 11"):
        answers.top(11)


def test_nothing_and_noise_are_none_of_the_ten(predictor):
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    empty = np.zeros((1, 28, 28), np.uint8)
    answers = predictor.predict(np.concatenate([empty, noise, SKETCHES]))
    assert answers.names()[:21] == [NONE_OF_THE_TEN] * 21
    assert [name == NONE_OF_THE_TEN for name in answers.names()] == (~answers.known).tolist()


def test_an_explanation_lies_between_0_and_1(predictor):
    maps = predictor.explain(SKETCHES, np.arange(40) % 10)
    assert maps.shape == (40, 28, 28)
    assert maps.min() >= 0
    assert (maps.max(axis=(1, 2)) <= 1).all()


@pytest.mark.parametrize("place", [(4, 16), (12, 12), (20, 3)])
def test_an_explanation_is_finer_than_the_features_and_in_its_place(monkeypatch, place):
    def brightness(_, pictures, *__):
        """Return how bright each of 4x4 parts of an image is, as class_activation for class 3."""
        parts = pictures.reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4))
        return [parts[..., None] * (np.arange(10) == 3)]

    monkeypatch.setattr(predictor_module, "_run", brightness)
    image = np.zeros((2, 28, 28), np.uint8)
    top, left = place
    image[0, top : top + 5, left : left + 5] = 255
    maps = Predictor().explain(image, [3, 3])
    rows, columns = np.nonzero(maps[0] > 0.9)
    assert abs(rows.mean() - top - 2) < 2
    assert abs(columns.mean() - left - 2) < 2
    assert not maps[1].any()
    assert not Predictor().explain(image, [4, 4]).any()


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((28, 28), np.uint8), r"\(28, 28\)"),
        (np.zeros((0, 28, 28), np.uint8), r"\(0, 28, 28\)"),
        (np.zeros((1, 28, 28), np.float32), "float32"),
        (np.full((1, 28, 28), np.nan), "float64"),
    ],
)
def test_what_is_no_image_is_refused(predictor, pictures, message):
    with pytest.raises(BadInputError, match=message):
        predictor.predict(pictures)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FailureError, match=r"lacks model\.onnx and images\.onnx and card\.json"):
        Predictor(tmp_path)


def test_an_older_card_is_named(predictor, tmp_path):
    older = predictor.card | {"familiarity_threshold": predictor.card["energy_threshold"]}
    del older["energy_threshold"]
    (tmp_path / "card.json").write_text(json.dumps(older), encoding="utf-8")
    for name in ("model.onnx", "images.onnx"):
        shutil.copy(predictor.folder / name, tmp_path)
    with pytest.raises(FailureError, match=r"lacks energy_threshold: .* fmnist package"):
        Predictor(tmp_path)


def test_an_older_network_is_named(predictor, tmp_path):
    network = onnx.load(predictor.folder / "model.onnx")
    (output,) = (one for one in network.graph.output if one.name == "class_activation")
    network.graph.output.remove(output)
    onnx.save(network, tmp_path / "model.onnx")
    for name in ("card.json", "images.onnx"):
        shutil.copy(predictor.folder / name, tmp_path)
    with pytest.raises(FailureError, match=r"lacks class_activation: .* fmnist package"):
        Predictor(tmp_path)


def test_it_needs_neither_tensorflow_nor_matplotlib():
    code = (
        "import sys; from fmnist_utils.cli import predict_files; "
        "from fmnist_utils.photos import predictor; predictor.Predictor(); "
        "print(sorted({'tensorflow', 'keras', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_card_tells_what_the_model_is(predictor):
    assert {"name", "recipe", "data", "parameters", "accuracy", "temperature", "limits"} <= set(
        predictor.card
    )
    low, high = predictor.card["accuracy"]["interval"]
    assert low < predictor.card["accuracy"]["test"] < high
    assert predictor.folder == paths.packaged_model_dir()


@pytest.mark.parametrize("classes", [[3], [0] * 39 + [10], [0] * 39 + [-1], [0.5] * 40])
def test_only_the_ten_classes_can_be_explained(predictor, classes):
    with pytest.raises(BadInputError, match="one class from 0 to 9 for each image"):
        predictor.explain(SKETCHES, classes)
