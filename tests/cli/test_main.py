import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.shell_completion import ShellComplete
from PIL import Image

from fmnist_utils import data, models, recipes, results
from fmnist_utils.cli import main, values
from fmnist_utils.data import published
from fmnist_utils.photos import clothing_dataset
from fmnist_utils.recipes import Recipe
from fmnist_utils.series import runner


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.delenv("FMNIST_FIGURES_DIR", raising=False)
    return tmp_path


@pytest.fixture
def no_data(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(folders / "keras"))
    monkeypatch.setenv("FMNIST_DATA_DIR", str(folders / "data"))
    for name, files in published.PUBLISHED.items():
        nowhere = files._replace(mirrors=("http://127.0.0.1:9/",))
        monkeypatch.setitem(published.PUBLISHED, name, nowhere)


def fmnist(*arguments: str) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fmnist", *arguments])
        with pytest.raises(SystemExit) as end:
            main.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "fast"], "Unknown profile 'fast': choose one of smoke, quick, full."),
        (["run", "77"], "Unknown notebook number '77': choose one of 00"),
        (["run", "-p", "profile", "smoke"], "has an option of its own: --profile smoke"),
        (["run", "-p", "seed", "3"], "has an option of its own: --seed 3"),
        (["evaluate", "NO.CSV"], "NO.CSV holds predictions: name a folder, --report DIR"),
        (["data", ""], "There is no file or folder '': check the path"),
        (["data", 5_000 * "a"], "Unknown data set 'a"),
        (["data", 5_000 * "a/"], "There is no file or folder 'a/a"),
        (["data", "/dev/zero"], "/dev/zero cannot be read (It is a pipe or a device, not a file)"),
        (["explain", ""], "The path is empty"),
        (["explain", "no.png"], "no.png cannot be read: No such file or directory"),
        (
            ["export", "dense", "--format", "onnx", "--output", "a.TFLITE"],
            "--format onnx and --output a.TFLITE do not go together: leave one of them out",
        ),
        (["run", "--publish", "--profile", "smoke"], "Only a run with profile quick or full"),
        (["train", "resnet"], "Unknown recipe 'resnet': choose one of dense, cnn"),
        (
            ["train", "cnn", "--set", "epoch=3"],
            "Unknown field of Recipe 'epoch': choose one of model",
        ),
        (["train", "cnn", "--set", "epochs"], "'epochs' is not of the form field=value"),
        (["data", "no/such.csv"], "There is no file or folder 'no/such.csv': check the path"),
        (["evaluate", "cnn", "--set", "seed=1"], "from --seeds; received --set seed=1"),
        (["evaluate", "cnn", "--seeds", "a"], "--seeds takes numbers such as 0,1,2; received 'a'"),
        (["results", "--profile", "fast"], "Unknown profile 'fast'"),
        (["data", "cifar10"], "'cifar10': choose one of fashion_mnist, mnist, sketches"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fmnist(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert not (folders / "runs").exists()


@pytest.mark.parametrize("seed", ["-5", "4294967296", "1.5"])
def test_a_seed_that_no_recipe_takes(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fmnist("run", "0", "--seed", seed) == 2
    assert f"Invalid value for '--seed': {seed}" in capsys.readouterr().err.replace(
        "'" + seed, seed
    )


def test_the_environments_profile_counts_unless_one_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FMNIST_PROFILE", "slow")
    assert fmnist("run", "0") == 2
    assert "Unknown profile 'slow'" in capsys.readouterr().err
    assert fmnist("run", "0", "--profile", "fast") == 2
    assert "Unknown profile 'fast'" in capsys.readouterr().err


def test_a_lesson_is_asked_for_its_own_data_set(no_data: None) -> None:
    (quickstart, data_lesson) = runner.select(["00_quickstart", "1"])
    assert runner.datasets([quickstart], {}) == {"sketches"}
    assert runner.datasets([quickstart, data_lesson], {}) == {"sketches", "fashion_mnist"}
    assert runner.datasets([data_lesson], {"dataset": "mnist"}) == {"mnist"}


def test_output_that_cannot_be_written(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "file").touch()
    output = str(folders / "file" / "out")
    assert fmnist("run", "1", "-p", "dataset", "sketches", "--output", output) == 2
    assert f"Cannot write to output folder {output}" in capsys.readouterr().err


def test_no_data_and_no_network(
    no_data: None, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["run", "1"], ["data"], ["train", "dense"]):
        assert fmnist(*arguments) == 1
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("fmnist: ")
        assert "FMNIST_DATA_DIR" in last
    assert not list(folders.glob("runs/dense-*"))
    assert not list(folders.glob("**/*.ipynb"))


def test_data_describes_and_refuses_files(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = ",".join(["label", *(f"pixel{i}" for i in range(1, 785))])
    good = ",".join(["3"] + ["7"] * 784)
    csv = folders / "some.CSV"
    csv.write_text(f"{header}\n{good}\n")
    assert fmnist("data", str(csv)) == 0
    assert "1 images" in capsys.readouterr().out
    csv.write_text(f"{header}\n{good}\n{good.replace('7,7,7', '7,,7', 1)}\n")
    assert fmnist("data", str(csv)) == 2
    error = capsys.readouterr().err
    assert "row 3" in error
    assert "pixel2" in error
    assert fmnist("data", str(csv), "--on-bad", "drop") == 0
    out, error = capsys.readouterr()
    assert "1 images" in out
    assert error.startswith(f"fmnist: {csv}: 1 of 2 images are bad")

    png = folders / "pngs" / "Bag" / "large.png"
    png.parent.mkdir(parents=True)
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(png)
    assert fmnist("data", str(folders / "pngs")) == 2
    assert "30x30 pixels instead of 28x28" in capsys.readouterr().err

    idx = folders / "images.gz"
    whole = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3, 4]))
    idx.write_bytes(whole)
    assert fmnist("data", str(idx)) == 0
    idx.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28]))  # no image
    assert fmnist("data", str(idx)) == 0
    assert "shape (0, 28, 28)" in capsys.readouterr().out
    white = np.full((2, 28, 28), 255, np.uint8)
    idx.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + white.tobytes())
    assert fmnist("data", str(idx)) == 0
    assert "2 of 2 images are dark on white" in capsys.readouterr().err
    idx.write_bytes(whole[:-9])
    assert fmnist("data", str(idx)) == 2
    assert "images.gz" in capsys.readouterr().err


