"""Images and labels: Fashion-MNIST and MNIST, verified; other people's files; drawings."""

from fmnist_utils.data.labelled import Labelled as Labelled
from fmnist_utils.data.labelled import one_hot as one_hot
from fmnist_utils.data.published import status as status
from fmnist_utils.data.readers import file_kind as file_kind
from fmnist_utils.data.readers import read_csv as read_csv
from fmnist_utils.data.readers import read_folder as read_folder
from fmnist_utils.data.readers import read_idx as read_idx
from fmnist_utils.data.readers import read_numpy as read_numpy
from fmnist_utils.data.sketches import sketches as sketches
from fmnist_utils.data.splits import TrainingData as TrainingData
from fmnist_utils.data.splits import hashes as hashes
from fmnist_utils.data.splits import load_published as load_published
from fmnist_utils.data.splits import load_test as load_test
from fmnist_utils.data.splits import load_training as load_training
from fmnist_utils.data.splits import split as split
