import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_utils import plots, results
from fmnist_utils.errors import FailureError
from fmnist_utils.files import atomic_write

STUDY = results.Study(
    notebook="04_cnn", recipe="cnn", dataset="fashion_mnist", split="test", profile="full"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "figures" / "results.json"


def test_a_row_grows_seed_by_seed_whatever_their_order(path: Path) -> None:
    for seed, value in [(2, 0.93), (0, 0.91), (1, 0.92)]:
        results.record(path, STUDY, {"accuracy": value}, seed=seed, train_seconds=10.0 + seed)
    (row,) = results.read(path)
    assert row["seeds"] == [0, 1, 2]
    assert row["values"] == [0.91, 0.92, 0.93]
    assert row["train_seconds"] == [10, 11, 12]
    assert row["mean"] == pytest.approx(0.92)
    assert row["std"] == pytest.approx(0.01)
    # Student's t for two degrees of freedom: 4.3027
    assert row["ci95"] == pytest.approx([0.92 - 4.3027 * 0.01 / 3**0.5, 0.92 + 0.024842], abs=1e-5)
    assert set(row) == {
        *("notebook", "recipe", "dataset", "split", "metric", "profile", "seeds", "values"),
        *("mean", "std", "ci95", "parameters", "train_seconds", "variant", "versions", "machine"),
        "key",
    }


def test_measuring_a_seed_again_replaces_it(path: Path) -> None:
    for value in (0.5, 0.6):
        results.record(path, STUDY, {"accuracy": value}, seed=0)
    (row,) = results.read(path)
    assert row["values"] == [0.6]
    assert (row["std"], row["ci95"]) == (None, None)


def test_a_row_holds_seeds_of_one_recipe_only(path: Path) -> None:
    for seed, key in [(0, "old"), (1, "old"), (1, "new"), (2, "new")]:
        results.record(path, STUDY, {"accuracy": 0.9}, seed=seed, key=key)
    (row,) = results.read(path)
    assert (row["seeds"], row["key"]) == ([1, 2], "new")


def test_rows_are_sorted_and_kept_apart(path: Path) -> None:
    other = results.Study(**{**vars(STUDY), "notebook": "02_dense", "recipe": "dense"})
    tta = results.Study(**{**vars(STUDY), "variant": "tta"})
    for study in (tta, STUDY, other):
        results.record(path, study, {"f1_macro": 0.9, "accuracy": 0.9}, seed=0)
    rows = results.read(path)
    assert [(r["notebook"], r["variant"], r["metric"]) for r in rows] == [
        ("02_dense", None, "accuracy"),
        ("02_dense", None, "f1_macro"),
        ("04_cnn", None, "accuracy"),
        ("04_cnn", None, "f1_macro"),
        ("04_cnn", "tta", "accuracy"),
        ("04_cnn", "tta", "f1_macro"),
    ]


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), max_size=4), max_size=4))
def test_rows_join_seed_by_seed_and_the_last_value_of_a_seed_counts(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[int, float]]]
) -> None:
    ours = tmp_path_factory.mktemp("results") / "ours.json"
    for part in parts:
        theirs = ours.with_name(f"{len(list(ours.parent.iterdir()))}.json")
        for seed, value in part:
            results.record(theirs, STUDY, {"accuracy": value}, seed=seed)
        results.add(ours, results.read(theirs))
    expected = dict(measured for part in parts for measured in part)
    rows = results.read(ours)
    assert len(rows) == (1 if expected else 0)
    for row in rows:
        assert row["seeds"] == sorted(expected)
        assert row["values"] == [expected[seed] for seed in row["seeds"]]


def test_sketches_are_never_recorded(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sketches = results.Study(**{**vars(STUDY), "dataset": "sketches"})
    results.record(path, sketches, {"accuracy": 0.9}, seed=0)
    assert "Not recorded" in capsys.readouterr().out
    assert not path.exists()


def test_damaged_results_are_named_and_stay(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("[{", encoding="utf-8")
    with pytest.raises(FailureError, match=r"results\.json is not JSON"):
        results.record(path, STUDY, {"accuracy": 0.9}, seed=0)
    assert path.read_text(encoding="utf-8") == "[{"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    results.record(path, STUDY, {"accuracy": 0.9}, seed=0)
    before = path.read_text(encoding="utf-8")
    with pytest.raises(FailureError, match="No space"), atomic_write(path) as unfinished:
        unfinished.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")
    assert path.read_text(encoding="utf-8") == before
    assert [p.name for p in path.parent.iterdir() if ".lock" not in p.name] == ["results.json"]


def test_a_path_below_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FailureError, match="Cannot write"):
        results.record(tmp_path / "file" / "results.json", STUDY, {"accuracy": 0.9}, seed=0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_interval_is_around_the_mean(values: list[float]) -> None:
    spread = results.spread(values)
    low, high = spread["ci95"]
    assert low <= spread["mean"] <= high
    assert spread["mean"] == pytest.approx(np.mean(values))


def test_leaderboard_shows_the_best_first_with_its_interval(path: Path) -> None:
    other = results.Study(**{**vars(STUDY), "recipe": "cnn_deep"})
    for seed, values in enumerate([(0.90, 0.93), (0.92, 0.94)]):
        for study, value in zip((STUDY, other), values, strict=True):
            metrics = {"accuracy": value, "f1_macro": value - 0.01}
            results.record(path, study, metrics, seed=seed, parameters=50_186, train_seconds=60)
    table = results.leaderboard(results.read(path))
    assert table["recipe"].tolist() == ["cnn_deep", "cnn"]
    assert table["accuracy (%)"][1] == "91.00 ± 12.71"  # t = 12.706 for one degree of freedom
    assert table["macro F1 (%)"][0] == "92.50 ± 6.35"
    assert table["parameters"][0] == "50,186"
    assert results.leaderboard(results.read(path), profile="quick").empty
    digits = [{**row, "dataset": "mnist"} for row in results.read(path)]
    assert results.leaderboard(digits).empty


def test_leaderboard_shows_a_single_accuracy_with_its_interval_over_images(path: Path) -> None:
    metrics = {"accuracy": 0.8, "f1_macro": 0.79}
    results.record(path, STUDY, metrics, seed=0, images=10)
    (shown,) = results.leaderboard(results.read(path)).to_dict("records")
    # Wilson's interval of 8 of 10: 0.4902 to 0.9433
    assert (shown["accuracy (%)"], shown["macro F1 (%)"]) == ("80.00 (± 22.66)", "79.00")
    results.record(path, STUDY, metrics, seed=1, images=10)
    assert results.leaderboard(results.read(path))["accuracy (%)"][0] == "80.00 ± 0.00"


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_figure_is_the_same_file_for_the_same_picture(
    tmp_path: Path, ending: str, start: bytes
) -> None:
    for folder in ("a", "b"):
        figure, ax = plt.subplots()
        ax.plot([1, 2])
        plots.save_figure(figure, tmp_path / folder / f"figure.{ending}")
        plt.close(figure)
    one, two = ((tmp_path / folder / f"figure.{ending}").read_bytes() for folder in "ab")
    assert one == two
    assert one.startswith(start)


def test_environment_can_be_written_as_json() -> None:
    environment = json.loads(json.dumps(results.environment()))
    assert set(environment["versions"]) >= {"python", "tensorflow", "keras"}
    assert environment["machine"]["processor"]
