"""What several test modules share."""

import functools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import hypothesis
import pytest
from ports import free_port

from fmnist_utils import data

# On a busy machine the first example of a test can take any time: no deadline.
hypothesis.settings.register_profile("project", deadline=None, max_examples=50)
hypothesis.settings.register_profile("long", deadline=None, max_examples=10_000)
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


@contextmanager
def _process(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    command = "import sys; from fmnist_utils.cli.main import main; sys.argv[0] = 'fmnist'; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", command, "serve", "--port", str(port), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(300):
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield running, port
    finally:
        running.kill()
        running.communicate()


@pytest.fixture
def process(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., AbstractContextManager[tuple[subprocess.Popen[str], int]]]:
    """`fmnist serve` as a process of its own, without data; it gives the process and its port."""
    monkeypatch.setenv("FMNIST_DATA_DIR", "/dev/null")
    monkeypatch.setenv("KERAS_HOME", "/dev/null")
    return _process
