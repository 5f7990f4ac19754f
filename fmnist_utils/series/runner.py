"""Run the series through papermill: parameters, progress, resume, an index page."""

import ast
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from pydantic import TypeAdapter, ValidationError

from fmnist_utils import paths, profiles, results
from fmnist_utils.errors import BadInputError, FailureError, unknown
from fmnist_utils.files import write_text
from fmnist_utils.series.contents import outcome
from fmnist_utils.series.fingerprint import fingerprint
from fmnist_utils.series.pages import render

REPORT = "report.json"


def series() -> list[Path]:
    """Return the notebooks in their order.

    Raises
    ------
    FailureError
        If there are none, as where the package was installed without them.
    """
    found = sorted(paths.notebooks_dir().glob("[0-9A-Z]*_*.ipynb"))
    if not found:
        raise FailureError(
            f"No notebooks in {paths.notebooks_dir()}: run this in a checkout of the project."
        )
    return found


def select(numbers: Sequence[str] = ()) -> list[Path]:
    """Return the notebooks with the given numbers, all of them if none is given.

    Parameters
    ----------
    numbers : sequence of str
        Such as ``["1", "03", "A"]``; appendices have letters. A name, such as ``03_training``,
        stands for its number.

    Raises
    ------
    BadInputError
        If there is no notebook of a number.
    """
    by_number = {path.stem.partition("_")[0]: path for path in series()}
    wanted = set()
    for number in numbers:
        start = number.partition("_")[0]
        wanted.add(start.zfill(2) if start.isdigit() else start.upper())
        if not wanted <= set(by_number):
            raise unknown("notebook number", number, by_number)
    wanted = wanted or set(by_number)
    return [path for number, path in by_number.items() if number in wanted]


def datasets(chosen: Sequence[Path], given: Mapping[str, str]) -> set[str]:
    """Return the data sets that notebooks work on.

    Parameters
    ----------
    chosen : sequence of Path
        The notebooks.
    given : mapping of str to str
        Parameters by name; without ``dataset``, each notebook's own counts.
    """
    if "dataset" in given:
        return {given["dataset"]}
    defaults = (papermill.inspect_notebook(str(path)).get("dataset") for path in chosen)
    return {ast.literal_eval(default["default"]) for default in defaults if default}


def run(
    numbers: Sequence[str] = (),
    *,
    profile: str = "quick",
    seed: int = 0,
    parameters: Mapping[str, str] | None = None,
    output: Path | None = None,
) -> Path:
    """Execute notebooks into a folder, with an index page; the sources stay as they are.

    A notebook that already lies there, made from the same code, package, parameters and test
    results, is not run again: an interrupted series goes on where it stopped.

    Parameters
    ----------
    numbers : sequence of str
        Which notebooks, such as ``["1", "03"]``; all if empty.
    profile : {"smoke", "quick", "full"}
        How much to compute.
    seed : int
        Passed to every notebook.
    parameters : mapping of str to str, optional
        More parameters by name; each text is converted to the type of the notebook's default.
    output : Path, optional
        Folder to write to; `paths.series_dir` of the profile if not given.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    BadInputError
        For an unknown profile, number or parameter, or a folder that cannot be written.
    FailureError
        If a notebook fails; it names the cell and the error.
    """
    profiles.check_profile(profile)
    chosen = select(numbers)
    given = {"profile": profile, "seed": str(seed), **(parameters or {})}
    values = {path: _checked_parameters(path, given) for path in chosen}
    output = (output or paths.series_dir(profile)).resolve()
    _make_writable(output)
    report = _read_report(output)
    progress = _Progress([path.stem for path in chosen], profile)
    for path in chosen:
        now = fingerprint(path, values[path])
        done = report.get(path.stem, {}).get("fingerprint") == now
        if done and (output / path.name).exists():
            print(f"{path.stem:<20} unchanged since its last run  {progress.after(path.stem)}")
            continue
        measured = _execute(path, output, values[path])
        print(
            f"{measured['seconds']:6.0f} s  {measured['peak_gib']:4.1f} GiB  "
            f"{progress.after(path.stem, took=measured['seconds'])}",
            flush=True,
        )
        # Read again: another process may have run another notebook into the same folder meanwhile.
        report = _read_report(output)
        report[path.stem] = {"fingerprint": now, "profile": profile, **measured}
        write_text(output / REPORT, json.dumps(report, indent=2))
        _write_index(output, report)
    print(f"Index: {output / 'index.html'}")
    return output


class _Progress:
    """How far a series is, by what each notebook took when it was published."""

    def __init__(self, names: Sequence[str], profile: str) -> None:
        costs = _read_report(paths.published_figures_dir(), "costs.json")
        measured = {name: costs.get(name, {}).get(profile, {}) for name in names}
        self._left = {name: measured[name].get("seconds", 60.0) for name in names}
        self._total = sum(self._left.values())
        self._took, self._should = 0.0, 0.0

    def after(self, name: str, *, took: float = 0.0) -> str:
        """Return the bar and the time left once a notebook is done, of which it took so much."""
        expected = self._left.pop(name)
        if took:
            self._took, self._should = self._took + took, self._should + expected
        pace = self._took / self._should if self._should else 1.0
        left_over = sum(self._left.values())
        done = round(20 * (1 - left_over / self._total))
        minutes = pace * left_over / 60
        left = f", about {max(1, round(minutes))} min left" if self._left else ""
        return f"[{'#' * done}{'.' * (20 - done)}]{left}"


