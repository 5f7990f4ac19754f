import numpy as np
import pytest

from fmnist_utils import data
from fmnist_utils.classes import OOD
from fmnist_utils.errors import BadInputError


def test_one_hot():
    rows = data.one_hot([2, 0], classes=3)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert data.one_hot(np.arange(10)).argmax(axis=1).tolist() == list(range(10))
    assert data.one_hot([1, OOD], classes=4).tolist() == [[0, 1, 0, 0], [0.25] * 4]


@pytest.mark.parametrize("label", [-2, 10])
def test_one_hot_names_a_label_that_is_no_class(label):
    with pytest.raises(BadInputError, match=f"Label {label} is not a class: give 0 to 9"):
        data.one_hot([0, label])
