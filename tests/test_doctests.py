"""The examples in docstrings run, and every function that a notebook uses has one."""

import ast
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import nbformat
import pytest
from matplotlib import pyplot as plt

from fmnist_utils import paths

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "fmnist_utils").rglob("*.py")
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let examples find no data, and write and draw where nothing else lies."""
    monkeypatch.setenv("FMNIST_RUNS_DIR", str(tmp_path))
    monkeypatch.setenv("FMNIST_FIGURES_DIR", str(tmp_path))
    monkeypatch.setattr(paths, "data_dirs", lambda: [tmp_path / "no data"])
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=FLAGS).failed == 0


def _used_in(source: str) -> set[str]:
    """Return what code uses of the package's modules, such as ``fmnist_utils.data.split``."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fmnist_utils")
        for alias in node.names
    }
    names = {node.id for node in nodes if isinstance(node, ast.Name)} & imported.keys()
    of_modules = {
        f"{imported[node.value.id]}.{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
    }
    return of_modules | {imported[name] for name in names}


def _first_uses() -> dict[str, str]:
    """Return, by what is used, the number of the first notebook that uses it."""
    first: dict[str, str] = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        code = [
            cell.source
            for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == "code" and "install" not in cell.metadata.get("tags", [])
        ]
        first = dict.fromkeys(_used_in("\n".join(code)), path.name[:2]) | first
    return first


def _needs_an_example(found: object) -> bool:
    """Return whether this is a function or a class of the package, and no error."""
    if inspect.isclass(found) and issubclass(found, Exception):
        return False
    ours = str(getattr(found, "__module__", "")).startswith("fmnist_utils")
    return ours and (inspect.isfunction(found) or inspect.isclass(found))


def test_what_code_uses_is_found() -> None:
    code = "from fmnist_utils import data, plots as p\nlist(map(p.lines, data.split(x).train.y))"
    assert {"fmnist_utils.plots.lines", "fmnist_utils.data.split"} <= _used_in(code)
    first = _first_uses()
    assert first["fmnist_utils.data.load_training"] == "01"
    assert first["fmnist_utils.photos.clothing_dataset.load"] == "00"


def test_what_notebooks_use_has_an_example_and_names_the_first_of_them() -> None:
    missing = []
    for name, number in sorted(_first_uses().items()):
        found = pkgutil.resolve_name(name)
        if _needs_an_example(found):
            words = " ".join((inspect.getdoc(found) or "").split())
            wanted = (">>> ", f"Introduced in notebook {number}.")
            missing += [f"{name}: {text!r}" for text in wanted if text not in words]
    assert not missing, "\n".join(missing)
