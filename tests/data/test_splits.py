"""Training, validation and test images: disjoint, stratified, seeded."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_utils import data
from fmnist_utils.data import Labelled
from fmnist_utils.errors import BadInputError


def numbered(n: int, n_classes: int, rng: np.random.Generator) -> Labelled:
    """Images that carry their own number, so that they can be followed."""
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(n), 256)
    return Labelled(images, rng.permutation(np.arange(n, dtype=np.int64) % n_classes))


def numbers(part: Labelled) -> list[int]:
    return (part.images[:, 0, 0].astype(int) * 256 + part.images[:, 0, 1]).tolist()


@given(st.data(), st.integers(2, 10), st.integers(0, 99))
def test_split_is_a_stratified_seeded_partition(draw, n_classes, seed):
    n = draw.draw(st.integers(3 * n_classes, 400))
    size = draw.draw(st.integers(n_classes, n - n_classes))
    whole = numbered(n, n_classes, np.random.default_rng(seed))
    rest, validation = data.split(whole, size, seed=seed)
    assert len(validation.labels) == size
    assert sorted(numbers(rest) + numbers(validation)) == list(range(n))
    np.testing.assert_array_equal(validation.labels, whole.labels[numbers(validation)])
    expected = np.bincount(whole.labels) * size / n
    assert np.abs(np.bincount(validation.labels, minlength=n_classes) - expected).max() <= 1
    assert numbers(data.split(whole, size, seed=seed)[1]) == numbers(validation)


def test_another_seed_splits_otherwise():
    whole = numbered(400, 10, np.random.default_rng(0))
    parts = [numbers(data.split(whole, 100, seed=seed)[1]) for seed in (0, 1)]
    assert parts[0] != parts[1]


@pytest.mark.parametrize("size", [0, 9, 91, 100, -5])
def test_split_names_the_sizes_that_fit(size):
    whole = numbered(100, 10, np.random.default_rng(0))
    with pytest.raises(BadInputError, match=f"into {size} and the rest: choose 10 to 90"):
        data.split(whole, size)


def test_split_needs_two_images_of_each_class():
    one = Labelled(np.zeros((5, 28, 28), np.uint8), np.array([0, 0, 0, 0, 1]))
    with pytest.raises(BadInputError, match="the rarest of which has 1"):
        data.split(one, 2)
    with pytest.raises(BadInputError, match="give two images of each class"):
        data.split(Labelled(one.images[:0], one.labels[:0]), 0)


def test_sketches_load_like_a_published_data_set():
    loaded = data.load_training("sketches")
    assert np.bincount(loaded.train.labels).tolist() == [500] * 10
    assert np.bincount(loaded.validation.labels).tolist() == [100] * 10
    smaller = data.load_training("sketches", train_size=300)
    assert np.bincount(smaller.train.labels).tolist() == [30] * 10
    np.testing.assert_array_equal(smaller.validation.images, loaded.validation.images)
    assert len(data.load_test("sketches").labels) == 1_000
    assert data.status("sketches") == []


@pytest.mark.parametrize("train_size", [0, 9, 54_995, 55_001, 59_999, 60_001, -1])
def test_a_training_size_that_does_not_fit(train_size):
    with pytest.raises(BadInputError, match=r"choose 10 to 54,990 .*, 55,000 for .* 60,000"):
        data.load_training(train_size=train_size)


def test_everything_published_can_be_trained_on():
    loaded = data.load_training("sketches", train_size=6_000)
    assert (len(loaded.train.labels), len(loaded.validation.labels)) == (6_000, 0)
    digest = hashlib.sha256(loaded.train.images.tobytes()).hexdigest()
    assert data.hashes("sketches")["train-images-idx3-ubyte"] == digest


@pytest.mark.parametrize(
    "function", [data.load_training, data.load_published, data.load_test, data.status]
)
def test_an_unknown_data_set(function):
    message = "Unknown data set 'cifar10': choose one of fashion_mnist, mnist, sketches"
    with pytest.raises(BadInputError, match=message):
        function("cifar10")


@pytest.mark.real_data
def test_training_data_is_balanced_and_its_validation_images_stay():
    loaded = data.load_training()
    assert np.bincount(loaded.train.labels).tolist() == [5_500] * 10
    assert np.bincount(loaded.validation.labels).tolist() == [500] * 10
    few = data.load_training(train_size=1_000)
    assert np.bincount(few.train.labels).tolist() == [100] * 10
    np.testing.assert_array_equal(few.validation.images, loaded.validation.images)
    everything = data.load_training(train_size=60_000)
    assert (len(everything.train.labels), len(everything.validation.labels)) == (60_000, 0)


def test_the_module_imports_neither_keras_nor_scikit_learn():
    code = (
        "import sys, fmnist_utils.data; print({'keras', 'tensorflow', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
