"""What `fmnist data` says of other people's files, and fetches beside the data sets."""

import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from fmnist_utils import data
from fmnist_utils.arrays import on_black
from fmnist_utils.classes import CLASS_NAMES
from fmnist_utils.cli.terminal import printable


def describe(path: Path, on_bad: Any) -> None:
    """Print what a file or folder of images holds, by its content.

    Parameters
    ----------
    path : Path
        An IDX or CSV file, a file of NumPy's, or a folder of PNGs by class.
    on_bad : {"raise", "drop"}
        What to do about bad images.

    Raises
    ------
    BadInputError
        If it is none of these, or has bad images that are not to be dropped.
    """
    kind = data.file_kind(path) if path.is_file() else "folder"
    if kind in ("idx", "numpy"):
        arrays = data.read_numpy(path) if kind == "numpy" else {"": data.read_idx(path)}
        for name, array in arrays.items():
            is_numeric = array.size and array.dtype.kind in "biuf"
            ends = f", {array.min()} to {array.max()}" if is_numeric else ""
            title = printable(f"{path}{name and f', {name}'}: {array.dtype}")
            print(f"{title}, shape {array.shape}{ends}")
            is_images = array.ndim == 3 and array.size and array.dtype == "uint8"
            if is_images and (n := on_black(array)[1].sum()):
                print(f"fmnist: {n:,} of {len(array):,} images are dark on white.", file=sys.stderr)
        return
    read = data.read_folder if path.is_dir() else data.read_csv
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        labels = read(path, on_bad=on_bad).labels
    for warning in remarks:
        print(f"fmnist: {printable(warning.message)}", file=sys.stderr)
    print(f"{printable(path)}: {len(labels):,} images of 28x28")
    counts = Counter(labels.tolist())
    for label, name in enumerate(CLASS_NAMES):
        print(f"  {name:<12} {counts[label]:>7,}")


def download_the_rest() -> None:
    """Fetch photos and ImageNet's weights, so that a class may go on without a network.

    Raises
    ------
    FailureError
        If they are neither here nor to be downloaded.
    """
    from fmnist_utils.photos import clothing_dataset
    from fmnist_utils.tensorflow_quiet import import_tensorflow

    photos = [*clothing_dataset.load("tuning"), *clothing_dataset.load("measuring")]
    print(f"{'photos':<14} {len(photos)} verified")
    import_tensorflow()
    from fmnist_utils import models, recipes

    models.build("transfer", recipes.get("transfer").options)  # as in lesson 12
    print(f"{'weights':<14} of ImageNet")
