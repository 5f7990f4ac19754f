import keras
import numpy as np
import pytest

from fmnist_utils import data, models
from fmnist_utils.errors import BadInputError


@pytest.mark.parametrize("name", models.MODELS)
def test_raw_images_in_probabilities_out(name: str) -> None:
    images = data.sketches(6, seed=0).images
    probabilities = models.build(name).predict(images, verbose=0)
    assert probabilities.shape == (6, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", models.MODELS)
def test_images_are_scaled_inside_to_zero_to_one(name: str) -> None:
    rescaling = next(
        layer for layer in models.build(name).layers if isinstance(layer, keras.layers.Rescaling)
    )
    np.testing.assert_allclose(rescaling(np.uint8([[0, 255]])), [[0, 1]])


def test_probabilities_stay_float32_under_mixed_precision() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.build("cnn", {"filters": [[4]]})
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.layers[-2].compute_dtype == "bfloat16"
    assert model.layers[-1].compute_dtype == "float32"


def test_parameters_of_the_classic_network_by_hand() -> None:
    expected = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 64 + (7 * 7 * 64 + 1) * 10
    assert models.build("cnn").count_params() == expected


def test_parameters_of_a_dense_network_by_hand() -> None:
    model = models.build("dense", {"units": [20, 30]})
    assert model.count_params() == 785 * 20 + 21 * 30 + 31 * 10


def test_unknown_model_and_option() -> None:
    with pytest.raises(BadInputError, match=r"'resnet'.*dense, cnn"):
        models.build("resnet")
    with pytest.raises(BadInputError, match=r"'width'.*units, dropout"):
        models.build("dense", {"width": 3})


@pytest.mark.parametrize("options", [{"units": [-3]}, {"units": 5}, {"dropout": 2.0}])
def test_option_values_that_cannot_be_built(options: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="Model dense cannot be built with"):
        models.build("dense", options)
