"""Take a full run into the checkout: outputs, figures, results, and the text made from them."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from fmnist_utils import paths, results
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.files import atomic_write, write_text
from fmnist_utils.profiles import PROFILES
from fmnist_utils.series import photo_report, speed
from fmnist_utils.series.pages import markdown_table, render

COSTS = "costs.json"
# What a notebook needs beyond the course's own libraries.
_EXTRAS = {"15_export": "course,export", "16_serve": "course,serve"}
# Tags of cells whose text is made from the template of that name.
_GENERATED = {"cost", "install", "navigation"}


def publish(names: list[str], output: Path, profile: str) -> None:
    """Copy what executed notebooks showed and measured into the checkout.

    A lesson shows what it shows in profile quick, and tells of what it measured in profile full.

    Parameters
    ----------
    names : list of str
        The notebooks, such as ``["04_cnn"]``.
    output : Path
        The folder that `runner.run` filled.
    profile : {"quick", "full"}
        With which profile. Results are taken of a full run, outputs and figures of a quick one; of
        a notebook that says nothing of itself in its metadata, all of a full run.
    """
    target = paths.published_figures_dir()
    for name in names:
        source = paths.notebooks_dir() / f"{name}.ipynb"
        if profile != _shown(nbformat.read(source, as_version=4)):
            continue
        executed = nbformat.read(output / source.name, as_version=4)
        notebook = grafted(nbformat.read(source, as_version=4), executed)
        write_text(source, _notebook_text(notebook))
        shutil.rmtree(target / name, ignore_errors=True)
        if (output / "figures" / name).exists():
            shutil.copytree(output / "figures" / name, target / name)
    if profile == "full" and (output / "figures" / "results.json").exists():
        rows = results.read(output / "figures" / "results.json")
        results.add(target / "results.json", [row for row in rows if row["notebook"] in names])
    _publish_costs(output)
    stamp()


def _shown(notebook: nbformat.NotebookNode) -> str:
    """Return the profile whose outputs are published."""
    return "quick" if "fmnist" in notebook.metadata else "full"


def grafted(
    source: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """Return the source with the outputs of an executed copy, and nothing else of it.

    What churns (timings, papermill's own entries, widget states, the injected cell) stays out.

    Parameters
    ----------
    source, executed : NotebookNode
        Matched by the cells' ids.
    """
    by_id = {cell.id: cell for cell in executed.cells}
    count = 0
    for cell in source.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if "skip-execution" in cell.metadata.get("tags", []):
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = by_id[cell.id].outputs
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return source


def stamp(measured: Path | None = None) -> None:
    """Write all generated text anew: notebooks' costs, install cells and links, README's tables.

    Parameters
    ----------
    measured : Path, optional
        What ``make bench`` wrote, to be entered beside what other machines measured.

    Raises
    ------
    FailureError
        If README lacks the two marks around a table, or `measured` is not there.
    """
    if measured is not None:
        speed.publish(measured, paths.published_figures_dir())
    for path, text in stamped().items():
        write_text(path, text)


def stamped() -> dict[Path, str]:
    """Return README and the notebooks as `stamp` would write them, by path."""
    names = [path.stem for path in sorted(paths.notebooks_dir().glob("[0-9A-Z]*_*.ipynb"))]
    costs = _read_json(paths.published_figures_dir() / COSTS)
    texts = {paths.root() / "README.md": _stamped_readme()}
    terms: dict[str, tuple[str, str]] = {}
    lessons: list[dict[str, str]] = []
    for before, name, after in zip(["", *names], names, [*names[1:], ""], strict=False):
        path = paths.notebooks_dir() / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        told = {
            "name": name,
            "before": before,
            "after": after,
            "repository": repository(),
            "extras": _EXTRAS.get(name, "course"),
            "costs": {p: costs[name][p] for p in PROFILES if p in costs.get(name, {})},
        }
        generated = _GENERATED
        if about := notebook.metadata.get("fmnist"):
            told["about"], generated = about, generated | {"title"}
            lessons.append({"name": name, **about})
            terms |= {t: (text, name) for t, text in about["terms"].items() if t not in terms}
        for cell in notebook.cells:
            for tag in generated & set(cell.metadata.get("tags", [])):
                cell.source = render(f"{tag}.md", **told).strip()
        texts[path] = _notebook_text(notebook)
    if lessons:
        glossary = render("glossary.md", terms=sorted(terms.items(), key=lambda t: t[0].lower()))
        texts[paths.notebooks_dir() / "GLOSSARY.md"] = glossary
        texts[paths.notebooks_dir() / "README.md"] = render("contents.md", lessons=lessons)
    return texts


def repository() -> str:
    """Return the owner/name from pyproject.toml, empty if none is set."""
    settings = tomllib.loads((paths.root() / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["tool"]["fmnist"]["repository"])


def _publish_costs(output: Path) -> None:
    """Add what the last runs of every profile took; the full one's report is in the output."""
    target = paths.published_figures_dir() / COSTS
    costs = _read_json(target)
    reports = [paths.series_dir(profile) / "report.json" for profile in PROFILES]
    for report in [*reports, output / "report.json"]:
        for name, entry in _read_json(report).items():
            measured = {key: entry[key] for key in ("seconds", "peak_gib")}
            costs.setdefault(name, {})[entry["profile"]] = measured
    write_text(target, json.dumps(costs, indent=1, sort_keys=True) + "\n")


def _stamped_readme() -> str:
    path = paths.root() / "README.md"
    text = path.read_text(encoding="utf-8")
    tables = {
        "results": markdown_table(results.leaderboard(results.read(paths.published_results()))),
        "photos": _photo_table(),
        "speed": speed.markdown(results.read(paths.published_figures_dir() / speed.FILE)),
    }
    for mark, table in tables.items():
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise FailureError(f"{path} lacks the marks {begin.strip()} and {end}: put them back.")
        text = f"{before}{begin}{table}\n{end}{after}"
    return text


def publish_photos(answers: pd.DataFrame) -> None:
    """Keep answers to photos in the checkout, and write README's table of them.

    Parameters
    ----------
    answers : DataFrame
        From `photo_report.ask`.
    """
    with atomic_write(paths.published_figures_dir() / photo_report.PUBLISHED) as unfinished:
        answers.to_csv(unfinished, index=False)
    stamp()


def _photo_table() -> str:
    path = paths.published_figures_dir() / photo_report.PUBLISHED
    if not path.exists():  # nothing has been measured yet
        return ""
    whole = photo_report.table(pd.read_csv(path))
    return markdown_table(whole[whole["photos of"].isin(photo_report.SUMMARY)])


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _notebook_text(notebook: nbformat.NotebookNode) -> str:
    return str(nbformat.writes(notebook)) + "\n"


def check_publishable(profile: str, seed: int, parameters: dict[str, str]) -> None:
    """Raise BadInputError unless a run may be published: not smoke, nothing else changed.

    Parameters
    ----------
    profile, seed, parameters
        As `runner.run` is to be given them.
    """
    if profile == "smoke" or seed != 0 or parameters:
        raise BadInputError(
            "Only a run with profile quick or full, seed 0 and no -p is published; received "
            f"profile {profile}, seed {seed}, {parameters or 'no parameters'}: leave out --publish."
        )
