from pathlib import Path
from typing import Any, get_type_hints

import keras
import numpy as np
import pytest

from fmnist_utils import data, models, recipes
from fmnist_utils.errors import BadInputError, FailureError

SMALL_TRANSFER = {"backbone": "MobileNet", "alpha": 0.25, "weights": None, "size": 32}
OPTIONS = {
    "dense": {},
    "cnn": {},
    "residual": {"filters": [4, 6]},
    "transfer": SMALL_TRANSFER,
}


@pytest.mark.parametrize("name", models.MODELS)
def test_raw_images_in_probabilities_out(name: str) -> None:
    images = data.sketches(6, seed=0).images
    probabilities = models.build(name, OPTIONS[name]).predict(images, verbose=0)
    assert probabilities.shape == (6, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", models.MODELS)
def test_images_are_scaled_inside(name: str) -> None:
    layers = models.build(name, OPTIONS[name]).layers
    rescaling = next(layer for layer in layers if isinstance(layer, keras.layers.Rescaling))
    low = -1 if name == "transfer" else 0
    np.testing.assert_allclose(rescaling(np.uint8([[0, 255]])), [[low, 1]])


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


def test_builders_and_their_types_fit() -> None:
    assert set(models.MODELS) == set(recipes.OPTIONS)
    for name, builder in models.MODELS.items():
        assert get_type_hints(builder)["options"] is recipes.OPTIONS[name]


# A value other than the default for each option of each model, and what else it needs to show.
CHANGES: dict[str, dict[str, tuple[object, dict[str, object]]]] = {
    "dense": {"units": ([5], {}), "dropout": (0.5, {})},
    "cnn": {
        "filters": ([[4]], {}),
        "units": ([5], {}),
        "dropout": (0.1, {}),
        "dense_dropout": (0.1, {"units": [5]}),
        "batch_norm": (True, {}),
        "l2": (0.1, {}),
    },
    "residual": {
        "filters": ([4, 6, 8], {}),
        "pool_first": (False, {}),
        "activation": ("silu", {}),
        "pairs": ([1, 2], {}),
        "fused": (False, {}),
    },
    "transfer": {
        "backbone": ("MobileNetV2", {"alpha": 0.35}),
        "alpha": (0.5, {}),
        "size": (64, {}),
        "weights": ("imagenet", {}),
        "tuned": (3, {}),
        "dropout": (0.5, {}),
        "momentum": (0.5, {}),
    },
}


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in CHANGES for option in CHANGES[name]]
)
def test_every_option_changes_what_is_built(
    name: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, more = CHANGES[name][option]
    asked = []

    def backbone(*, weights: str | None, alpha: float, **given: Any) -> keras.Model:
        asked.append(weights)  # the weights themselves may not be here
        return original(weights=None, alpha=alpha, **given)

    original = keras.applications.MobileNet
    monkeypatch.setattr(keras.applications, "MobileNet", backbone)
    plain, changed = (
        models.build(name, OPTIONS[name] | more | change) for change in ({}, {option: value})
    )

    def described(model: keras.Model) -> list[object]:
        layers = [
            (type(layer), {k: v for k, v in layer.get_config().items() if k != "name"})
            for layer in model.layers
        ]
        shapes = [
            tuple(operation.output.shape)
            for operation in getattr(model, "operations", model.layers)
        ]
        return [layers, shapes, len(model.trainable_variables)]

    assert described(plain) != described(changed) or asked == [None, value]


def test_every_option_is_tried() -> None:
    for name, kind in recipes.OPTIONS.items():
        assert set(CHANGES[name]) == set(kind.model_fields)


def _with_random_statistics(model: keras.Model, *, lowest_scale: float = 0.2) -> keras.Model:
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, *others = layer.get_weights()
            drawn = [rng.uniform(lowest_scale, 2, gamma.shape)]
            layer.set_weights(drawn + [rng.uniform(0.2, 2, w.shape) for w in others])
    return model


@pytest.mark.parametrize(
    "options", [{}, {"pool_first": False}, {"fused": False}, {"activation": "silu"}]
)
def test_folding_keeps_the_answers_and_only_stock_layers(
    options: dict[str, object], tmp_path: Path
) -> None:
    model = _with_random_statistics(models.build("residual", {"filters": [8, 8, 16]} | options))
    models.fold_batch_norms(model).save(tmp_path / "folded.keras")
    folded = keras.models.load_model(tmp_path / "folded.keras")
    assert {type(layer).__module__.split(".")[0] for layer in folded.layers} == {"keras"}
    assert not any("norm" in layer.name for layer in folded.layers)
    images = data.sketches(20, seed=0).images
    np.testing.assert_allclose(folded(images), model(images), atol=1e-5)


def test_a_negative_scale_is_not_folded_through_pooling() -> None:
    model = models.build("residual", {"filters": [8, 8]})
    _with_random_statistics(model, lowest_scale=-2)
    folded = models.fold_batch_norms(model)
    norms = [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [type(norm) for norm in norms] == [keras.layers.BatchNormalization]
    images = data.sketches(20, seed=0).images
    np.testing.assert_allclose(folded(images), model(images), atol=1e-5)


def test_a_normalisation_of_another_axis_is_not_folded() -> None:
    layers = [keras.layers.Conv2D(5, 2), keras.layers.BatchNormalization(axis=1)]
    model = keras.Sequential([keras.layers.Input((6, 6, 1)), *layers])
    x = np.random.default_rng(0).normal(size=(64, 6, 6, 1)).astype(np.float32)
    model(x, training=True)
    np.testing.assert_allclose(models.fold_batch_norms(model)(x), model(x), atol=1e-6)


def test_what_stands_between_keeps_a_normalisation_from_being_folded() -> None:
    inputs = keras.Input((6, 6, 1))
    seen_twice = keras.layers.Conv2D(2, 3, use_bias=False)(inputs)
    normal = keras.layers.BatchNormalization(scale=False)(seen_twice)
    active = keras.layers.Conv2D(2, 1, activation="relu")(normal)
    outputs = keras.layers.BatchNormalization(center=False)(active)
    model = keras.Model(inputs, keras.layers.Concatenate()([seen_twice, outputs]))
    folded = models.fold_batch_norms(model)
    assert len(folded.layers) == len(model.layers)
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 1)).astype("float32")
    np.testing.assert_allclose(folded(images), model(images), atol=1e-6)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_sequential_model_with_biases_is_folded(loaded: bool, tmp_path: Path) -> None:
    layers = [
        keras.layers.Input((6, 6, 1)),
        keras.layers.Conv2D(3, 3, bias_initializer="ones"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
    ]
    model = _with_random_statistics(keras.Sequential(layers))
    if loaded:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    folded = models.fold_batch_norms(model)
    assert len(folded.layers) == 3
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 1)).astype("float32")
    np.testing.assert_allclose(folded(images), model(images), atol=1e-5)


