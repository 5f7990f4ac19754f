from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_utils import data, evaluation, plots
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.series import evaluation_report

TEST = data.sketches(40, seed=0)
RIGHT = np.eye(10)[TEST.labels]
PROBABILITIES = 0.6 * RIGHT + 0.4 * np.roll(RIGHT, 1, axis=0)
PROBABILITIES[:3] = np.roll(RIGHT[:3], 1, axis=1)


def test_a_report_holds_tables_figures_and_a_page(tmp_path: Path) -> None:
    evaluation_report.write("ours & theirs", TEST, PROBABILITIES, tmp_path / "r")
    figures = [f"{n}.{e}" for n in ("confusion", "mistakes", "unsure") for e in ("png", "svg")]
    tables = ["classes.csv", "classes.tex", "confusion.csv"]
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == sorted(
        [*figures, *tables, "index.html"]
    )
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert "ours &amp; theirs" in page
    accuracy = evaluation.metrics(TEST.labels, PROBABILITIES)["accuracy"]
    assert f"accuracy {accuracy:.4f}" in page
    classes = pd.read_csv(tmp_path / "r" / "classes.csv", index_col="class")
    assert list(classes.index) == [*CLASS_NAMES, "macro average", "weighted average"]
    expected = evaluation.averages(TEST.labels, PROBABILITIES).loc["macro", "f1"]
    assert classes.loc["macro average", "f1"] == pytest.approx(expected)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_the_galleries_show_the_surest_mistakes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}

    def gallery(images, labels, probabilities, *, names, title):  # type: ignore[no-untyped-def]
        drawn[title] = probabilities

    monkeypatch.setattr(plots, "gallery", gallery)
    evaluation_report._galleries(TEST, PROBABILITIES, CLASS_NAMES)
    mistakes = drawn["The most confident mistakes"]
    assert (np.diff(mistakes.max(axis=1)) <= 0).all()
    assert len(mistakes) == (PROBABILITIES.argmax(1) != TEST.labels).sum()
    assert (np.diff(drawn["The least confident right answers"].max(axis=1)) >= 0).all()
    drawn.clear()
    evaluation_report._galleries(TEST, RIGHT, CLASS_NAMES)
    assert list(drawn) == ["The least confident right answers"]


def test_an_earlier_report_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    evaluation_report.write("one", TEST, RIGHT, folder)
    evaluation_report.write("two", TEST, RIGHT, folder)
    assert "<h1>two</h1>" in (folder / "index.html").read_text(encoding="utf-8")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    for other in (tmp_path / "thesis", tmp_path / "thesis" / "chapter.tex"):
        with pytest.raises(BadInputError, match="holds something else"):
            evaluation_report.write("one", TEST, RIGHT, other)


def test_a_full_disk_leaves_the_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation_report.write("one", TEST, RIGHT, tmp_path / "r")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plots, "save_figure", full)
    with pytest.raises(FailureError, match="No space left"):
        evaluation_report.write("two", TEST, RIGHT, tmp_path / "r")
    assert "<h1>one</h1>" in (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_predictions_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    pd.DataFrame(PROBABILITIES, columns=CLASS_NAMES).iloc[:, ::-1].to_csv(path, index=False)
    np.testing.assert_allclose(
        evaluation_report.read_predictions(path, 40), PROBABILITIES, atol=1e-9
    )
    pd.DataFrame({"label": TEST.labels}).to_csv(path, index=False)
    np.testing.assert_array_equal(evaluation_report.read_predictions(path, 40), RIGHT)


@given(
    order=st.permutations(range(40)),
    first=st.sampled_from([0, 1]),
    name=st.sampled_from(["id", "ImageId", "index", ""]),
    behind=st.booleans(),
    repeated=st.integers(0, 39),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_an_id_column_sorts_or_is_refused(
    tmp_path: Path, order: list[int], first: int, name: str, *, behind: bool, repeated: int
) -> None:
    path, ids = tmp_path / "predictions.csv", np.array(order) + first
    table = pd.DataFrame({name: ids, "label": TEST.labels[order]})
    behind &= bool(name)  # where pandas writes an index without a name, it comes first
    table.iloc[:, :: -1 if behind else 1].to_csv(path, index=False)
    np.testing.assert_array_equal(evaluation_report.read_predictions(path, 40), RIGHT)
    ids[repeated - 1] = ids[repeated]
    table.assign(**{name: ids}).to_csv(path, index=False)
    with pytest.raises(BadInputError, match="need each number from 0 to 39, or from 1 to 40, once"):
        evaluation_report.read_predictions(path, 40)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\n1\n", r"predictions.csv has 1 rows: need 2"),
        ("answer\n1\n2\n", "has the columns answer: need label, or the ten class names"),
        ("label\n1\n10\n", "line 3, column label: received .*10.*, need a whole number"),
        ("label\n1\n1.5\n", "line 3, column label"),
        ("label\nx\n1\n", "line 2, column label: received 'x'"),
        (
            ",".join(CLASS_NAMES) + "\n" + ("0.2," * 10)[:-1] + "\n" + "0,0,1,0,0,0,0,0,0,0\n",
            "line 2: the probabilities sum to 2, need 1",
        ),
        (
            ",".join(CLASS_NAMES) + "\n0,0,1,0,0,0,0,0,0,0\n0,0,,0,0,0,0,0,0,0\n",
            "line 3, column Pullover: received nothing, need a probability",
        ),
        ("", "cannot be read as CSV"),
    ],
)
def test_bad_predictions_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        evaluation_report.read_predictions(path, 2)
    with pytest.raises(BadInputError, match="cannot be read"):
        evaluation_report.read_predictions(tmp_path / "missing.csv", 2)
