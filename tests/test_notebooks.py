"""The committed notebooks, figures and README: whole, executed, and in step with each other."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbconvert import HTMLExporter

from fmnist_utils.series import publish_notebooks
from fmnist_utils.series.pages import render

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _cells(path: Path, tag: str | None = None) -> list[nbformat.NotebookNode]:
    cells = nbformat.read(path, as_version=4).cells
    return [c for c in cells if tag is None or tag in c.metadata.get("tags", [])]


@each_notebook
def test_every_cell_was_executed_without_error(path: Path) -> None:
    for cell in _cells(path):
        if cell.cell_type == "code" and "skip-execution" not in cell.metadata.get("tags", []):
            assert cell.execution_count is not None, cell.source
            assert all(output.output_type != "error" for output in cell.outputs)
            assert all(output.get("name") != "stderr" for output in cell.outputs), cell.source


@each_notebook
def test_published_outputs_are_of_the_profile_that_is_shown(path: Path) -> None:
    lesson = "fmnist" in nbformat.read(path, as_version=4).metadata
    printed = [o.text for c in _cells(path) for o in c.get("outputs", []) if "text" in o]
    assert any(text.startswith(f"profile {'quick' if lesson else 'full'}") for text in printed)


@each_notebook
def test_no_result_is_typed_into_the_text(path: Path) -> None:
    for cell in _cells(path):
        generated = {"cost", "title"} & set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown" and not generated:
            assert _typed_results(cell.source) == [], cell.source


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It reaches 93.4 on validation images.", ["93.4"]),
        ("An accuracy of .934 or 0.934", [".934", "0.934"]),
        ("right in 93 % of the cases, 4 points more", ["93 %", "4 points"]),
        ("`dropout=0.25`, $x^{0.5}$, [a link](v1.2/x), 10,000 images, a 95 % interval", []),
    ],
)
def test_typed_results_are_found(text: str, found: list[str]) -> None:
    assert _typed_results(text) == found


def _typed_results(markdown: str) -> list[str]:
    """Return the numbers in a text that claim a result: decimals, percentages, points."""
    # Code, formulas and addresses claim nothing; 95 % is the level of every interval.
    text = re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|\b95 %", "", markdown)
    return re.findall(r"\d*\.\d+|\d+ ?(?:%|percent|points)", text)


@each_notebook
def test_parameters_are_literals(path: Path) -> None:
    (cell,) = _cells(path, "parameters")
    names = []
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)
        names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
    assert {"profile", "seed", "dataset"} <= set(names)
    assert 'profile = "quick"' in cell.source


@each_notebook
def test_install_cell_is_skipped_by_papermill_and_nbval(path: Path) -> None:
    (cell,) = _cells(path, "install")
    assert {"skip-execution", "nbval-skip"} <= set(cell.metadata["tags"])


def _installing(code: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, Any]]:
    """Run an install cell where nothing is installed; return what pip is asked, and its names."""
    asked: list[str] = []
    shell = SimpleNamespace(run_line_magic=lambda _, line: asked.append(line))
    names: dict[str, Any] = {"get_ipython": lambda: shell}
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _: None)
        exec(TransformerManager().transform_cell(code), names)
    return asked, names


def test_install_cell_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = render("install.md", repository="", extras="course")
    assert code.strip() == _cells(NOTEBOOKS[0], "install")[0].source
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    with pytest.raises(AssertionError, match="Open this notebook in a copy of its repository"):
        _installing(code, monkeypatch)
    (tmp_path / "pyproject.toml").touch()
    assert _installing(code, monkeypatch)[0] == ['install --quiet "..[course]"']


def test_install_cell_keeps_colabs_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    code = render("install.md", repository="owner/name", extras="course")
    (line,), names = _installing(code, monkeypatch)
    assert line.startswith("install --quiet $here ")  # IPython puts in what `here` is
    here = dict(pin.split("==") for pin in names["here"].split())
    assert here == {name: importlib.metadata.version(name) for name in here}
    assert {"tensorflow", "keras", "numpy"} <= set(here)


@each_notebook
def test_nothing_that_churns_is_committed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not {"widgets", "papermill"} & set(notebook.metadata)
    assert not any("papermill" in cell.metadata for cell in notebook.cells)
    assert path.stat().st_size < 3 * 2**20


@each_notebook
def test_figures_have_alt_text_and_a_file(path: Path) -> None:
    pictures = 0
    for cell in _cells(path):
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            assert "image/png" not in shown, "this.show keeps the alt text"
            alt = re.match(r'<img width="\d+" alt="([^"]+)" src="data:', shown.get("text/html", ""))
            if alt:
                pictures += 1
                assert len(alt[1]) > 20
    assert pictures == len(list((ROOT / "figures" / path.stem).glob("*.png"))) > 0


def test_alt_text_survives_a_conversion() -> None:
    page, _ = HTMLExporter().from_filename(str(NOTEBOOKS[0]))
    assert page.count("<img ") == len(list((ROOT / "figures" / NOTEBOOKS[0].stem).glob("*.png")))
    assert "No description has been provided" not in page


@each_notebook
def test_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in _cells(path) if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (path.parent / link).exists(), link
    assert "[Contents](README.md)" in text


def test_readme_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_generated_text_is_up_to_date() -> None:
    for path, text in publish_notebooks.stamped().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run fmnist stamp"


def _compared_numbers(path: Path) -> list[int]:
    """Return the indices of the cells with a compared number in their output."""
    return [
        index
        for index, cell in enumerate(_cells(path))
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        and any(re.search(r"\d{2}", output.get("text", "")) for output in cell.get("outputs", []))
    ]


@each_notebook
def test_numbers_are_compared(path: Path) -> None:
    assert _compared_numbers(path)


@pytest.mark.real_data
def test_nbval_notices_an_altered_number(tmp_path: Path) -> None:
    """A copy cut after its first compared number passes; with a digit altered it fails."""
    path = NOTEBOOKS[0]
    index = _compared_numbers(path)[0]
    whole = nbformat.read(path, as_version=4)
    whole.cells = whole.cells[: index + 1]
    altered = nbformat.reads(nbformat.writes(whole), as_version=4)
    (output,) = [o for o in altered.cells[index].outputs if "text" in o]
    output.text = re.sub(r"\d(?=\D*$)", lambda m: str((int(m[0]) + 1) % 10), output.text)
    nbformat.write(whole, tmp_path / "whole.ipynb")
    nbformat.write(altered, tmp_path / "altered.ipynb")
    shutil.copy(ROOT / "notebooks" / "conftest.py", tmp_path)
    nbval = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    sanitize = ["--nbval-sanitize-with", ROOT / "tests" / "nbval_sanitize.cfg"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *nbval, *sanitize, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "FMNIST_PROFILE": "smoke", "FMNIST_RUNS_DIR": str(tmp_path / "runs")},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.findall(r"^FAILED (\S+?)::", done.stdout, flags=re.MULTILINE)
    assert failed == ["altered.ipynb"], done.stdout
