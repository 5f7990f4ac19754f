import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fmnist_utils import arithmetic, checkpoints, data, recipes, training
from fmnist_utils.arithmetic import Arithmetic
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.layers import Conv2D
from fmnist_utils.recipes import Augmentation, Recipe

RECIPE = Recipe(
    model="dense", options={"units": [16]}, epochs=3, dataset="sketches", train_size=300
)


@pytest.fixture(scope="module")
def sketches() -> data.TrainingData:
    return data.load_training("sketches", train_size=300)


def _shown(labelled: data.Labelled, **options: Any) -> list[int]:
    stream = training.batches(labelled, batch_size=4, **options)
    return [int(i) for images, _ in stream for i in images.numpy()[:, 0, 0]]


@pytest.fixture
def numbered() -> data.Labelled:
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(10)
    return data.Labelled(images, np.arange(10))


def test_each_epoch_shows_each_image_once_in_an_order_of_its_own(numbered: data.Labelled) -> None:
    first, second = (_shown(numbered, seed=0, epoch=epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_the_order_follows_from_seed_and_epoch_alone(numbered: data.Labelled) -> None:
    assert _shown(numbered, seed=3, epoch=1) == _shown(numbered, seed=3, epoch=1)
    assert _shown(numbered, seed=3) != _shown(numbered, seed=4)


def test_only_what_is_selected_is_shown(numbered: data.Labelled) -> None:
    shown = _shown(numbered, seed=0, indices=np.array([1, 4, 5, 8, 9], np.int32))
    assert sorted(shown) == [1, 4, 5, 8, 9]


@given(
    difficulty=hnp.arrays(np.float32, st.integers(10, 60), elements=st.floats(0, 9, width=32)),
    share=st.floats(0.01, 0.99),
)
def test_the_most_difficult_and_some_others_are_selected(
    difficulty: NDArray[np.float32], share: float
) -> None:
    chosen, again = (training.select(difficulty, share, seed=0, epoch=3) for _ in range(2))
    np.testing.assert_array_equal(chosen, again)
    assert len(chosen) == len(np.unique(chosen)) == max(1, round(share * len(difficulty)))
    n_hardest = round(0.7 * len(chosen))
    hardest, selected = (np.sort(x)[::-1][:n_hardest] for x in (difficulty, difficulty[chosen]))
    np.testing.assert_array_equal(selected, hardest)


def test_what_is_selected_beside_the_difficult_changes() -> None:
    difficulty = np.arange(1_000, dtype=np.float32)
    one, two = (training.select(difficulty, 0.5, seed=0, epoch=epoch) for epoch in (1, 2))
    easier_one, easier_two = (set(chosen[chosen < 650]) for chosen in (one, two))
    assert len(easier_one) == len(easier_two) == 150
    assert 10 < len(easier_one & easier_two) < 60  # 35 by chance


def test_all_are_selected_until_each_was_seen() -> None:
    difficulty = np.array([0.1, np.inf, 3.0, 0.2], np.float32)
    assert training.select(difficulty, 0.5, seed=0, epoch=1).tolist() == [0, 1, 2, 3]


def test_an_epoch_of_a_selection_notes_the_losses_of_what_it_showed(
    sketches: data.TrainingData,
) -> None:
    recipe = recipes.override(RECIPE, selection=0.5)
    difficulty = np.full(300, np.inf, np.float32)
    model = training.compiled_model(recipe, n_images=300)
    step = training.train_step_fn(model)
    images, labels = sketches.train.images, sketches.train.labels

    def epoch(number: int) -> None:
        given = recipe, recipe.augmentation, sketches.train, number, step, difficulty
        training._run_epoch(*given, verbose=False)

    model.optimizer.learning_rate = 0.0  # so that the losses stay what they are
    epoch(0)
    probabilities = model.predict(images, verbose=0)
    losses = -np.log(probabilities[np.arange(300), labels])
    np.testing.assert_allclose(difficulty, losses, rtol=1e-3, atol=1e-4)
    difficulty[:] = losses + 1
    epoch(1)
    shown = training.select(losses + 1, 0.5, seed=recipe.seed, epoch=1)
    moved = np.flatnonzero(np.abs(difficulty - losses - 1) > 0.1)
    np.testing.assert_array_equal(moved, shown)
    np.testing.assert_allclose(difficulty[shown], losses[shown] + 0.5, rtol=1e-3, atol=1e-4)


def test_labels_stay_with_their_images(numbered: data.Labelled) -> None:
    for images, labels in training.batches(numbered, batch_size=3, seed=0):
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

    loss = first_loss(0)
    assert loss == pytest.approx(first_loss(0), rel=1e-4)
    assert loss != pytest.approx(first_loss(1), rel=1e-4)


class _Interrupt(Exception):
    """Stands for whatever ends a training in its midst."""


def _interrupt_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    original = checkpoints.save

    def stop(folder: Path, model: keras.Model, state: checkpoints.State) -> None:
        original(folder, model, state)
        if len(state.rows) == epochs:
            raise _Interrupt

    monkeypatch.setattr(checkpoints, "save", stop)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam", "schedule": "cosine", "selection": 0.5},
        {"optimizer": "sgd", "augmentation": {"shift": 2, "flip": "alternating", "erase": 8}},
        {"model": "cnn", "options": {"filters": [[4]], "units": [8], "dense_dropout": 0.5}},
        {
            "model": "residual",
            "options": {"filters": [2, 2, 4, 4]},
            **{"optimizer": "muon", "schedule": "one_cycle", "ema": 0.9, "weight_decay": 0.01},
        },
    ],
)
def test_interrupted_training_comes_to_the_same(
    sketches: data.TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    recipe = recipes.override(RECIPE, **changes)
    whole = training.train(recipe, sketches, verbose=False)
    with monkeypatch.context() as patch, pytest.raises(_Interrupt):
        _interrupt_after(patch, 2)
        training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    resumed = training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert resumed.history["epoch"].tolist() == [1, 2, 3]
    # Optimizer state, schedule and order all go on; only rounding may differ.
    for ours, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["epoch-0001.npz", "epoch-0002.npz", "epoch-0002.weights.h5"])
