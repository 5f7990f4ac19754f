import keras
import numpy as np
import pytest

from fmnist_utils.optimizers import LayerwiseAdam, Muon, orthogonal

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(36, 8), (8, 36), (16, 16)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_orthogonal_keeps_the_directions_and_evens_the_lengths(shape, scale):
    matrix = (scale * RNG.normal(size=shape)).astype(np.float32)
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    lengths = np.diag(u.T @ np.asarray(orthogonal(matrix)) @ v.T)
    assert (lengths > 0.6).all()
    assert (lengths < 1.3).all()


def _moved(shape, gradient, optimizer=None):
    variable = keras.Variable(RNG.normal(size=shape), dtype="float32")
    before = variable.numpy()
    optimizer = optimizer or Muon(0.1)
    optimizer.apply([gradient], [variable])
    return before, variable.numpy()


def test_a_kernel_keeps_its_norm_and_follows_no_gradient_farther_than_another():
    gradient = RNG.normal(size=(3, 3, 4, 8)).astype(np.float32)
    _, one = _moved((3, 3, 4, 8), gradient)
    assert np.linalg.norm(one) == pytest.approx(8**0.5, rel=1e-5)
    variable = keras.Variable(one)
    Muon(0.1).apply([gradient * 1e6], [variable])
    # Orthogonal steps of eight filters are about 0.1 times the root of eight long.
    assert np.linalg.norm(variable.numpy() - one) == pytest.approx(0.1 * 8**0.5, rel=0.4)
    assert ((variable.numpy() - one) * gradient).sum() < 0


@pytest.mark.parametrize("shape", [(5,), (6, 3), (3, 3, 1, 8), (3, 3, 8, 1)])
def test_everything_else_takes_nesterov_steps(shape):
    gradients = [RNG.normal(size=shape).astype(np.float32) for _ in range(3)]
    ours, keras_ = (keras.Variable(np.ones(shape, np.float32)) for _ in range(2))
    muon, sgd = (
        Muon(0.1, other_lr_multiplier=2),
        keras.optimizers.SGD(0.2, momentum=0.9, nesterov=True),
    )
    for gradient in gradients:
        muon.apply([gradient], [ours])
        sgd.apply([gradient], [keras_])
    np.testing.assert_allclose(ours, keras_, rtol=1e-5, atol=1e-6)


def test_a_kernel_beside_a_bias_keeps_its_scale_free():
    convolutions = [keras.layers.Conv2D(8, 1, use_bias=biased) for biased in (False, True)]
    model = keras.Sequential([keras.layers.Input((4, 4, 3)), *convolutions])
    variables = model.trainable_variables
    Muon(0.1).apply([variable.numpy() * 0 + 1 for variable in variables], variables)
    norms = [np.linalg.norm(convolution.kernel) for convolution in convolutions]
    assert norms[0] == pytest.approx(8**0.5, rel=1e-5)
    assert norms[1] != pytest.approx(8**0.5, rel=1e-2)


def test_it_is_saved_and_loaded():
    muon = Muon(0.3, momentum=0.5, other_lr_multiplier=3.0, weight_decay=0.1, use_ema=True)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(muon))
    assert copy.get_config() == muon.get_config()


def test_momentum_of_a_kernel_turns_its_next_step():
    first, second = RNG.normal(size=(2, 3, 3, 4, 8)).astype(np.float32)
    ends = []
    for momentum in (0.0, 0.9):
        variable = keras.Variable(np.ones((3, 3, 4, 8), np.float32))
        optimizer = Muon(0.1, momentum=momentum)
        optimizer.apply([100 * first], [variable])
        before = variable.numpy()
        optimizer.apply([second], [variable])
        ends.append(((variable.numpy() - before) * first).sum())
    assert ends[1] < ends[0]


def test_layerwise_rates_fall_towards_the_input():
    model = keras.Sequential([keras.layers.Input((3,)), *(keras.layers.Dense(3) for _ in range(3))])
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    LayerwiseAdam(0.1, layer_decay=0.5).apply(
        [variable.numpy() * 0 + 1 for variable in variables], variables
    )
    steps = [np.abs(v.numpy() - b).mean() for v, b in zip(variables, before, strict=True)]
    # Adam's first step is as long as the rate, whatever the gradient.
    np.testing.assert_allclose(steps, [0.025, 0.025, 0.05, 0.05, 0.1, 0.1], rtol=1e-4)


def test_layerwise_adam_without_decay_is_adam():
    gradients = RNG.normal(size=(4, 5)).astype(np.float32)
    variables = [keras.Variable(np.ones(5), dtype="float32") for _ in range(2)]
    optimizers = [LayerwiseAdam(0.1), keras.optimizers.Adam(0.1)]
    for gradient in gradients:
        for variable, optimizer in zip(variables, optimizers, strict=True):
            optimizer.apply([gradient], [variable])
    np.testing.assert_allclose(*(variable.numpy() for variable in variables), rtol=1e-6)
    restored = LayerwiseAdam.from_config(LayerwiseAdam(0.1, layer_decay=0.7).get_config())
    assert restored.layer_decay == 0.7
