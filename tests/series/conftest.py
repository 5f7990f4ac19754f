"""Two small notebooks to run and publish."""

import os
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from fmnist_utils import paths


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two notebooks: 01 writes a result, 02 fails if told to."""
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path / "runs"))
    # The runner sets these for its kernels; monkeypatch puts them back.
    for name in ("FMNIST_PROFILE", "FMNIST_FIGURES_DIR", "JUPYTER_PREFER_ENV_PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    (tmp_path / "notebooks").mkdir()
    _write(
        tmp_path,
        "01_first",
        "x = 1 / (seed == 0)",
        'import os; print(os.environ["FMNIST_PROFILE"])',
    )
    _write(tmp_path, "02_second", "assert not fail, 'told to fail'", "2 + 2")
    return tmp_path


def _write(root: Path, name: str, *code: str) -> None:
    parameters = v4.new_code_cell('profile = "quick"\nseed = 0\nfail = False\nshare = 0.5')
    parameters.metadata["tags"] = ["parameters"]
    skipped = v4.new_code_cell("# stamped", metadata={"tags": ["install", "skip-execution"]})
    links = v4.new_markdown_cell("stamped", metadata={"tags": ["navigation"]})
    cells = [skipped, parameters, *map(v4.new_code_cell, code), links]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    notebook = v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
