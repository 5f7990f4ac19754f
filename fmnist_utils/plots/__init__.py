"""One function a figure, ``(…, *, ax=None) -> Axes``; grids of images return their Figure.

Colours are seaborn's colour-blind palette and perceptually even maps, and nothing is told by colour
alone: lines differ in dash and marker, bars and cells carry their numbers.
"""

from fmnist_utils.plots.charts import (
    class_counts,
    class_heatmap,
    confusion_matrix,
    intervals,
    learning_curves,
    lines,
    probability_bars,
    projection,
    reliability,
)
from fmnist_utils.plots.grids import (
    class_grid,
    confusion_gallery,
    gallery,
    image_grid,
    overlays,
    photo_steps,
    thumbnail_map,
    weight_grid,
)
from fmnist_utils.plots.style import COLOURS, DASHES, MARKERS, save_figure

__all__ = [
    "COLOURS",
    "DASHES",
    "MARKERS",
    "class_counts",
    "class_grid",
    "class_heatmap",
    "confusion_gallery",
    "confusion_matrix",
    "gallery",
    "image_grid",
    "intervals",
    "learning_curves",
    "lines",
    "overlays",
    "photo_steps",
    "probability_bars",
    "projection",
    "reliability",
    "save_figure",
    "thumbnail_map",
    "weight_grid",
]
