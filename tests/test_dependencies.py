import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fmnist_utils"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
WINGS = ("photos", "service", "series", "cli")
# What is made of a library and comes with it, of a version that it chooses.
COMES_WITH = {"cycler": "matplotlib", "pydantic-core": "pydantic", "starlette": "fastapi"}
# What is used by its name alone, or by another library when it is there.
NOT_IMPORTED = {
    "httptools": "uvicorn's parser of HTTP",
    "uvloop": "uvicorn's event loop",
    "python-multipart": "forms with files, for starlette",
    "ipykernel": "runs the notebooks",
    "jinja2": "pandas' LaTeX, in notebook 07",
    "jupyterlab": "make lab",
    "onnx": "written by tf2onnx, read by ONNX Runtime's quantisation",
    "tf2onnx": "Keras's export to ONNX",
}


def _declared(*extras: str) -> dict[str, SpecifierSet]:
    """Return the ranges of what pip installs for extras, by distribution."""
    ranges: dict[str, SpecifierSet] = {}
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            ranges |= _declared(*requirement.extras)
        else:
            ranges[canonicalize_name(requirement.name)] = requirement.specifier
    return ranges


def _imports(source: str, *, lazy: bool) -> Iterator[str]:
    """Yield the modules that source imports, full names; lazy: also what functions import."""
    asked: list[ast.AST] = [ast.parse(source)]
    while asked:
        node = asked.pop()
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not lazy:
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case _:
                asked += ast.iter_child_nodes(node)


def _distributions(sources: Iterable[str], *, lazy: bool) -> set[str]:
    """Return the distributions that sources import, and the package's own modules with them.

    What the package's own modules import counts where it is not lazy: the caller may not get there.
    """
    brought = importlib.metadata.packages_distributions()
    found, seen = set(), set[Path]()
    asked = [(source, lazy) for source in sources]
    while asked:
        source, all_of_it = asked.pop()
        for name in _imports(source, lazy=all_of_it):
            top, *rest = name.split(".")
            if top == PACKAGE.name:
                files = {file for n in range(len(rest) + 1) for file in _files(*rest[:n])} - seen
                seen |= files
                asked += [(file.read_text(encoding="utf-8"), False) for file in files]
            elif top not in sys.stdlib_module_names:
                found.add(canonicalize_name(brought[top][0]))
    return {COMES_WITH.get(name, name) for name in found}


def _files(*names: str) -> list[Path]:
    at = PACKAGE.joinpath(*names)
    return [file for file in (at / "__init__.py", at.with_suffix(".py")) if file.is_file()]


def _modules(*names: str) -> list[str]:
    """Return the source of modules, of packages all of them."""
    at = [PACKAGE / name for name in names]
    files = [file for path in at for file in ([path] if path.suffix else path.rglob("*.py"))]
    assert files
    return [file.read_text(encoding="utf-8") for file in files]


def _lessons() -> dict[str, tuple[str, list[str]]]:
    """Return the code of each lesson, by name, and the extras that its install cell asks for."""
    lessons = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        asked = re.search(r"%pip install .*\[([a-z,]+)\]", code)
        assert asked
        lessons[path.stem] = re.sub(r"(?m)^(\s*)[%!].*", r"\1pass", code), asked[1].split(",")
    return lessons


LESSONS = _lessons()


def _course() -> list[str]:
    flat = [path.name for path in PACKAGE.glob("*.py") if path.name != "export.py"]
    folders = [p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name not in WINGS]
    lessons = [code for code, extras in LESSONS.values() if extras == ["course"]]
    return [*lessons, *_modules(*flat, *folders, "photos")]


def _series() -> list[str]:
    # One has an environment of its own: make second-opinion.
    names = {path.name for path in PACKAGE.joinpath("series").glob("*.py")}
    return _modules(*(f"series/{name}" for name in names - {"bundle_second_opinion.py"}))


USED = {
    "course": _course,
    "series": _series,
    "serve": lambda: _modules("service", "data/downloads.py"),  # of the catalogue's images
    "export": lambda: _modules("export.py"),
}


def test_a_photo_is_answered_by_what_comes_without_extras() -> None:
    used = _distributions(_modules("cli/main.py", "cli/predict_files.py"), lazy=False)
    assert used == {*_declared()}


@pytest.mark.parametrize("extra", USED)
def test_an_extra_declares_what_its_modules_import_and_nothing_else(extra: str) -> None:
    used = _distributions(USED[extra](), lazy=True)
    assert used <= {*_declared(extra)}
    own = {Requirement(text).name for text in EXTRAS[extra]} - {PROJECT["name"]}
    assert own <= used | NOT_IMPORTED.keys()


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_installs_what_it_imports(name: str) -> None:
    code, extras = LESSONS[name]
    declared = {one for extra in extras for one in _declared(extra)}
    assert _distributions([code], lazy=True) <= declared


def test_a_learner_gets_no_web_framework_and_who_serves_no_tensorflow() -> None:
    assert not {"fastapi", "uvicorn", "papermill", "jupyterlab"} & {*_declared("course")}
    assert not {"tensorflow", "keras", "matplotlib", "pandas"} & {*_declared("serve")}


def test_commands_name_extras_that_exist() -> None:
    named = re.findall(r'@_needs\("(\w+)"\)', (PACKAGE / "cli/main.py").read_text(encoding="utf-8"))
    assert {*named} == {"course", "series", "serve", "export"} <= EXTRAS.keys()


def test_every_dependency_is_pinned_within_its_range_with_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked: dict[str, list[Requirement]] = {}
    for entry in text.replace("\\\n", "").splitlines():
        requirement, *hashes = entry.split(" --hash=")
        assert hashes, f"{requirement} has no hash"
        pin = Requirement(requirement)
        locked.setdefault(canonicalize_name(pin.name), []).append(pin)
    for name, allowed in _declared("dev").items():
        for pin in locked[name]:
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert specifier.version in allowed, f"{name}{allowed} is locked at {pin}"


def test_lock_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links", text)


def test_conda_installs_the_same_project() -> None:
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    assert f"  - python{PROJECT['requires-python']}" in lines
    assert "      - -e .[dev]" in lines


@pytest.mark.parametrize(
    ("name", "version"),
    [  # What Colab had in the autumn of 2025, when it moved to Python 3.12.
        ("ipykernel", "6.17.1"),
        ("ipython", "7.34.0"),
        ("keras", "3.10.0"),
        ("matplotlib", "3.10.0"),
        ("numpy", "2.0.2"),
        ("opencv-python-headless", "4.11.0.86"),
        ("pandas", "2.2.2"),
        ("pillow", "11.0.0"),
        ("psutil", "5.9.5"),
        ("pydantic", "2.11.0"),
        ("scikit-learn", "1.6.1"),
        ("scipy", "1.14.0"),
        ("tensorflow", "2.19.0"),
        ("tqdm", "4.67.0"),
    ],
)
def test_colab_keeps_its_own_libraries(name: str, version: str) -> None:
    assert version in _declared("course")[name]
