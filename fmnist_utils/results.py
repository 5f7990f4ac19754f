"""Measured results: recorded in ``results.json``, read from it, ranked in a table."""

import dataclasses
import importlib.metadata
import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from filelock import FileLock
from scipy import stats

from fmnist_utils import evaluation, hardware
from fmnist_utils.errors import FailureError
from fmnist_utils.files import atomic_write

Row = dict[str, Any]
_VERSIONS = ("tensorflow", "keras", "numpy", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a row of ``results.json`` is about, apart from metric and seed.

    Parameters
    ----------
    notebook : str
        The notebook that tells of it, such as ``"04_cnn"``.
    recipe : str
        Name of the recipe or of the method.
    dataset, split : str
        Such as ``"fashion_mnist"`` and ``"validation"``.
    profile : {"smoke", "quick", "full"}
        How much was computed.
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

    Parameters
    ----------
    path : Path
        `paths.published_results` for the published ones.

    Returns
    -------
    list of dict
        A row is one metric of one recipe or method on one part of a data set: the fields of
        `Study`, ``metric``, ``seeds`` with their ``values`` and ``train_seconds``, ``mean``,
        ``std`` and ``ci95`` as `spread` gives them, ``parameters``, ``key``, ``versions`` and
        ``machine``.

    Raises
    ------
    FailureError
        If the file is not what `record` writes.

    Notes
    -----
    Introduced in notebook 11.

    Examples
    --------
    >>> from fmnist_utils import paths, results
    >>> rows = results.read(paths.published_results())
    >>> all(row["std"] is None for row in rows if len(row["seeds"]) == 1)
    True
    """
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise FailureError(
            f"{path} is not JSON ({error}): restore it from git, or delete it."
        ) from error


def record(
    path: Path,
    study: Study,
    metrics: Mapping[str, float],
    *,
    seed: int,
    parameters: int | None = None,
    train_seconds: float | None = None,
    training_operations: int | None = None,
    images: int | None = None,
    key: str | None = None,
) -> None:
    """Add one seed's metrics to a ``results.json``; a row grows seed by seed.

    Of the dataset ``sketches``, which stands in for data, nothing is recorded, and a line says so.

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
    training_operations : int, optional
        See `operations.training`.
    images : int, optional
        How many were measured on.
    key : str, optional
        Of what was trained, whatever its seed: a row starts anew where it differs, since a recipe
        that has changed is another recipe of the same name.

    Raises
    ------
    FailureError
        If the file cannot be written, or is not what this function writes.
    """
    if study.dataset == "sketches":
        print("Not recorded: the sketches stand in for data.")
        return
    about = dataclasses.asdict(study)
    cost: Row = {"parameters": parameters, "train_seconds": [train_seconds], **environment()}
    if training_operations is not None:
        cost["training_operations"] = training_operations
    if images is not None:
        cost["images"] = images
    found = [
        {"metric": name, "key": key, "seeds": [seed], "values": [float(value)]}
        for name, value in metrics.items()
    ]
    add(path, [about | values | cost for values in found])


def add(path: Path, rows: Iterable[Row]) -> None:
    """Add rows to a ``results.json``; the seeds of a row that it has already are joined.

    Parameters
    ----------
    path : Path
        The file; it is made if it is not there, and replaced in one step.
    rows : iterable of dict
        As `read` gives them. Of a seed that both have, the added value counts.

    Raises
    ------
    FailureError
        If the file cannot be written, or is not what `record` writes.
    """
    with atomic_write(path) as unfinished, FileLock(path.with_name(f".{path.name}.lock")):
        text = json.dumps(joined(read(path), rows), indent=1)
        unfinished.write_text(f"{text}\n", encoding="utf-8")


def joined(rows: Iterable[Row], added: Iterable[Row]) -> list[Row]:
    """Return rows with others added: the seeds of what both have are joined.

    Parameters
    ----------
    rows, added : iterable of dict
        As `read` gives them. Of a seed that both have, the added value counts.

    Returns
    -------
    list of dict
        In a fixed order.
    """
    found = {_identity(row): row for row in rows}
    for row in added:
        found[_identity(row)] = _grown(found.get(_identity(row)), row)
    return sorted(found.values(), key=_identity)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return ``mean``, ``std`` and ``ci95`` of one metric over seeds.

    Parameters
    ----------
    values : sequence of float
        At least one, each of one seed.

    Returns
    -------
    dict
        ``std`` with n - 1 in the denominator; ``ci95``, Student's t interval of the mean, as
        ``[low, high]``. Both are None for a single value, which says nothing about spread.

    Notes
    -----
    Introduced in notebook 08.

    Examples
    --------
    >>> from fmnist_utils import results
    >>> found = results.spread([0.91, 0.92, 0.93])
    >>> [round(bound, 3) for bound in found["ci95"]]
    [0.895, 0.945]
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "std": None, "ci95": None}
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * std / len(values) ** 0.5
    return {"mean": mean, "std": std, "ci95": [mean - half, mean + half]}


def leaderboard(rows: Iterable[Row], *, split: str = "test", profile: str = "full") -> pd.DataFrame:
    """Return a table of the results on Fashion-MNIST, one line a recipe, best accuracy first.

    Parameters
    ----------
    rows : iterable of dict
        From `read`.
    split : {"test", "validation"}
        The images that were measured on.
    profile : {"smoke", "quick", "full"}
        How much was computed.

    Returns
    -------
    pandas.DataFrame
        Texts, ready to show: accuracy and macro F1 in percent with the half-width of their 95 %
        intervals over seeds, parameters, operations and mean seconds of training, seeds, notebook.
        A single accuracy has, in brackets, that of `evaluation.accuracy_interval`, over images.
    """
    wanted = ("fashion_mnist", split, profile)
    chosen = [r for r in rows if (r["dataset"], r["split"], r["profile"]) == wanted]
    accuracies = [r for r in chosen if r["metric"] == "accuracy"]
    f1 = {_name(r): _percent(r) for r in chosen if r["metric"] == "f1_macro"}
    return pd.DataFrame(
        [
            {
                "recipe": _name(row),
                "accuracy (%)": _percent(row),
                "macro F1 (%)": f1.get(_name(row), ""),
                "parameters": "" if row["parameters"] is None else f"{row['parameters']:,}",
                "training (10¹² operations)": _trillions(row.get("training_operations")),
                "training (s)": _seconds(row),
                "seeds": str(len(row["seeds"])),
                "notebook": row["notebook"],
            }
            for row in sorted(accuracies, key=lambda r: -r["mean"])
        ]
    )


def _grown(row: Row | None, added: Row) -> Row:
    """Return the row with the seeds of another added to it if they are of one key."""
    measured: dict[int, tuple[float, float | None]] = {}
    for source in [row, added] if row and row.get("key") == added.get("key") else [added]:
        pairs = zip(source["values"], source["train_seconds"], strict=True)
        measured |= zip(source["seeds"], pairs, strict=True)
    seeds = sorted(measured)
    values, seconds = zip(*(measured[seed] for seed in seeds), strict=True)
    return {**added, "seeds": seeds, "values": values, "train_seconds": seconds, **spread(values)}


def _trillions(operations: int | None) -> str:
    return "" if operations is None else f"{operations / 1e12:,.0f}"


def _identity(row: Row) -> tuple[str, ...]:
    fields = ("notebook", "recipe", "variant", "dataset", "split", "metric", "profile")
    return tuple(row[name] or "" for name in fields)


def label(recipe: str, variant: str | None) -> str:
    """Return how a person would name a recipe's variant.

    Parameters
    ----------
    recipe : str
        Its name.
    variant : str or None
        As it was recorded.

    Examples
    --------
    >>> label("small", "train_size=500_ensemble_tta"), label("small", None)
    ('small (500 images, ensemble, mirrored)', 'small')
    """
    told = re.sub(r"train_size=(\d+)", r"\1 images", variant or "")
    told = re.sub(r"(^|_)tta$", ", mirrored", re.sub(r"(^|_)ensemble", ", ensemble", told))
    told = told.removeprefix(", ")
    return f"{recipe} ({told})" if told else recipe


def _name(row: Row) -> str:
    return label(row["recipe"], row["variant"])


def _percent(row: Row) -> str:
    mean, interval, n = f"{100 * row['mean']:.2f}", row["ci95"], row.get("images")
    if interval:
        return f"{mean} ± {_half(interval)}"
    if n and row["metric"] == "accuracy":
        return f"{mean} (± {_half(evaluation.accuracy_interval(round(row['mean'] * n), n))})"
    return mean


def _half(interval: Sequence[float]) -> str:
    return f"{50 * (interval[1] - interval[0]):.2f}"


def _seconds(row: Row) -> str:
    known = [seconds for seconds in row["train_seconds"] if seconds is not None]
    return f"{np.mean(known):.0f}" if known else ""
