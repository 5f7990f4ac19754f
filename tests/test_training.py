from pathlib import Path

import numpy as np
import pytest

from fmnist_utils import data, recipes, training
from fmnist_utils.recipes import Recipe

RECIPE = Recipe(
    model="dense", options={"units": [16]}, epochs=3, dataset="sketches", train_size=300
)


@pytest.fixture(scope="module")
def sketches() -> data.TrainingData:
    return data.load_training("sketches", train_size=300)


def _order(labelled: data.Labelled, *, seed: int, first_epoch: int, updates: int) -> list[int]:
    stream = training.batches(labelled, batch_size=4, seed=seed, first_epoch=first_epoch)
    return [int(i) for images, _ in stream.take(updates) for i in images.numpy()[:, 0, 0]]


@pytest.fixture
def numbered() -> data.Labelled:
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(10)
    return data.Labelled(images, np.arange(10))


def test_each_epoch_shows_each_image_once_in_an_order_of_its_own(numbered: data.Labelled) -> None:
    order = _order(numbered, seed=0, first_epoch=0, updates=6)  # 4 + 4 + 2 images an epoch
    first, second = order[:10], order[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_the_order_follows_from_seed_and_epoch_alone(numbered: data.Labelled) -> None:
    two = _order(numbered, seed=3, first_epoch=0, updates=6)
    assert _order(numbered, seed=3, first_epoch=1, updates=3) == two[10:]
    assert _order(numbered, seed=4, first_epoch=0, updates=3) != two[:10]


def test_labels_stay_with_their_images(numbered: data.Labelled) -> None:
    for images, labels in training.batches(numbered, batch_size=3, seed=0).take(4):
        np.testing.assert_array_equal(labels.numpy().argmax(axis=1), images.numpy()[:, 0, 0])


def test_history_has_a_row_an_epoch_and_learning_happens(sketches: data.TrainingData) -> None:
    history = training.train(RECIPE, sketches, verbose=False).history
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["loss"].is_monotonic_decreasing
    assert (history["seconds"] > 0).all()
    assert list(history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]


def test_one_line_an_epoch(sketches: data.TrainingData, capsys: pytest.CaptureFixture[str]) -> None:
    training.train(RECIPE, sketches)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("loss")[0].split() for line in lines] == [
        ["epoch", f"{n}/3"] for n in (1, 2, 3)
    ]


def test_the_seed_decides(sketches: data.TrainingData) -> None:
    def first_loss(seed: int) -> float:
        recipe = recipes.override(RECIPE, epochs=1, seed=seed)
        return float(training.train(recipe, sketches, verbose=False).history["loss"][0])

    assert first_loss(0) == pytest.approx(first_loss(0), rel=1e-4)
    assert first_loss(0) != pytest.approx(first_loss(1), rel=1e-4)


class _Interrupt(Exception):
    """Stands for whatever ends a training in its midst."""


def _interrupt_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    original = training._Checkpoint.on_epoch_end

    def stop(self, epoch, logs=None):  # type: ignore[no-untyped-def]
        original(self, epoch, logs)
        if epoch + 1 == epochs:
            raise _Interrupt

    monkeypatch.setattr(training._Checkpoint, "on_epoch_end", stop)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_interrupted_training_comes_to_the_same(
    sketches: data.TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    recipe = recipes.override(RECIPE, optimizer=optimizer, schedule="cosine")
    whole = training.train(recipe, sketches, verbose=False)
    with monkeypatch.context() as patch, pytest.raises(_Interrupt):
        _interrupt_after(patch, 2)
        training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    resumed = training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert resumed.history["epoch"].tolist() == [1, 2, 3]
    # Optimizer state, schedule and order all go on; only rounding may differ.
    for ours, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_damaged_state_is_passed_over(
    sketches: data.TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "epoch-0002.weights.h5").write_bytes(b"cut off")
    trained = training.train(RECIPE, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert trained.history["epoch"].tolist() == [1, 2, 3]
    assert "cannot be read" in capsys.readouterr().out


def test_finished_state_is_not_trained_further(sketches: data.TrainingData, tmp_path: Path) -> None:
    first = training.train(RECIPE, sketches, checkpoint_dir=tmp_path, verbose=False)
    again = training.train(RECIPE, sketches, checkpoint_dir=tmp_path, verbose=False)
    for ours, theirs in zip(again.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.history["epoch"].tolist() == [1, 2, 3]


def test_cosine_schedule_ends_at_zero() -> None:
    recipe = recipes.override(RECIPE, schedule="cosine", batch_size=100)
    model = training.compiled_model(recipe, n_images=300)
    rate = model.optimizer._learning_rate
    assert float(rate(0)) == pytest.approx(recipe.learning_rate)
    assert float(rate(9)) == pytest.approx(0, abs=1e-9)
