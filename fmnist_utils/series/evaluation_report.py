"""A folder that tells how good predictions are: tables, confusion matrix, galleries, a page."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fmnist_utils import data, evaluation, plots
from fmnist_utils.classes import CLASS_NAMES, N_CLASSES
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.series.pages import render

_PAGE = "index.html"
_TABLES = ("classes.csv", "classes.tex", "confusion.csv")
_IDS = {"id", "index", "image", "imageid", "unnamed: 0"}  # the last as pandas reads an index
_FIGURES = ("confusion", "mistakes", "unsure")
# A folder that holds anything else is not a report of ours, and stays.
_WRITTEN = {_PAGE, *_TABLES, *(f"{name}.{kind}" for name in _FIGURES for kind in ("png", "svg"))}


def read_predictions(path: Path, n: int) -> NDArray[np.float64]:
    """Return the probabilities that a CSV file holds, one row a test image in published order.

    Parameters
    ----------
    path : Path
        With a header: either the ten class names, in any order, for probabilities; or ``label``,
        for the answers alone, as numbers 0 to 9. A column named ``id``, ``index``, ``image`` or
        ``image_id`` says which image a row is about, counted from 0 or from 1.
    n : int
        Rows that there must be.

    Returns
    -------
    ndarray of shape (n, 10)
        An answer alone becomes a probability of 1.

    Raises
    ------
    BadInputError
        If the file cannot be read, has other columns or another number of rows, a cell is not
        what it must be, or an image is missing.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} cannot be read as CSV: {error}") from error
    wanted = list(CLASS_NAMES) if set(CLASS_NAMES) <= set(table) else ["label"]
    if not set(wanted) <= set(table):
        raise BadInputError(
            f"{path} has the columns {', '.join(map(str, table))}: need label, or the ten class "
            f"names ({', '.join(CLASS_NAMES)})."
        )
    if len(table) != n:
        raise BadInputError(f"{path} has {len(table):,} rows: need {n:,}, one a test image.")
    table = _sorted(path, table)
    values = table[wanted].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    highest = 1 if len(wanted) > 1 else N_CLASSES - 1
    bad = ~((values >= 0) & (values <= highest))
    if wanted == ["label"]:
        bad |= values != np.round(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        cell = table[wanted[column]].iloc[row]
        raise BadInputError(
            f"{path}, line {table.index[row] + 2}, column {wanted[column]}: received "
            f"{repr(cell) if cell.strip() else 'nothing'}, need "
            + ("a probability from 0 to 1." if highest == 1 else "a whole number from 0 to 9.")
        )
    if wanted == ["label"]:
        return np.asarray(np.eye(N_CLASSES)[values[:, 0].astype(int)])
    sums = values.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-2):
        row = int(np.argmax(np.abs(sums - 1)))
        raise BadInputError(
            f"{path}, line {table.index[row] + 2}: the probabilities sum to {sums[row]:.4g}, "
            "need 1."
        )
    return np.asarray(values / sums[:, np.newaxis])


def _sorted(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows by the images that they are about, or as they are if that is not said."""
    named = [name for name in table if str(name).strip().lower().replace("_", "") in _IDS]
    if not named:
        return table
    ids = pd.to_numeric(table[named[0]], errors="coerce")
    first = ids.min()
    if first not in (0, 1) or not np.array_equal(ids.sort_values(), first + np.arange(len(ids))):
        raise BadInputError(
            f"{path}, column {named[0]}: need each number from 0 to {len(ids) - 1:,}, or from 1 to "
            f"{len(ids):,}, once."
        )
    return table.loc[ids.sort_values().index]


def check_folder(folder: Path) -> None:
    """Raise BadInputError unless a folder is missing, empty, or holds an earlier report.

    Parameters
    ----------
    folder : Path
        Where a report is to be written.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if folder.is_file() or (names and not {_PAGE} <= names <= _WRITTEN):
        raise BadInputError(f"{folder} holds something else: name a new or an empty folder.")


def write(
    title: str,
    test: data.Labelled,
    probabilities: NDArray[np.floating],
    folder: Path,
    *,
    names: Sequence[str] = CLASS_NAMES,
) -> None:
    """Write a report of predictions; an earlier one is replaced once the new one is complete.

    Parameters
    ----------
    title : str
        Heading of the page and of the confusion matrix.
    test : data.Labelled
        The images and their true classes.
    probabilities : ndarray of shape (n, 10)
        Of the classes, an image a row.
    folder : Path
        Gets ``index.html``, ``classes.csv`` and ``classes.tex`` (precision, recall and F1 by class
        and averaged), ``confusion.csv``, and figures as PNG and SVG.
    names : sequence of str
        Of the ten classes.

    Raises
    ------
    BadInputError
        If the folder holds something else.
    FailureError
        If it cannot be written.
    """
    check_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".report-") as unfinished:
            whole = Path(unfinished) / "report"
            whole.mkdir()
            _write(title, test, probabilities, whole, names)
            if folder.exists():
                folder.rename(Path(unfinished) / "earlier")
            whole.rename(folder)
    except OSError as error:
        raise FailureError(
            f"Cannot write the report into {folder} ({error}): make room, or name another folder."
        ) from error


def _write(
    title: str,
    test: data.Labelled,
    probabilities: NDArray[np.floating],
    folder: Path,
    names: Sequence[str],
) -> None:
    labels = test.labels
    classes = pd.concat(
        [
            evaluation.class_report(labels, probabilities, names=names),
            evaluation.averages(labels, probabilities).add_suffix(" average", axis=0),
        ]
    ).rename_axis("class")
    classes.to_csv(folder / "classes.csv")
    (folder / "classes.tex").write_text(classes.to_latex(float_format="%.4f"), encoding="utf-8")
    counts = evaluation.confusion(labels, probabilities, names=names)
    counts.to_csv(folder / "confusion.csv")
    matrix = plt.figure(figsize=(6, 5))
    plots.confusion_matrix(counts, title=title, ax=matrix.add_subplot())
    galleries = _galleries(test, probabilities, names)
    figures = {"confusion": ("Confusion matrix", matrix), **galleries}
    for name, (_, figure) in figures.items():
        for ending in ("png", "svg"):
            plots.save_figure(figure, folder / f"{name}.{ending}")
        plt.close(figure)
    measured = evaluation.metrics(labels, probabilities)
    n = len(labels)
    page = render(
        "evaluation_report.html",
        title=title,
        n=n,
        metrics=measured,
        interval=evaluation.accuracy_interval(round(measured["accuracy"] * n), n),
        classes=classes,
        absent=[name for name, row in classes.iterrows() if row["support"] == 0],
        figures={name: text for name, (text, _) in figures.items()},
    )
    (folder / _PAGE).write_text(page, encoding="utf-8")


def _galleries(
    test: data.Labelled,
    probabilities: NDArray[np.floating],
    names: Sequence[str],
    *,
    most: int = 100,
) -> dict[str, tuple[str, Figure]]:
    """Return the galleries that have something to show: name, what it shows, figure."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == test.labels
    chosen = {
        "mistakes": ("The most confident mistakes", np.flatnonzero(~right), -confidence),
        "unsure": ("The least confident right answers", np.flatnonzero(right), confidence),
    }
    figures = {}
    for name, (text, images, key) in chosen.items():
        shown = images[np.argsort(key[images], kind="stable")][:most]
        if len(shown):
            figure = plots.gallery(
                test.images[shown],
                test.labels[shown],
                probabilities[shown],
                names=names,
                title=text,
            )
            figures[name] = (text, figure)
    return figures
