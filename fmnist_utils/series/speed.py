"""What ``make bench`` measured, one entry a kind of processor: README's tables, and figures."""

import importlib.metadata
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fmnist_utils import hardware, plots, results
from fmnist_utils.errors import FailureError
from fmnist_utils.files import write_text
from fmnist_utils.series.pages import markdown_table

FILE = "speed.json"
Machine = dict[str, Any]
# Which of a processor's flags tell its kind.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")
_DIRECTIONS = {"forward": "", "input": "///", "kernel": "xxx"}


def machine() -> Machine:
    """Return what tells this kind of machine, and the versions that are compared on it."""
    there = results.environment()
    flags = [flag for flag in hardware.vector_flags() if flag in _FLAGS]
    versions = there["versions"]
    for name in ("torch", "onnxruntime"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**there["machine"], "flags": flags, "versions": versions}


def add(path: Path, measured: Machine) -> None:
    """Enter what was measured under its kind of machine, and leave the other kinds' as they are.

    Parameters
    ----------
    path : Path
        A ``speed.json``, made if it is not there.
    measured : dict
        `machine`, and some of ``probe``, ``networks`` by width, ``trainings`` and ``losses``.
    """
    entries = {_kind(entry): entry for entry in results.read(path)}
    before = entries.get(_kind(measured), {})
    networks = {**before.get("networks", {}), **measured.get("networks", {})}
    entries[_kind(measured)] = {**before, **measured, "networks": networks}
    write_text(path, json.dumps(list(entries.values()), indent=1) + "\n")


def publish(measured: Path, folder: Path) -> None:
    """Enter what was measured here into the published file, and draw it.

    Parameters
    ----------
    measured : Path
        What ``make bench`` wrote.
    folder : Path
        Of the published `FILE`; figures go into ``speed/`` in it.

    Raises
    ------
    FailureError
        If nothing was measured.
    """
    entries = results.read(measured)
    if not entries:
        raise FailureError(f"There is no {measured}: make bench measures and writes it.")
    for entry in entries:
        add(folder / FILE, entry)
        name = re.sub(r"\W+", "-", "-".join(_kind(entry))).lower()
        drawable = {w: n for w, n in entry["networks"].items() if "kernels_ms" in n}
        for width, network in drawable.items():
            plots.save_figure(time_figure(network), folder / "speed" / f"{name}-time-{width}.png")
        if "losses" in entry:
            drawn = losses_figure(entry["losses"])
            plots.save_figure(drawn, folder / "speed" / f"{name}-losses.png")


def _kind(entry: Machine) -> tuple[str, ...]:
    return (entry["processor"], str(entry["cores"]), *entry["flags"])


def convolutions(width: int) -> list[tuple[int, int, int]]:
    """Return side of the image, channels and filters of the residual network's convolutions.

    Parameters
    ----------
    width : int
        Filters of the stem; each of the three stages has twice as many as what is before it.

    Examples
    --------
    >>> convolutions(16)[:3]
    [(28, 1, 16), (28, 16, 32), (14, 32, 32)]
    """
    a, b, c, d = (width * 2**stage for stage in range(4))
    stages = ((28, a, b, 14), (14, b, c, 7), (7, c, d, 3))
    pairs = [
        [(side, ins, outs), (pooled, outs, outs), (pooled, outs, outs)]
        for side, ins, outs, pooled in stages
    ]
    return [(28, 1, a), *(convolution for pair in pairs for convolution in pair)]


def fastest_kernels(network: Machine, dtype: str) -> pd.DataFrame:
    """Return the fastest kernel of each convolution and direction, in milliseconds.

    Parameters
    ----------
    network : dict
        An entry's network.
    dtype : {"float32", "bfloat16"}
        In which they computed.

    Returns
    -------
    pandas.DataFrame
        A line a convolution, columns ``forward``, ``input`` and ``kernel``.
    """
    rows = pd.DataFrame(network["kernels_ms"][dtype])
    return pd.DataFrame(
        {direction: rows.filter(like=f"{direction}, ").min(axis=1) for direction in _DIRECTIONS}
    ).fillna(0.0)


def share_of_kernels(network: Machine, dtype: str) -> float:
    """Return the time of the fastest kernels as a share of the time of our update, 0 to 1.

    Parameters
    ----------
    network : dict
        An entry's network.
    dtype : {"float32", "bfloat16"}
        In which both computed.
    """
    update = 1e3 * network["batch_size"] / network["images_a_second"][f"ours {dtype}"]
    return float(fastest_kernels(network, dtype).to_numpy().sum() / update)


