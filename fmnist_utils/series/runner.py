"""Run the series through papermill: parameters, progress, resume, an index page."""

import ast
import hashlib
import html
import json
import os
import sys
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

from fmnist_utils import paths, recipes, results
from fmnist_utils.errors import BadInputError, FailureError, unknown
from fmnist_utils.files import atomic_write

REPORT = "report.json"


def series() -> list[Path]:
    """Return the notebooks in their order.

    Raises
    ------
    FailureError
        If there are none, as where the package was installed without them.
    """
    found = sorted(paths.notebooks_dir().glob("[0-9][0-9]_*.ipynb"))
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
        Such as ``["1", "03"]``.

    Raises
    ------
    BadInputError
        If there is no notebook of a number.
    """
    by_number = {path.name[:2]: path for path in series()}
    for number in numbers:
        if number.zfill(2) not in by_number:
            raise unknown("notebook number", number, by_number)
    wanted = {number.zfill(2) for number in numbers} or set(by_number)
    return [path for number, path in by_number.items() if number in wanted]


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
        Which notebooks; all if empty.
    profile : {"smoke", "quick", "full"}
        How much to compute.
    seed : int
        Passed to every notebook.
    parameters : mapping of str to str, optional
        More parameters by name; the texts are read as the kinds of the notebooks' own values.
    output : Path, optional
        Where to; the profile's folder among the runs if not given.

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
    recipes.check_profile(profile)
    chosen = select(numbers)
    given = {"profile": profile, "seed": str(seed), **(parameters or {})}
    values = {path: _checked_parameters(path, given) for path in chosen}
    output = (output or paths.series_dir(profile)).resolve()
    _make_writable(output)
    report = _read_report(output)
    for path in chosen:
        fingerprint = _fingerprint(path, values[path])
        done = report.get(path.stem, {}).get("fingerprint") == fingerprint
        if done and (output / path.name).exists():
            print(f"{path.stem:<20} unchanged since its last run")
            continue
        measured = _execute(path, output, values[path])
        # Read again: another process may have run another notebook into the same folder meanwhile.
        report = _read_report(output)
        report[path.stem] = {"fingerprint": fingerprint, "profile": profile, **measured}
        with atomic_write(output / REPORT) as unfinished:
            unfinished.write_text(json.dumps(report, indent=2))
        _write_index(output, report)
    print(f"Index: {output / 'index.html'}")
    return output


def _checked_parameters(path: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the given parameters as the kinds that the notebook's own defaults have."""
    own = papermill.inspect_notebook(str(path))
    for name in given:
        if name not in own:
            raise unknown(f"parameter of {path.stem}", name, own)
    return {name: _parse(name, text, own[name]["default"]) for name, text in given.items()}


def _parse(name: str, text: str, default: str) -> Any:
    kind = type(_literal(default))
    value = text if kind is str else _literal(text)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise BadInputError(f"Parameter {name} takes a value like {default}; received {text!r}.")
    return value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _make_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInputError(
            f"Cannot write to output folder {output} ({error.strerror}): choose another --output."
        ) from error


def _read_report(output: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads((output / REPORT).read_text()))
    except (OSError, ValueError):  # no report, or none of ours: everything is run
        return {}


def _fingerprint(path: Path, values: Mapping[str, Any]) -> str:
    """Return a hash of what a notebook's outputs follow from.

    That is its code, the package, its parameters and the test results that it tells of: its own, or
    all where it reads them by itself.
    """
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    digest = hashlib.sha256(json.dumps(code).encode())
    digest.update(json.dumps(values, sort_keys=True).encode())
    reads_all = any("results.read(" in source for source in code)
    told = [
        row
        for row in results.read(paths.published_results())
        if row["split"] == "test" and (row["notebook"] == path.stem or reads_all)
    ]
    digest.update(json.dumps(told, sort_keys=True).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()


def _execute(path: Path, output: Path, values: Mapping[str, Any]) -> dict[str, float]:
    """Execute one notebook; return what it took, in seconds and GiB."""
    print(f"{path.stem:<20} ", end="", flush=True)
    unfinished = output / f"unfinished_{path.name}"
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
                progress_bar=sys.stderr.isatty(),
                start_timeout=300,
                extra_arguments=[
                    "--log-level=ERROR"
                ],  # of the kernel, which warns of its transport
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
    page, _ = HTMLExporter().from_filename(str(output / path.name))
    (output / f"{path.stem}.html").write_text(page)
    print(f"{seconds:6.0f} s  {peak[0]:4.1f} GiB", flush=True)
    return {"seconds": seconds, "peak_gib": peak[0]}


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
        while not stop.wait(0.5):
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
    rows = results.read(output / "figures" / "results.json")
    sections = []
    for name, entry in sorted(report.items()):
        sections.append(
            f'<h2><a href="{name}.html">{name}</a></h2><p>profile {entry["profile"]}, '
            f"{entry['seconds']:.0f} s, {entry['peak_gib']:.1f} GiB, "
            f'<a href="{name}.ipynb">notebook</a></p>'
            + _results_table([row for row in rows if row["notebook"] == name])
        )
    environment = html.escape(json.dumps(results.environment()))
    with atomic_write(output / "index.html") as unfinished:
        unfinished.write_text(_PAGE.format(sections="\n".join(sections), environment=environment))


def _results_table(rows: Sequence[results.Row]) -> str:
    if not rows:
        return ""
    lines = [
        f"<tr><td>{html.escape(row['recipe'])}</td><td>{html.escape(row['variant'] or '')}</td>"
        f"<td>{row['split']}</td><td>{row['metric']}</td><td>{row['mean']:.4f}</td>"
        f"<td>{len(row['seeds'])}</td></tr>"
        for row in rows
    ]
    heading = "".join(
        f"<th>{name}</th>" for name in ("recipe", "variant", "split", "metric", "mean", "seeds")
    )
    return f"<table><tr>{heading}</tr>{''.join(lines)}</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Fashion-MNIST, measured: this run</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse }} td, th {{ padding: 0.1em 0.8em; text-align: left }}</style>
</head><body><h1>Fashion-MNIST, measured: this run</h1>
{sections}
<p><small>{environment}</small></p></body></html>
"""
