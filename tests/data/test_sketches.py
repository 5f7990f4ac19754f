import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from fmnist_utils import data
from fmnist_utils.errors import BadInputError


def test_sketches_look_like_the_published_images():
    drawn = data.sketches(205, seed=3)
    assert drawn.images.shape == (205, 28, 28)
    assert (drawn.images.dtype, drawn.labels.dtype) == (np.uint8, np.int64)
    assert np.bincount(drawn.labels).tolist() == [21] * 5 + [20] * 5
    assert not drawn.images[:, :, 0].any(axis=0)[:2].any()  # corners are background
    assert drawn.images.reshape(205, -1).max(axis=1).min() > 60
    assert len({image.tobytes() for image in drawn.images}) == 205


def test_sketches_are_seeded_and_shuffled():
    first, again, other = data.sketches(50, 1), data.sketches(50, 1), data.sketches(50, 2)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)
    assert first.labels.tolist() != sorted(first.labels)


def test_sketches_can_be_told_apart():
    train, test = data.sketches(500, seed=0), data.sketches(200, seed=1)
    model = KNeighborsClassifier(1).fit(train.images.reshape(500, -1) / 255, train.labels)
    assert model.score(test.images.reshape(200, -1) / 255, test.labels) > 0.9


def test_no_sketches():
    with pytest.raises(BadInputError, match="Cannot draw 0 sketches: ask for at least 1"):
        data.sketches(0, seed=0)
