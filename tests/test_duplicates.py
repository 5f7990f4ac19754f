"""Duplicates: found where they were put, and the known counts on the real images."""

import numpy as np
import pytest

from fmnist_utils import data, duplicates
from fmnist_utils.errors import BadInputError


@pytest.fixture(scope="module")
def images():
    return data.sketches(60, seed=3).images


def test_exact_duplicates_are_found_in_groups_and_in_order(images):
    copies = np.concatenate([images, images[[7, 4, 7]]])
    assert duplicates.exact_duplicates(copies) == [[4, 61], [7, 60, 62]]
    assert duplicates.exact_duplicates(images) == []


def test_one_pixel_makes_an_exact_duplicate_a_near_one(images):
    changed = images[5].copy()
    changed[14, 14] ^= 1
    both = np.concatenate([images, changed[None]])
    assert duplicates.exact_duplicates(both) == []
    pairs = duplicates.near_duplicates(both, threshold=0.999)
    assert (5, 60) in zip(pairs.first, pairs.second, strict=True)


def test_near_duplicates_equal_numpys_correlation(images, monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK", 7)  # 60 is no multiple of it
    pairs = duplicates.near_duplicates(images, threshold=0.8)
    expected = np.corrcoef(images.reshape(60, -1))
    above = {(i, j) for i, j in zip(*np.nonzero(expected > 0.8), strict=True) if i < j}
    assert set(zip(pairs.first, pairs.second, strict=True)) == above
    assert len(pairs.first) == len(above) > 10
    np.testing.assert_allclose(pairs.correlation, expected[pairs.first, pairs.second], atol=1e-5)
    assert (np.diff(pairs.correlation) <= 0).all()


def test_brightness_and_contrast_do_not_matter(images):
    dimmed = (images[:1] // 2 + 20).astype(np.uint8)
    pairs = duplicates.near_duplicates(np.concatenate([images[:1], dimmed]), threshold=0.99)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])


def test_an_image_of_one_grey_correlates_with_nothing():
    grey = np.full((3, 28, 28), 200, np.uint8)
    assert len(duplicates.near_duplicates(grey, threshold=0.5).first) == 0
    assert np.isfinite(duplicates.standardised(grey)).all()


@pytest.mark.parametrize("threshold", [-0.1, 0, 1, 2])
def test_a_threshold_out_of_range_is_named(images, threshold):
    with pytest.raises(BadInputError, match=f"threshold is {threshold}"):
        duplicates.near_duplicates(images, threshold=threshold)


@pytest.mark.parametrize("shape", [(0, 28, 28), (28, 28)])
@pytest.mark.parametrize("function", [duplicates.exact_duplicates, duplicates.near_duplicates])
def test_no_images_are_named(function, shape):
    with pytest.raises(BadInputError, match=r"received \(.*28\)"):
        function(np.zeros(shape, np.uint8))


@pytest.mark.real_data
def test_fashion_mnist_has_no_exact_duplicates():
    train, test = data.load_published()
    assert duplicates.exact_duplicates(np.concatenate([train.images, test.images])) == []
