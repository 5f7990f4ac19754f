"""The network of the trials is that of the package, and a trial learns; with PyTorch."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from fmnist_utils import data, models, operations, optimizers, paths

pytest.importorskip("torch")

import torch
import trials
import trials_network

SHAPES = [
    {"filters": (16, 32, 64, 128), "pairs": (0, 1, 1, 1)},
    {"filters": (32, 64, 128, 224), "pairs": (1, 2, 1, 1)},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_and_operations_are_those_of_the_package(shape):
    network = trials_network.Residual(trials.Trial(**shape))
    model = models.build("residual", shape)
    weights = sum(weight.numel() for weight in network.parameters())
    assert weights == sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert sum(trials_network.operations_by_layer(network)) == operations.forward(model)


def test_directions_are_those_of_the_package():
    matrices = np.random.default_rng(0).standard_normal((2, 8, 90)).astype(np.float32)
    made = trials_network.orthogonal(torch.from_numpy(matrices)).cpu().numpy()
    for matrix, direction in zip(matrices, made, strict=True):
        np.testing.assert_allclose(direction, optimizers.orthogonal(matrix), atol=0.02)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("changes", [{"order": "pre"}, {"drop_path": 0.1}, {"head": "both"}])
def test_gradients_are_numbers_when_compiled(changes, monkeypatch):
    """They were not where a maximum, computed anew, was rounded otherwise than before."""
    trial = trials.Trial(filters=(4, 6), pairs=(0, 1), batch_size=50, **changes)
    drawn, labels = data.sketches(200, seed=0)
    training = trials.Training(trial, drawn, np.eye(10)[labels], seed=0)
    training.begin_epoch(0)
    x, y, _ = training.batch()
    monkeypatch.setattr(trials, "CUDA", True)  # as there, bfloat16
    loss = torch.compile(trials._losses, dynamic=False)(training.network, x, y, 0.1)[0]
    gradients = torch.autograd.grad(loss, training.weights)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_each_published_trial_can_be_trained_again():
    rows = json.loads((paths.published_predictions() / "trials.json").read_text(encoding="utf-8"))
    recorded = {row["name"]: asdict(trials.Trial(**row["trial"])) for row in rows}
    planned = {name: asdict(trials.Trial(**changes)) for name, changes in trials.PLAN.items()}
    assert json.loads(json.dumps(planned)) == recorded


def test_a_trial_spends_its_operations_and_learns():
    drawn = data.sketches(1_000, seed=0)
    small = {"filters": (4, 6), "pairs": (0, 1), "batch_size": 50, "erase": 0, "ema": 0.9}
    trial = trials.Trial(**small, operations=3e10)
    row, right = trials.run(trial, *drawn)
    assert row["operations"] == pytest.approx(trial.operations, rel=0.1)
    assert right.shape == (2, 400)
    assert right.mean() > 0.5