def _checked_parameters(path: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the given parameters, converted to the types of the notebook's own defaults."""
    own = papermill.inspect_notebook(str(path))
    values = {}
    for name, text in given.items():
        if name not in own:
            raise unknown(f"parameter of {path.stem}", name, own)
        default = own[name]["default"]
        try:
            values[name] = TypeAdapter(type(ast.literal_eval(default))).validate_strings(text)
        except ValidationError as error:
            raise BadInputError(
                f"Parameter {name} takes a value like {default}; received {text!r}."
            ) from error
    return values


def _make_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise BadInputError(
            f"Cannot write to output folder {output} ({error.strerror}): choose another --output."
        ) from error


def _read_report(output: Path, name: str = REPORT) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads((output / name).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no report, or none of ours: everything is run
        return {}


def _execute(path: Path, output: Path, values: Mapping[str, Any]) -> dict[str, float]:
    """Execute one notebook; return what it took, in seconds and GiB."""
    on_terminal = sys.stderr.isatty()  # there a bar has the name, and goes when it is full
    if not on_terminal:
        print(f"{path.stem:<20} ", end="", flush=True)
    unfinished = output / f"unfinished_{path.name}"
    shutil.rmtree(output / "figures" / path.stem, ignore_errors=True)  # some may be gone now
    start = time.perf_counter()
    os.environ["FMNIST_PROFILE"] = values["profile"]
    os.environ["FMNIST_FIGURES_DIR"] = str(output / "figures")
    # A kernel of the same name in the user's home would be another Python.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    with _peak_memory() as peak:
        try:
            papermill.execute_notebook(
                str(path),
                str(unfinished),
                parameters=dict(values),
                kernel_name="python3",
                cwd=str(paths.notebooks_dir()),
                progress_bar={"desc": path.stem, "leave": False, "disable": not on_terminal},
                start_timeout=300,
                # The kernel warns of its transport, and tells in a traceback that it was stopped.
                extra_arguments=["--log-level=CRITICAL"],
            )
        except papermill.PapermillExecutionError as error:
            raise _failure(path, unfinished, error) from error
        except DeadKernelError as error:
            unfinished.unlink(missing_ok=True)
            raise FailureError(
                f"{path.stem}: its kernel died, most likely for want of memory "
                f"({peak[0]:.1f} GiB at most): close other programs, or use --profile smoke."
            ) from error
        except KeyboardInterrupt:
            unfinished.unlink(missing_ok=True)
            print("interrupted; the same command goes on here")
            raise
    seconds = time.perf_counter() - start
    unfinished.replace(output / path.name)
    write_text(output / f"{path.stem}.html", _page(nbformat.read(output / path.name, as_version=4)))
    if on_terminal:
        print(f"{path.stem:<20} ", end="")
    return {"seconds": seconds, "peak_gib": peak[0]}


def _page(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook as an HTML page whose links lead to the pages beside it."""
    page, _ = HTMLExporter().from_notebook_node(notebook)
    page = re.sub(r'href="(\w+)\.ipynb', r'href="\1.html', page)
    page = page.replace('href="README.md"', 'href="index.html"')
    return page.replace('href="GLOSSARY.md"', 'href="glossary.html"')


def _failure(
    path: Path, unfinished: Path, error: papermill.PapermillExecutionError
) -> FailureError:
    failed = unfinished.replace(unfinished.with_name(f"failed_{path.name}"))
    print("failed", flush=True)
    return FailureError(
        f"{path.stem}, cell {error.exec_count}: {error.ename}: {error.evalue}\n"
        f"The cell:\n{error.source}\nThe notebook as far as it came: {failed}"
    )


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """Sample the memory of this process's children; give a list with the highest sum in GiB."""
    peak, stop = [0.0], threading.Event()

    def sample() -> None:
        while not stop.wait(0.2):  # a kernel may live for half a second
            used = 0
            for child in psutil.Process().children(recursive=True):
                try:
                    used += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], used / 2**30)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _write_index(output: Path, report: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the page that links the executed notebooks, with what they took and found."""
    page = render(
        "run_index.html",
        report=report,
        outcomes={name: outcome(output / f"{name}.ipynb") for name in report},
        rows=results.read(output / "figures" / "results.json"),
        label=results.label,
        environment=json.dumps(results.environment()),
    )
    write_text(output / "index.html", page)
    glossary = paths.notebooks_dir() / "GLOSSARY.md"
    if glossary.exists():
        cell = nbformat.v4.new_markdown_cell(glossary.read_text(encoding="utf-8"))
        write_text(output / "glossary.html", _page(nbformat.v4.new_notebook(cells=[cell])))
