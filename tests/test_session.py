from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from fmnist_utils import paths, results, session
from fmnist_utils.errors import BadInputError


@pytest.fixture(autouse=True)
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FMNIST_PROFILE", raising=False)
    monkeypatch.setenv("FMNIST_FIGURES_DIR", str(tmp_path))
    return tmp_path


def test_profile_is_shown_and_overridden_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session.start("04_cnn", profile="quick").profile == "quick"
    monkeypatch.setenv("FMNIST_PROFILE", "smoke")
    assert session.start("04_cnn", profile="full").profile == "smoke"
    assert capsys.readouterr().out.count("profile ") == 2


def test_unknown_profile() -> None:
    with pytest.raises(BadInputError, match=r"'fast'.*smoke, quick, full"):
        session.start("04_cnn", profile="fast")


def test_recipe_follows_profile_seed_and_data() -> None:
    this = session.start("04_cnn", profile="smoke", seed=4, dataset="sketches")
    recipe = this.recipe("cnn", optimizer="sgd")
    assert (recipe.seed, recipe.dataset, recipe.optimizer) == (4, "sketches", "sgd")
    assert (recipe.epochs, recipe.train_size) == (1, 2_000)
    assert this.choose(smoke=1, quick=2, full=3) == 1


def test_only_a_full_run_has_several_seeds() -> None:
    assert list(session.start("04_cnn", profile="full", seed=2).seeds) == [2, 3, 4, 5, 6]
    assert list(session.start("04_cnn", profile="quick", seed=2).seeds) == [2]


def test_a_smoke_figure_says_so(figures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for profile in ("smoke", "full"):
        figure, ax = plt.subplots()
        ax.plot([0, 1])
        session.start("04_cnn", profile=profile).show(figure, "line", alt="A rising line.")
        assert (figures / "04_cnn" / "line.png").stat().st_size > 0
        assert [text.get_text() for text in figure.texts] == (
            ["profile smoke: means nothing"] if profile == "smoke" else []
        )
        assert not plt.fignum_exists(figure.number)


def test_records_go_to_the_run_and_sketches_nowhere(figures: Path) -> None:
    session.start("04_cnn", profile="smoke", dataset="sketches").record("cnn", {"accuracy": 0.5})
    assert not (figures / "results.json").exists()
    session.start("04_cnn", profile="smoke", seed=3).record("cnn", {"accuracy": 0.5})
    (row,) = results.read(figures / "results.json")
    assert (row["profile"], row["split"], row["seeds"]) == ("smoke", "validation", [3])


def test_a_full_run_sees_its_own_study(figures: Path) -> None:
    for profile, value in (("smoke", 0.1), ("full", 0.5)):
        session.start("04_cnn", profile=profile, seed=9).record("new", {"accuracy": value})
    study = session.study("04_cnn").set_index("recipe")
    assert study.loc["new", "values"].to_dict() == {9: 0.5}
    assert "cnn" in study.index  # what was published stays beside it


def test_a_study_is_of_the_images_asked_for() -> None:
    of = {split: session.study("04_cnn", split=split) for split in ("validation", "test")}
    rows = {
        split: table.query("recipe == 'cnn' and metric == 'accuracy'")
        for split, table in of.items()
    }
    published = [
        row["mean"]
        for row in results.read(paths.published_results())
        if (row["notebook"], row["recipe"], row["split"]) == ("04_cnn", "cnn", "test")
        and (row["metric"], row["variant"]) == ("accuracy", None)
    ]
    assert rows["test"]["mean"].tolist() == published
    assert not set(rows["validation"]["mean"]) & set(published)


def test_band_is_the_profiles() -> None:
    this = session.start("04_cnn", profile="smoke")
    assert this.in_band(0.5, smoke=(0.4, 0.6), quick=(0.8, 0.9), full=(0.9, 1)) is True
    with pytest.raises(AssertionError, match=r"0\.7000 is outside 0\.4 to 0\.6.*smoke"):
        this.in_band(0.7, smoke=(0.4, 0.6), quick=(0.8, 0.9), full=(0.9, 1))
    other = session.start("04_cnn", profile="smoke", dataset="mnist")
    assert other.in_band(0.7, smoke=(0.4, 0.6))
