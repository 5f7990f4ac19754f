"""Images and labels: Fashion-MNIST and MNIST, verified; other people's files; drawings."""

from fmnist_utils.data.labelled import Labelled, one_hot
from fmnist_utils.data.published import DATASETS, FileStatus, status
from fmnist_utils.data.readers import read_csv, read_folder, read_idx, read_png
from fmnist_utils.data.sketches import sketches
from fmnist_utils.data.splits import (
    TrainingData,
    hashes,
    load_published,
    load_test,
    load_training,
    split,
)

__all__ = [
    "DATASETS",
    "FileStatus",
    "Labelled",
    "TrainingData",
    "hashes",
    "load_published",
    "load_test",
    "load_training",
    "one_hot",
    "read_csv",
    "read_folder",
    "read_idx",
    "read_png",
    "sketches",
    "split",
    "status",
]
