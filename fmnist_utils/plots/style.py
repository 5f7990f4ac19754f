"""What all figures have in common: colours, dashes and markers, and how files are written."""

from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns
from cycler import cycler
from matplotlib.figure import Figure

from fmnist_utils.files import atomic_write

COLOURS = sns.color_palette("colorblind", 10)
DASHES = ("-", "--", ":", "-.")
MARKERS = "osD^vPX<>*"
# Called, it gives one style of a line after the other, without end.
STYLES = cycler(color=2 * COLOURS, marker=2 * MARKERS, linestyle=5 * DASHES)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, in one step.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : Path
        Ends in ``.png`` or ``.svg``; missing folders are made.

    Raises
    ------
    FailureError
        If the file cannot be written.
    """
    # No date, version or random name inside: the same picture is the same file.
    kind = path.suffix.removeprefix(".")
    metadata = {"Software": None} if kind == "png" else {"Date": None}
    with atomic_write(path) as unfinished, plt.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(unfinished, dpi=200, bbox_inches="tight", format=kind, metadata=metadata)
