"""Publishing, on two small notebooks."""

import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from fmnist_utils.errors import BadInputError
from fmnist_utils.series import publish_notebooks, runner

ROOT = Path(__file__).parents[2]
_MARKED = (
    "# T\n<!-- photos -->\n<!-- end of photos -->\n<!-- speed -->\nold\n<!-- end of speed -->\n"
    "<!-- results -->\nold\n<!-- end of results -->\nend\n"
)


def test_grafting_takes_outputs_and_nothing_else(series: Path) -> None:
    source = nbformat.read(series / "notebooks" / "02_second.ipynb", as_version=4)
    executed = nbformat.reads(nbformat.writes(source), as_version=4)
    injected = v4.new_code_cell("seed = 5", metadata={"tags": ["injected-parameters"]})
    executed.cells.insert(2, injected)
    executed.metadata["papermill"] = {"start_time": "now"}
    executed.metadata["widgets"] = {}
    for count, cell in enumerate(executed.cells[1:-1], start=1):
        cell.execution_count = count
        cell.metadata["papermill"] = {"duration": 1}
    executed.cells[-2].outputs = [
        v4.new_output("execute_result", {"text/plain": "4"}, execution_count=4)
    ]
    grafted = publish_notebooks.grafted(source, executed)
    assert [cell.source for cell in grafted.cells] == [
        cell.source for cell in executed.cells if cell is not injected
    ]
    assert [cell.get("execution_count") for cell in grafted.cells] == [None, 1, 2, 3, None]
    assert grafted.cells[3].outputs[0].execution_count == 3
    assert not {"papermill", "widgets"} & set(grafted.metadata)
    assert not any("papermill" in cell.metadata for cell in grafted.cells)


def test_publishing_stamps_costs_links_and_the_table(series: Path) -> None:
    (series / "pyproject.toml").write_text(
        '[tool.fmnist]\nrepository = "owner/name"\n', encoding="utf-8"
    )
    (series / "README.md").write_text(_MARKED, encoding="utf-8")
    output = runner.run(["2"], profile="full")
    publish_notebooks.publish(["02_second"], output, "full")
    second = nbformat.read(series / "notebooks" / "02_second.ipynb", as_version=4)
    assert second.cells[-1].source == "[← 01_first](01_first.ipynb) · [Contents](README.md)"
    assert (
        'here "fmnist_utils[course] @ https://github.com/owner/name/archive/main.zip"'
        in second.cells[0].source
    )
    assert second.cells[3].outputs[0].data["text/plain"] == "4"
    costs = json.loads((series / "figures" / "costs.json").read_text(encoding="utf-8"))
    assert costs["02_second"]["full"]["seconds"] > 0
    assert (
        (series / "README.md")
        .read_text(encoding="utf-8")
        .endswith("<!-- end of results -->\nend\n")
    )
    assert "old" not in (series / "README.md").read_text(encoding="utf-8")
    # Stamping twice changes nothing.
    assert all(
        path.read_text(encoding="utf-8") == text
        for path, text in publish_notebooks.stamped().items()
    )


def test_a_lesson_shows_a_quick_run_and_is_told_of_in_its_title(series: Path) -> None:
    (series / "pyproject.toml").write_text('[tool.fmnist]\nrepository = ""\n', encoding="utf-8")
    (series / "README.md").write_text(_MARKED, encoding="utf-8")
    path = series / "notebooks" / "02_second.ipynb"
    lesson = nbformat.read(path, as_version=4)
    lesson.cells.insert(0, v4.new_markdown_cell("# ...", metadata={"tags": ["title"]}))
    lesson.metadata["fmnist"] = {
        **{"title": "02 · Second", "part": "I · Foundations", "question": "What comes second?"},
        **{"objectives": ["to count"], "minutes": 5, "before": ["01_first"]},
        "terms": {"second": "What comes after the first."},
    }
    nbformat.write(lesson, path)
    for profile in ("full", "quick"):
        output = runner.run(["2"], profile=profile)
        publish_notebooks.publish(["02_second"], output, profile)
        shown = nbformat.read(path, as_version=4)
        executed = any(cell.get("outputs") for cell in shown.cells)
        assert executed is (profile == "quick")
    title = shown.cells[0].source
    assert title.startswith("[← 01_first](01_first.ipynb) · [Contents](README.md) · [Glossary]")
    assert "# 02 · Second\n\n*Part I · Foundations.* **What comes second?**\n\n- to count" in title
    assert re.search(r"\| 5 min \| 1 min, \d\.\d GiB \| 1 min, .* \| \[01_first\]", title)
    glossary = (series / "notebooks" / "GLOSSARY.md").read_text(encoding="utf-8")
    assert "- **second** ([02_second](02_second.ipynb)): What comes after the first." in glossary


def test_only_runs_as_they_are_can_be_published() -> None:
    publish_notebooks.check_publishable("full", 0, {})
    publish_notebooks.check_publishable("quick", 0, {})
    for request in (("smoke", 0, {}), ("full", 1, {}), ("full", 0, {"share": "1"})):
        with pytest.raises(BadInputError, match="leave out --publish"):
            publish_notebooks.check_publishable(*request)


def test_install_cells_name_the_extras_that_a_notebook_needs(series: Path) -> None:
    (series / "pyproject.toml").write_text('[tool.fmnist]\nrepository = ""\n', encoding="utf-8")
    (series / "README.md").write_text(_MARKED, encoding="utf-8")
    folder = series / "notebooks"
    (folder / "02_second.ipynb").rename(folder / "15_export.ipynb")
    installs = {
        path.stem: nbformat.reads(text, as_version=4).cells[0].source.splitlines()[-1].strip()
        for path, text in publish_notebooks.stamped().items()
        if path.suffix == ".ipynb"
    }
    assert installs == {
        "01_first": '%pip install --quiet "..[course]"',
        "15_export": '%pip install --quiet "..[course,export]"',
    }
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = metadata["project"]["optional-dependencies"]
    for line in installs.values():
        named = re.search(r"\[(.*)\]", line)
        assert named
        assert set(named[1].split(",")) <= set(extras)
