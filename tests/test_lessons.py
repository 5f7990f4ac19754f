"""What every lesson holds to: its limits, its tags, and cells that need nothing of ours.

Lessons are the notebooks with ``fmnist`` metadata; the others are still to be rewritten.
"""

import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from fmnist_utils.series import contents

ROOT = Path(__file__).parents[1]
MAX_CELLS, MAX_WORDS, MAX_MINUTES = 45, 1_200, 45
MEDIAN_LINES, MAX_LINES = 6, 25
_METADATA = {"title", "part", "question", "objectives", "minutes", "before", "terms"}


def _notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


LESSONS = [
    path
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    if "fmnist" in _notebook(path).metadata
]
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@each_lesson
def test_it_says_what_it_is_for(path: Path) -> None:
    about = _notebook(path).metadata["fmnist"]
    assert set(about) == _METADATA
    assert about["question"].endswith("?")
    assert 3 <= len(about["objectives"]) <= 5
    assert 0 < about["minutes"] <= MAX_MINUTES
    for name in about["before"]:
        assert (path.parent / f"{name}.ipynb").exists()
        assert name < path.stem


@each_lesson
def test_it_is_short(path: Path) -> None:
    cells = _notebook(path).cells
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    lines = [len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code"]
    assert len(cells) <= MAX_CELLS
    assert words <= MAX_WORDS
    assert statistics.median_high(lines) <= MEDIAN_LINES
    assert max(lines) <= MAX_LINES


@each_lesson
def test_what_is_defined_is_in_the_glossary_and_in_the_text(path: Path) -> None:
    notebook = _notebook(path)
    text = " ".join(
        " ".join(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown"
    )
    for term, definition in notebook.metadata["fmnist"]["terms"].items():
        assert re.search(rf"\*{re.escape(term)}\*", text, re.IGNORECASE), term
        assert definition.endswith("."), term


@each_lesson
def test_checks_and_recording_are_hidden(path: Path) -> None:
    for cell in _notebook(path).cells:
        if re.search(r"\bthis\.(in_band|record)\(", cell.source):
            assert "remove-cell" in _tags(cell), cell.source
        if "remove-cell" in _tags(cell):
            assert cell.metadata["jupyter"]["source_hidden"]


@each_lesson
def test_what_is_taught_stands_in_the_open(path: Path) -> None:
    cells = [cell for cell in _notebook(path).cells if cell.cell_type == "code"]
    for cell in cells:
        if re.search(r"\.(compile|fit)\(", cell.source) and "remove-cell" not in _tags(cell):
            assert "central" in _tags(cell), cell.source
    if path.stem[:2] < "10":
        assert not any(re.search(r"\b(get_or_train|Recipe|override)\b", c.source) for c in cells)


@each_lesson
def test_a_question_is_answered_after_its_output(path: Path) -> None:
    text = [cell.source for cell in _notebook(path).cells if cell.cell_type == "markdown"]
    asked = sum(cell.count("**Before you run it") for cell in text)
    answered = sum(cell.count("<details>") for cell in text)
    assert answered >= asked > 0


@each_lesson
def test_it_answers_in_one_line_and_one_figure(path: Path) -> None:
    found = contents.outcome(path)
    assert 20 < len(found.answer) <= 120, found.answer
    assert found.figure


@pytest.mark.real_data
@pytest.mark.trains
@each_lesson
def test_the_central_cells_need_nothing_of_ours(path: Path) -> None:
    cells = [cell for cell in _notebook(path).cells if cell.cell_type == "code"]
    central = [cell.source for cell in cells if "central" in _tags(cell)]
    if path.stem == "00_quickstart":
        assert central == []
        return
    prepared = [c.source for c in cells if _tags(c) & {"parameters", "given"}]
    program = f"prepared, central = {prepared!r}, {central!r}\n{_PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT / "notebooks",
        env={**os.environ, "FMNIST_PROFILE": "smoke", "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr[-3_000:]


# Runs the cells that prepare arrays and numbers, forgets the package, and runs the central cells
# with these alone, as in an empty notebook.
_PROGRAM = """
import sys
import numpy as np
from fmnist_utils import data, session
from fmnist_utils.classes import CLASS_NAMES

session.setup()
namespace = dict(globals())
for source in prepared:
    exec(source, namespace)
plain = (np.ndarray, np.generic, int, float, str, list, tuple, dict)
given = {
    name: value
    for name, value in namespace.items()
    if isinstance(value, plain) and not hasattr(value, "_fields") and not name.startswith("_")
}
assert any(isinstance(value, np.ndarray) for value in given.values())
for name in [name for name in sys.modules if name.startswith("fmnist_utils")]:
    del sys.modules[name]
sys.modules["fmnist_utils"] = None
for source in central:
    exec(source, given)
"""
