"""What a notebook's outputs follow from: its code, the package as far as it reaches, results."""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat

from fmnist_utils import paths, results

_PACKAGE = Path(__file__).parents[1]
# In code cells, also in code that they hand to another Python as text.
_IMPORT = re.compile(r"\bfrom (fmnist_utils[\w.]*) import (\([^)]*\)|[\w ,]+)")


def fingerprint(notebook: Path, values: Mapping[str, Any]) -> str:
    """Return a hash that differs where another run may give other outputs.

    It covers the notebook's code, its parameters, the package's files that it reaches, and what
    was published: results of itself and of the notebooks that it names, speeds, and which answers.

    Parameters
    ----------
    notebook : Path
        An ``.ipynb`` file.
    values : mapping of str to object
        Its parameters, as JSON can hold them.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    text = "\n".join([notebook.stem, *code])
    told: list[Any] = [
        row
        for row in results.read(paths.published_results())
        if "results.read(" in text or row["notebook"] in text
    ]
    if (speed := paths.published_results().with_name("speed.json")).name in text:
        told += results.read(speed)
    if "predictions(" in text:
        told += sorted(file.name for file in paths.published_predictions().glob("*"))
    digest = hashlib.sha256(json.dumps([code, values, told], sort_keys=True).encode())
    for file in reached_files(code, _PACKAGE):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def reached_files(code: Iterable[str], package: Path) -> list[Path]:
    """Return the files of the package that code imports, directly or by what it imports.

    Parameters
    ----------
    code : iterable of str
        Source text of notebook cells.
    package : Path
        Folder of the package.

    Returns
    -------
    list of Path
        Sorted: modules, wherever in them an import stands, and what else lies in the folders of
        their packages: models and tables.
    """
    waiting = [name for source in code for name in _imported_by_cell(source)]
    modules: set[Path] = set()
    while waiting:
        for file in _module_files(waiting.pop(), package) - modules:
            modules.add(file)
            waiting += _imported_by_module(file)
    folders = {file.parent for file in modules if file.parent != package}
    beside = {file for folder in folders for file in _data_files(folder)}
    return sorted(modules | beside)


def _imported_by_cell(source: str) -> Iterator[str]:
    for module, names in _IMPORT.findall(source):
        yield from (f"{module}.{name}" for name in re.findall(r"\w+", names))


def _imported_by_module(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _module_files(name: str, package: Path) -> set[Path]:
    """Return the files that importing a dotted name runs: those of its packages and its own."""
    first, *parts = name.split(".")
    if first != package.name:
        return set()
    places = [package.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    files = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
    return {file for file in files if file.is_file()}


def _data_files(folder: Path) -> set[Path]:
    # Models and tables; pages and templates only show what is measured.
    kinds = {".onnx", ".keras", ".json", ".csv"}
    return {file for file in folder.rglob("*") if file.suffix in kinds}