def test_damaged_state_is_passed_over(
    name: str, sketches: data.TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"cut off")
    recipe = recipes.override(RECIPE, epochs=1)
    trained = training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert trained.history["epoch"].tolist() == [1]
    assert f"{name} is damaged" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001.npz"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.popitem(),
        lambda arrays: arrays.update(arr_0=np.zeros((3, 2))),
        lambda arrays: arrays.update(difficulty=np.array([{}])),
    ],
    ids=["lacks an array", "of another model", "pickled"],
)
def test_a_state_that_is_no_whole_one_is_passed_over(
    sketches: data.TrainingData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[dict[str, Any]], Any],
) -> None:
    training.train(
        recipes.override(RECIPE, epochs=1), sketches, checkpoint_dir=tmp_path, verbose=False
    )
    with np.load(tmp_path / "epoch-0001.npz") as stored:
        arrays = dict(stored)
    damage(arrays)
    np.savez(tmp_path / "epoch-0001.npz", **arrays)
    trained = training.train(RECIPE, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert trained.history["epoch"].tolist() == [1, 2, 3]
    assert "damaged" in capsys.readouterr().out


def test_a_flipped_bit_in_a_state_is_seen(
    sketches: data.TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipes.override(RECIPE, epochs=2)
    training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    (saved,) = tmp_path.iterdir()
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert "epoch-0002.npz is damaged (Bad CRC-32" in capsys.readouterr().out


def test_what_a_killed_process_left_of_a_state_is_cleared_away(
    sketches: data.TrainingData, tmp_path: Path
) -> None:
    (tmp_path / ".epoch-0001.npz.77").write_bytes(b"cut off")
    training.train(RECIPE, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0003.npz"]


def test_a_state_that_the_system_does_not_give_is_kept(
    sketches: data.TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.override(RECIPE, epochs=1)
    training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)

    def locked(*_: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch, pytest.raises(FailureError, match="try again"):
        patch.setattr(Path, "read_bytes", locked)
        training.train(RECIPE, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001.npz"]


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_training_that_diverges_says_so_and_saves_nothing(
    sketches: data.TrainingData, tmp_path: Path
) -> None:
    recipe = recipes.override(RECIPE, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(FailureError, match=r"diverged: the loss of epoch \d is .* 1e\+30"):
        training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_finished_state_is_not_trained_further(
    sketches: data.TrainingData, tmp_path: Path, ema: float
) -> None:
    recipe = recipes.override(RECIPE, ema=ema)
    first = training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    again = training.train(recipe, sketches, checkpoint_dir=tmp_path, verbose=False)
    for ours, theirs in zip(again.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.history["epoch"].tolist() == [1, 2, 3]


def test_cosine_schedule_ends_at_zero() -> None:
    recipe = recipes.override(RECIPE, schedule="cosine", batch_size=100)
    model = training.compiled_model(recipe, n_images=300)
    rate = model.optimizer._learning_rate
    assert float(rate(0)) == pytest.approx(recipe.learning_rate)
    assert float(rate(9)) == pytest.approx(0, abs=1e-9)


def test_one_cycle_rises_for_a_quarter_and_ends_at_zero() -> None:
    recipe = recipes.override(RECIPE, schedule="one_cycle", epochs=4, batch_size=100)
    rate = training.compiled_model(recipe, n_images=1_000).optimizer._learning_rate
    rates = [float(rate(update)) for update in range(41)]
    assert rates[0] == pytest.approx(recipe.learning_rate / 10)
    assert np.argmax(rates) == 10
    assert rates[10] == pytest.approx(recipe.learning_rate)
    assert rates[40] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rates)[:10] > 0).all()
    assert (np.diff(rates)[10:] < 0).all()


def test_a_schedule_ends_with_the_updates_of_a_selection() -> None:
    recipe = recipes.override(
        RECIPE, schedule="one_cycle", epochs=4, batch_size=100, selection=1 / 3
    )
    rate = training.compiled_model(recipe, n_images=1_000).optimizer._learning_rate
    assert float(rate(21)) > 0
    assert float(rate(22)) == pytest.approx(0, abs=1e-9)  # ten, then three times four


def test_weight_decay_shrinks_kernels_alone() -> None:
    recipe = recipes.override(RECIPE, optimizer="sgd", learning_rate=0.1, weight_decay=0.5)
    model = training.compiled_model(recipe, n_images=100)
    for weight in model.trainable_variables:
        weight.assign(np.ones(weight.shape))
    zeros = [np.zeros(weight.shape, np.float32) for weight in model.trainable_variables]
    model.optimizer.apply(zeros, model.trainable_variables)
    for weight in model.trainable_variables:
        expected = 0.95 if weight.name == "kernel" else 1
        np.testing.assert_allclose(weight, np.full(weight.shape, expected), rtol=1e-6)


def test_averaged_weights_validate_and_are_kept(sketches: data.TrainingData) -> None:
    recipe = recipes.override(RECIPE, ema=0.95, optimizer="sgd", learning_rate=0.3)
    averaged = training.train(recipe, sketches, verbose=False)
    last = training.train(recipes.override(recipe, ema=0.0), sketches, verbose=False)
    assert np.abs(averaged.model.get_weights()[0] - last.model.get_weights()[0]).max() > 1e-3
    images, labels = sketches.validation.images, data.one_hot(sketches.validation.labels)
    loss = averaged.model.evaluate(images, labels, verbose=0)[0]
    assert averaged.history["val_loss"].iloc[-1] == pytest.approx(loss, rel=1e-4)


def test_a_stream_ends_as_soon_as_it_is_empty(numbered: data.Labelled) -> None:
    # A thread that tunes tf.data would hold it up until its pause is over, here after 2.5 s.
    stream = iter(training.batches(numbered, batch_size=len(numbered.images), seed=0))
    next(stream)
    time.sleep(1.4)
    start = time.perf_counter()
    assert next(stream, None) is None
    del stream
    assert time.perf_counter() - start < 0.8


def test_augmentation_reaches_the_batches_and_labels_follow(numbered: data.Labelled) -> None:
    bright = data.Labelled(
        np.broadcast_to(numbered.labels[:, None, None] * 20 + 20, (10, 28, 28)).astype(np.uint8),
        numbered.labels,
    )
    stream = training.batches(bright, batch_size=4, seed=0, augmentation=Augmentation(erase=14))
    erased = 0
    for images, labels in stream:
        brightest = images.numpy().max(axis=(1, 2))
        np.testing.assert_array_equal(brightest, labels.numpy().argmax(axis=1) * 20 + 20)
        erased += (images.numpy() == 0).any(axis=(1, 2)).sum()
    assert erased == 10


def test_what_happens_to_an_image_does_not_depend_on_its_batch(sketches: data.TrainingData) -> None:
    def epoch(batch_size: int) -> NDArray[np.uint8]:
        stream = training.batches(
            sketches.train, batch_size=batch_size, seed=0, augmentation=Augmentation(shift=3)
        )
        return np.concatenate([x.numpy() for x, _ in stream])

    np.testing.assert_array_equal(epoch(50), epoch(75))


def test_a_model_computes_in_what_the_machine_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.override(
        RECIPE, model="residual", options={"filters": [4, 4, 4]}, precision="auto"
    )
    for answer in (
        Arithmetic("float32"),
        Arithmetic("mixed_bfloat16"),
        Arithmetic("mixed_bfloat16", exchanged_gradients=True),
    ):
        monkeypatch.setattr(arithmetic, "choose", lambda _, answer=answer: answer)
        model = training.compiled_model(recipe, n_images=100)
        assert model.layers[1].dtype_policy.name == answer.precision
        exchanging = [layer.exchanges for layer in model.layers if isinstance(layer, Conv2D)]
        # Images of 28x28, 28x28, thrice 14x14 and twice 7x7 pixels.
        assert exchanging == 5 * [False] + 2 * [answer.exchanged_gradients]
    assert keras.config.dtype_policy().name == "float32"


def test_exchanged_gradients_change_a_training_less_than_bfloat16_does() -> None:
    recipe = recipes.override(
        RECIPE, model="residual", options={"filters": [4, 8, 8]}, optimizer="sgd"
    )
    labelled = data.sketches(64, seed=0)
    batch = tf.constant(labelled.images), tf.constant(data.one_hot(labelled.labels))

    def losses(*computed_in: Any) -> NDArray[np.float32]:
        keras.utils.set_random_seed(0)
        model = training.compiled_model(recipe, n_images=64, computed_in=Arithmetic(*computed_in))
        step = training.train_step_fn(model)
        return np.array([float(step(*batch)[0, 0]) for _ in range(50)])

    exact, own = losses("float32"), losses("mixed_bfloat16")
    exchanged = losses("mixed_bfloat16", True)
    assert exact[-1] < 0.9 * exact[0]  # it learns
    assert np.abs(exchanged - own).max() <= np.abs(own - exact).max()


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([], 0), ([3, 2, 1], 0), ([1, 2, 3], 1), ([1, 2, 0.5, 2, 3], 1), ([1, 1, 1, 1, 1], 2)],
)
def test_plateaus_are_counted(losses: list[float], expected: int) -> None:
    assert training.n_plateaus([{"val_loss": loss} for loss in losses]) == expected


def test_a_plateau_halves_the_rate(
    sketches: data.TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.override(RECIPE, schedule="plateau")
    monkeypatch.setattr(training, "_validate", lambda *_: {"val_loss": 1.0, "val_accuracy": 0.5})
    model = training.train(recipe, sketches, verbose=False).model
    assert float(model.optimizer.learning_rate) == pytest.approx(recipe.learning_rate)
    longer = training.train(recipes.override(recipe, epochs=4), sketches, verbose=False).model
    assert float(longer.optimizer.learning_rate) == pytest.approx(recipe.learning_rate / 2)


def test_steps_fall_to_a_tenth_twice() -> None:
    recipe = recipes.override(RECIPE, schedule="step", epochs=4, batch_size=100)
    rate = training.compiled_model(recipe, n_images=1_000).optimizer._learning_rate
    shares = [float(rate(update)) / recipe.learning_rate for update in (0, 20, 21, 30, 31, 39)]
    assert shares == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01], rel=1e-5)


def test_mixed_batches_follow_from_seed_and_epoch(numbered: data.Labelled) -> None:
    def labels(**options: int) -> NDArray[np.float32]:
        stream = training.batches(numbered, batch_size=5, mixup=1.0, **options)
        return np.concatenate([y.numpy() for _, y in stream])

    np.testing.assert_array_equal(labels(seed=1, epoch=2), labels(seed=1, epoch=2))
    shares = labels(seed=1, epoch=2).max(axis=1), labels(seed=1, epoch=3).max(axis=1)
    assert not np.allclose(*(np.sort(share) for share in shares))
    first, second = np.split(shares[0], 2)
    assert not np.allclose(first, second)  # each batch draws its own


def test_a_penalty_is_part_of_the_loss(sketches: data.TrainingData) -> None:
    changes = {"model": "cnn", "epochs": 1, "learning_rate": 1e-9}
    free, penalised = (
        training.train(
            recipes.override(RECIPE, **changes, options={"filters": [[4]], "l2": l2}),
            sketches,
            verbose=False,
        ).history["loss"][0]
        for l2 in (0.0, 10.0)
    )
    assert penalised > free + 1


def test_what_cannot_be_trained_is_refused_at_once(sketches: data.TrainingData) -> None:
    nothing = data.Labelled(sketches.validation.images[:0], sketches.validation.labels[:0])
    recipe = recipes.override(RECIPE, schedule="plateau")
    with pytest.raises(BadInputError, match="Schedule plateau looks at the validation loss"):
        training.train(recipe, dataclasses.replace(sketches, validation=nothing))