def table(entry: Machine) -> pd.DataFrame:
    """Return a machine's speeds as texts, a column a network: ratios, and shares of its limits.

    Parameters
    ----------
    entry : dict
        Of ``speed.json``.
    """
    columns: dict[str, dict[str, str]] = {}
    for network in entry["networks"].values():
        speeds = network["images_a_second"]
        lines = {name: f"{s / speeds['Keras float32']:.2f}" for name, s in speeds.items()}
        for dtype, product in network["products_gflop_a_second"].items():
            share = speeds[f"ours {dtype}"] * network["gflop_an_image"] / product
            lines[f"ours {dtype}, share of a matrix product"] = f"{100 * share:.0f} %"
        for dtype in network.get("kernels_ms", {}):
            share = share_of_kernels(network, dtype)
            lines[f"ours {dtype}, share of the fastest kernels"] = f"{100 * share:.0f} %"
        for n, answered in network.get("answers_a_second", {}).items():
            for name, rate in answered.items():
                ratio = rate / answered["Keras's predict"]
                lines[f"answers to {n}: {name}"] = f"{ratio:.2f}"
        columns[f"{network['parameters'] / 1e6:.2f} M parameters"] = lines
    return pd.DataFrame(columns).rename_axis("training").reset_index()


def markdown(entries: Sequence[Machine]) -> str:
    """Return Markdown with a paragraph and a table for each machine.

    Parameters
    ----------
    entries : sequence of dict
        Of ``speed.json``.
    """
    return "\n\n".join(part for entry in entries for part in _parts(entry))


def _parts(entry: Machine) -> list[str]:
    versions = ", ".join(
        f"{name} {entry['versions'][module]}"
        for module, name in (("tensorflow", "TensorFlow"), ("torch", "PyTorch"))
        if module in entry["versions"]
    )
    about = f"**{entry['processor']}**, {entry['cores']} cores, {', '.join(entry['flags'])}"
    about += f"; {versions}."
    if probe := entry.get("probe"):
        chosen = "mixed_bfloat16" if probe["bfloat16_pays"] else "float32"
        about += (
            f" The probe chose {chosen}: in bfloat16 a convolution took "
            f"{probe['bfloat16'] / probe['float32']:.2f} of its time in float32, and with its "
            "kernel's gradient exchanged one of small images took "
            f"{probe['exchanged_gradient'] / probe['own_gradient']:.2f} of its time without."
        )
    if seconds := entry.get("trainings"):
        cnn, fast = (seconds[name] / seconds["Keras's fit"] for name in ("cnn", "fast"))
        about += (
            f" In one process, `cnn` trains to its end in {cnn:.2f} of the time of Keras's `fit`, "
            f"and `fast` in {fast:.2f}."
        )
    return [about, markdown_table(table(entry))] if entry.get("networks") else [about]


def time_figure(network: Machine) -> Figure:
    """Draw what each convolution of an update takes, in both types, and with ours in bfloat16.

    Parameters
    ----------
    network : dict
        An entry's network, with its kernels.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), sharey=True, layout="constrained")
    for ax, (dtype, kernels) in zip(axes, network["kernels_ms"].items(), strict=True):
        rows = pd.DataFrame(kernels).fillna(0.0)
        y = np.arange(len(rows))
        ours = rows["kernel, ours"].where(rows["kernel, ours"] > 0, rows["kernel, TensorFlow"])
        for offset, kernel in ((-0.2, rows["kernel, TensorFlow"]), (0.2, ours)):
            taken = [rows["forward, TensorFlow"], rows["input, TensorFlow"], kernel]
            left = np.zeros(len(rows))
            for (direction, hatch), width in zip(_DIRECTIONS.items(), taken, strict=True):
                label = None if offset > 0 else direction
                style = {"color": "white", "edgecolor": "black", "hatch": hatch, "label": label}
                ax.barh(y + offset, width, 0.38, left=left, **style)
                left += width
        ax.set(title=dtype, xlabel="milliseconds a batch of 256")
    names = [f"{side}×{side}, {ins} → {outs}" for side, ins, outs in rows.iloc[:, :3].to_numpy()]
    axes[0].set_yticks(y, names)
    axes[0].set_ylabel("image, channels → filters")
    axes[0].invert_yaxis()
    axes[1].legend(loc="lower right")
    figure.suptitle(
        f"Where an update's time goes, {network['parameters'] / 1e6:.2f} M parameters\n"
        "upper bars: TensorFlow's kernels; lower bars: the kernel's gradient exchanged"
    )
    return figure


def losses_figure(losses: dict[str, list[float]]) -> Figure:
    """Draw the losses of the same updates computed in different ways, and how far apart they are.

    Parameters
    ----------
    losses : dict
        One loss an update, for ``float32``, ``bfloat16`` and ``bfloat16, exchanged``.
    """
    table = pd.DataFrame(losses)
    table.index += 1
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    same = {name: table[name] for name in losses}
    plots.lines(same, xlabel="update", ylabel="loss (nats)", title="The same updates", ax=left)
    apart = {
        "exchanged against bfloat16": (table["bfloat16, exchanged"] - table["bfloat16"]).abs(),
        "bfloat16 against float32": (table["bfloat16"] - table["float32"]).abs(),
    }
    ylabel = "difference of losses (nats)"
    plots.lines(apart, xlabel="update", ylabel=ylabel, title="How far apart", ax=right)
    return figure
