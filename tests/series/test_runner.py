"""The runner, on small notebooks of its own."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from fmnist_utils import paths
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.series import publish, runner


@pytest.fixture(autouse=True)
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


def test_run_then_resume_then_fail(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {p: p.read_bytes() for p in (series / "notebooks").iterdir()}
    folder = runner.run(profile="smoke", output=series / "out")
    out = capsys.readouterr().out
    assert "GiB" in out.splitlines()[0]
    executed = nbformat.read(folder / "01_first.ipynb", as_version=4)
    assert "smoke" in executed.cells[-2].outputs[0].text
    page = (folder / "index.html").read_text()
    assert 'href="01_first.html"' in page
    assert (folder / "02_second.html").exists()
    report = json.loads((folder / "report.json").read_text())
    assert all(entry["seconds"] > 0 and entry["peak_gib"] > 0 for entry in report.values())

    # The same again has nothing to do; other test results or parameters have; a failure says where.
    runner.run(profile="smoke", output=series / "out")
    assert capsys.readouterr().out.count("unchanged") == 2
    told = [{"notebook": "02_second", "split": "test"}]
    paths.published_results().parent.mkdir()
    paths.published_results().write_text(json.dumps(told))
    runner.run(profile="smoke", output=series / "out")
    assert capsys.readouterr().out.count("unchanged") == 1
    with pytest.raises(FailureError, match=r"(?s)02_second, cell \d.*AssertionError: told to fail"):
        runner.run(["2"], profile="smoke", parameters={"fail": "True"}, output=series / "out")
    assert (folder / "failed_02_second.ipynb").exists()
    assert not list(folder.glob("unfinished*"))
    assert {p: p.read_bytes() for p in (series / "notebooks").iterdir()} == sources


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "fast"}, r"Unknown profile 'fast': choose one of smoke, quick, full"),
        ({"numbers": ["7"]}, r"notebook number '7': choose one of 01, 02"),
        ({"parameters": {"sed": "1"}}, r"parameter of 01_first 'sed'.*profile, seed"),
        ({"parameters": {"share": "much"}}, r"share takes a value like 0.5; received 'much'"),
        ({"parameters": {"fail": "1"}}, r"fail takes a value like False; received '1'"),
    ],
)
def test_bad_requests_run_nothing(series: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        runner.run(**arguments, output=series / "out")  # type: ignore[arg-type]
    assert not (series / "out").exists()


def test_output_that_cannot_be_written(series: Path) -> None:
    (series / "file").touch()
    with pytest.raises(BadInputError, match=r"Cannot write to output folder .*choose another"):
        runner.run(output=series / "file" / "out")


def test_no_notebooks(series: Path) -> None:
    for path in (series / "notebooks").iterdir():
        path.unlink()
    with pytest.raises(FailureError, match="run this in a checkout"):
        runner.run()


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
    grafted = publish.grafted(source, executed)
    assert [cell.source for cell in grafted.cells] == [
        cell.source for cell in executed.cells if cell is not injected
    ]
    assert [cell.get("execution_count") for cell in grafted.cells] == [None, 1, 2, 3, None]
    assert grafted.cells[3].outputs[0].execution_count == 3
    assert not {"papermill", "widgets"} & set(grafted.metadata)
    assert not any("papermill" in cell.metadata for cell in grafted.cells)


def test_publishing_stamps_costs_links_and_the_table(series: Path) -> None:
    (series / "pyproject.toml").write_text('[tool.fmnist]\nrepository = "owner/name"\n')
    marked = (f"<!-- {mark} -->\nold\n<!-- end of {mark} -->\n" for mark in ("speed", "results"))
    (series / "README.md").write_text("# T\n" + "".join(marked) + "end\n")
    output = runner.run(["2"], profile="full")
    publish.publish(["02_second"], output)
    second = nbformat.read(series / "notebooks" / "02_second.ipynb", as_version=4)
    assert second.cells[-1].source == "[← 01_first](01_first.ipynb) · [Contents](../README.md)"
    assert "pip install --quiet git+https://github.com/owner/name" in second.cells[0].source
    assert second.cells[3].outputs[0].data["text/plain"] == "4"
    costs = json.loads((series / "figures" / "costs.json").read_text())
    assert costs["02_second"]["full"]["seconds"] > 0
    assert (series / "README.md").read_text().endswith("<!-- end of results -->\nend\n")
    assert "old" not in (series / "README.md").read_text()
    # Stamping twice changes nothing.
    assert all(path.read_text() == text for path, text in publish.stamped().items())


def test_only_full_runs_as_they_are_can_be_published() -> None:
    publish.check_publishable("full", 0, {})
    for request in (("quick", 0, {}), ("full", 1, {}), ("full", 0, {"share": "1"})):
        with pytest.raises(BadInputError, match="leave out --publish"):
            publish.check_publishable(*request)
