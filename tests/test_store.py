import json
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fmnist_utils import arithmetic, checkpoints, data, recipes, store, training
from fmnist_utils.arithmetic import Probe
from fmnist_utils.errors import FailureError
from fmnist_utils.recipes import Recipe

RECIPE = Recipe(model="dense", options={"units": [8]}, epochs=2, dataset="sketches", train_size=200)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FMNIST_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        return store.get_or_train(RECIPE, verbose=False).folder


def _visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_trained_once_then_loaded(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.get_or_train(RECIPE, verbose=False)
    assert _visible(runs) == [run.folder.name]
    assert run.folder.name == f"dense-{store.key(RECIPE)}"
    assert _visible(run.folder) == sorted([*store._FILES, "manifest.json"])
    assert run.recipe == RECIPE
    assert len(run.history) == 2
    assert json.loads((run.folder / "environment.json").read_text())["machine"]["cores"] > 0
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("trained again"))
    again = store.get_or_train(RECIPE, verbose=False)
    images = data.sketches(5, seed=9).images
    np.testing.assert_array_equal(again.predict(images), run.predict(images))


def test_metrics_are_those_of_the_validation_images_and_a_missing_file_is_named() -> None:
    run = store.get_or_train(RECIPE, verbose=False)
    validation = data.load_training("sketches", train_size=200).validation
    right = run.predict(validation.images).argmax(axis=1) == validation.labels
    assert run.metrics["accuracy"] == pytest.approx(right.mean())
    assert run.metrics["accuracy"] == pytest.approx(run.history["val_accuracy"].iloc[-1], abs=1e-6)

    (run.folder / "model.keras").unlink()
    with pytest.raises(FailureError, match=f"{run.folder.name} lacks model.keras: delete the"):
        store.get_or_train(RECIPE)


