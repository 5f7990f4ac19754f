"""Loading is no slower than twice Keras's own loader, though it verifies what it reads."""

import statistics
import time
from collections.abc import Callable

import pytest
from keras.datasets import fashion_mnist

from fmnist_utils import data


def _seconds(load: Callable[[], object]) -> float:
    start = time.perf_counter()
    load()
    return time.perf_counter() - start


@pytest.mark.real_data
def test_loading_takes_at_most_twice_as_long_as_keras(benchmark):
    loaders = data.load_training, fashion_mnist.load_data
    for load in loaders:  # imports, and the files into the page cache
        load()
    rounds = []

    def take_turns():  # so that whatever else the machine does hits both
        rounds.append([_seconds(load) for load in loaders])

    benchmark.pedantic(take_turns, rounds=5)
    ours, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"load_training {ours:.2f} s, Keras {theirs:.2f} s, ratio {ours / theirs:.2f}")
    assert ours <= 2 * theirs
