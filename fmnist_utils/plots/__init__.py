"""One function a figure, ``(…, *, ax=None) -> Axes``; grids of images return their Figure.

Colours are seaborn's colour-blind palette and perceptually even maps, and nothing is told by colour
alone: lines differ in dash and marker, bars and cells carry their numbers.
"""

from fmnist_utils.plots.charts import class_heatmap as class_heatmap
from fmnist_utils.plots.charts import confusion_matrix as confusion_matrix
from fmnist_utils.plots.charts import intervals as intervals
from fmnist_utils.plots.charts import learning_curves as learning_curves
from fmnist_utils.plots.charts import lines as lines
from fmnist_utils.plots.charts import projection as projection
from fmnist_utils.plots.grids import class_grid as class_grid
from fmnist_utils.plots.grids import confusion_gallery as confusion_gallery
from fmnist_utils.plots.grids import gallery as gallery
from fmnist_utils.plots.grids import image_grid as image_grid
from fmnist_utils.plots.grids import overlays as overlays
from fmnist_utils.plots.grids import photo_steps as photo_steps
from fmnist_utils.plots.grids import thumbnail_map as thumbnail_map
from fmnist_utils.plots.grids import weight_grid as weight_grid
from fmnist_utils.plots.style import COLOURS as COLOURS
from fmnist_utils.plots.style import DASHES as DASHES
from fmnist_utils.plots.style import MARKERS as MARKERS
from fmnist_utils.plots.style import save_figure as save_figure
