import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _locked() -> dict[str, list[Requirement]]:
    locked: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        requirement = Requirement(line)
        locked.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return locked


def test_every_dependency_is_pinned_within_its_range() -> None:
    locked = _locked()
    texts = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    for wanted in map(Requirement, texts):
        if wanted.name == "fmnist_utils":
            continue
        pins = locked[canonicalize_name(wanted.name)]
        for pin in pins:
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert specifier.version in wanted.specifier, f"{wanted} is locked at {pin}"


def test_lock_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links", text)


def test_conda_installs_the_same_project() -> None:
    lines = (ROOT / "environment.yml").read_text().splitlines()
    assert f"  - python{PROJECT['requires-python']}" in lines
    assert "      - -e .[dev]" in lines


def test_colab_keeps_its_own_tensorflow() -> None:
    ranges = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    # What Colab had in the autumn of 2025, when it moved to Python 3.12.
    colab = {
        "tensorflow": "2.19.0",
        "keras": "3.10.0",
        "numpy": "2.0.2",
        "pandas": "2.2.2",
        "matplotlib": "3.10.0",
        "scikit-learn": "1.6.1",
        "ipykernel": "6.17.1",
        "ipython": "7.34.0",
    }
    for name, version in colab.items():
        assert version in ranges[name], f"{name} {version} would be replaced"