def _of_tomorrow(folder: Path) -> None:
    """Give a layer an argument that no Keras knows, as a later one's file has for an earlier."""
    with zipfile.ZipFile(folder / "model.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Dense":
            layer["config"]["of_tomorrow"] = None
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def _cut(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


SPOILT = {
    "model of another Keras": (_of_tomorrow, "model"),
    "model cut off": (_cut("model.keras"), "model"),
    "model emptied": (lambda folder: (folder / "model.keras").write_bytes(b""), "model"),
    "metrics cut off": (_cut("metrics.json"), "metrics"),
    "recipe cut off": (_cut("recipe.json"), "recipe"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_run_that_cannot_be_read_is_one_sentence(kind: str) -> None:
    spoil, what = SPOILT[kind]
    folder = store.get_or_train(RECIPE, verbose=False).folder
    spoil(folder)
    with pytest.raises(
        FailureError, match=r"cannot be read by Keras .*, saved by Keras .*: delete"
    ):
        getattr(store.Run(folder), what)


@pytest.mark.parametrize("name", [*store._FILES, "manifest.json"])
@pytest.mark.parametrize("spoil", ["flipped", "cut off", "emptied"])
def test_a_damaged_run_is_named_when_it_is_loaded_and_trained_again_once_deleted(
    name: str, spoil: str, trained: Path, runs: Path
) -> None:
    folder = shutil.copytree(trained, runs / trained.name)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1 if spoil == "flipped" else 0
    keep = {"flipped": len(content), "cut off": len(content) // 2, "emptied": 0}[spoil]
    (folder / name).write_bytes(content[:keep])
    with pytest.raises(FailureError, match=rf"^Run {folder} .*: delete the folder to train it ag"):
        store.get_or_train(RECIPE)
    shutil.rmtree(folder)
    assert store.find(RECIPE) is None


def test_a_run_without_a_manifest_is_loaded_and_told_so_once(
    trained: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(trained, runs / trained.name)
    (folder / "manifest.json").unlink()
    for _ in range(2):
        assert store.get_or_train(RECIPE).folder == folder
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"Run {folder} is older than manifest.json: it is not checked."


def test_an_error_without_words_is_named_by_its_kind(tmp_path: Path) -> None:
    with (
        pytest.raises(FailureError, match=r"cannot be read by Keras .* \(EOFError\): delete"),
        store._readable(tmp_path),
    ):
        raise EOFError


def test_key_follows_recipe_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    key = store.key(RECIPE)
    assert store.key(Recipe.from_json(RECIPE.to_json())) == key
    assert store.key(recipes.override(RECIPE, seed=1)) != key
    monkeypatch.setattr(data, "hashes", lambda dataset: {"train": "other bytes"})
    assert store.key(RECIPE) != key


def test_a_run_of_other_defaults_is_not_taken_for_the_recipe() -> None:
    run = store.get_or_train(RECIPE, verbose=False)
    assert store.find(recipes.override(RECIPE, selection=1, options={"units": (8,)})) is not None
    was = recipes.override(RECIPE, batch_size=2 * RECIPE.batch_size)
    (run.folder / "recipe.json").write_text(was.to_json())
    (run.folder / "manifest.json").unlink()
    with pytest.raises(FailureError, match=f"{run.folder.name} was trained when a recipe's def"):
        store.find(RECIPE)


def test_unwritable_runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "file" / "runs"))
    with pytest.raises(FailureError, match=r"Cannot write.*FMNIST_RUNS_DIR"):
        store.get_or_train(RECIPE)


def _interrupt_after(patch: pytest.MonkeyPatch, epochs: int) -> None:
    original = checkpoints.save

    def interrupt(folder: Path, model: keras.Model, state: checkpoints.State) -> None:
        original(folder, model, state)
        if len(state.rows) == epochs:
            raise KeyboardInterrupt

    patch.setattr(checkpoints, "save", interrupt)


@contextmanager
def _file_size_limit(_: Path) -> Iterator[None]:
    """Let no file grow beyond 4 KB; Python ignores the signal and raises an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def _filled(runs: Path) -> Iterator[None]:
    """Leave no room on the runs folder's file system; where none was mounted, set the limit."""
    if not runs.is_mount():
        with _file_size_limit(runs):
            yield
        return
    filler = runs / ".filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4_096))
    yield
    filler.unlink()


@pytest.fixture
def tiny_disk(runs: Path) -> Iterator[None]:
    """Mount a file system of 1 MB as the runs folder, where that is allowed."""
    runs.mkdir()
    if shutil.which("mount"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", runs], check=False)
    yield
    if runs.is_mount():
        subprocess.run(["umount", runs], check=True)


@pytest.mark.usefixtures("tiny_disk")
@pytest.mark.parametrize("full", [_filled, _file_size_limit])
@pytest.mark.parametrize("epochs_before", [1, 2])
def test_a_full_disk_is_one_sentence_and_no_epoch_is_lost(
    full: Callable[[Path], AbstractContextManager[None]],
    epochs_before: int,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _interrupt_after(patch, epochs_before)
        store.get_or_train(RECIPE)
    with (
        full(runs),
        pytest.raises(FailureError, match=r"Cannot write .*( left on|too large).*: make"),
    ):
        store.get_or_train(RECIPE, verbose=False)
    assert _visible(runs) == []
    capsys.readouterr()
    run = store.get_or_train(RECIPE)
    assert f"Going on after epoch {epochs_before} of 2" in capsys.readouterr().out
    assert run.history["epoch"].tolist() == [1, 2]
    assert store.find(RECIPE) == run


def test_interrupt_is_kept_and_told(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _interrupt_after(patch, 1)
        store.get_or_train(RECIPE)
    assert _visible(runs) == []
    assert "what was trained is kept of" in capsys.readouterr().out
    store.get_or_train(RECIPE)
    assert "Going on after epoch 1 of 2" in capsys.readouterr().out


def test_an_interrupt_before_the_first_epoch_ends_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_run_epoch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.get_or_train(RECIPE)
    assert "Interrupted: no epoch had ended of dense-" in capsys.readouterr().out


SCRIPT = """
from fmnist_utils import store
from fmnist_utils.recipes import Recipe
store.get_or_train(Recipe(model="dense", options={"units": [8]}, epochs=15, dataset="sketches",
                          train_size=500, batch_size=32))
"""


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)


def test_killed_then_finished_once_by_two_processes(runs: Path) -> None:
    killed = _start()
    assert killed.stdout is not None
    for line in killed.stdout:  # killed while it trains or writes its state
        if line.startswith("epoch   3"):
            killed.send_signal(signal.SIGKILL)
            break
    killed.stdout.close()
    killed.wait()
    assert _visible(runs) == []

    outputs = [process.communicate(timeout=300)[0] for process in [_start(), _start()]]
    assert sum("Going on after epoch" in output for output in outputs) == 1
    (name,) = _visible(runs)
    assert store.Run(runs / name).history["epoch"].tolist() == list(range(1, 16))


def test_a_key_says_only_what_differs_from_the_defaults() -> None:
    fields = store.key(RECIPE), store.key(recipes.override(RECIPE, ema=0.0, augmentation={}))
    assert len({*fields}) == 1
    assert store.key(recipes.override(RECIPE, augmentation={"shift": 1})) != store.key(RECIPE)
    whole, real = (recipes.override(RECIPE, learning_rate=rate) for rate in (1, 1.0))
    assert store.key(whole) == store.key(real)


FASTER_IN_BFLOAT16 = Probe(2.0, 1.0, own_gradient=2.0, exchanged_gradient=1.0)
SLOWER_IN_BFLOAT16 = Probe(1.0, 2.0, own_gradient=1.0, exchanged_gradient=2.0)


def test_an_interrupted_training_goes_on_in_what_it_began_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = {"model": "residual", "options": {"filters": [4, 4]}}
    recipe = recipes.override(RECIPE, **network, epochs=3, precision="auto")
    train_epoch = training._run_epoch

    def interrupted_in_the_second(*args: Any, **options: Any) -> Any:
        if args[3] == 1:
            raise KeyboardInterrupt
        return train_epoch(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "_run_epoch", interrupted_in_the_second)
        patch.setattr(arithmetic, "probe", lambda: FASTER_IN_BFLOAT16)
        store.get_or_train(recipe, verbose=False)
    monkeypatch.setattr(arithmetic, "probe", lambda: SLOWER_IN_BFLOAT16)
    run = store.get_or_train(recipe)
    told = capsys.readouterr().out
    assert "in mixed_bfloat16." in told
    assert "Going on after epoch 1 of 3" in told
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["precision"] == "mixed_bfloat16"
    assert environment["exchanged_gradients"] is True
    saved = keras.models.load_model(run.folder / "model.keras")
    assert "bfloat16" in {layer.compute_dtype for layer in saved.layers}


def test_what_was_trained_in_bfloat16_answers_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = {"model": "residual", "options": {"filters": [4, 4]}}
    recipe = recipes.override(RECIPE, **network, epochs=3, precision="auto")
    monkeypatch.setattr(arithmetic, "probe", lambda: FASTER_IN_BFLOAT16)
    run = store.get_or_train(recipe, verbose=False)
    assert json.loads((run.folder / "environment.json").read_text())["precision"] == (
        "mixed_bfloat16"
    )
    assert {layer.compute_dtype for layer in run.model.layers[1:]} == {"float32"}
    in_bfloat16 = keras.models.load_model(run.folder / "model.keras")
    assert "bfloat16" in {layer.compute_dtype for layer in in_bfloat16.layers}
    images, labels = data.sketches(2_000, seed=9)
    ours, theirs = run.predict(images), np.asarray(in_bfloat16(images))
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    accuracies = [(answers.argmax(axis=1) == labels).mean() for answers in (ours, theirs)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.001)


def test_trained_on_everything_there_is_no_score_to_choose_by() -> None:
    run = store.get_or_train(recipes.override(RECIPE, train_size=6_000, epochs=1), verbose=False)
    assert sorted(run.metrics) == [
        "operations",
        "parameters",
        "train_seconds",
        "training_operations",
    ]
    assert list(run.history) == ["epoch", "loss", "accuracy", "seconds"]
