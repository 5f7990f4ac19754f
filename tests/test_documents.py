"""What the documents say of the package is true."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import fmnist_utils

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fmnist_utils"


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_map_names_every_module_and_fits_a_screen() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    named = set(re.findall(r"`(\w+)`", str(fmnist_utils.__doc__)))
    assert named - {"fmnist"} == modules - {"__init__", "__pycache__"}
    assert len(_text("fmnist_utils/__init__.py").splitlines()) <= 25


def test_readme_shows_the_same_map() -> None:
    (drawn,) = re.findall(r"```\nfmnist_utils/\n(.*?)```", _text("README.md"), re.DOTALL)
    shown = set(re.findall(r"\w+", drawn))
    assert set(re.findall(r"`(\w+)`", str(fmnist_utils.__doc__))) <= shown


@pytest.mark.parametrize(
    ("path", "name"),
    re.findall(r"\| `(fmnist_utils/[\w/.]+)` \| `(\w+(?:\.py)?)`", _text("CONTRIBUTING.md")),
)
def test_what_contributing_points_at_is_there(path: str, name: str) -> None:
    if name.endswith(".py"):
        assert (ROOT / path / name).is_file()
    else:
        assert re.search(rf"^(def|class) {name}\b|^{name}\b", _text(path), re.MULTILINE)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_documents_name_are_there(document: str) -> None:
    named = re.findall(r"`((?:fmnist_utils|tests|figures|deploy)/[\w/.]+)`", _text(document))
    assert [name for name in named if not ((ROOT / name).exists() or "NN" in name)] == []


def test_the_version_stands_the_same_everywhere() -> None:
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    citation = yaml.safe_load(_text("CITATION.cff"))
    assert project["version"] == fmnist_utils.__version__ == str(citation["version"])
    assert citation["license"] == project["license"]
