"""What re-runs a notebook, on the real notebooks and the package's own imports."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import grimp
import nbformat
import pytest
from nbformat import v4

from fmnist_utils import paths
from fmnist_utils.series import fingerprint

PACKAGE = Path(fingerprint.__file__).parents[1]
NOTEBOOKS = PACKAGE.parent / "notebooks"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that can be changed, and is what fingerprints are taken of."""
    ignored = shutil.ignore_patterns("__pycache__", "*.keras", "*.onnx")
    copy = shutil.copytree(PACKAGE, tmp_path / "fmnist_utils", ignore=ignored)
    monkeypatch.setattr(fingerprint, "_PACKAGE", copy)
    return copy


def _lesson(name: str) -> Path:
    return next(NOTEBOOKS.glob(f"{name}_*.ipynb"))


@pytest.mark.parametrize(
    ("changed", "rerun", "kept"),
    [
        ("models.py", ["04", "13"], ["01", "02"]),
        ("plots/grids.py", ["00", "01", "17"], []),
        ("data/sketches.py", ["00", "01", "15"], []),
        ("similarity.py", ["16", "17"], ["00", "02"]),
        ("photos/photos.csv", ["00", "13", "17"], ["01", "02"]),
        ("photos/prepare.py", ["00", "16", "17"], ["01", "02"]),
        ("service/page.html", [], ["00", "01", "02", "10", "16", "17"]),
        ("service/app.py", ["16"], ["00", "01", "02", "10", "17"]),
        ("series/runner.py", [], ["00", "01", "02", "10", "16", "17"]),
        ("series/templates/cost.md", [], ["00", "16"]),
    ],
)
def test_a_change_reruns_the_notebooks_that_reach_it(
    package: Path, changed: str, rerun: list[str], kept: list[str]
) -> None:
    def taken() -> dict[str, str]:
        return {name: fingerprint.fingerprint(_lesson(name), {}) for name in rerun + kept}

    before = taken()
    with (package / changed).open("a", encoding="utf-8") as file:
        file.write("\n")
    after = taken()
    assert [name for name in before if before[name] != after[name]] == rerun


def _importable(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder.parent).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__")


def test_imports_are_followed_as_grimp_follows_them() -> None:
    graph = grimp.build_graph("fmnist_utils", cache_dir=None)
    for module in _importable(PACKAGE):
        reached, waiting = set(), [module]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                parents = [name.rpartition(".")[0]] if "." in name else []
                waiting += [*parents, *graph.find_modules_directly_imported_by(name)]
        code = [f"from {module.rpartition('.')[0] or module} import {module.rpartition('.')[2]}"]
        files = fingerprint.reached_files(code, PACKAGE)
        found = {file for file in files if file.suffix == ".py"}
        names = {name: PACKAGE.parent.joinpath(*name.split(".")) for name in reached}
        assert found == {
            path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            for path in names.values()
        }, module


def test_imports_are_found_in_cells_and_in_code_for_another_python() -> None:
    cells = [
        "%pip install x\nfrom fmnist_utils import (\n    similarity,\n    augment as other,\n)",
        'command = [python, "-c", "from fmnist_utils.cli import predict_files; run()"]',
    ]
    found = {str(f.relative_to(PACKAGE)) for f in fingerprint.reached_files(cells, PACKAGE)}
    assert found >= {"similarity.py", "augment.py", "cli/predict_files.py", "cli/__init__.py"}
    assert "session.py" not in found


def test_code_parameters_and_results_told_count_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    (tmp_path / "figures").mkdir()

    def taken(code: str = "1 + 1", *, seed: int = 0, told: str = "03_c") -> str:
        paths.published_results().write_text(json.dumps([{"notebook": told}]), encoding="utf-8")
        nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(code)]), tmp_path / "01_a.ipynb")
        return fingerprint.fingerprint(tmp_path / "01_a.ipynb", {"seed": seed})

    named, reading, asking = 'session.study("02_b")', "results.read(path)", "predictions(x)"
    assert taken() == taken(told="02_b")
    different = [
        *(taken(), taken("1 + 2"), taken(seed=1), taken(told="01_a")),
        *(taken(named), taken(named, told="02_b")),
        *(taken(reading), taken(reading, told="02_b"), taken(asking)),
    ]
    paths.published_predictions().mkdir()
    (paths.published_predictions() / "cnn-seed0-a.npz").touch()
    different += [taken(asking), taken('open("speed.json")')]
    (tmp_path / "figures" / "speed.json").write_text('[{"bfloat16": 2}]', encoding="utf-8")
    different.append(taken('open("speed.json")'))
    assert len(set(different)) == len(different)