def test_a_bfloat16_model_answers_alike_in_float32() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.build("residual", {"filters": [8, 8]})
    finally:
        keras.config.set_dtype_policy("float32")
    copy = models.in_float32(model)
    assert {layer.compute_dtype for layer in copy.layers[1:]} == {"float32"}
    images = data.sketches(20, seed=0).images
    np.testing.assert_allclose(copy(images), model(images), atol=0.02)


def test_parameters_of_a_residual_network_by_hand() -> None:
    convolutions = 9 * (1 * 4 + 4 * 6 + 6 * 6 + 6 * 6)
    normalisations = 4 * (4 + 6 + 6 + 6)
    model = models.build("residual", {"filters": [4, 6]})
    assert model.count_params() == convolutions + normalisations + (6 + 1) * 10
    more = 9 * 2 * (4 * 4 + 6 * 6) + 4 * 2 * (4 + 6)  # a pair more, behind the stem and at the end
    deeper = models.build("residual", {"filters": [4, 6], "pairs": [1, 2]})
    assert deeper.count_params() == model.count_params() + more
    plain = models.build("residual", {"filters": [4, 6], "pairs": [0, 0]})
    assert not any(isinstance(layer, keras.layers.Add) for layer in plain.layers)


def test_a_normalised_plain_network_and_its_penalty() -> None:
    model = models.build("cnn", {"filters": [[4, 4], [8]], "batch_norm": True, "l2": 0.1})
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == 3
    squares = sum(float((np.asarray(kernel) ** 2).sum()) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(0.1 * squares, rel=1e-5)
    norms = [isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers]
    assert sum(norms) == 3
    assert not models.build("cnn").losses


def test_transfer_answers_alike_however_it_is_called() -> None:
    model = models.build("transfer", SMALL_TRANSFER)
    images = data.sketches(20, seed=0).images
    predicted = model.predict(images, verbose=0)
    # A layer that takes its own call for training would turn dropout and batch statistics on.
    np.testing.assert_allclose(model(images), predicted, atol=1e-5)
    np.testing.assert_allclose(models.fold_batch_norms(model)(images), predicted, atol=1e-4)


def test_transfer_forgets_first_statistics_as_soon_as_it_is_told() -> None:
    model = models.build("transfer", {**SMALL_TRANSFER, "momentum": 0.5})
    norm = next(n for n in model.layers if isinstance(n, keras.layers.BatchNormalization))
    before = keras.ops.convert_to_numpy(norm.moving_variance)
    features = np.random.default_rng(0).normal(size=(64, 4, 4, len(before))).astype(np.float32)
    norm(features, training=True)
    expected = 0.5 * before + 0.5 * features.var(axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_variance, expected, rtol=2e-3)


def test_transfer_trains_what_is_tuned() -> None:
    with pytest.raises(BadInputError, match=r"tuned must lie between 0 and \d+; received 900"):
        models.build("transfer", {**SMALL_TRANSFER, "tuned": 900})
    for tuned, trained in ((0, 2), (3, 2 + 3), (None, 2 + 27 * 3)):
        # The last three layers are a convolution, its normalisation (scale and offset), a ReLU.
        model = models.build("transfer", {**SMALL_TRANSFER, "tuned": tuned})
        assert len(model.trainable_variables) == trained


def test_transfer_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match=r"backbone: .*'MobileNet', .*; received 'VGG'"):
        models.build("transfer", {**SMALL_TRANSFER, "backbone": "VGG"})
    with pytest.raises(BadInputError, match=r"alpha.*0\.3"):
        models.build("transfer", {**SMALL_TRANSFER, "weights": "imagenet", "alpha": 0.3})

    def unreachable(**_: object) -> None:
        raise Exception("URL fetch failure")  # noqa: TRY002, as Keras does

    monkeypatch.setattr(keras.applications, "MobileNet", unreachable)
    with pytest.raises(FailureError, match="No ImageNet weights for MobileNet"):
        models.build("transfer", {**SMALL_TRANSFER, "weights": "imagenet"})
