"""What several test modules share."""

import functools

import hypothesis
import pytest

from fmnist_utils import data

# On a busy machine the first example of a test can take any time: no deadline.
hypothesis.settings.register_profile("project", deadline=None, max_examples=50)
hypothesis.settings.load_profile("project")


@functools.cache
def _missing_data() -> list[str]:
    files = [file for name in ("fashion_mnist", "mnist") for file in data.status(name)]
    return [f"{file.dataset}/{file.name}" for file in files if file.state != "verified"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_data") and _missing_data():
        pytest.skip(
            f"no verified {', '.join(_missing_data())}: set KERAS_HOME or FMNIST_DATA_DIR to them"
        )
