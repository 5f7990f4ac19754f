"""The runner, on two small notebooks."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from fmnist_utils import paths
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.series import runner


def test_run_then_resume_then_fail(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {p: p.read_bytes() for p in (series / "notebooks").iterdir()}
    folder = runner.run(profile="smoke", output=series / "out")
    out = capsys.readouterr().out
    assert "GiB" in out.splitlines()[0]
    executed = nbformat.read(folder / "01_first.ipynb", as_version=4)
    assert "smoke" in executed.cells[-2].outputs[0].text
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert 'href="01_first.html"' in page
    assert (folder / "02_second.html").exists()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for entry in report.values():
        assert entry["seconds"] > 0
        assert entry["peak_gib"] > 0

    # The same again has nothing to do; other test results or parameters have; a failure says where.
    runner.run(profile="smoke", output=series / "out")
    assert capsys.readouterr().out.count("unchanged") == 2
    told = [{"notebook": "02_second", "split": "test"}]
    paths.published_results().parent.mkdir()
    paths.published_results().write_text(json.dumps(told), encoding="utf-8")
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
        ({"parameters": {"fail": "maybe"}}, r"fail takes a value like False; received 'maybe'"),
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


def test_progress_tells_what_is_left_at_the_pace_of_this_machine(
    series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (series / "figures").mkdir()
    costs = {name: {"smoke": {"seconds": 600.0}} for name in ("01_first", "02_second")}
    (series / "figures" / "costs.json").write_text(json.dumps(costs), encoding="utf-8")
    runner.run(profile="smoke")
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert "[##########..........], about 1 min left" in first
    assert second.endswith("[####################]")


def test_links_of_pages_lead_to_pages(series: Path) -> None:
    folder = series / "notebooks"
    (folder / "GLOSSARY.md").write_text("- [01_first](01_first.ipynb): a term", encoding="utf-8")
    links = "[Contents](README.md) · [Glossary](GLOSSARY.md) · [01_first](01_first.ipynb#there)"
    second = folder / "02_second.ipynb"
    text = second.read_text(encoding="utf-8").replace('"stamped"', json.dumps(links), 1)
    second.write_text(text, encoding="utf-8")
    output = runner.run(["1", "02_second"], profile="smoke")
    for page in ("02_second.html", "glossary.html", "index.html"):
        hrefs = re.findall(r'href="([^"#:]+)["#]', (output / page).read_text(encoding="utf-8"))
        assert [href for href in hrefs if not (output / href).exists()] == []
    page = (output / "02_second.html").read_text(encoding="utf-8")
    assert {'href="index.html"', 'href="glossary.html"'} <= set(re.findall(r'href="[^"]+"', page))
