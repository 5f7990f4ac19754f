"""Measured results: recorded in ``results.json``, read from it, told as tables."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from filelock import FileLock
from scipy import stats

from fmnist_utils import hardware
from fmnist_utils.errors import BadInputError, FailureError
from fmnist_utils.files import atomic_write

Row = dict[str, Any]
_VERSIONS = ("tensorflow", "keras", "numpy", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a row of ``results.json`` is about, apart from metric and seed.

    Parameters
    ----------
    notebook : str
        The notebook that tells of it, such as ``"03_cnn"``.
    recipe : str
        Name of the recipe or of the method.
    dataset, split : str
        Such as ``"fashion_mnist"`` and ``"validation"``.
    profile : {"smoke", "quick", "full"}
        What it was measured with.
    variant : str, optional
        What else differs, such as ``"tta"``.
    """

    notebook: str
    recipe: str
    dataset: str
    split: str
    profile: str
    variant: str | None = None


def environment() -> dict[str, dict[str, Any]]:
    """Return ``versions`` of what computes, and ``machine``: processor, cores, memory, system."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONS},
        },
        "machine": {
            "processor": hardware.processor(),
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def read(path: Path) -> list[Row]:
    """Return the rows of a ``results.json``; none if the file is not there.

    Raises
    ------
    FailureError
        If the file is not what `record` writes.
    """
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text()))
    except ValueError as error:
        raise FailureError(
            f"{path} is not JSON ({error}): restore it from version control."
        ) from error


def record(
    path: Path,
    study: Study,
    metrics: Mapping[str, float],
    *,
    seed: int,
    parameters: int | None = None,
    train_seconds: float | None = None,
    key: str | None = None,
) -> None:
    """Add one seed's metrics to a ``results.json``; a row grows seed by seed.

    Parameters
    ----------
    path : Path
        The file; it is made if it is not there, and replaced in one step.
    study : Study
        What was measured.
    metrics : mapping of str to float
        Values by metric; each metric is a row.
    seed : int
        The seed measured; its earlier values are replaced.
    parameters : int, optional
        Of the model.
    train_seconds : float, optional
        Wall-clock seconds of training.
    key : str, optional
        Of what was trained, whatever its seed: a row starts anew where it differs, since a recipe
        that has changed is another recipe of the same name.

    Raises
    ------
    BadInputError
        If the data are the sketches, which stand in for data and are no result.
    """
    if study.dataset == "sketches":
        raise BadInputError("The sketches stand in for data: what they give is never recorded.")
    _add(
        path,
        [
            {
                **dataclasses.asdict(study),
                "metric": metric,
                "key": key,
                "seeds": [seed],
                "values": [float(value)],
                "parameters": parameters,
                "train_seconds": [train_seconds],
                **environment(),
            }
            for metric, value in metrics.items()
        ],
    )


def merge(source: Path, target: Path, *, notebooks: Sequence[str]) -> None:
    """Add what one ``results.json`` holds to another; of a seed that both have, the added counts.

    Parameters
    ----------
    source, target : Path
        The file to read, and the one to change.
    notebooks : sequence of str
        Whose rows to add.
    """
    _add(target, [row for row in read(source) if row["notebook"] in notebooks])


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return ``mean``, ``std`` and ``ci95`` of one metric over seeds.

    Parameters
    ----------
    values : sequence of float
        One a seed.

    Returns
    -------
    dict
        ``std`` with n - 1 in the denominator; ``ci95``, Student's t interval of the mean, as
        ``[low, high]``. Both are None for a single seed, which says nothing about spread.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "std": None, "ci95": None}
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * std / len(values) ** 0.5
    return {"mean": mean, "std": std, "ci95": [mean - half, mean + half]}


def leaderboard(
    rows: Sequence[Row],
    *,
    dataset: str = "fashion_mnist",
    split: str = "test",
    profile: str = "full",
) -> pd.DataFrame:
    """Return one line a recipe, best accuracy first.

    Parameters
    ----------
    rows : sequence of dict
        From `read`.
    dataset, split, profile : str
        Which results to show.

    Returns
    -------
    pandas.DataFrame
        Texts, ready to show: accuracy and macro F1 in percent with the half-width of their 95 %
        intervals over seeds, parameters, mean seconds of training, seeds, notebook.
    """
    wanted = (dataset, split, profile)
    chosen = [r for r in rows if (r["dataset"], r["split"], r["profile"]) == wanted]
    accuracies = [r for r in chosen if r["metric"] == "accuracy"]
    f1 = {_name(r): r for r in chosen if r["metric"] == "f1_macro"}
    return pd.DataFrame(
        [
            {
                "recipe": _name(row),
                "accuracy (%)": _percent(row),
                "macro F1 (%)": _percent(f1[_name(row)]) if _name(row) in f1 else "",
                "parameters": "" if row["parameters"] is None else f"{row['parameters']:,}",
                "training (s)": _seconds(row),
                "seeds": str(len(row["seeds"])),
                "notebook": row["notebook"],
            }
            for row in sorted(accuracies, key=lambda r: -r["mean"])
        ]
    )


def speed_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return what ``make bench`` measured of training, one line a contender, as ratios.

    Parameters
    ----------
    rows : sequence of dict
        Of ``speed.json``, one a network.

    Returns
    -------
    pandas.DataFrame
        Text. Images a second as multiples of Keras in float32 with its own layers; in the last
        line, the share of the processor's own limit that ours reaches.
    """
    columns: dict[str, dict[str, str]] = {}
    for row in rows:
        speeds = row["images_a_second"]
        ours = max(speed for name, speed in speeds.items() if name.startswith("ours"))
        share = ours * row["gflop_an_image"] / row["limit"]["gflop_a_second"]
        columns[f"{row['parameters'] / 1e6:.2f} M parameters"] = {
            **{name: f"{speed / speeds['Keras float32']:.2f}" for name, speed in speeds.items()},
            f"ours, share of a {row['limit']['what']}": f"{100 * share:.0f} %",
        }
    return pd.DataFrame(columns).rename_axis("training").reset_index()


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table of texts as a Markdown table."""
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _add(path: Path, added: Sequence[Row]) -> None:
    with atomic_write(path) as unfinished, FileLock(path.with_name(f".{path.name}.lock")):
        rows = {_identity(row): row for row in read(path)}
        for row in added:
            rows[_identity(row)] = _grown(rows.get(_identity(row)), row)
        ordered = sorted(rows.values(), key=_identity)
        unfinished.write_text(json.dumps(ordered, indent=1) + "\n")


def _grown(row: Row | None, added: Row) -> Row:
    """Return the row with the seeds of another added to it if they are of one key."""
    measured: dict[int, tuple[float, float | None]] = {}
    for source in [row, added] if row and row.get("key") == added.get("key") else [added]:
        pairs = zip(source["values"], source["train_seconds"], strict=True)
        measured |= dict(zip(source["seeds"], pairs, strict=True))
    seeds = sorted(measured)
    values = [measured[seed][0] for seed in seeds]
    seconds = [measured[seed][1] for seed in seeds]
    return {**added, "seeds": seeds, "values": values, "train_seconds": seconds, **spread(values)}


def _identity(row: Row) -> tuple[str, ...]:
    fields = ("notebook", "recipe", "variant", "dataset", "split", "metric", "profile")
    return tuple(row[name] or "" for name in fields)


def _name(row: Row) -> str:
    return f"{row['recipe']} ({row['variant']})" if row["variant"] else str(row["recipe"])


def _percent(row: Row) -> str:
    if row["ci95"] is None:
        return f"{100 * row['mean']:.2f}"
    return f"{100 * row['mean']:.2f} ± {50 * (row['ci95'][1] - row['ci95'][0]):.2f}"


def _seconds(row: Row) -> str:
    known = [seconds for seconds in row["train_seconds"] if seconds is not None]
    return f"{np.mean(known):.0f}" if known else ""