SMALL = ("--set", "dataset=sketches", "--set", "train_size=200", "--set", "epochs=1")


def test_train_and_evaluate(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fmnist("train", "dense", *SMALL) == 0
    first = capsys.readouterr().out
    assert "epoch   1/1" in first
    assert "accuracy" in first
    assert fmnist("evaluate", "dense", *SMALL, "--seeds", "0") == 0
    second = capsys.readouterr().out
    assert "epoch   1/1" not in second  # found trained
    assert "1,000 sketches test images" in second
    assert not list(folders.glob("runs/**/results.json"))  # sketches are no result


def test_a_report_of_a_recipe_and_of_predictions(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = folders / "report"
    monkeypatch.setattr(data, "load_test", lambda *_: data.sketches(20, seed=3))
    assert fmnist("evaluate", "dense", *SMALL, "--report", str(target)) == 0
    assert capsys.readouterr().out.endswith(f"{target / 'index.html'}\n")
    predictions = folders / "predictions.csv"
    predictions.write_text("label\n" + "3\n" * 20)
    assert fmnist("evaluate", str(predictions), "--report", str(target)) == 0
    assert "20 images: accuracy 0.1000" in (target / "index.html").read_text()
    assert fmnist("evaluate", str(predictions)) == 2
    assert "name a folder, --report DIR" in capsys.readouterr().err
    assert fmnist("evaluate", str(predictions), "--report", str(target), "--set", "ema=0.9") == 2
    assert "a file of predictions has none" in capsys.readouterr().err
    (target / "notes.txt").touch()
    assert fmnist("evaluate", str(predictions), "--report", str(target)) == 2
    assert (target / "notes.txt").exists()
    (target / "notes.txt").unlink()
    assert fmnist("evaluate", str(predictions), "--report", str(folders)) == 2
    assert "holds something else" in capsys.readouterr().err
    assert fmnist("evaluate", "dense", "--report", str(target), "--publish") == 2
    assert "--report goes alone" in capsys.readouterr().err


def test_explain_draws_beside_the_image(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = folders / "bag.png"
    Image.fromarray(data.sketches(10, seed=0).images[8]).save(image)
    tiny = '{"filters": [[4]]}'
    asked = ["explain", str(image), "--recipe", "cnn", *SMALL, "--set", f"options={tiny}"]
    assert fmnist(*asked, "--class", "Bag") == 0
    assert capsys.readouterr().out.endswith(f"{folders / 'bag.png.grad_cam.png'}\n")
    assert (folders / "bag.png.grad_cam.png").read_bytes().startswith(b"\x89PNG")
    drawing = str(folders / "why.svg")
    assert fmnist(*asked, "--method", "occlusion", "--output", drawing) == 0
    for arguments, message in (
        (["--class", "bag"], "Unknown class 'bag': choose one of T-shirt/top"),
        (["--method", "gradcam"], "Unknown method 'gradcam': choose one of grad_cam"),
        (["--output", "why.txt"], "need a name that ends in .png or .svg"),
    ):
        assert fmnist(*asked, *arguments) == 2
        assert message in capsys.readouterr().err
    assert fmnist("explain", drawing) == 2
    assert "is no image of a known format" in capsys.readouterr().err


def test_deterministic_trainings_are_bit_equal(folders: Path) -> None:
    code = f"""
import sys
sys.argv = ["fmnist", "train", "cnn", "--deterministic", "--set", "seed=5", *{SMALL!r}]
from fmnist_utils.cli import main, values
from fmnist_utils.data import published
main.main()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "FMNIST_RUNS_DIR": str(folders / name)},
            stdout=subprocess.DEVNULL,
        )
        for name in ("one", "two")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    from fmnist_utils import store

    runs = [store.Run(next((folders / name).glob("cnn-*"))) for name in ("one", "two")]
    assert runs[0].recipe.deterministic
    for ours, theirs in zip(*(run.model.get_weights() for run in runs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_results_shows_the_published_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert fmnist("results") == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "regularised" in line.split()]
    (row,) = [
        row
        for row in results.read(Path(__file__).parents[2] / "figures" / "results.json")
        if [row[name] for name in ("recipe", "dataset", "split", "metric")]
        == ["regularised", "fashion_mnist", "test", "accuracy"]
    ]
    assert f"{100 * row['mean']:.2f}" in line
    assert fmnist("results", "--split", "nothing") == 2
    assert "Unknown split 'nothing': choose one of test, validation" in capsys.readouterr().err
    assert fmnist("results", "--profile", "smoke") == 0
    assert "No results for split test, profile smoke" in capsys.readouterr().out


def test_a_read_of_the_test_set_is_recorded_with_what_was_changed(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sketches = data.load_training("sketches", train_size=200)
    monkeypatch.setattr("fmnist_utils.store.training_split", lambda *_: sketches)
    monkeypatch.setattr(data, "load_test", lambda *_: data.sketches(50, seed=3))
    options = ("--set", "epochs=1", "--seeds", "1,2", "--tta", "--ensemble")
    assert fmnist("evaluate", "dense", *options) == 0
    (path,) = folders.glob("runs/**/results.json")
    rows = {(row["variant"], row["metric"]): row for row in results.read(path)}
    variants = ["epochs=1" + which for which in ("", "_tta", "_ensemble", "_ensemble_tta")]
    assert {variant for variant, _ in rows} == {*variants}
    assert {metric for _, metric in rows} == {"accuracy", "f1_macro", "log_loss"}
    seeds = [rows[variant, "accuracy"]["seeds"] for variant in variants]
    assert seeds == [[1, 2], [1, 2], [0], [0]]
    one, *_, many = (rows[variant, "accuracy"] for variant in variants)
    assert many["parameters"] == 2 * one["parameters"]
    assert many["train_seconds"] == [pytest.approx(sum(one["train_seconds"]))]
    assert one["notebook"] == "02_dense"

    from fmnist_utils import recipes, store

    test = data.sketches(50, seed=3)
    images = test.images, test.images[:, :, ::-1]
    total = sum(
        store.get_or_train(recipes.override(recipes.get("dense"), epochs=1, seed=seed)).predict(x)
        for seed in (1, 2)
        for x in images
    )
    assert many["values"] == [pytest.approx((total.argmax(axis=1) == test.labels).mean())]


def test_a_missing_library_is_one_sentence_a_missing_module_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "fmnist_utils.results")
    monkeypatch.delattr("fmnist_utils.results")
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert fmnist("results") == 1
    assert capsys.readouterr().err == (
        'fmnist: This needs psutil, which is not installed: pip install "fmnist_utils[course]"\n'
    )
    monkeypatch.setitem(sys.modules, "fmnist_utils.results", None)
    monkeypatch.setattr(sys, "argv", ["fmnist", "results"])
    with pytest.raises(ModuleNotFoundError):
        main.main()


@pytest.mark.parametrize("code", ["import fmnist_utils", "from fmnist_utils import cli"])
def test_cheap_imports_stay_cheap(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "fmnist_utils" in imported
    assert not imported & {"tensorflow", "keras", "sklearn", "matplotlib", "pandas"}


def test_import_time() -> None:
    def seconds() -> float:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import fmnist_utils"],
            capture_output=True,
            text=True,
            check=True,
        )
        last = done.stderr.splitlines()[-1]
        assert last.endswith("fmnist_utils")
        return int(last.split("|")[1]) / 1e6

    assert min(seconds() for _ in range(3)) < 0.3


def test_help_names_recipes_fields_and_values_and_cuts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert fmnist("--help") == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]
    assert tuple(recipes.RECIPES) == values.RECIPES
    for command in ("train", "evaluate", "export", "explain", "package"):
        assert fmnist(command, "--help") == 0
        words = set(capsys.readouterr().out.replace(",", " ").replace(".", " ").split())
        fields = {field.alias or name for name, field in Recipe.model_fields.items()}
        assert {*recipes.RECIPES, *fields} <= words


@pytest.mark.parametrize(
    ("arguments", "begun", "completed"),
    [
        (["run", "--profile"], "s", ["smoke"]),
        (["results", "--split"], "", ["test", "validation"]),
        (["train"], "cnn", ["cnn", "cnn_deep"]),
        (["explain", "a.png", "--class"], "Sn", ["Sneaker"]),
        (["export", "cnn", "--format"], "", ["onnx", "litert"]),
    ],
)
def test_values_are_completed(arguments: list[str], begun: str, completed: list[str]) -> None:
    completion = ShellComplete(main.commands, {}, "fmnist", "_FMNIST_COMPLETE")
    assert [item.value for item in completion.get_completions(arguments, begun)] == completed


def test_a_port_that_is_taken_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        assert fmnist("serve", "--port", port) == 2
    assert capsys.readouterr().err == (
        f"fmnist: Cannot listen at 127.0.0.1, port {port} (Address already in use): choose another "
        "--port, 0 for one that is free, or another --host.\n"
    )
    assert fmnist("serve", "--host", "203.0.113.1") == 2
    assert "Cannot listen at 203.0.113.1, port 8000" in capsys.readouterr().err


def test_a_download_of_everything_fetches_photos_and_weights_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "load_published", lambda name: None)
    whole = [published.FileStatus("mnist", "file", None, "verified")]
    monkeypatch.setattr(data, "status", lambda name: whole)
    asked: list[object] = []
    monkeypatch.setattr(clothing_dataset, "load", lambda part: asked.append(part) or [])
    monkeypatch.setattr(models, "build", lambda name, options: asked.append(options.backbone))
    assert fmnist("data", "--download") == 0
    assert asked == ["tuning", "measuring", "MobileNet"]
    assert fmnist("data", "mnist", "--download") == 0
    assert len(asked) == 3
